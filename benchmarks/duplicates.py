"""How well copies of photos are found, and how fast. The numbers of docs/results/duplicates.md come from here.

    python benchmarks/duplicates.py FOLDER...            copies of real photos: found, and false pairs
    python benchmarks/duplicates.py --speed 1000000      seconds and memory for fingerprints of several kinds

Copies are made of every photo that Pillow opens. False pairs are counted among the originals; pairs within 20 bits
are taken for real copies, said, and left out.
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
from curate.measures.measure import measure
from curate.measures.perceptual_hash import BITS
from curate.sources import list_photos

RADII = (4, 7, 9, NEAR_BITS, 13, 16, 20, 24, 28)
REAL_COPY_BITS = 20
Words = NDArray[np.uint64]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--speed", type=int, metavar="N", help="time the search among N fingerprints")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folders:
        report_copies([Path(photo.open_path()) for photo in list_photos(options.folders) if photo.error is None])
    if options.speed:
        report_speed(options.speed)


def reencoded(image: Image.Image, quality: int = 85) -> Image.Image:
    """Through a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Resized, then through a JPEG."""
    size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return reencoded(image.resize(size, Image.Resampling.LANCZOS))


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Less this share of width and height, half of it at each side."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 90": lambda image: reencoded(image, 90),
    "JPEG at quality 60": lambda image: reencoded(image, 60),
    "JPEG at quality 30": lambda image: reencoded(image, 30),
    "half size": lambda image: scaled(image, 0.5),
    "0.71 of the size": lambda image: scaled(image, 0.71),
    "quarter size": lambda image: scaled(image, 0.25),
    "1.5 times the size": lambda image: scaled(image, 1.5),
    "20 % brighter": lambda image: reencoded(image.point(lambda value: min(255, int(value * 1.2 + 5)))),
    "gamma 0.7": lambda image: reencoded(image.point(lambda value: int(255 * (value / 255) ** 0.7))),
    "mirrored, half size": lambda image: scaled(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5),
    "cropped by 2 %": lambda image: cropped(image, 0.02),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "cropped by 10 %": lambda image: cropped(image, 0.10),
}


def fingerprint_words(image: Image.Image) -> list[int]:
    """The two 64-bit halves of a photo's fingerprint."""
    text = measure(np.asarray(image)).fingerprint
    return [int(text[:16], 16), int(text[16:], 16)]


def report_copies(paths: list[Path]) -> None:
    """Recall of each kind of copy and false pairs, by radius."""
    found = list(fingerprints_of(paths))
    originals = np.array([row[0] for row in found], np.uint64)
    apart = np.concatenate([hamming_distances(one, originals[number + 1 :]) for number, one in enumerate(originals)])
    real = apart <= REAL_COPY_BITS
    print(
        f"{len(originals)} photos, {len(apart):,} pairs; {int(real.sum())} pairs within {REAL_COPY_BITS} bits left out"
    )
    print(f"{'bits that may differ, of ' + str(BITS):<28}" + "".join(f"{radius:>8}" for radius in RADII))
    for kind, name in enumerate(COPIES):
        copies = hamming_distances(originals, np.array([row[kind + 1] for row in found], np.uint64))
        print(f"{name + ', found %':<28}" + "".join(f"{100 * np.mean(copies <= radius):>8.1f}" for radius in RADII))
    per_million = [1e6 * np.mean(apart[~real] <= radius) for radius in RADII]
    print(f"{'false pairs a million':<28}" + "".join(f"{share:>8.2f}" for share in per_million))
    print(f"nearest pair of different photos: {apart[~real].min()} bits; mean {apart[~real].mean():.1f}")


def fingerprints_of(paths: list[Path]) -> Iterator[list[list[int]]]:
    """Of each photo and of its copies."""
    for path in paths:
        try:
            image = Image.open(path).convert("RGB")
        except (OSError, SyntaxError, ValueError):
            continue
        yield [fingerprint_words(image), *(fingerprint_words(copy(image)) for copy in COPIES.values())]


def report_speed(count: int) -> None:
    """CPU seconds and peak memory of grouping, for fingerprints of several kinds; each after the other."""
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
    """Fingerprints as of photos that have nothing in common."""
    return rng.integers(0, 2**64, (count, 2), dtype=np.uint64)


def half_copies(rng: np.random.Generator, count: int) -> Words:
    """Half of them copies of the other half, a few bits apart."""
    originals = random_words(rng, count // 2)
    copies = originals.copy()
    for _ in range(5):
        flipped = np.uint64(1) << rng.integers(0, 64, len(copies)).astype(np.uint64)
        copies[np.arange(len(copies)), rng.integers(0, 2, len(copies))] ^= flipped
    return np.concatenate([originals, copies])


def crowds(rng: np.random.Generator, count: int) -> Words:
    """Half of them one of five fingerprints."""
    return np.concatenate([random_words(rng, count // 2), np.repeat(random_words(rng, 5), count // 10, axis=0)])


def flat_skies(rng: np.random.Generator, count: int) -> Words:
    """Half of them alike in all but 24 bits, which are noise."""
    noise = rng.integers(0, 2**24, count // 2, dtype=np.uint64)
    return np.concatenate([random_words(rng, count // 2), np.stack([noise, np.zeros_like(noise)], axis=1)])


def lopsided(rng: np.random.Generator, count: int) -> Words:
    """Bits that hang together, as those of real photos do: signs of mixtures of 32 numbers."""
    mixing = rng.normal(size=(32, BITS))
    pieces = []
    for start in range(0, count, 1 << 14):
        some = min(1 << 14, count - start)
        bits = rng.normal(size=(some, 32)) @ mixing + rng.normal(size=(some, BITS)) * 3 > 0
        pieces.append(np.packbits(bits, axis=1).view(">u8").astype(np.uint64))
    return np.concatenate(pieces)


KINDS = {
    "with nothing in common": random_words,
    "half of them copies of the other half": half_copies,
    "half of them one of five": crowds,
    "half of them alike in all but 24 noisy bits": flat_skies,
    "with bits that hang together": lopsided,
}

if __name__ == "__main__":
    main()
