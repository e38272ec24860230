"""Labeled pictures of public repositories, as a scan sees them: small copy, sampled pixels, colorfulness and tone."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.image.decode import decode
from curate.measures.measure import measure, summarize_pixels

HERE = Path(__file__).parent
PHOTO_LISTS = [HERE.parent / "tone" / name for name in ("archives.csv", "unseen.csv")]
MIN_SIDE_PX = 64
HELD_OUT_PARTS = 4
"""One repository in this many is held out, by a hash of its name."""
MOST_PHOTOS, MOST_HELD_OUT_PHOTOS, MOST_GRAPHICS, MOST_OF_A_FOLDER = 20, 30, 60, 150
"""Pictures used of one repository and label: more add little and would outweigh the others."""
MIN_COLORFULNESS = 20.0

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A labeled picture."""

    repository: str
    path: str
    sha256: str
    is_graphic: bool
    small: Pixels
    """(h, w, 3) uint8 sRGB, the small copy."""
    luma: Pixels
    sample: Pixels
    """(h, w, 3) uint8 sRGB, sampled pixels of the full-size picture."""
    passes: bool
    """Whether the default filter would keep it if it had no rule on kinds: M at least 20, tone color."""

    @property
    def held_out(self) -> bool:
        """Whether its repository is not trained on."""
        digest = hashlib.sha256(f"split{self.repository}".encode()).hexdigest()
        return int(digest[:8], 16) % HELD_OUT_PARTS == 0


def read_pictures(repositories: Path, photos: Path | None, labels_path: Path) -> list[Picture]:
    """Read all labeled pictures that are found, each content once, limited per repository and label.

    Args:
        repositories: folder with clones of the repositories in labels.csv and in benchmarks/tone/*.csv, at any depth.
        photos: folder of folders of more photos, without labels.
        labels_path: table with the columns repository, path, sha256 and label, like labels.csv.
    """
    labels = {row["sha256"]: (row["repository"], row["label"]) for row in read_rows(labels_path)}
    for name in PHOTO_LISTS:
        for row in read_rows(name):
            labels.setdefault(row["sha256"], (row["archive"], "photo"))
    counts: Counter[tuple[str, bool]] = Counter()
    pictures = []
    for path, sha256 in sorted(_hash_files(repositories), key=lambda entry: entry[1]):
        repository, label = labels.pop(sha256, ("", "undecided"))
        if label in ("photo", "graphic"):
            pictures += _read_picture(path, repository, sha256, label == "graphic", counts)
    print(f"{len(labels)} of the labeled pictures are missing")
    for path, sha256 in _hash_files(photos) if photos else ():
        pictures += _read_picture(path, f"photos/{path.parent.name}", sha256, False, counts)
    return pictures


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _hash_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, hashlib.sha256(path.read_bytes()).hexdigest()


def _read_picture(
    path: Path, repository: str, sha256: str, is_graphic: bool, counts: Counter[tuple[str, bool]]
) -> list[Picture]:
    """The picture in a list; an empty list if it is unreadable, too small, or over the limit of its repository."""
    try:
        decoded = decode(path.read_bytes())
    except PhotoError:
        return []
    if min(decoded.pixels.shape[:2]) < MIN_SIDE_PX:
        return []
    measured = measure(decoded.pixels, decoded.visible)
    summary = summarize_pixels(decoded.pixels, decoded.visible)
    luma = np.asarray(cv2.cvtColor(summary.small, cv2.COLOR_RGB2GRAY), np.uint8)
    passes = measured.colorfulness >= MIN_COLORFULNESS and measured.tone.tone == "color"
    picture = Picture(repository, str(path), sha256, is_graphic, summary.small, luma, summary.sample, passes)
    counts[repository, is_graphic] += 1
    most = MOST_HELD_OUT_PHOTOS if picture.held_out else MOST_PHOTOS
    most = MOST_GRAPHICS if is_graphic else MOST_OF_A_FOLDER if repository.startswith("photos/") else most
    return [picture] if counts[repository, is_graphic] <= most else []
