r"""Make the labelled pictures for training and evaluating the tone regression; README.md has the whole command.

    python benchmarks/tone/build_dataset.py OUT.parquet \
        --colour NAME=FOLDER ... --prints FOLDER --gray FOLDER --archives FOLDER

One row per picture: its small copy as in a scan, source, base photo (the group that cross-validation keeps together),
kind (how it was changed), truth and colourfulness of the full picture. All random numbers are seeded by the photo's
name. Truths: color, toned and grayscale; `tinted` and `probe` are only for evaluation, and kinds that begin with `more`
only for training.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from toning import TONING, Change, Rgb, jpeg, matrix_sepia, rotate_hue, some_jpeg, tinted
from variants import COLOUR, GRAY

from curate.errors import PhotoError
from curate.image.decode import decode_bytes
from curate.image.formats import PHOTO_SUFFIXES
from curate.measures.colorfulness import colorfulness
from curate.measures.measure import make_small_copy, summarize_pixels
from curate.measures.tone.pretrained import SIDES_PX

LONG_SIDE_PX = 1000
"""Larger photos are halved until they fit: toning a camera photo at full size takes minutes and changes no result."""
SHORTEST_SIDE_PX = 32
TONINGS_A_PHOTO, VARIANTS_A_PHOTO, TINTED_SHARE = 5, 3, 0.15
MORE_TONINGS_A_PHOTO, WHOLE_SHARE, CUT_SIDES = 4, 0.4, (0.35, 0.8)
"""More damaged prints for training: the share of whole photos; the others are cut to a part of each side."""
MORE_KINDS = ("noisy", "vignetted", "stained", "stained", "mount", "caption")
STRONG_TONINGS_A_PHOTO = 2
DRAWN = [kind for kind in TONING if kind != "strong"]
"""The kinds of which TONINGS_A_PHOTO are drawn; strong tonings are drawn separately."""
ARCHIVES = [Path(__file__).with_name(name) for name in ("archives.csv", "unseen.csv")]
PROBED_PHOTOS = 120
"""Number of photos of each colour source, the first by name, that get the sepia matrix in each encoding."""
PROBED_STRENGTHS = (0.5, 1.0)
PROBED_ENCODINGS: Mapping[str, tuple[int, int] | None] = {
    "no JPEG": None,
    "95 4:4:4": (95, 0),
    "90 4:2:0": (90, 2),
    "75 4:2:0": (75, 2),
    "60 4:2:0": (60, 2),
}
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("source", "base", "kind", "truth")),
        pa.field("colorfulness", pa.float64()),
        *(pa.field(name, pa.int32()) for name in ("height_px", "width_px")),
        pa.field("rgb", pa.binary()),
        pa.field("large", pa.binary()),
    ]
)
ROWS_A_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, at the size at which it was made."""

    source: str
    base: str
    """`source/file name` of the photo that it was made from."""
    kind: str
    truth: str
    pixels: Rgb
    """(H, W, 3) uint8 sRGB."""

    def row(self) -> dict[str, Any]:
        """The stored row: the small copy, and the colourfulness of the whole picture."""
        small, _ = make_small_copy(self.pixels)
        return {
            "source": self.source,
            "base": self.base,
            "kind": self.kind,
            "truth": self.truth,
            "colorfulness": colorfulness(self.pixels),
            "height_px": small.shape[0],
            "width_px": small.shape[1],
            "rgb": small.tobytes(),
            "large": self._large_copy() if self.kind in ("original", "archive", "print") else None,
        }

    def _large_copy(self) -> bytes:
        """The larger copy of a scan, as the network reads it."""
        large = summarize_pixels(self.pixels).large
        return cv2.resize(large, (SIDES_PX["large"], SIDES_PX["large"]), interpolation=cv2.INTER_AREA).tobytes()


def main() -> None:
    """Write one Parquet file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--colour", action="append", default=[], metavar="NAME=FOLDER", help="can be repeated")
    parser.add_argument("--prints", type=Path, help="toned prints")
    parser.add_argument("--gray", type=Path, help="gray scans")
    parser.add_argument("--archives", type=Path, help="folder with the files of archives.csv, in any layout")
    parser.add_argument("--labels", type=Path, help="CSV path,label with paths relative to its own folder's parent")
    parser.add_argument("--review", type=Path, default=Path(__file__).with_name("review.csv"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    labels = read_labels(options.labels) if options.labels else {}
    with options.review.open(newline="") as file:
        review = {row["path"]: row["label"] for row in csv.DictReader(file)}
    print(write(options.out, pictures(options, labels, review)), "pictures")


def read_labels(path: Path) -> dict[Path, str]:
    """Labels by resolved path."""
    with path.open(newline="") as file:
        return {(path.parents[1] / row["path"]).resolve(): row["label"] for row in csv.DictReader(file)}


def write(out: Path, made: Iterator[Picture]) -> int:
    """Write pictures in batches; return how many."""
    count, rows = 0, []
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for picture in made:
            rows.append(picture.row())
            if len(rows) == ROWS_A_BATCH:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                count, rows = count + len(rows), []
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return count + len(rows)


def pictures(options: argparse.Namespace, labels: Mapping[Path, str], review: Mapping[str, str]) -> Iterator[Picture]:
    """All pictures of all sources."""
    for spec in options.colour:
        source, folder = spec.split("=", 1)
        probed = 0
        for path in photos(Path(folder)):
            truth = review.get(f"{source}/{path.name}", labels.get(path.resolve(), "color"))
            rgb = None if truth == "exclude" else load(path)
            if rgb is None:
                continue
            truth = truth if truth in ("color", "grayscale") else "toned"
            yield from of_source(source, path.name, rgb, truth)
            yield from more(source, path.name, rgb)
            yield from strong_tones(source, path.name, rgb)
            if truth == "color" and probed < PROBED_PHOTOS:
                probed += 1
                yield from probes(source, path.name, rgb)
    for path in photos(options.gray):
        if (rgb := load(path)) is not None:
            yield from of_gray_scan(path.name, rgb)
            yield from more("gray", path.name, rgb)
            yield from strong_tones("gray", path.name, rgb)
    for path in photos(options.prints):
        rgb = None if review.get(f"prints/{path.name}") == "exclude" else load(path)
        if rgb is not None:
            yield from of_print(path.name, rgb)
    if options.archives:
        yield from archived(options.archives)


def photos(folder: Path | None) -> list[Path]:
    """Photos below a folder, by name; none if there is no folder."""
    found = [] if folder is None else folder.rglob("*")
    return sorted(path for path in found if path.suffix.lower() in PHOTO_SUFFIXES)


def load(path: Path) -> Rgb | None:
    """(H, W, 3) uint8 sRGB of at most LONG_SIDE_PX; None if it can't be read or is tiny."""
    try:
        photo = decode_bytes(path.read_bytes())
    except PhotoError as exc:
        print(f"skipped {path.name}: {exc}")
        return None
    rgb, factor = photo.pixels, 1
    if photo.visible is not None:
        rgb = np.where(photo.visible[..., None], rgb, rgb[photo.visible].mean(axis=0).astype(np.uint8))
    while max(rgb.shape[:2]) // factor > LONG_SIDE_PX:
        factor *= 2
    if factor > 1:
        height, width = rgb.shape[0] // factor, rgb.shape[1] // factor
        whole = rgb[: height * factor, : width * factor]
        rgb = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return rgb if min(rgb.shape[:2]) >= SHORTEST_SIDE_PX else None


def of_source(source: str, name: str, rgb: Rgb, truth: str) -> Iterator[Picture]:
    """A photo, some variants if it is a colour photo, some tonings, one gray encoding, and for some a hand tint."""
    base = f"{source}/{name}"
    rng = _generator(base)
    yield Picture(source, base, "original", truth, rgb)
    if truth == "color":
        for kind in rng.choice(list(COLOUR), VARIANTS_A_PHOTO, replace=False):
            yield Picture(source, base, str(kind), "color", COLOUR[kind](rgb, rng))
    for kind in rng.choice(DRAWN, TONINGS_A_PHOTO, replace=False):
        yield Picture(source, base, str(kind), "toned", _scanned(TONING[kind], rgb, rng))
    kind = str(rng.choice(list(GRAY)))
    yield Picture(source, base, kind, "grayscale", GRAY[kind](rgb, rng))
    if rng.random() < TINTED_SHARE:
        yield Picture(source, base, "tinted", "tinted", _scanned(tinted, rgb, rng))


def probes(source: str, name: str, rgb: Rgb) -> Iterator[Picture]:
    """A colour photo after the sepia matrix, in every strength and encoding."""
    for strength in PROBED_STRENGTHS:
        toned = matrix_sepia(rgb, strength)
        for encoding, settings in PROBED_ENCODINGS.items():
            stored = toned if settings is None else jpeg(toned, *settings)
            yield Picture(source, f"{source}/{name}", f"{strength} {encoding}", "probe", stored)


def of_gray_scan(name: str, rgb: Rgb) -> Iterator[Picture]:
    """A gray scan in all encodings and all tonings."""
    base = f"gray/{name}"
    rng = _generator(base)
    yield Picture("gray", base, "original", "grayscale", rgb)
    for kind, change in GRAY.items():
        yield Picture("gray", base, kind, "grayscale", change(rgb, rng))
    for kind in DRAWN:
        yield Picture("gray", base, kind, "toned", _scanned(TONING[kind], rgb, rng))


def more(source: str, name: str, rgb: Rgb) -> Iterator[Picture]:
    """Damaged prints of the whole photo and of parts of it."""
    base = f"{source}/{name}"
    rng = _generator(f"more {base}")
    for kind in rng.choice(MORE_KINDS, MORE_TONINGS_A_PHOTO):
        part = rgb if rng.random() < WHOLE_SHARE else _cut(rgb, rng)
        yield Picture(source, base, f"more {kind}", "toned", _scanned(TONING[kind], part, rng))


def strong_tones(source: str, name: str, rgb: Rgb) -> Iterator[Picture]:
    """Strong tones of a photo."""
    base = f"{source}/{name}"
    rng = _generator(f"strong {base}")
    for _ in range(STRONG_TONINGS_A_PHOTO):
        yield Picture(source, base, "strong", "toned", _scanned(TONING["strong"], rgb, rng))


def of_print(name: str, rgb: Rgb) -> Iterator[Picture]:
    """A toned print, its central 70 % (mostly without the mount), and both in another hue."""
    base = f"prints/{name}"
    rng = _generator(base)
    height, width = rgb.shape[:2]
    top, left = int(height * 0.3 / 2), int(width * 0.3 / 2)
    crop = np.ascontiguousarray(rgb[top : height - top, left : width - left])
    yield Picture("prints", base, "print", "toned", rgb)
    yield Picture("prints", base, "print_crop", "toned", crop)
    for kind, part in (("print_rot", rgb), ("print_crop_rot", crop)):
        turned = rotate_hue(part, rng.uniform(30, 330))
        yield Picture("prints", base, kind, "toned", some_jpeg(turned, rng))


def archived(folder: Path) -> Iterator[Picture]:
    """The photos of archives.csv and unseen.csv."""
    for row, path in (found for listed in ARCHIVES for found in find_listed_files(folder, listed)):
        rgb = load(path)
        if rgb is not None:
            kind = "original" if row["label"] == "color" else "archive"
            yield Picture("archives", f"archives/{row['archive']}/{row['path']}", kind, row["label"], rgb)


def find_listed_files(folder: Path, listed: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """The rows of a list like archives.csv with their files, found by sha256; prints how many files are missing."""
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in photos(folder)}
    with listed.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print(f"{sum(row['sha256'] not in files for row in rows)} of {len(rows)} archived photos are missing")
    yield from ((row, files[row["sha256"]]) for row in rows if row["sha256"] in files)


def _cut(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    sides = [max(SHORTEST_SIDE_PX, int(side * rng.uniform(*CUT_SIDES))) for side in rgb.shape[:2]]
    top, left = (int(rng.integers(0, whole - side + 1)) for whole, side in zip(rgb.shape[:2], sides, strict=True))
    return np.ascontiguousarray(rgb[top : top + sides[0], left : left + sides[1]])


def _scanned(change: Change, rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return some_jpeg(change(rgb, rng), rng)


def _generator(base: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(base.encode()))


if __name__ == "__main__":
    main()
