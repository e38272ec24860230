"""Train the regression and the network that tell photos from graphics, and print their accuracy.

    python benchmarks/kind/train_network.py REPOSITORIES [--photos FOLDER] [--out FOLDER] [--epochs 2.5]

REPOSITORIES is a folder with clones of the repositories in labels.csv and in benchmarks/tone/*.csv, at any depth; files
are found by their sha256. FOLDER of --photos has folders of more photos. Needs `pip install '.[demo,encoder,onnx]'`.

A quarter of the repositories is held out, chosen by a hash of their names. EfficientNet-Lite0 with ImageNet weights is
fine-tuned from block 8 on, together with two linear outputs, on the mean and the maximum of its last features: graphic,
and toned. What the first eight blocks compute is stored once for each picture and its augmented copies, so training
takes minutes on one core. With --out, network.onnx (weights in float16) and weights.py are written there.
"""

from __future__ import annotations

import argparse
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from pictures import HERE, Picture, read_pictures
from sklearn.linear_model import LogisticRegression
from synthetic import make_graphics
from torch import Tensor, nn
from torch.nn import functional

from curate.measures.appearance import measure_appearances
from curate.measures.kind.classify import regression_inputs
from curate.measures.kind.features import compute_statistics
from curate.measures.pretrained import SIDE_PX, network_input
from train.models.efficientnet import LiteFeatures, load_weights

FIRST_TRAINED_BLOCK = 8
FEATURES = 320
STEP_PICTURES, RATE, HEAD_RATE_FACTOR, WEIGHT_DECAY = 64, 6e-4, 5, 0.02
SMOOTHED = 0.02
"""Targets are 0.02 and 0.98."""
SYNTHETIC_GRAPHICS, SYNTHETIC_WEIGHT, GRAPHIC_WEIGHT, FILTERED_WEIGHT = 900, 0.35, 1.6, 0.5
FULL_WEIGHT_PICTURES = 6
"""Pictures of one repository and label that count fully; n count as much as the square root of 6 n."""
RANGE_STARTS, RANGE_END = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5), 2.5
LOST_SHARES = (0.005, 0.01, 0.02, 0.05)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSet:
    """Pictures after the first blocks, and what the network is trained to say of them."""

    features: NDArray[np.float16]
    """(n, channels, h, w) outputs of the blocks that are not trained."""
    graphic: NDArray[np.float32]
    weight: NDArray[np.float32]


def main() -> None:
    """Train, print the accuracy on the held-out repositories, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--labels", type=Path, default=HERE / "labels.csv")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=float, default=2.5)
    parser.add_argument("--synthetic", type=int, default=SYNTHETIC_GRAPHICS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = read_pictures(options.repositories, options.photos, options.labels)
    network = KindNetwork()
    network.fit(training_set(network, pictures, options.synthetic, rng), options.epochs, rng)
    held_out = [picture for picture in pictures if picture.held_out]
    odds = network.log_odds([picture.small for picture in held_out])
    regression = Regression.fit([picture for picture in pictures if not picture.held_out])
    clear = regression.log_odds(held_out)
    print_table("network", odds, held_out)
    print_table("statistics alone", clear, held_out)
    print_ranges(clear, odds, held_out)
    if options.out:
        (options.out / "network.onnx").write_bytes(as_onnx(network))
        (options.out / "weights.txt").write_text(regression.as_text(), encoding="utf-8")


class KindNetwork(nn.Module):
    """EfficientNet-Lite0 with one output: (n, 3, SIDE_PX, SIDE_PX) to (n, 1) log odds of graphic."""

    def __init__(self) -> None:
        super().__init__()
        lite = LiteFeatures()
        load_weights(lite, None)
        self.first = nn.Sequential(lite.stem, *lite.blocks[:FIRST_TRAINED_BLOCK])
        self.last = nn.Sequential(*lite.blocks[FIRST_TRAINED_BLOCK:])
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(2 * FEATURES, 1)
        self.eval()  # also in training, so that the statistics of normalization stay those of ImageNet

    def forward(self, pictures: Tensor) -> Tensor:
        """Log odds of the result of `network_input`."""
        return self.judge(self.first(pictures))

    def judge(self, features: Tensor) -> Tensor:
        """Log odds from the output of the first blocks."""
        last = self.last(features)
        odds: Tensor = self.head(self.drop(torch.cat([last.mean((2, 3)), last.amax((2, 3))], 1)))
        return odds

    def fit(self, data: TrainingSet, epochs: float, rng: np.random.Generator) -> None:
        """Train with AdamW and a cosine; keep the moving average of the weights of the second half."""
        groups = [
            {"params": self.last.parameters(), "rate": RATE},
            {"params": self.head.parameters(), "rate": RATE * HEAD_RATE_FACTOR},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
        steps = max(1, int(epochs * len(data.weight) / STEP_PICTURES))
        mean: dict[str, Tensor] = {}
        self.drop.train()
        for step in range(steps):
            share = min(1, step / 60) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * share
            chosen = rng.integers(0, len(data.weight), STEP_PICTURES)
            odds = self.judge(torch.from_numpy(data.features[chosen]).float())[:, 0]
            target = torch.from_numpy(data.graphic[chosen] * (1 - 2 * SMOOTHED) + SMOOTHED)
            weight = torch.from_numpy(data.weight[chosen])
            loss = functional.binary_cross_entropy_with_logits(odds, target, weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if step >= steps // 2:
                for name, value in self.state_dict().items():
                    mean[name] = (
                        mean[name].lerp(value, 0.02) if name in mean and value.is_floating_point() else value.clone()
                    )
        self.load_state_dict(mean)
        self.eval()

    @torch.inference_mode()
    def log_odds(self, smalls: Sequence[NDArray[np.uint8]]) -> FloatArray:
        """(n,) log odds of small copies."""
        odds = [self(torch.from_numpy(network_input(small, SIDE_PX)[None])).item() for small in smalls]
        return np.array(odds, np.float64)


@torch.inference_mode()
def training_set(
    network: KindNetwork, pictures: Sequence[Picture], synthetic: int, rng: np.random.Generator
) -> TrainingSet:
    """The pictures of repositories that are not held out, each also mirrored, and synthetic graphics."""
    trained = [picture for picture in pictures if not picture.held_out]
    counts = Counter((picture.repository, picture.is_graphic) for picture in trained)
    smalls, graphic, weight = [], [], []
    for picture in trained:
        share = min(1.0, math.sqrt(FULL_WEIGHT_PICTURES / counts[picture.repository, picture.is_graphic]))
        share *= (GRAPHIC_WEIGHT if picture.is_graphic else 1) * (1 if picture.passes else FILTERED_WEIGHT)
        smalls.append(picture.small)
        graphic.append(picture.is_graphic)
        weight.append(share)
    photos = [picture.small for picture in trained if not picture.is_graphic and min(picture.small.shape[:2]) >= 60]
    made = make_graphics(photos, synthetic, rng) if photos else []
    smalls += made
    graphic += [True] * len(made)
    weight += [SYNTHETIC_WEIGHT] * len(made)
    inputs = [
        network_input(np.ascontiguousarray(side), SIDE_PX) for small in smalls for side in (small, small[:, ::-1])
    ]
    features = [network.first(torch.from_numpy(one[None])).half().numpy() for one in inputs]
    return TrainingSet(
        np.concatenate(features),
        np.repeat(np.array(graphic, np.float32), 2),
        np.repeat(np.array(weight, np.float32), 2),
    )


@dataclass(frozen=True)
class Regression:
    """The logistic regression on statistics, as in curate/measures/kind/weights.py."""

    names: Sequence[str]
    mean: FloatArray
    deviation: FloatArray
    factors: FloatArray
    bias: float

    @classmethod
    def fit(cls, pictures: Sequence[Picture]) -> Regression:
        """Train on pictures; each repository and label counts as in `training_set`."""
        names, inputs = _inputs(pictures)
        counts = Counter((picture.repository, picture.is_graphic) for picture in pictures)
        weight = [
            min(1.0, math.sqrt(FULL_WEIGHT_PICTURES / counts[picture.repository, picture.is_graphic]))
            * (GRAPHIC_WEIGHT if picture.is_graphic else 1)
            for picture in pictures
        ]
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
        learned = LogisticRegression(C=0.05, max_iter=1000)
        learned.fit(np.clip((inputs - mean) / deviation, -4, 4), [picture.is_graphic for picture in pictures], weight)
        return cls(names, mean, deviation, learned.coef_[0], float(learned.intercept_[0]))

    def log_odds(self, pictures: Sequence[Picture]) -> FloatArray:
        """(n,) log odds of graphic."""
        _, inputs = _inputs(pictures)
        odds: FloatArray = self.bias + np.clip((inputs - self.mean) / self.deviation, -4, 4) @ self.factors
        return odds

    def as_text(self) -> str:
        """The lines of weights.py."""
        rows = zip(self.names, self.mean, self.deviation, self.factors, strict=True)
        lines = [
            f'    "{name}": ({mean:.4f}, {deviation:.4f}, {factor:+.4f}),' for name, mean, deviation, factor in rows
        ]
        return "\n".join([f"BIAS = {self.bias:.4f}", *lines]) + "\n"


def _inputs(pictures: Sequence[Picture]) -> tuple[Sequence[str], FloatArray]:
    samples, smalls = [picture.sample for picture in pictures], [picture.small for picture in pictures]
    lumas = [np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8) for small in smalls]
    return regression_inputs(compute_statistics(samples, smalls, lumas), measure_appearances(samples, lumas))


def print_table(title: str, odds: FloatArray, pictures: Sequence[Picture]) -> None:
    """Print the share of graphics kept where a given share of photos is lost, of those that the filter keeps."""
    graphic = np.array([picture.is_graphic for picture in pictures], bool)
    passes = np.array([picture.passes for picture in pictures], bool)
    photos, graphics = odds[passes & ~graphic], odds[passes & graphic]
    if not len(photos) or not len(graphics):
        print(f"{title}: no held-out photos or graphics")
        return
    print(f"{title}: {len(photos)} photos, {len(graphics)} graphics of held-out repositories")
    for share in LOST_SHARES:
        limit = np.quantile(photos, 1 - share)
        print(f"| {share:.1%} of the photos lost | {(graphics <= limit).mean():.1%} of the graphics kept |")


def print_ranges(clear: FloatArray, odds: FloatArray, pictures: Sequence[Picture]) -> None:
    """Print how many pictures the network is asked about, and graphics kept, where 1 % of the photos are lost.

    One row for each log odds of the regression from which the network decides; above RANGE_END, the regression does.
    """
    graphic, passes = (np.array([getattr(one, name) for one in pictures], bool) for name in ("is_graphic", "passes"))
    print("| asked from | photos asked | graphics asked | threshold | photos lost | graphics kept |\n|" + "---|" * 6)
    for start in RANGE_STARTS:
        asked = (clear > start) & (clear < RANGE_END)
        scores = np.where(asked, odds, np.where(clear > start, np.inf, -np.inf))
        photos, graphics = scores[passes & ~graphic], scores[passes & graphic]
        limit = np.sort(photos)[::-1][int(0.01 * len(photos))] if len(photos) else np.inf
        shares = [(asked & passes & ~graphic).sum() / max(1, len(photos)), (asked & graphic & passes).sum()]
        shares[1] /= max(1, len(graphics))
        print(
            f"| {start} | {shares[0]:.1%} | {shares[1]:.1%} | {limit:.2f} | {(photos > limit).sum()} of {len(photos)} "
            f"| {(graphics <= limit).sum()} of {len(graphics)} |"
        )


def as_onnx(network: KindNetwork) -> bytes:
    """The network as an ONNX file with weights in float16, which OpenCV reads as float32."""
    buffer = io.BytesIO()
    picture = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
    names = {"input_names": ["picture"], "output_names": ["odds"]}
    torch.onnx.export(network, (picture,), buffer, opset_version=12, dynamo=False, **names)
    model = onnx.load_from_string(buffer.getvalue())
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 8:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
