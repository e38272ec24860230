"""A manifest's photos, found on this machine and checked before a step is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError

NEEDED = ("source", "path", "bytes", "sha256", "colorfulness", "tone", "split")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class PhotoList:
    """Photos of one split. Columns stay Arrow, so that worker processes share them instead of copying."""

    sources: pa.Array
    paths: pa.Array
    roots: tuple[Path, ...] = ()
    """Where to look instead of `source`; see `locate`."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path below its source, as manifest text."""
        text: str = self.paths[index].as_py()
        return text

    def locate(self, index: int) -> str | None:
        """Where the photo lies now; None if it is nowhere. See `curate.manifest.located`."""
        return manifest.located(self.sources[index].as_py(), self.name(index), self.roots)


@dataclass(frozen=True, slots=True)
class PhotoLists:
    """What a manifest says to train, validate and test on."""

    manifest_path: Path
    manifest_sha256: str
    train: PhotoList
    val: PhotoList
    test: PhotoList
    colorfulness_median: float | None = None
    """Of the training photos, as they were scored."""


def load(path: Path, roots: Sequence[Path] = ()) -> PhotoLists:
    """Read a filtered manifest and make sure that its photos are there, unchanged in size.

    Args:
        path: as `curate filter` wrote it.
        roots: folders to look in if the photos have moved since the scan.

    Raises:
        ManifestError: unreadable, empty, without colour photos, without training photos, or photos are gone or changed.
    """
    read = manifest.read(path, need=NEEDED, columns=NEEDED)
    table = read.table.combine_chunks()
    if not table.num_rows:
        raise ManifestError(f"{path} is empty: filter with a lower --min-colorfulness, or scan more photos")
    if not pc.any(pc.equal(table["tone"], "color")).as_py():
        raise ManifestError(
            f"{path} has no colour photos, so there is no colour to learn: scan and filter colour photos"
        )
    lists = {split: table.filter(pc.equal(table["split"], split)) for split in SPLITS}
    if not lists["train"].num_rows:
        raise ManifestError(f"{path} has no photos with split 'train': run `curate filter` with a larger share for it")
    photos = {split: _photo_list(rows, tuple(roots)) for split, rows in lists.items()}
    for split in ("train", "val"):
        _check_there(path, photos[split], lists[split]["bytes"])
    (median,) = pc.quantile(lists["train"]["colorfulness"], 0.5).to_pylist()
    return PhotoLists(path, read.sha256, photos["train"], photos["val"], photos["test"], median)


def _photo_list(rows: pa.Table, roots: tuple[Path, ...]) -> PhotoList:
    sources, paths = (rows[name].cast(pa.large_string()).combine_chunks() for name in ("source", "path"))
    return PhotoList(sources, paths, roots)


def _check_there(path: Path, photos: PhotoList, sizes: pa.ChunkedArray) -> None:
    gone: list[str] = []
    changed: list[str] = []
    for index, size in enumerate(sizes.to_pylist()):
        place = photos.locate(index)
        if place is None:
            gone.append(photos.name(index))
        elif size is not None and os.path.getsize(place) != size:
            changed.append(photos.name(index))
    if gone:
        where = f"below {', '.join(map(str, photos.roots))}" if photos.roots else "where they were scanned"
        raise ManifestError(
            f"{len(gone):,} of {len(photos):,} photos of {path} are gone, {gone[0]} first: they aren't {where}; "
            "say where they moved with --root, or run `curate scan` and `curate filter` again"
        )
    if changed:
        raise ManifestError(
            f"{len(changed):,} photos of {path} have changed since the scan, {changed[0]} first: run `curate scan` "
            "and `curate filter` again"
        )
