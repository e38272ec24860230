"""CPU of reading a training crop, against the usual Pillow decode and Lanczos resize, and what it does to colours.

    python benchmarks/feed.py FOLDER [--size 256] [--rounds 3]

One process, one thread, files in memory, the same crop on all sides; best of the rounds. The colour difference is
CIEDE2000 between the crop from a full decode and the one that the trainer takes.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from curate.decode import decode
from train.data import DECODED_SIDES, crop

COMPARED = 60


def main() -> None:
    """Print one line of speed and one of colour."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = [path.read_bytes() for path in sorted(options.folder.iterdir())]
    photos = [data for data in photos if data.startswith(b"\xff\xd8\xff")]
    ways: dict[str, Callable[[bytes, int], Any]] = {
        "Pillow and Lanczos": usual,
        "full decode": full,
        "trainer": trainer,
    }
    best = {name: min(cpu_ms(way, photos, options.size) for _ in range(options.rounds)) for name, way in ways.items()}
    said = "   ".join(f"{name} {ms:.2f} ms" for name, ms in best.items())
    ratio = best["Pillow and Lanczos"] / best["trainer"]
    print(f"{options.folder.name}: {len(photos)} JPEGs at {options.size} px   {said}   {ratio:.2f} times as fast")
    means = [difference(data, options.size) for data in photos[:COMPARED]]
    print(f"colour difference (CIEDE2000, mean of a photo): {np.mean(means):.3f}, worst photo {max(means):.3f}")


def usual(data: bytes, size: int) -> Any:
    """What most loaders do."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / min(photo.size)
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)


def full(data: bytes, size: int) -> Any:
    """The trainer's crop from every pixel."""
    return crop(decode(data).pixels, size, None)


def trainer(data: bytes, size: int) -> Any:
    """The trainer's crop."""
    return crop(decode(data, short_side_px=DECODED_SIDES * size).pixels, size, None)


def cpu_ms(way: Callable[[bytes, int], Any], photos: list[bytes], size: int) -> float:
    """CPU milliseconds a photo."""
    began = time.process_time()
    for data in photos:
        way(data, size)
    return 1e3 * (time.process_time() - began) / len(photos)


def difference(data: bytes, size: int) -> float:
    """Mean CIEDE2000 between the two decodes."""
    return float(deltaE_ciede2000(rgb2lab(full(data, size)), rgb2lab(trainer(data, size))).mean())


if __name__ == "__main__":
    main()
