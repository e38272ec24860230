"""Compare the conversion of RGB profiles to sRGB with LittleCMS: speed and differences.

    python benchmarks/profiles.py FOLDER... [--rounds N]

For every distinct profile in the folders that consists of curves and a matrix, both methods convert all 16,777,216
colours and the pixels of its photos, in turns in this process on one core. Prints the differences of samples and of M,
and the median CPU times.
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
    """Print two lines for each profile."""
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
    """Print the differences and the CPU times of both methods for one profile."""
    name, ours = srgb_transform(icc_bytes, "RGB")
    if not isinstance(ours, MatrixTransform):
        return
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes))
    theirs = ImageCms.buildTransform(profile, SRGB, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    largest, unequal_samples = compare_all_colours(ours, theirs)
    pairs = [(convert_pixels(photo, ours), convert_pixels(photo, theirs)) for photo in photos]
    m_difference = max(abs(colorfulness(one) - colorfulness(other)) for one, other in pairs)
    megapixels = sum(photo.shape[0] * photo.shape[1] for photo in photos) / 1e6
    print(
        f"{name}: {len(photos)} photos of {megapixels:.1f} MP; largest difference {largest} level, M {m_difference:.5f}"
    )
    cpu_by_round = [[cpu_s(photos, transform) for transform in (ours, theirs)] for _ in range(rounds)]
    mine, lcms = (1e3 * statistics.median(column) / megapixels for column in zip(*cpu_by_round, strict=True))
    ratio = statistics.median(other / one for one, other in cpu_by_round)
    print(
        f"  unequal samples {100 * unequal_samples:.4f} %; {mine:.1f} ns per pixel, LittleCMS {lcms:.1f}: "
        f"{ratio:.2f} times as fast"
    )


def compare_all_colours(ours: MatrixTransform, theirs: ImageCms.ImageCmsTransform) -> tuple[int, float]:
    """The largest difference of a sample in levels, and the share of samples that differ, over all 2 ** 24 colours."""
    plane = np.empty((256, 256, 3), np.uint8)
    plane[..., 1], plane[..., 2] = np.mgrid[0:256, 0:256]
    largest, unequal_samples = 0, 0
    for red in range(256):
        plane[..., 0] = red
        differences = np.abs(ours(plane).astype(np.int16) - convert_pixels(plane, theirs))
        largest, unequal_samples = (
            max(largest, int(differences.max())),
            unequal_samples + int(np.count_nonzero(differences)),
        )
    return largest, unequal_samples / (3 << 24)


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


def cpu_s(photos: list[Pixels], transform: MatrixTransform | ImageCms.ImageCmsTransform) -> float:
    """CPU seconds of this process for converting all photos."""
    start_s = time.process_time()
    for photo in photos:
        convert_pixels(photo, transform)
    return time.process_time() - start_s


if __name__ == "__main__":
    main()
