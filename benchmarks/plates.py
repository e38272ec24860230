"""Colorize real black-and-white photographs of about 1910 whose true colors are known, and compare a and b.

    python benchmarks/plates.py PLATES CHECKPOINT [CHECKPOINT ...]

PLATES is a folder of color photographs taken as three black-and-white plates, as Prokudin-Gorskii did (Library of
Congress): NAME-red.png, NAME-green.png and NAME-blue.png, each a gray picture, and NAME-color.png, made of the three.
docs/how-to/test-on-old-photographs.md says how to get them. Each of the three is colorized like any old photograph, and
so is the luma of the color picture, which no film ever recorded. `train.compare` compares squares from the middle
at 64 px, where an alignment error of a pixel of the plates doesn't count.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import train
from curate.measures.hue_spread import HueSpread
from train import Colorizer
from train.evaluation.comparison import ComparisonResult
from train.evaluation.scores import originals_hue

SIZE_PX = 64
PLATES = ("green", "red", "blue")
INPUTS = (*PLATES, "luma")
Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 sRGB."""


def main() -> None:
    """Print a table for the truth and the best single color, and one for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plates", type=Path, help="folder of NAME-red, -green, -blue and -color .png")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="run's folder or .safetensors file")
    options = parser.parse_args()
    names = find_names(options.plates)
    print(f"{len(names)} plates; of neutral: weighted loss of a and b divided by that of gray")
    print(f"{'':24} of neutral  entropy  warm  green  blue")
    for number, checkpoint in enumerate(options.checkpoints):
        colorizer = Colorizer.load(checkpoint)
        results = {kind: compare_plates(colorizer, options.plates, kind) for kind in INPUTS}
        if not number:
            first = results[INPUTS[0]]
            print_row("truth", 0.0, originals_hue(first.photos))
            print_row("mean color", first.summary["mean color"].loss_to_neutral, first.summary["mean color"].hue)
        print(checkpoint)
        for kind, result in results.items():
            print_row(f"  from {kind}", result.summary["pictures"].loss_to_neutral, result.summary["pictures"].hue)


def find_names(folder: Path) -> list[str]:
    """Return the names of the complete sets in a folder; exit with a line if there are none."""
    names = sorted(path.name.removesuffix("-color.png") for path in folder.glob("*-color.png"))
    complete = [name for name in names if all((folder / f"{name}-{plate}.png").exists() for plate in PLATES)]
    if not complete:
        sys.exit(f"{folder} has no complete set NAME-red.png, NAME-green.png, NAME-blue.png, NAME-color.png")
    return complete


def compare_plates(colorizer: Colorizer, folder: Path, kind: str) -> ComparisonResult:
    """Colorize the plates of one kind, and compare them with the color pictures, at 64 px.

    Args:
        colorizer: the checkpoint.
        folder: of complete sets.
        kind: one of `INPUTS`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pictures, truth = Path(scratch, "pictures"), Path(scratch, "truth")
        pictures.mkdir()
        truth.mkdir()
        for name in find_names(folder):
            colorizer.colorize(read_gray(folder, name, kind)).save(pictures / f"{name}.png")
            shutil.copy(folder / f"{name}-color.png", truth / f"{name}.png")
        return train.compare(pictures, truth, image_size=SIZE_PX)


def read_gray(folder: Path, name: str, kind: str) -> Picture:
    """Return a plate, or for `luma` the luma of the color picture, as Pillow converts it."""
    with Image.open(folder / f"{name}-{'color' if kind == 'luma' else kind}.png") as opened:
        return np.asarray(opened.convert("RGB").convert("L").convert("RGB"))


def print_row(name: str, ratio: float, hue: HueSpread) -> None:
    """Print loss ÷ neutral loss, hue entropy in bits, and the shares of chroma in warm hues, green and blue."""
    shares = "  ".join(f"{share:4.0%}" for share in (hue.warm, hue.green, hue.blue))
    print(f"{name:24} {ratio:10.3f} {hue.entropy_bits:8.2f}  {shares}", flush=True)


if __name__ == "__main__":
    main()
