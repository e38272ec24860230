"""Labeled pictures of public repositories, as a scan sees them: copies, colorfulness and tone."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.image.decode import decode_bytes
from curate.measures.measure import fill_invisible, measure_batch, summarize_pixels

HERE = Path(__file__).parent
PHOTO_LISTS = [HERE.parent / "tone" / name for name in ("archives.csv", "unseen.csv")]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MIN_SIDE_PX = 64
MIN_BYTES, MAX_BYTES = 6_000, 1_500_000
"""Files of the weakly labeled sources outside these sizes are not used: icons, and what takes long to decode."""
HELD_OUT_PARTS = 4
"""One repository of labels.csv in this many is held out, by a hash of its name."""
MOST_PHOTOS, MOST_HELD_OUT_PHOTOS, MOST_GRAPHICS, MOST_OF_A_FOLDER = 20, 30, 60, 300
"""Pictures used of one repository and label: more add little and would outweigh the others."""
MIN_COLORFULNESS = 20.0
MAX_BORDER_SHARE = 0.2
"""A photo with wider bands is a graphic by the definition, whatever its label is."""
PROCESSES = 2
LOST_SHARES = (0.005, 0.01, 0.02, 0.05)
"""Shares of the photos that are lost, for which the graphics that are kept are printed."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A labeled picture."""

    repository: str
    """Its name, `weak/SOURCE` or `photos/FOLDER`."""
    path: str
    is_graphic: bool
    held_out: bool
    """Whether its repository or source is not trained on."""
    small: Pixels
    """(h, w, 3) uint8 sRGB, the small copy."""
    large: Pixels
    """(2h, 2w, 3) uint8 sRGB, the larger copy."""
    passes: bool
    """Whether the default filter would keep it if it had no rule on kinds: M at least 20, tone color."""


@dataclass(frozen=True)
class LabeledFile:
    """A file of a labeled picture."""

    repository: str
    path: Path
    is_graphic: bool
    held_out: bool


def read_pictures(repositories: Path, photos: Path | None, *, held_out_only: bool = False) -> list[Picture]:
    """Read all labeled pictures that are found and can be decoded, limited per repository and label.

    Args:
        repositories: folder with clones of the repositories in labels.csv, weak.csv and benchmarks/tone/*.csv, each in
            a folder OWNER/NAME.
        photos: folder of folders of more photos, without labels.
        held_out_only: leave out what is trained on.
    """
    files = [*_limit(_list_labeled(repositories)), *_list_weak(repositories)]
    for folder in sorted(photos.iterdir()) if photos else ():
        named = sorted(folder.iterdir(), key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())
        files += [LabeledFile(f"photos/{folder.name}", path, False, False) for path in named[:MOST_OF_A_FOLDER]]
    files = [file for file in files if file.held_out or not held_out_only]
    with Pool(PROCESSES) as pool:
        return [picture for picture in pool.imap(_read_picture, files, chunksize=16) if picture]


def graphic_of(pictures: Sequence[Picture]) -> NDArray[np.bool_]:
    """(n,) which pictures are graphics."""
    return np.array([picture.is_graphic for picture in pictures], bool)


def is_weak(pictures: Sequence[Picture]) -> NDArray[np.bool_]:
    """(n,) which pictures are from the sources of weak.csv."""
    return np.array([picture.repository.startswith("weak/") for picture in pictures], bool)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_held_out(repository: str) -> bool:
    """Whether a repository of labels.csv is held out."""
    return int(hashlib.sha256(f"split{repository}".encode()).hexdigest()[:8], 16) % HELD_OUT_PARTS == 0


def _limit(files: Iterable[LabeledFile]) -> Iterator[LabeledFile]:
    """The first files of each repository and label."""
    counts: Counter[tuple[str, bool]] = Counter()
    for file in files:
        counts[file.repository, file.is_graphic] += 1
        most = MOST_GRAPHICS if file.is_graphic else MOST_HELD_OUT_PHOTOS if file.held_out else MOST_PHOTOS
        if counts[file.repository, file.is_graphic] <= most:
            yield file


def _list_labeled(repositories: Path) -> Iterator[LabeledFile]:
    """Files of labels.csv and of PHOTO_LISTS; each content once, by sha256."""
    rows = {row["sha256"]: (row["repository"], row["path"], row["label"]) for row in read_rows(HERE / "labels.csv")}
    for name in PHOTO_LISTS:
        for row in read_rows(name):
            rows.setdefault(row["sha256"], (row["archive"], row["path"], "photo"))
    missing = 0
    for sha256, (repository, path, label) in sorted(rows.items()):
        file = repositories / repository / path
        if label == "undecided":
            continue
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
            yield LabeledFile(repository, file, label == "graphic", is_held_out(repository))
        else:
            missing += 1
    print(f"{missing} of the labeled pictures are missing")


def _list_weak(repositories: Path) -> Iterator[LabeledFile]:
    """Files of the sources in weak.csv: the first `most` files that match the rule, in the order of a hash."""
    for row in read_rows(HERE / "weak.csv"):
        root = repositories / row["repository"]
        paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES]
        chosen = [
            path
            for path in sorted(paths, key=lambda path: hashlib.sha256(path.encode()).hexdigest())
            if re.search(row["rule"], path) and MIN_BYTES <= (root / path).stat().st_size <= MAX_BYTES
        ]
        for path in chosen[: int(row["most"])]:
            held_out = row["use"] == "test"
            yield LabeledFile(f"weak/{row['source']}", root / path, row["label"] == "graphic", held_out)


def _read_picture(file: LabeledFile) -> Picture | None:
    """The picture; None if it is too small or can't be decoded."""
    try:
        decoded = decode_bytes(file.path.read_bytes())
    except (PhotoError, OSError):
        return None
    if min(decoded.pixels.shape[:2]) < MIN_SIDE_PX:
        return None
    summary = summarize_pixels(decoded.pixels, decoded.visible)
    measured, small = measure_batch([summary])[0], fill_invisible(summary.small, summary.visible)
    is_graphic = file.is_graphic or measured.borders.border_share >= MAX_BORDER_SHARE
    passes = measured.colorfulness >= MIN_COLORFULNESS and measured.tone.tone == "color"
    return Picture(file.repository, str(file.path), is_graphic, file.held_out, small, summary.large, passes)
