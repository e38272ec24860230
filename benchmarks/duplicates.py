"""Measure how many modified copies of photos the fingerprints find, and how fast. For docs/results/duplicates.md.

    python benchmarks/duplicates.py FOLDER...            recall of copies of real photos, and false pairs
    python benchmarks/duplicates.py --speed 1000000      seconds and memory for synthetic fingerprints

Copies are made of every photo that Pillow can open. False pairs are counted among the originals. Pairs of originals
within 20 bits are assumed to be real copies; their number is printed and they are not counted.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.measures.hash_groups import NEAR_BITS, group_near_duplicates, hamming_distances
from curate.measures.measure import measure_pixels
from curate.measures.perceptual_hash import BITS
from curate.sources import list_photos

MAX_DISTANCES = (4, 7, 9, NEAR_BITS, 13, 16, 20, 24, 28)
REAL_COPY_BITS = 20
Words = NDArray[np.uint64]


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--speed", type=int, metavar="N", help="time the search among N fingerprints")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folders:
        report_copies([Path(photo.open_path()) for photo in list_photos(options.folders) if photo.error is None])
    if options.speed:
        report_speed(options.speed)


def reencode(image: Image.Image, quality: int = 85) -> Image.Image:
    """Save as JPEG and read again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scale(image: Image.Image, factor: float) -> Image.Image:
    """Resize, then save as JPEG and read again."""
    size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return reencode(image.resize(size, Image.Resampling.LANCZOS))


def crop(image: Image.Image, share: float) -> Image.Image:
    """Remove this share of the width and of the height, half of it at each side."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 90": lambda image: reencode(image, 90),
    "JPEG at quality 60": lambda image: reencode(image, 60),
    "JPEG at quality 30": lambda image: reencode(image, 30),
    "half size": lambda image: scale(image, 0.5),
    "0.71 of the size": lambda image: scale(image, 0.71),
    "quarter size": lambda image: scale(image, 0.25),
    "1.5 times the size": lambda image: scale(image, 1.5),
    "20 % brighter": lambda image: reencode(image.point(lambda value: min(255, int(value * 1.2 + 5)))),
    "gamma 0.7": lambda image: reencode(image.point(lambda value: int(255 * (value / 255) ** 0.7))),
    "mirrored, half size": lambda image: scale(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5),
    "cropped by 2 %": lambda image: crop(image, 0.02),
    "cropped by 5 %": lambda image: crop(image, 0.05),
    "cropped by 10 %": lambda image: crop(image, 0.10),
}


def fingerprint_words(image: Image.Image) -> list[int]:
    """The two 64-bit halves of a photo's fingerprint."""
    text = measure_pixels(np.asarray(image)).fingerprint
    return [int(text[:16], 16), int(text[16:], 16)]


def report_copies(paths: list[Path]) -> None:
    """Print the recall of each kind of copy, and the false pairs, for each maximum distance."""
    rows = list(fingerprint_copies(paths))
    originals = np.array([row[0] for row in rows], np.uint64)
    apart = np.concatenate([hamming_distances(one, originals[number + 1 :]) for number, one in enumerate(originals)])
    real = apart <= REAL_COPY_BITS
    print(
        f"{len(originals)} photos, {len(apart):,} pairs; {int(real.sum())} pairs within {REAL_COPY_BITS} bits left out"
    )
    print(f"{'maximum distance, bits of ' + str(BITS):<28}" + "".join(f"{bits:>8}" for bits in MAX_DISTANCES))
    for kind, name in enumerate(COPIES):
        copies = hamming_distances(originals, np.array([row[kind + 1] for row in rows], np.uint64))
        print(f"{name + ', found %':<28}" + "".join(f"{100 * np.mean(copies <= bits):>8.1f}" for bits in MAX_DISTANCES))
    per_million = [1e6 * np.mean(apart[~real] <= bits) for bits in MAX_DISTANCES]
    print(f"{'false pairs per million':<28}" + "".join(f"{share:>8.2f}" for share in per_million))
    print(f"nearest pair of different photos: {apart[~real].min()} bits; mean {apart[~real].mean():.1f}")


def fingerprint_copies(paths: list[Path]) -> Iterator[list[list[int]]]:
    """Yield the fingerprint of each photo, followed by those of its copies in the order of `COPIES`."""
    for path in paths:
        try:
            image = Image.open(path).convert("RGB")
        except (OSError, SyntaxError, ValueError):
            continue
        yield [fingerprint_words(image), *(fingerprint_words(copy(image)) for copy in COPIES.values())]


def report_speed(count: int) -> None:
    """Print time and peak memory of grouping, for each kind of synthetic fingerprints."""
    rng = np.random.default_rng(0)
    base_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, make in KINDS.items():
        fingerprints = make(rng, count)
        wall, cpu = time.perf_counter(), time.process_time()
        groups = len(np.unique(group_near_duplicates(fingerprints, np.arange(len(fingerprints)))))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{len(fingerprints):>10,} {name:<48} {groups:>10,} groups {wall:7.1f} s {cpu:7.1f} s CPU"
            f" {peak_mb:7,.0f} MB peak ({base_mb:,.0f} before)"
        )


def random_words(rng: np.random.Generator, count: int) -> Words:
    """Fingerprints of unrelated photos: independent random bits."""
    return rng.integers(0, 2**64, (count, 2), dtype=np.uint64)


def half_copies(rng: np.random.Generator, count: int) -> Words:
    """Half of them are copies of the other half, a few bits apart."""
    originals = random_words(rng, count // 2)
    copies = originals.copy()
    for _ in range(5):
        flipped = np.uint64(1) << rng.integers(0, 64, len(copies)).astype(np.uint64)
        copies[np.arange(len(copies)), rng.integers(0, 2, len(copies))] ^= flipped
    return np.concatenate([originals, copies])


def few_distinct(rng: np.random.Generator, count: int) -> Words:
    """Half of them are one of five fingerprints."""
    return np.concatenate([random_words(rng, count // 2), np.repeat(random_words(rng, 5), count // 10, axis=0)])


def flat_skies(rng: np.random.Generator, count: int) -> Words:
    """Half of them are equal except for 24 random bits, as flat skies are."""
    noise = rng.integers(0, 2**24, count // 2, dtype=np.uint64)
    return np.concatenate([random_words(rng, count // 2), np.stack([noise, np.zeros_like(noise)], axis=1)])


def correlated(rng: np.random.Generator, count: int) -> Words:
    """Correlated bits, as in real photos: signs of mixtures of 32 numbers."""
    mixing = rng.normal(size=(32, BITS))
    pieces = []
    for start in range(0, count, 1 << 14):
        rows = min(1 << 14, count - start)
        bits = rng.normal(size=(rows, 32)) @ mixing + rng.normal(size=(rows, BITS)) * 3 > 0
        pieces.append(np.packbits(bits, axis=1).view(">u8").astype(np.uint64))
    return np.concatenate(pieces)


KINDS = {
    "unrelated": random_words,
    "half are copies of the other half": half_copies,
    "half are one of five": few_distinct,
    "half are equal except for 24 random bits": flat_skies,
    "correlated bits": correlated,
}

if __name__ == "__main__":
    main()
