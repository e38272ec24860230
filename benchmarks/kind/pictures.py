"""Labeled pictures of public repositories, as a scan sees them: small copy, statistics, colorfulness and tone."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.image.decode import decode_bytes
from curate.measures.appearance import measure_appearances
from curate.measures.kind.classify import regression_inputs
from curate.measures.kind.features import compute_statistics
from curate.measures.measure import fill_invisible, measure_batch, summarize_pixels

HERE = Path(__file__).parent
PHOTO_LISTS = [HERE.parent / "tone" / name for name in ("archives.csv", "unseen.csv")]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MIN_SIDE_PX = 64
MIN_BYTES, MAX_BYTES = 6_000, 1_500_000
"""Files of the weakly labeled sources outside these sizes are not used: icons, and what takes long to decode."""
HELD_OUT_PARTS = 4
"""One repository of labels.csv in this many is held out, by a hash of its name."""
MOST_PHOTOS, MOST_HELD_OUT_PHOTOS, MOST_GRAPHICS, MOST_OF_A_FOLDER = 12, 30, 60, 100
"""Pictures used of one repository and label: more add little and would outweigh the others."""
MIN_COLORFULNESS = 20.0
MAX_BORDER_SHARE = 0.2
"""A photo with wider bands is a graphic by the definition, whatever its label is."""

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
    inputs: NDArray[np.float64]
    """What the regression reads, see `curate.measures.kind.classify.regression_inputs`."""
    passes: bool
    """Whether the default filter would keep it if it had no rule on kinds: M at least 20, tone color."""


def read_pictures(repositories: Path, photos: Path | None) -> list[Picture]:
    """Read all labeled pictures that are found, limited per repository and label.

    Args:
        repositories: folder with clones of the repositories in labels.csv, weak.csv and benchmarks/tone/*.csv, each in
            a folder OWNER/NAME.
        photos: folder of folders of more photos, without labels.
    """
    files = [*_list_labeled(repositories), *_list_weak(repositories)]
    for folder in sorted(photos.iterdir()) if photos else ():
        named = sorted(folder.iterdir(), key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())
        files += [(f"photos/{folder.name}", path, False, False) for path in named[:MOST_OF_A_FOLDER]]
    counts: Counter[tuple[str, bool]] = Counter()
    pictures = []
    for repository, path, is_graphic, held_out in files:
        most = MOST_GRAPHICS if is_graphic else MOST_HELD_OUT_PHOTOS if held_out else MOST_PHOTOS
        limited = not repository.startswith(("weak/", "photos/"))
        if limited and counts[repository, is_graphic] >= most:
            continue
        try:
            picture = _read_picture(repository, path, is_graphic, held_out)
        except (PhotoError, OSError):
            continue
        if picture:
            counts[repository, is_graphic] += 1
            pictures.append(picture)
    return pictures


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_held_out(repository: str) -> bool:
    """Whether a repository of labels.csv is held out."""
    return int(hashlib.sha256(f"split{repository}".encode()).hexdigest()[:8], 16) % HELD_OUT_PARTS == 0


def _list_labeled(repositories: Path) -> Iterator[tuple[str, Path, bool, bool]]:
    """Repository, path, whether it is a graphic, and whether it is held out; each content once, by sha256."""
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
            yield repository, file, label == "graphic", is_held_out(repository)
        else:
            missing += 1
    print(f"{missing} of the labeled pictures are missing")


def _list_weak(repositories: Path) -> Iterator[tuple[str, Path, bool, bool]]:
    """The same of the sources in weak.csv: the first `most` files that match the rule, in the order of a hash."""
    for row in read_rows(HERE / "weak.csv"):
        root = repositories / row["repository"]
        paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES]
        chosen = [
            path
            for path in sorted(paths, key=lambda path: hashlib.sha256(path.encode()).hexdigest())
            if re.search(row["rule"], path) and MIN_BYTES <= (root / path).stat().st_size <= MAX_BYTES
        ]
        for path in chosen[: int(row["most"])]:
            yield f"weak/{row['source']}", root / path, row["label"] == "graphic", row["use"] == "test"


def _read_picture(repository: str, path: Path, is_graphic: bool, held_out: bool) -> Picture | None:
    """The picture; None if it is too small."""
    decoded = decode_bytes(path.read_bytes())
    if min(decoded.pixels.shape[:2]) < MIN_SIDE_PX:
        return None
    summary = summarize_pixels(decoded.pixels, decoded.visible)
    measured, small = measure_batch([summary])[0], fill_invisible(summary.small, summary.visible)
    luma = np.asarray(cv2.cvtColor(summary.small, cv2.COLOR_RGB2GRAY), np.uint8)
    statistics = compute_statistics([summary.sample], [small], [luma])
    _, inputs = regression_inputs(statistics, measure_appearances([summary.sample], [luma]))
    is_graphic |= measured.borders.border_share >= MAX_BORDER_SHARE
    passes = measured.colorfulness >= MIN_COLORFULNESS and measured.tone.tone == "color"
    return Picture(repository, str(path), is_graphic, held_out, small, summary.large, inputs[0], passes)
