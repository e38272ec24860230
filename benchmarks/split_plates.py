"""Makes the four pictures that benchmarks/plates.py reads from scans of triple negatives.

    python benchmarks/split_plates.py NEGATIVES PLATES [--height 281]

NEGATIVES is a folder of positive scans of Prokudin-Gorskii's glass plates, as the Library of Congress has them (black
and white, three frames below each other: blue, green, red). Each frame loses its border, the blue and the red one are
shifted onto the green one, and all are reduced to `--height`. A set whose frames can't be aligned is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BORDER_SHARE = 0.07
"""Of a frame's width and height, cut off at each side: the black border, and the largest shift."""
MAX_SHIFT_SHARE = 0.06
MIN_CORRELATION = 0.3
"""Of the edges of two frames, after alignment."""
Frame = NDArray[np.float32]
"""(H, W), 0 to 255."""


def main() -> None:
    """Write the pictures of each negative, and print the shifts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("negatives", type=Path)
    parser.add_argument("plates", type=Path)
    parser.add_argument("--height", type=int, default=281, help="of the pictures, in px")
    options = parser.parse_args()
    options.plates.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.negatives.iterdir()):
        with Image.open(path) as opened:
            scan = np.asarray(opened.convert("L"), np.float32)
        blue, green, red = split_frames(scan, 3 * options.height)
        found = [align(frame, green) for frame in (blue, red)]
        worst = min(correlation for _, _, correlation in found)
        print(f"{path.name}: blue {found[0][1]}, red {found[1][1]} px, correlation of edges {worst:.2f}")
        if worst < MIN_CORRELATION:
            print("  left out: the frames can't be aligned")
            continue
        frames = {"red": found[1][0], "green": green, "blue": found[0][0]}
        cut = {name: reduce(without_border(frame), options.height) for name, frame in frames.items()}
        for name, picture in cut.items():
            Image.fromarray(picture).save(options.plates / f"{path.stem}-{name}.png")
        Image.fromarray(np.dstack(list(cut.values()))).save(options.plates / f"{path.stem}-color.png")


def split_frames(scan: Frame, height: int) -> list[Frame]:
    """Return the three frames of a scan, from top to bottom, reduced to `height` px at most."""
    third = len(scan) // 3
    frames = [scan[number * third : (number + 1) * third] for number in range(3)]
    scale = min(1.0, height / third)
    size = round(scan.shape[1] * scale), round(third * scale)
    return [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32) for frame in frames]


def align(frame: Frame, reference: Frame) -> tuple[Frame, tuple[int, int], float]:
    """Return a frame shifted onto another one, the shift (right, down) in px, and the correlation of the edges.

    Edges are compared, because the same thing may be light on one plate and dark on another.
    """
    margin = round(MAX_SHIFT_SHARE * min(reference.shape))
    inner = edges(without_border(reference))
    top, left = (round(BORDER_SHARE * length) for length in reference.shape)
    around = edges(frame)[top - margin : top + len(inner) + margin, left - margin : left + inner.shape[1] + margin]
    scores = cv2.matchTemplate(around, inner, cv2.TM_CCOEFF_NORMED)
    _, correlation, _, (x, y) = cv2.minMaxLoc(scores)
    right, down = margin - x, margin - y
    shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(frame, shift, frame.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32), (right, down), float(correlation)


def edges(frame: Frame) -> Frame:
    """Return the size of the gradient."""
    smooth = cv2.GaussianBlur(frame, (0, 0), 1.5)
    return np.asarray(cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)))


def without_border(frame: Frame) -> Frame:
    """Return the inner part of a frame."""
    top, left = (round(BORDER_SHARE * length) for length in frame.shape)
    return frame[top : len(frame) - top, left : frame.shape[1] - left]


def reduce(frame: Frame, height: int) -> NDArray[np.uint8]:
    """Return a frame at a height in px."""
    size = round(frame.shape[1] * height / len(frame)), height
    return np.clip(np.rint(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
