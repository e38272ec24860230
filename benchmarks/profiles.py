"""How much quicker photos with other profiles become sRGB than by LittleCMS, and how far from it.

    python benchmarks/profiles.py FOLDER... [--rounds N]

For every distinct profile below the folders that is converted by curves and a matrix: all 16,777,216 colours by both;
CPU for the pixels of its photos by both, in turns in this process on one core, medians; M of those photos by both.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curate.image.icc import PILLOW_ERRORS, MatrixTransform, convert_pixels, srgb_transform
from curate.measures.colorfulness import colorfulness

Pixels = NDArray[np.uint8]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    by_profile: dict[bytes, list[Pixels]] = {}
    for folder in options.folders:
        for icc_bytes, pixels in photos_with_profile(folder):
            by_profile.setdefault(icc_bytes, []).append(pixels)
    for icc_bytes, photos in by_profile.items():
        compare(icc_bytes, photos, options.rounds)


def compare(icc_bytes: bytes, photos: list[Pixels], rounds: int) -> None:
    """Print what one profile's photos cost both ways, and how far apart the two are."""
    name, ours = srgb_transform(icc_bytes, "RGB")
    if not isinstance(ours, MatrixTransform):
        return
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes))
    theirs = ImageCms.buildTransform(profile, SRGB, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    furthest, unequal = all_colours_apart(ours, theirs)
    pairs = [(convert_pixels(photo, ours), convert_pixels(photo, theirs)) for photo in photos]
    in_m = max(abs(colorfulness(one) - colorfulness(other)) for one, other in pairs)
    megapixels = sum(photo.shape[0] * photo.shape[1] for photo in photos) / 1e6
    print(f"{name}: {len(photos)} photos of {megapixels:.1f} MP; furthest {furthest} level, M {in_m:.5f} apart")
    took = [[cpu_s(photos, way) for way in (ours, theirs)] for _ in range(rounds)]
    mine, lcms = (1e3 * statistics.median(column) / megapixels for column in zip(*took, strict=True))
    ratio = statistics.median(other / one for one, other in took)
    print(f"  unequal samples {100 * unequal:.4f} %; {mine:.1f} ns a pixel, LittleCMS {lcms:.1f}: {ratio:.2f} times")


def all_colours_apart(ours: MatrixTransform, theirs: ImageCms.ImageCmsTransform) -> tuple[int, float]:
    """The largest difference of a sample in levels, and the share of samples that differ, over all 2 ** 24 colours."""
    plane = np.empty((256, 256, 3), np.uint8)
    plane[..., 1], plane[..., 2] = np.mgrid[0:256, 0:256]
    furthest, unequal = 0, 0
    for red in range(256):
        plane[..., 0] = red
        apart = np.abs(ours(plane).astype(np.int16) - convert_pixels(plane, theirs))
        furthest, unequal = max(furthest, int(apart.max())), unequal + int(np.count_nonzero(apart))
    return furthest, unequal / (3 << 24)


def photos_with_profile(folder: Path) -> Iterator[tuple[bytes, Pixels]]:
    """The profile and the stored pixels of each RGB photo that has one."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with Image.open(path) as image:
                icc_bytes = image.info.get("icc_profile")
                if icc_bytes and image.mode == "RGB":
                    yield icc_bytes, np.asarray(image)
        except PILLOW_ERRORS:
            continue


def cpu_s(photos: list[Pixels], way: MatrixTransform | ImageCms.ImageCmsTransform) -> float:
    """CPU seconds of this process to convert them all."""
    began = time.process_time()
    for photo in photos:
        convert_pixels(photo, way)
    return time.process_time() - began


if __name__ == "__main__":
    main()
