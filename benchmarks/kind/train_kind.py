"""Fine-tune EfficientNet-Lite0 to tell photos from graphics, and write a network of curate/measures/kind.

    python benchmarks/kind/train_kind.py small REPOSITORIES [--photos FOLDER] [--out FILE]
    python benchmarks/kind/train_kind.py large REPOSITORIES [--photos FOLDER] [--out FILE]

REPOSITORIES is a folder with clones of the repositories in labels.csv, weak.csv and benchmarks/tone/*.csv, each in a
folder OWNER/NAME. FOLDER has folders of more photos. A quarter of the repositories of labels.csv is held out, chosen by
a hash of their names, and the sources of weak.csv whose use is `test`; the accuracy on them is printed. The network
also learns from pictures that are made of the photos (synthetic.py). Both networks learn from the larger copies; a scan
gives the small copies to `small`, which differ little at 64 px. On two cores `small` takes 10 minutes and `large`
40. Needs `pip install '.[demo,encoder,onnx]'`.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pictures import LOST_SHARES, Picture, Pixels, graphic_of, is_weak, read_pictures
from sklearn.linear_model import LogisticRegression
from synthetic import MAKERS, MIN_PHOTO_SIDE_PX
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from curate.measures.kind.network import SIDES_PX
from curate.measures.names import NetworkSize
from curate.measures.onnx import square_input

sys.path.insert(0, str(Path(__file__).parents[1]))
from lite_network import PooledFeatures, export, feature_count


@dataclass(frozen=True)
class Settings:
    """How the network of one size is trained."""

    levels: int
    """Stages of EfficientNet-Lite0."""
    epochs: float
    rate: float
    """Learning rate of the convolutional layers, at its highest."""
    frozen_blocks: int
    """The first convolution and this many blocks keep their weights. At 224 px a step takes half of the time with 3."""


SETTINGS: Mapping[NetworkSize, Settings] = {
    "small": Settings(levels=4, epochs=6, rate=2e-4, frozen_blocks=0),
    "large": Settings(levels=5, epochs=4.5, rate=1e-4, frozen_blocks=3),
}
FILTERED_WEIGHT = 0.5
"""Weight of pictures that the other rules of the filter reject."""
FULL_WEIGHT_PICTURES, FULL_WEIGHT_WEAK_PICTURES = 6, 30
"""Pictures of one repository (or weak source) and label that count fully; n count as the square root of n times it."""
HEAD_REGULARIZATION = 0.001
"""C of the logistic regression on the network's features, from which the head starts."""
STEP_PICTURES, HEAD_RATE, WEIGHT_DECAY = 28, 2e-4, 0.05
WARM_UP_STEPS, MAX_GRADIENT = 100, 2.0
STEP_SYNTHETIC, SYNTHETIC_WEIGHT = 4, 0.5
"""Pictures of a step that are made of photos, besides STEP_PICTURES labeled ones, and how much each counts."""
SYNTHETIC_KINDS = (*["caption"] * 4, *["frame"] * 2, *["collage"] * 4, "gradient", *["watermark"] * 3)
"""Kinds of these pictures; one is drawn at random, so a kind that is named twice is made twice as often."""
DROPPED_FEATURES, SMOOTHED = 0.3, 0.02
"""SMOOTHED: targets are 0.02 and 0.98."""
EMA_STEPS = 500
"""The exponential moving average of the weights covers about this many steps."""
EVALUATED_PICTURES = 32
REPORT_STEPS = 100

FloatArray = NDArray[np.float32]
Batch = tuple[Tensor, Tensor, Tensor]
"""(n, 3, side, side) pictures, (n,) targets 0..1 and (n,) weights."""


def main() -> None:
    """Train, print the accuracy on what is held out, and write the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=list(SETTINGS))
    parser.add_argument("repositories", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path, help="default: the file in the package")
    options = parser.parse_args()
    settings, side = SETTINGS[options.size], SIDES_PX[options.size]
    out = options.out or Path(__file__).parents[2] / f"curate/measures/kind/{options.size}.onnx"
    cv2.setNumThreads(1)
    pictures = read_pictures(options.repositories, options.photos)
    trained = [picture for picture in pictures if not picture.held_out]
    held_out = [picture for picture in pictures if picture.held_out and picture.passes]
    graphic, weights = graphic_of(trained), picture_weights(trained)
    network = KindNetwork(settings.levels)
    network.fit_head(compute_features(network, trained, side), graphic, weights)
    network = fine_tune(network, Batches(trained, weights, side, settings.epochs), settings)
    print_kept(held_out, network, side)
    out.write_bytes(export(network, side))


def picture_weights(pictures: Sequence[Picture]) -> FloatArray:
    """(n,) how much each picture counts in training."""
    counts = Counter((picture.repository, picture.is_graphic) for picture in pictures)
    result = []
    for picture in pictures:
        weak = picture.repository.startswith(("weak/", "photos/"))
        full = FULL_WEIGHT_WEAK_PICTURES if weak else FULL_WEIGHT_PICTURES
        share = min(1.0, math.sqrt(full / counts[picture.repository, picture.is_graphic]))
        result.append(share * (1 if picture.passes else FILTERED_WEIGHT))
    return np.array(result, np.float32)


class KindNetwork(nn.Module):
    """(n, 3, side, side) pictures to (n, 1) log odds of graphic: a linear function of standardized features.

    Args:
        levels: stages of EfficientNet-Lite0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.features = PooledFeatures(levels)
        count = feature_count(levels)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))
        self.head = nn.Linear(count, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 1) log odds."""
        standardized = (self.features(pictures) - self.mean) / self.deviation
        log_odds: Tensor = self.head(functional.dropout(standardized, DROPPED_FEATURES, self.training))
        return log_odds

    @torch.no_grad()
    def fit_head(self, features: FloatArray, graphic: NDArray[np.bool_], weights: FloatArray) -> None:
        """Make the head a logistic regression: (n, features), (n,) labels and (n,) how much each picture counts."""
        mean, deviation = features.mean(axis=0), np.sqrt(features.var(axis=0) + 1e-4)
        linear = LogisticRegression(C=HEAD_REGULARIZATION, solver="newton-cholesky")
        linear.fit((features - mean) / deviation, graphic, weights)
        self.mean[:], self.deviation[:] = torch.from_numpy(mean), torch.from_numpy(deviation)
        self.head.weight[0] = torch.from_numpy(linear.coef_[0])
        self.head.bias[0] = float(linear.intercept_[0])

    def train(self, mode: bool = True) -> KindNetwork:
        """Set the mode of the head only: the normalization in convolutional layers keeps the statistics of ImageNet."""
        super().train(mode)
        self.features.eval()
        return self


@dataclass(frozen=True)
class Example:
    """A picture to learn from."""

    pixels: Pixels
    """(h, w, 3) uint8 sRGB, a larger copy."""
    is_graphic: bool
    weight: float
    """How much it counts."""


@torch.no_grad()
def average_weights(network: nn.Module, other: nn.Module, kept: float) -> None:
    """Replace each weight by `kept` times itself plus 1 − `kept` times that of the other network."""
    for old, new in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - kept)


class Batches(Dataset[Batch]):
    """The batches of all steps, with other augmentations and synthetic pictures in each.

    Args:
        pictures: labeled ones.
        weights: (n,) how much each picture counts.
        side: of the squares that the network reads.
        epochs: how often each picture is used.
    """

    def __init__(self, pictures: Sequence[Picture], weights: FloatArray, side: int, epochs: float) -> None:
        self._examples = [
            Example(one.large, one.is_graphic, weight) for one, weight in zip(pictures, weights.tolist(), strict=True)
        ]
        photos = [one.large for one in pictures if one.passes and not one.is_graphic]
        self._photos = [photo for photo in photos if min(photo.shape[:2]) >= MIN_PHOTO_SIDE_PX]
        rng, count = np.random.default_rng(0), len(pictures)
        self._order = np.concatenate([rng.permutation(count) for _ in range(math.ceil(epochs))]).tolist()
        self._steps = max(1, int(epochs * count / STEP_PICTURES))
        self._side = side

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((1, step))
        places = self._order[step * STEP_PICTURES : (step + 1) * STEP_PICTURES]
        chosen = [self._examples[place] for place in places]
        chosen += [
            Example(MAKERS[kind](self._photos, rng), kind != "watermark", SYNTHETIC_WEIGHT)
            for kind in rng.choice(SYNTHETIC_KINDS, STEP_SYNTHETIC).tolist()
        ]
        inputs = torch.from_numpy(np.stack([_augment(one.pixels, self._side, rng) for one in chosen]))
        graphic = torch.tensor([float(one.is_graphic) for one in chosen])
        return inputs, graphic * (1 - 2 * SMOOTHED) + SMOOTHED, torch.tensor([one.weight for one in chosen])


def fine_tune(network: KindNetwork, batches: Batches, settings: Settings) -> KindNetwork:
    """Train a network, and return a copy of it that has the moving average of its weights.

    Args:
        network: to train.
        batches: one for each step.
        settings: of the network's size.
    """
    torch.manual_seed(0)
    for parameter in network.features.parameters():
        parameter.requires_grad_(False)
    blocks = list(network.features.lite.blocks)[settings.frozen_blocks :]
    convolutions = [parameter.requires_grad_() for block in blocks for parameter in block.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [one for one in convolutions if one.ndim > 1],
                "lr": settings.rate,
                "weight_decay": WEIGHT_DECAY,
            },
            {"params": [one for one in convolutions if one.ndim == 1], "lr": settings.rate, "weight_decay": 0},
            {"params": network.head.parameters(), "lr": HEAD_RATE, "weight_decay": 2 * WEIGHT_DECAY},
        ]
    )
    steps = len(batches)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    averaged, start = copy.deepcopy(network), time.monotonic()
    network.train()
    for step, (inputs, targets, counts) in enumerate(DataLoader(batches, batch_size=None, num_workers=1)):
        log_odds = network(inputs.contiguous(memory_format=torch.channels_last))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(log_odds, targets, counts)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
        optimizer.step()
        scheduler.step()
        average_weights(averaged, network, min(1 - 1 / EMA_STEPS, (step + 1) / (step + 20)))
        if step % REPORT_STEPS == REPORT_STEPS - 1:
            print(f"step {step + 1} of {steps}, {time.monotonic() - start:.0f} s", flush=True)
    return averaged.eval()


def _augment(picture: Pixels, side: int, rng: np.random.Generator) -> FloatArray:
    """(3, side, side) float32: a picture changed as other copies of it on the web may be."""
    if rng.random() < 0.5:  # up to 12 % of each side cut off
        height, width = picture.shape[:2]
        rows, columns = (min(length, max(8, int(length * rng.uniform(0.88, 1)))) for length in (height, width))
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        picture = picture[top : top + rows, left : left + columns]
    kind = rng.random()
    if kind < 0.15:
        scale = rng.uniform(0.5, 0.9)
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    elif kind < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    made = square_input(picture, side)
    if rng.random() < 0.5:
        made = made[:, :, ::-1]
    if rng.random() < 0.5:  # contrast, brightness and saturation
        made = (made - made.mean()) * rng.uniform(0.85, 1.15) + made.mean() + rng.uniform(-0.1, 0.1)
        gray = made.mean(axis=0, keepdims=True)
        made = np.clip(gray + (made - gray) * rng.uniform(0.8, 1.2), -1, 1)
    return np.ascontiguousarray(made, np.float32)


@torch.inference_mode()
def compute_features(network: KindNetwork, pictures: Sequence[Picture], side: int) -> FloatArray:
    """(n, features) float32."""
    return np.concatenate([network.features(batch).numpy() for batch in _inputs(pictures, side)])


def _inputs(pictures: Sequence[Picture], side: int) -> Iterator[Tensor]:
    for first in range(0, len(pictures), EVALUATED_PICTURES):
        chosen = pictures[first : first + EVALUATED_PICTURES]
        yield torch.from_numpy(np.stack([square_input(one.large, side) for one in chosen]))


@torch.inference_mode()
def print_kept(pictures: Sequence[Picture], network: KindNetwork, side: int) -> None:
    """Print how many graphics are kept, with the thresholds at which given shares of the photos are lost."""
    log_odds = np.concatenate([network(batch)[:, 0].numpy() for batch in _inputs(pictures, side)])
    graphic, weak = graphic_of(pictures), is_weak(pictures)
    for name, chosen in (("repositories of labels.csv", ~weak), ("sources of weak.csv", weak)):
        photos, graphics = log_odds[chosen & ~graphic], log_odds[chosen & graphic]
        print(f"{name}: {len(photos)} photos and {len(graphics)} graphics that the other rules keep")
        if len(photos) and len(graphics):
            limits = [np.quantile(photos, 1 - lost, method="higher") for lost in LOST_SHARES]
            print(
                ", ".join(
                    f"{(graphics <= limit).mean():.1%} kept at {lost:.1%} lost"
                    for limit, lost in zip(limits, LOST_SHARES, strict=True)
                )
            )


if __name__ == "__main__":
    main()
