"""Train the regression and the network's head that tell photos from graphics, and print their accuracy.

    python benchmarks/kind/train_kind.py REPOSITORIES [--photos FOLDER] [--out FOLDER]

REPOSITORIES is a folder with clones of the repositories in labels.csv, weak.csv and benchmarks/tone/*.csv, each in a
folder OWNER/NAME. FOLDER of --photos has folders of more photos. Needs `pip install '.[demo,encoder,onnx]'`.

A quarter of the repositories of labels.csv is held out, chosen by a hash of their names, and the sources of weak.csv
whose use is `test`. The network is EfficientNet-Lite0 with ImageNet weights, which stay as they are; the head reads the
mean and the deviation of each channel of its five stages. It is the sum of a logistic regression and of three networks
with one hidden layer. With --out, kind_head.npz for benchmarks/pretrained.py and weights.txt for
curate/measures/kind/weights.py are written there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import Picture, read_pictures
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from curate.measures.kind import weights
from curate.measures.kind.classify import REGRESSION_INPUTS, combine_kind_scores, kind_network_share
from curate.measures.pretrained import SIDE_PX, network_input

sys.path.insert(0, str(Path(__file__).parents[1]))
from pretrained import PooledFeatures

GRAPHIC_WEIGHT, FILTERED_WEIGHT = 1.6, 0.5
"""Weights of graphics, and of pictures that the other rules of the filter reject."""
FULL_WEIGHT_PICTURES, FULL_WEIGHT_WEAK_PICTURES = 6, 30
"""Pictures of one repository (or weak source) and label that count fully; n count as the square root of n times it."""
REGULARIZATION, HEAD_REGULARIZATION = 0.05, 0.001
"""C of the logistic regressions on statistics and on the network's features."""
SEEDS, HIDDEN, EPOCHS, STEP_PICTURES, RATE, WEIGHT_DECAY = 3, 64, 30, 128, 1e-3, 0.05
DROPPED_FEATURES, DROPPED_HIDDEN = 0.5, 0.3
SMOOTHED = 0.02
"""Targets of the networks with a hidden layer are 0.02 and 0.98."""
ASKED_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 1.0)
LOST_SHARES = (0.005, 0.01, 0.02, 0.05)

FloatArray = NDArray[np.float64]
Heads = Mapping[str, NDArray[np.float32]]


def main() -> None:
    """Train, print the accuracy on what is held out, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures = read_pictures(options.repositories, options.photos)
    trained = [picture for picture in pictures if not picture.held_out]
    regression = Regression.fit(trained)
    heads = fit_heads(compute_features(trained), graphic_of(trained), picture_weights(trained))
    for title, weak in (("repositories of labels.csv", False), ("sources of weak.csv", True)):
        judged = [one for one in pictures if one.held_out and one.passes and one.repository.startswith("weak/") is weak]
        print_accuracy(title, judged, regression.log_odds(judged), head_log_odds(heads, compute_features(judged)))
    if options.out:
        np.savez(options.out / "kind_head.npz", allow_pickle=False, **heads)
        (options.out / "weights.txt").write_text(regression.as_text(), encoding="utf-8")


def graphic_of(pictures: Sequence[Picture]) -> NDArray[np.bool_]:
    """(n,) which pictures are graphics."""
    return np.array([picture.is_graphic for picture in pictures], bool)


def picture_weights(pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """(n,) how much each picture counts in training."""
    counts = Counter((picture.repository, picture.is_graphic) for picture in pictures)
    result = []
    for picture in pictures:
        weak = picture.repository.startswith(("weak/", "photos/"))
        full = FULL_WEIGHT_WEAK_PICTURES if weak else FULL_WEIGHT_PICTURES
        share = min(1.0, math.sqrt(full / counts[picture.repository, picture.is_graphic]))
        result.append(
            share * (GRAPHIC_WEIGHT if picture.is_graphic else 1) * (1 if picture.passes else FILTERED_WEIGHT)
        )
    return np.array(result, np.float32)


@torch.inference_mode()
def compute_features(pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """(n, features) float32: what the head reads of each picture's small copy."""
    network = PooledFeatures()
    features = [network(torch.from_numpy(network_input(one.small, SIDE_PX)[None]))[0].numpy() for one in pictures]
    return np.stack(features)


@dataclass(frozen=True)
class Regression:
    """The logistic regression on statistics, as in curate/measures/kind/weights.py."""

    mean: FloatArray
    deviation: FloatArray
    factors: FloatArray
    bias: float

    @classmethod
    def fit(cls, pictures: Sequence[Picture]) -> Regression:
        """Train on pictures."""
        inputs = np.stack([picture.inputs for picture in pictures])
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
        learned = LogisticRegression(C=REGULARIZATION, max_iter=1000)
        learned.fit(_standardize(inputs, mean, deviation), graphic_of(pictures), picture_weights(pictures))
        return cls(mean, deviation, learned.coef_[0], float(learned.intercept_[0]))

    def log_odds(self, pictures: Sequence[Picture]) -> FloatArray:
        """(n,) log odds of graphic."""
        inputs = np.stack([picture.inputs for picture in pictures])
        odds: FloatArray = self.bias + _standardize(inputs, self.mean, self.deviation) @ self.factors
        return odds

    def as_text(self) -> str:
        """The lines of weights.py."""
        rows = zip(REGRESSION_INPUTS, self.mean, self.deviation, self.factors, strict=True)
        lines = [
            f'    "{name}": ({mean:.4f}, {deviation:.4f}, {factor:+.4f}),' for name, mean, deviation, factor in rows
        ]
        return "\n".join([f"BIAS = {self.bias:.4f}", *lines]) + "\n"


def _standardize(inputs: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
    return np.clip((inputs - mean) / deviation, -4, 4)


def fit_heads(features: NDArray[np.float32], graphic: NDArray[np.bool_], weight: NDArray[np.float32]) -> Heads:
    """The arrays of `kind` that benchmarks/pretrained.py reads: functions of features that are not standardized."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = (features - mean) / deviation
    linear = LogisticRegression(C=HEAD_REGULARIZATION, max_iter=300).fit(inputs, graphic, weight)
    factors, bias = linear.coef_[0] / deviation, float(linear.intercept_[0])
    hidden = [_fit_hidden(inputs, graphic, weight, seed) for seed in range(SEEDS)]
    first = np.concatenate([layers[0].weight.detach().numpy() for layers in hidden]).T
    first_bias = np.concatenate([layers[0].bias.detach().numpy() for layers in hidden])
    bias += sum(layers[1].bias.item() for layers in hidden) / SEEDS
    arrays = {
        "kind_weights": factors,
        "kind_bias": bias - mean @ factors,
        "kind_hidden": first / deviation[:, None],
        "kind_hidden_bias": first_bias - (mean / deviation) @ first,
        "kind_hidden_weights": np.concatenate([layers[1].weight.detach().numpy()[0] for layers in hidden]) / SEEDS,
    }
    return {name: np.asarray(values, np.float32) for name, values in arrays.items()}


def _fit_hidden(
    inputs: NDArray[np.float32], graphic: NDArray[np.bool_], weight: NDArray[np.float32], seed: int
) -> tuple[nn.Linear, nn.Linear]:
    """Two layers with a rectifier between them, trained with AdamW and a cosine."""
    torch.manual_seed(seed)
    first, last = nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW([*first.parameters(), *last.parameters()], RATE, weight_decay=WEIGHT_DECAY)
    data, weights_ = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(weight)
    target = torch.from_numpy(graphic.astype(np.float32) * (1 - 2 * SMOOTHED) + SMOOTHED)
    steps = max(1, EPOCHS * len(inputs) // STEP_PICTURES)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        chosen = torch.randint(0, len(inputs), (STEP_PICTURES,))
        between = functional.relu(first(functional.dropout(data[chosen], DROPPED_FEATURES)))
        odds = last(functional.dropout(between, DROPPED_HIDDEN))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(odds, target[chosen], weights_[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return first, last


def head_log_odds(heads: Heads, features: NDArray[np.float32]) -> FloatArray:
    """(n,) log odds of graphic."""
    between = np.maximum(features @ heads["kind_hidden"] + heads["kind_hidden_bias"], 0)
    odds = features @ heads["kind_weights"] + heads["kind_bias"] + between @ heads["kind_hidden_weights"]
    return np.asarray(odds, np.float64)


def print_accuracy(title: str, pictures: Sequence[Picture], clear: FloatArray, odds: FloatArray) -> None:
    """Print how many photos are lost and graphics kept.

    First with the range and the threshold in the code, then for other shares of photos about which the network is
    asked, each with the threshold at which a given share of the photos is lost.
    """
    graphic = graphic_of(pictures)
    print(f"{title}: {(~graphic).sum()} photos and {graphic.sum()} graphics that the other rules keep")
    if graphic.all() or not graphic.any():
        return
    share = kind_network_share(clear)
    scores = combine_kind_scores(clear, odds, share)
    print(
        f"range {weights.NETWORK_RANGE}, threshold {weights.NETWORK_THRESHOLD}: {(scores[~graphic] > 0).sum()} photos "
        f"lost, {(scores[graphic] <= 0).sum()} graphics kept, {(share[~graphic] > 0).mean():.1%} of the photos asked"
    )
    lost = "".join(f" {part:.1%} lost |" for part in LOST_SHARES)
    print(f"| photos asked | from | threshold |{lost}\n|{'---|' * (3 + len(LOST_SHARES))}")
    end = weights.NETWORK_RANGE[2]
    for part in ASKED_SHARES:
        start = np.quantile(clear[~graphic], 1 - part)
        decided = np.where(clear < start, -np.inf, np.where(clear > end, np.inf, odds))
        limits = [np.quantile(decided[~graphic], 1 - one, method="higher") for one in LOST_SHARES]
        kept = "".join(f" {(decided[graphic] <= limit).mean():.1%} |" for limit in limits)
        print(f"| {part:.0%} | {start:.2f} | {limits[1]:.2f} |{kept}")


if __name__ == "__main__":
    main()
