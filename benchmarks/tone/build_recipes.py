"""Make the pictures that the tone network learns toning and damage from; README.md has the whole command.

    python benchmarks/tone/build_recipes.py OUT.parquet --colour NAME=FOLDER ... --gray FOLDER --labels FILE

Rows as build_dataset.py writes them: of each photo five recipes, at times a gray print with a foreign colour, and of
each colour photo three damaged or filtered copies. Everything random is seeded by the photo's name.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from build_dataset import Picture, load, photos, read_labels, write
from recipes import damaged_colour, filtered_colour, gray_on_colour, recipe
from toning import Rgb

LONG_SIDE_PX = 360
"""Larger photos are halved until they fit, for speed."""
RECIPES_A_PHOTO, RECIPES_A_GRAY_SCAN = 5, 16
EVERY = {"imagenette": 3}
"""So that one source doesn't outweigh the others, only every third photo of it is used."""


def main() -> None:
    """Write one Parquet file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--colour", action="append", default=[], metavar="NAME=FOLDER", help="may be given again")
    parser.add_argument("--gray", type=Path, help="gray scans")
    parser.add_argument("--labels", type=Path, help="CSV path,label with paths relative to its own folder's parent")
    parser.add_argument("--review", type=Path, default=Path(__file__).with_name("review.csv"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    labels = read_labels(options.labels) if options.labels else {}
    with options.review.open(newline="") as file:
        review = {row["path"]: row["label"] for row in csv.DictReader(file)}
    print(write(options.out, pictures(options, labels, review)), "pictures")


def pictures(options: argparse.Namespace, labels: Mapping[Path, str], review: Mapping[str, str]) -> Iterator[Picture]:
    """All pictures of all sources."""
    for spec in options.colour:
        source, folder = spec.split("=", 1)
        for path in photos(Path(folder))[:: EVERY.get(source, 1)]:
            truth = review.get(f"{source}/{path.name}", labels.get(path.resolve(), "color"))
            rgb = None if truth == "exclude" else load(path)
            if rgb is not None:
                yield from of_photo(source, path.name, halved(rgb), truth)
    for path in photos(options.gray):
        if (rgb := load(path)) is not None:
            yield from of_photo("gray", path.name, halved(rgb), "grayscale")


def halved(rgb: Rgb) -> Rgb:
    """Halved until the long side is at most LONG_SIDE_PX."""
    while max(rgb.shape[:2]) > LONG_SIDE_PX:
        height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
        whole = rgb[: 2 * height, : 2 * width]
        rgb = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return rgb


def of_photo(source: str, name: str, rgb: Rgb, truth: str) -> Iterator[Picture]:
    """The toned and the damaged copies of one photo."""
    base = f"{source}/{name}"
    rng = np.random.default_rng(zlib.crc32(f"recipes{base}".encode()))
    for _ in range(RECIPES_A_GRAY_SCAN if source == "gray" else RECIPES_A_PHOTO):
        yield Picture(source, base, "recipe", "toned", recipe(rgb, rng))
    if rng.random() < 0.5 or source == "gray":
        yield Picture(source, base, "gray_on_colour", "toned", gray_on_colour(rgb, rng))
    if truth == "color":
        for _ in range(2):
            yield Picture(source, base, "damaged_colour", "color", damaged_colour(rgb, rng))
        yield Picture(source, base, "filtered_colour", "color", filtered_colour(rgb, rng))


if __name__ == "__main__":
    main()
