"""Fine-tune EfficientNet-Lite0 on labeled pictures at one size, and print how it tells photos from graphics.

    python benchmarks/kind/fine_tune.py REPOSITORIES OUT [--side 224] [--epochs 4.5] [--rate 1e-4] [--photos FOLDER]

An experiment: the weights are not in the package. REPOSITORIES and FOLDER are as for train_kind.py. OUT gets
fine_tuned.pt, the weights of the network, and averaged.pt, these averaged with those of ImageNet, and a head that is
fitted to its features. 25 minutes on two cores at 224 px.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pictures import Picture, Pixels, read_pictures
from sklearn.linear_model import LogisticRegression
from synthetic import MAKERS, MIN_PHOTO_SIDE_PX
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from train_kind import HEAD_REGULARIZATION, LOST_SHARES, graphic_of, picture_weights

from curate.measures.pretrained import network_input

sys.path.insert(0, str(Path(__file__).parents[1]))
from pretrained import FEATURES, PooledFeatures

FROZEN_BLOCKS = 3
"""The first blocks, at 1/2 and 1/4 of the input's size, keep their weights: a step takes half of the time."""
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
TUNED_SHARE = 0.6
"""Share of the fine-tuned weights in the average with those of ImageNet."""
EVALUATED_PICTURES = 32
REPORT_STEPS = 100

FloatArray = NDArray[np.float32]
Batch = tuple[Tensor, Tensor, Tensor]
"""(n, 3, side, side) pictures, (n,) targets 0..1 and (n,) weights."""


def main() -> None:
    """Train, write the weights, and print the accuracy on what is held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--epochs", type=float, default=4.5)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate")
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(options.repositories, options.photos)
    trained = [picture for picture in pictures if not picture.held_out]
    held_out = [picture for picture in pictures if picture.held_out and picture.passes]
    graphic, weights = graphic_of(trained), picture_weights(trained, graphic_weight=1)
    network = KindNetwork()
    network.fit_head(compute_features(network, trained, options.side), graphic, weights)
    original = copy.deepcopy(network.features)
    batches = Batches(trained, weights, options.side, options.epochs)
    network = fine_tune(network, batches, options.rate)
    torch.save(network.state_dict(), options.out / "fine_tuned.pt")
    print_kept("fine-tuned", held_out, network, options.side)
    average_weights(network.features, original, TUNED_SHARE)
    network.fit_head(compute_features(network, trained, options.side), graphic, weights)
    torch.save(network.state_dict(), options.out / "averaged.pt")
    print_kept("averaged with the weights of ImageNet", held_out, network, options.side)


class KindNetwork(nn.Module):
    """(n, 3, side, side) pictures to (n,) log odds of graphic: a linear function of standardized features."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = PooledFeatures()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))
        self.head = nn.Linear(FEATURES, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n,) log odds."""
        standardized = (self.features(pictures) - self.mean) / self.deviation
        log_odds: Tensor = self.head(functional.dropout(standardized, DROPPED_FEATURES, self.training))
        return log_odds[:, 0]

    @torch.no_grad()
    def fit_head(self, features: FloatArray, graphic: NDArray[np.bool_], weights: FloatArray) -> None:
        """Make the head a logistic regression: (n, FEATURES), (n,) labels and (n,) how much each picture counts."""
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


def fine_tune(network: KindNetwork, batches: Batches, rate: float) -> KindNetwork:
    """Train a network, and return a copy of it that has the moving average of its weights.

    Args:
        network: to train.
        batches: one for each step.
        rate: learning rate of the convolutional layers, at its highest.
    """
    torch.manual_seed(0)
    for parameter in network.features.parameters():
        parameter.requires_grad_(False)
    blocks = list(network.features.lite.blocks)[FROZEN_BLOCKS:]
    convolutions = [parameter.requires_grad_() for block in blocks for parameter in block.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [one for one in convolutions if one.ndim > 1], "lr": rate, "weight_decay": WEIGHT_DECAY},
            {"params": [one for one in convolutions if one.ndim == 1], "lr": rate, "weight_decay": 0},
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
        log_odds = network(inputs.contiguous(memory_format=torch.channels_last))
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
    made = network_input(picture, side)
    if rng.random() < 0.5:
        made = made[:, :, ::-1]
    if rng.random() < 0.5:  # contrast, brightness and saturation
        made = (made - made.mean()) * rng.uniform(0.85, 1.15) + made.mean() + rng.uniform(-0.1, 0.1)
        gray = made.mean(axis=0, keepdims=True)
        made = np.clip(gray + (made - gray) * rng.uniform(0.8, 1.2), -1, 1)
    return np.ascontiguousarray(made, np.float32)


@torch.inference_mode()
def compute_features(network: KindNetwork, pictures: Sequence[Picture], side: int) -> FloatArray:
    """(n, FEATURES) float32."""
    return np.concatenate([network.features(batch).numpy() for batch in _inputs(pictures, side)])


def _inputs(pictures: Sequence[Picture], side: int) -> Iterator[Tensor]:
    for first in range(0, len(pictures), EVALUATED_PICTURES):
        chosen = pictures[first : first + EVALUATED_PICTURES]
        yield torch.from_numpy(np.stack([network_input(one.large, side) for one in chosen]))


@torch.inference_mode()
def print_kept(title: str, pictures: Sequence[Picture], network: KindNetwork, side: int) -> None:
    """Print how many graphics are kept, with the thresholds at which given shares of the photos are lost."""
    log_odds = np.concatenate([network(batch).numpy() for batch in _inputs(pictures, side)])
    graphic, weak = graphic_of(pictures), np.array([one.repository.startswith("weak/") for one in pictures])
    for name, chosen in (("repositories of labels.csv", ~weak), ("sources of weak.csv", weak)):
        photos, graphics = log_odds[chosen & ~graphic], log_odds[chosen & graphic]
        print(f"{title}: {name}: {len(photos)} photos and {len(graphics)} graphics that the other rules keep")
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
