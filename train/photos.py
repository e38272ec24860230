"""A manifest's photos, found on this machine and checked before a step is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.decode import decode
from curate.errors import ManifestError
from curate.manifest import Manifest
from curate.shards import MANIFEST_NAME, PACK_COLUMNS
from curate.sources import as_photo_error
from train.packs import PackedList, check_shards, packed_list

NEEDED = ("source", "path", "bytes", "sha256", "colorfulness", "tone", "split")
SPLITS = ("train", "val", "test")
Ancestors = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PhotoList:
    """Original photos of one split. Columns stay Arrow, so that worker processes share them instead of copying."""

    sources: pa.Array
    paths: pa.Array
    roots: tuple[Path, ...] = ()
    """Where to look instead of `source`; see `locate`."""

    at_scale: ClassVar[bool] = False
    """Crops are scaled to size."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path below its source, as manifest text."""
        text: str = self.paths[index].as_py()
        return text

    def locate(self, index: int) -> str | None:
        """Where the photo lies now; None if it is nowhere. See `curate.manifest.located`."""
        return manifest.located(self.sources[index].as_py(), self.name(index), self.roots)

    def starts(self) -> NDArray[np.int64]:
        """Where a shard begins: nowhere."""
        return np.empty(0, np.int64)

    def pixels(self, index: int, short_side_px: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB, with a short side of at least that where the photo has as much.

        Raises:
            PhotoError: it can't be read.
        """
        place = self.locate(index)
        try:
            if place is None:
                raise FileNotFoundError(2, "it is gone")
            with open(place, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise as_photo_error(exc, "the file can't be read") from exc
        return decode(data, short_side_px=short_side_px).pixels


Photos = PhotoList | PackedList


@dataclass(frozen=True, slots=True)
class PhotoLists:
    """What a manifest says to train, validate and test on."""

    manifest_path: Path
    manifest_sha256: str
    train: Photos
    val: Photos
    test: Photos
    ancestors: Ancestors = ()
    """Manifests that it comes from, nearest first: kind, path and sha256."""
    packed_px: int | None = None
    """Short side of a pack's photos; None where the originals are read."""


def load(path: Path, roots: Sequence[Path] = ()) -> PhotoLists:
    """Read a filtered manifest and make sure that its photos are there, unchanged in size.

    Args:
        path: as `curate filter` or `curate pack` wrote it.
        roots: folders to look in if the photos have moved since the scan.

    Raises:
        ManifestError: unreadable, empty, without colour photos, without training photos, or photos are gone or changed.
    """
    packed = [column.name for column in PACK_COLUMNS]
    _check_finished(path)
    read = manifest.read(path, need=NEEDED, columns=(*NEEDED, *packed))
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
    _, *ancestors = manifest.chain(path, read.sha256, read.lineage)
    if set(packed) <= set(table.column_names):
        return _packed(path, read, lists, ancestors)
    photos = {split: _photo_list(rows, tuple(roots)) for split, rows in lists.items()}
    for split in ("train", "val"):
        _check_there(path, photos[split], lists[split]["bytes"])
    return PhotoLists(path, read.sha256, photos["train"], photos["val"], photos["test"], ancestors)


def _packed(path: Path, read: Manifest, lists: Mapping[str, pa.Table], ancestors: Ancestors) -> PhotoLists:
    folder = path if path.is_dir() else path.parent
    check_shards(folder, read.table)
    photos = {split: packed_list(folder, read.sha256, rows) for split, rows in lists.items()}
    size_px = read.lineage.options.get("size_px") if read.lineage else None
    return PhotoLists(path, read.sha256, photos["train"], photos["val"], photos["test"], ancestors, size_px)


def _check_finished(path: Path) -> None:
    if path.is_dir() and any(path.glob("shard-*.arrow")) and not (path / MANIFEST_NAME).exists():
        raise ManifestError(f"{path} is a pack that isn't finished: run the same `curate pack` again")


def load_split(path: Path, split: str, roots: Sequence[Path] = ()) -> tuple[PhotoList, str]:
    """The photos of one split (`train`, `val`, `test`, or `all`) to look at, and the manifest's sha256.

    Raises:
        ManifestError: unreadable, none of that split, or photos are gone or changed.
    """
    needed = ("source", "path", "bytes", "split") if split != "all" else ("source", "path", "bytes")
    read = manifest.read(path, need=needed, columns=needed)
    rows = read.table.combine_chunks()
    if split != "all":
        rows = rows.filter(pc.equal(rows["split"], split))
    if not rows.num_rows:
        raise ManifestError(f"{path} has no photos with split '{split}': choose another with --split, or --split all")
    photos = _photo_list(rows, tuple(roots))
    _check_there(path, photos, rows["bytes"])
    return photos, read.sha256


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
