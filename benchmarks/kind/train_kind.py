"""Train the regression and the network's heads that tell photos from graphics, and print their accuracy.

    python benchmarks/kind/train_kind.py REPOSITORIES [--photos FOLDER] [--out FOLDER]

REPOSITORIES is a folder with clones of the repositories in labels.csv, weak.csv and benchmarks/tone/*.csv, each in a
folder OWNER/NAME. FOLDER of --photos has folders of more photos. Needs `pip install '.[demo,encoder,onnx]'`.

A quarter of the repositories of labels.csv is held out, chosen by a hash of their names, and the sources of weak.csv
whose use is `test`. The network is EfficientNet-Lite0 with ImageNet weights, which stay as they are; the heads read the
mean and the deviation of each channel of its five stages. At 96 px the head is a logistic regression; at 224 px the sum
of one and of three networks with one hidden layer. They also learn from graphics that are made of the photos
(synthetic.py). With --out, kind_heads.npz for benchmarks/pretrained.py and weights.txt for
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
from pictures import Picture, Pixels, read_pictures
from sklearn.linear_model import LogisticRegression
from synthetic import MAKERS, MIN_PHOTO_SIDE_PX
from torch import nn
from torch.nn import functional

from curate.measures.kind import weights
from curate.measures.kind.classify import (
    REGRESSION_INPUTS,
    combine_kind_scores,
    combine_network_scores,
    kind_large_share,
    kind_network_share,
)
from curate.measures.measure import make_small_copy
from curate.measures.pretrained import LARGE_SIDE_PX, SIDE_PX, network_input

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
SYNTHETIC = {"caption": 450, "frame": 450, "collage": 450, "gradient": 150, "watermark": 250}
"""How many pictures of each kind are made of the photos."""
SYNTHETIC_WEIGHT = 0.4
SHARES, LARGE_SHARES = (0.24, 0.35, 0.5, 1.0), (0.05, 0.08, 0.12, 1.0)
"""Shares of the held-out photos for which the network is evaluated at 96 and at 224 px, in the table."""
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
    synthetic, synthetic_graphic = make_synthetic([one.large for one in trained if one.passes and not one.is_graphic])
    graphic = np.concatenate([graphic_of(trained), synthetic_graphic])
    weight = np.concatenate([picture_weights(trained), np.full(len(synthetic), SYNTHETIC_WEIGHT, np.float32)])
    heads: dict[str, NDArray[np.float32]] = {}
    halves = [make_small_copy(one)[0] for one in synthetic]
    for name, side, copies, seeds in (("kind", SIDE_PX, halves, 0), ("kind_large", LARGE_SIDE_PX, synthetic, SEEDS)):
        features = np.concatenate([compute_features(copies_of(trained, side), side), compute_features(copies, side)])
        heads |= fit_head(name, features, graphic, weight, seeds)
    if options.out:
        np.savez(options.out / "kind_heads.npz", allow_pickle=False, **heads)
        (options.out / "weights.txt").write_text(regression.as_text(), encoding="utf-8")
    for title, weak in (("repositories of labels.csv", False), ("sources of weak.csv", True)):
        judged = [one for one in pictures if one.held_out and one.passes and one.repository.startswith("weak/") is weak]
        odds = [
            head_log_odds(heads, name, compute_features(copies_of(judged, side), side))
            for name, side in (("kind", SIDE_PX), ("kind_large", LARGE_SIDE_PX))
        ]
        print_accuracy(title, judged, regression.log_odds(judged), *odds)


def copies_of(pictures: Sequence[Picture], side: int) -> list[Pixels]:
    """The copies that the network reads at a size."""
    return [one.small if side == SIDE_PX else one.large for one in pictures]


def make_synthetic(photos: Sequence[Pixels]) -> tuple[list[Pixels], NDArray[np.bool_]]:
    """Pictures made of photos, and (n,) which of them are graphics."""
    rng = np.random.default_rng(1)
    usable = [photo for photo in photos if min(photo.shape[:2]) >= MIN_PHOTO_SIDE_PX]
    kinds = [kind for kind, count in SYNTHETIC.items() for _ in range(count)]
    return [MAKERS[kind](usable, rng) for kind in kinds], np.array([kind != "watermark" for kind in kinds])


def graphic_of(pictures: Sequence[Picture]) -> NDArray[np.bool_]:
    """(n,) which pictures are graphics."""
    return np.array([picture.is_graphic for picture in pictures], bool)


def picture_weights(pictures: Sequence[Picture], graphic_weight: float = GRAPHIC_WEIGHT) -> NDArray[np.float32]:
    """(n,) how much each picture counts in training; a graphic counts `graphic_weight` times as much as a photo."""
    counts = Counter((picture.repository, picture.is_graphic) for picture in pictures)
    result = []
    for picture in pictures:
        weak = picture.repository.startswith(("weak/", "photos/"))
        full = FULL_WEIGHT_WEAK_PICTURES if weak else FULL_WEIGHT_PICTURES
        share = min(1.0, math.sqrt(full / counts[picture.repository, picture.is_graphic]))
        result.append(
            share * (graphic_weight if picture.is_graphic else 1) * (1 if picture.passes else FILTERED_WEIGHT)
        )
    return np.array(result, np.float32)


@torch.inference_mode()
def compute_features(copies: Sequence[Pixels], side: int) -> NDArray[np.float32]:
    """(n, features) float32: what the heads read of pictures."""
    network = PooledFeatures()
    return np.stack([network(torch.from_numpy(network_input(one, side)[None]))[0].numpy() for one in copies])


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


def fit_head(
    name: str, features: NDArray[np.float32], graphic: NDArray[np.bool_], weight: NDArray[np.float32], seeds: int
) -> Heads:
    """The arrays that benchmarks/pretrained.py reads: functions of features that are not standardized.

    Args:
        name: of the output.
        features: (n, features) float32.
        graphic: (n,) bool.
        weight: (n,) float32, how much each picture counts.
        seeds: how many networks with a hidden layer are added to the logistic regression.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    inputs = (features - mean) / deviation
    linear = LogisticRegression(C=HEAD_REGULARIZATION, solver="newton-cholesky").fit(inputs, graphic, weight)
    factors, bias = linear.coef_[0] / deviation, float(linear.intercept_[0])
    arrays = {}
    if seeds:
        hidden = [_fit_hidden(inputs, graphic, weight, seed) for seed in range(seeds)]
        first = np.concatenate([layers[0].weight.detach().numpy() for layers in hidden]).T
        first_bias = np.concatenate([layers[0].bias.detach().numpy() for layers in hidden])
        bias += sum(layers[1].bias.item() for layers in hidden) / seeds
        arrays = {
            "kind_hidden": first / deviation[:, None],
            "kind_hidden_bias": first_bias - (mean / deviation) @ first,
            "kind_hidden_weights": np.concatenate([layers[1].weight.detach().numpy()[0] for layers in hidden]) / seeds,
        }
    arrays |= {f"{name}_weights": factors, f"{name}_bias": bias - mean @ factors}
    return {key: np.asarray(values, np.float32) for key, values in arrays.items()}


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
        torch.autograd.backward(loss)
        optimizer.step()
    return first, last


def head_log_odds(heads: Heads, name: str, features: NDArray[np.float32]) -> FloatArray:
    """(n,) log odds of graphic."""
    odds = features @ heads[f"{name}_weights"] + heads[f"{name}_bias"]
    if name == "kind_large":
        odds = (
            odds
            + np.maximum(features @ heads["kind_hidden"] + heads["kind_hidden_bias"], 0) @ heads["kind_hidden_weights"]
        )
    return np.asarray(odds, np.float64)


def print_accuracy(
    title: str, pictures: Sequence[Picture], clear: FloatArray, small_odds: FloatArray, large_odds: FloatArray
) -> None:
    """Print how many photos are lost and graphics kept.

    First with the ranges and the threshold in the code, then for other shares of photos for which the network is
    evaluated, each with the threshold at which a given share of the photos is lost.
    """
    graphic = graphic_of(pictures)
    print(f"{title}: {(~graphic).sum()} photos and {graphic.sum()} graphics that the other rules keep")
    if graphic.all() or not graphic.any():
        return
    share, large_share = kind_network_share(clear), kind_large_share(small_odds)
    scores = combine_kind_scores(clear, combine_network_scores(small_odds, large_odds, large_share), share)
    print(
        f"ranges {weights.NETWORK_RANGE} and {weights.LARGE_NETWORK_RANGE}, threshold {weights.NETWORK_THRESHOLD}: "
        f"{(scores[~graphic] > 0).sum()} photos lost, {(scores[graphic] <= 0).sum()} graphics kept; network evaluated "
        f"at 96 px for {(share[~graphic] > 0).mean():.1%} of the photos, at 224 px for "
        f"{((share > 0) & (large_share > 0))[~graphic].mean():.1%}"
    )
    lost = "".join(f" {part:.1%} lost |" for part in LOST_SHARES)
    print(f"| 96 px | from | 224 px | from | threshold |{lost}\n|{'---|' * (5 + len(LOST_SHARES))}")
    for part in SHARES:
        start = np.quantile(clear[~graphic], 1 - part)
        for large_part in LARGE_SHARES:
            doubtful = np.where(clear < start, -np.inf, small_odds)
            large_start = np.quantile(doubtful[~graphic], max(0.0, 1 - large_part), method="lower")
            decided = np.where(doubtful < large_start, -np.inf, np.where(np.isneginf(doubtful), -np.inf, large_odds))
            decided = np.where(clear > weights.NETWORK_RANGE[2], np.inf, decided)
            limits = [np.quantile(decided[~graphic], 1 - one, method="higher") for one in LOST_SHARES]
            kept = "".join(f" {(decided[graphic] <= limit).mean():.1%} |" for limit in limits)
            large = f"{large_part:.0%} | {large_start:.2f}"
            print(f"| {part:.0%} | {start:.2f} | {large} | {limits[1]:.2f} |{kept}")


if __name__ == "__main__":
    main()
