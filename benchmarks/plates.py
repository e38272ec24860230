"""Colorizes real black-and-white photographs of about 1910 whose true colors are known, and compares a and b.

    python benchmarks/plates.py PLATES CHECKPOINT [CHECKPOINT ...]

PLATES is a folder of color photographs taken as three black-and-white plates, as Prokudin-Gorskii did (Library of
Congress): NAME-red.png, NAME-green.png and NAME-blue.png, each a gray picture, and NAME-color.png, made of the three.
docs/how-to/test-on-old-photographs.md says how to get them. Each of the three is colorized like any old photograph, and
so is the luma of the color picture, which no film ever recorded. Squares from the middle are compared at 64 px, where
an alignment error of a pixel of the plates doesn't count.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from curate.measures.hue_spread import hue_histogram, hue_spread
from train import Colorizer
from train.models.colorspace import AB_UNIT, split_lab
from train.models.losses import ColorizationWeightedLoss

SIZE_PX = 64
PLATES = ("green", "red", "blue")
INPUTS = (*PLATES, "luma")
LOSS = ColorizationWeightedLoss()
Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 sRGB."""


def main() -> None:
    """Print a table for the truth and the best single color, and one for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plates", type=Path, help="folder of NAME-red, -green, -blue and -color .png")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="run's folder or .safetensors file")
    options = parser.parse_args()
    names = find_names(options.plates)
    truth = torch.cat([small_ab(read(options.plates / f"{name}-color.png")) for name in names])
    print(f"{len(names)} plates; of neutral: weighted loss of a and b divided by that of gray")
    print(f"{'':24} of neutral  entropy  warm  green  blue")
    print_row("truth", truth, truth)
    print_row("mean color", mean_color(truth), truth)
    for checkpoint in options.checkpoints:
        colorizer = Colorizer.load(checkpoint)
        print(checkpoint)
        for kind in INPUTS:
            grays = (read_gray(options.plates, name, kind) for name in names)
            pictures = [np.asarray(colorizer.colorize(gray)) for gray in grays]
            print_row(f"  from {kind}", torch.cat([small_ab(picture) for picture in pictures]), truth)


def find_names(folder: Path) -> list[str]:
    """Return the names of the complete sets in a folder; exit with a line if there are none."""
    names = sorted(path.name.removesuffix("-color.png") for path in folder.glob("*-color.png"))
    complete = [name for name in names if all((folder / f"{name}-{plate}.png").exists() for plate in PLATES)]
    if not complete:
        sys.exit(f"{folder} has no complete set NAME-red.png, NAME-green.png, NAME-blue.png, NAME-color.png")
    return complete


def read(path: Path) -> Picture:
    """Return a picture as sRGB; a gray one has three equal channels."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def read_gray(folder: Path, name: str, kind: str) -> Picture:
    """Return a plate, or for `luma` the luma of the color picture, as Pillow converts it."""
    if kind != "luma":
        return read(folder / f"{name}-{kind}.png")
    with Image.open(folder / f"{name}-color.png") as opened:
        return np.asarray(opened.convert("RGB").convert("L").convert("RGB"))


def small_ab(picture: Picture) -> Tensor:
    """Return (1, 2, 64, 64) ab/50 of the largest square in the middle."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    small = cv2.resize(square, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    _, ab = split_lab(torch.from_numpy(np.asarray(small, np.uint8))[None])
    return ab


def mean_color(truth: Tensor) -> Tensor:
    """Return the single color that has the lowest loss for all pictures together, (N, 2, 64, 64)."""
    weights = LOSS.weights(truth)
    mean = (weights * truth).sum(dim=(0, 2, 3), keepdim=True) / weights.sum()
    return mean.expand_as(truth)


def score(ab: Tensor, truth: Tensor) -> tuple[float, float, float, float, float]:
    """Return loss ÷ neutral, hue entropy in bits, and the shares of chroma in warm hues, green and blue."""
    ratio = float(LOSS(ab, truth) / LOSS(torch.zeros_like(truth), truth))
    hues = hue_spread(hue_histogram(ab.numpy() * AB_UNIT))
    return ratio, hues.entropy_bits, hues.warm, hues.green, hues.blue


def print_row(name: str, ab: Tensor, truth: Tensor) -> None:
    """Print the scores of predictions, (N, 2, 64, 64)."""
    ratio, entropy, *shares = score(ab, truth)
    print(f"{name:24} {ratio:10.3f} {entropy:8.2f}  " + "  ".join(f"{share:4.0%}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
