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
from curate.errors import ManifestError, Vanished
from curate.image.decode import decode
from curate.manifest import Manifest
from curate.packing.shards import MANIFEST_NAME, PACK_COLUMNS
from curate.sources import locate_photo, read_bytes
from curate.text import pluralize
from train.data.packed import PackedDataset, check_shards, packed_dataset

NEEDED = ("source", "path", "bytes", "sha256", "colorfulness", "tone", "split")
SPLITS = ("train", "val", "test")
Ancestors = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PhotoDataset:
    """Original photos of one split. Columns stay Arrow, so that worker processes share them instead of copying."""

    sources: pa.Array
    paths: pa.Array
    sizes: pa.Array
    """Bytes when scanned."""
    offsets: pa.Array
    """Where in its tar a photo begins, bytes; null for a file of its own."""
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
        """Where the photo's file, or its tar, lies now; None if it is nowhere. See `curate.sources.located`."""
        return locate_photo(
            self.sources[index].as_py(), self.name(index), self.roots, offset=self.offsets[index].as_py()
        )

    def is_as_scanned(self, index: int, place: str) -> bool:
        """Whether the file still has its size, or the tar still reaches so far; of a URL it isn't asked."""
        size, offset = self.sizes[index].as_py(), self.offsets[index].as_py()
        if size is None or "://" in place:
            return True
        there = os.path.getsize(place)
        return bool(there == size if offset is None else there >= offset + size)

    def starts(self) -> NDArray[np.int64]:
        """Where a shard begins: nowhere."""
        return np.empty(0, np.int64)

    def pixels(self, index: int, short_side_px: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB, with a short side of at least that where the photo has as much.

        Raises:
            PhotoError: it can't be read.
        """
        place = self.locate(index)
        if place is None:
            raise Vanished("the file can't be read: it is gone")
        data = read_bytes(place, offset=self.offsets[index].as_py(), size=self.sizes[index].as_py())
        return decode(data, short_side_px=short_side_px).pixels


Photos = PhotoDataset | PackedDataset


@dataclass(frozen=True, slots=True)
class Datasets:
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
    colorfulness_median: float | None = None
    """Of the training photos, as they were scored."""


def load_datasets(path: Path, roots: Sequence[Path] = ()) -> Datasets:
    """Read a filtered manifest and make sure that its photos are there, unchanged in size.

    Args:
        path: as `curate filter` or `curate pack` wrote it.
        roots: folders to look in if the photos have moved since the scan.

    Raises:
        ManifestError: unreadable, empty, without colour photos, without training photos, or photos are gone or changed.
    """
    packed = [column.name for column in PACK_COLUMNS]
    if path.is_dir() and any(path.glob("shard-*.arrow")) and not (path / MANIFEST_NAME).exists():
        raise ManifestError(f"{path} is a pack that isn't finished: run the same `curate pack` again")
    read = manifest.read_manifest(path, required=NEEDED, columns=(*NEEDED, "tar_offset", *packed))
    table = read.table.combine_chunks()
    if not table.num_rows:
        raise ManifestError(f"{path} is empty: filter with a lower --min-colorfulness, or scan more photos")
    if unknown := set(pc.unique(table["split"]).to_pylist()) - {*SPLITS, None}:
        raise ManifestError(
            f"{path} has the split {min(unknown)!r}, and only {', '.join(SPLITS)} are known: run `curate filter` on it"
        )
    if not pc.any(pc.equal(table["tone"], "color")).as_py():
        raise ManifestError(
            f"{path} has no colour photos, so there is no colour to learn: scan and filter colour photos"
        )
    lists = {split: table.filter(pc.equal(table["split"], split)) for split in SPLITS}
    if not lists["train"].num_rows:
        raise ManifestError(f"{path} has no photos with split 'train': run `curate filter` with a larger share for it")
    _, *ancestors = manifest.list_ancestors(path, read.sha256, read.lineage)
    if set(packed) <= set(table.column_names):
        return _packed(path, read, lists, ancestors)
    photos = {split: _photo_list(rows, tuple(roots)) for split, rows in lists.items()}
    for split in ("train", "val"):
        _check_there(path, photos[split])
    splits = photos["train"], photos["val"], photos["test"]
    return Datasets(path, read.sha256, *splits, ancestors, colorfulness_median=_median(lists))


def _packed(path: Path, read: Manifest, lists: Mapping[str, pa.Table], ancestors: Ancestors) -> Datasets:
    folder = path if path.is_dir() else path.parent
    check_shards(folder, read.table)
    photos = {split: packed_dataset(folder, read.sha256, rows) for split, rows in lists.items()}
    size_px = read.lineage.options.get("size_px") if read.lineage else None
    splits = photos["train"], photos["val"], photos["test"]
    return Datasets(path, read.sha256, *splits, ancestors, size_px, _median(lists))


def _median(lists: Mapping[str, pa.Table]) -> float | None:
    (median,) = pc.quantile(lists["train"]["colorfulness"], 0.5).to_pylist()
    return None if median is None else float(median)


def load_split(path: Path, split: str, roots: Sequence[Path] = ()) -> tuple[PhotoDataset, str]:
    """The photos of one split (`train`, `val`, `test`, or `all`) to look at, and the manifest's sha256.

    Raises:
        ManifestError: unreadable, none of that split, or photos are gone or changed.
    """
    needed = ("source", "path", "bytes", "split") if split != "all" else ("source", "path", "bytes")
    read = manifest.read_manifest(path, required=needed, columns=(*needed, "tar_offset"))
    rows = read.table.combine_chunks()
    if split != "all":
        rows = rows.filter(pc.equal(rows["split"], split))
    if not rows.num_rows:
        raise ManifestError(f"{path} has no photos with split '{split}': choose another with --split, or --split all")
    photos = _photo_list(rows, tuple(roots))
    _check_there(path, photos)
    return photos, read.sha256


def _photo_list(rows: pa.Table, roots: tuple[Path, ...]) -> PhotoDataset:
    sources, paths = (rows[name].cast(pa.large_string()).combine_chunks() for name in ("source", "path"))
    sizes, offsets = (
        rows[name].cast(pa.int64()).combine_chunks() if name in rows.column_names else pa.nulls(len(rows), pa.int64())
        for name in ("bytes", "tar_offset")
    )
    return PhotoDataset(sources, paths, sizes, offsets, roots)


def _check_there(path: Path, photos: PhotoDataset) -> None:
    gone: list[str] = []
    changed: list[str] = []
    for index in range(len(photos)):
        place = photos.locate(index)
        if place is None:
            gone.append(photos.name(index))
        elif not photos.is_as_scanned(index, place):
            changed.append(photos.name(index))
    if gone:
        where = f"below {', '.join(map(str, photos.roots))}" if photos.roots else "where they were scanned"
        raise ManifestError(
            f"{len(gone):,} of {pluralize(len(photos), 'photo')} of {path} {'is' if len(gone) == 1 else 'are'} gone, "
            f"{gone[0]} first: not {where}; "
            "say where they moved with --root, or run `curate scan` and `curate filter` again"
        )
    if changed:
        raise ManifestError(
            f"{len(changed):,} of {pluralize(len(photos), 'photo')} of {path} {'has' if len(changed) == 1 else 'have'} "
            f"changed since the scan, {changed[0]} first: run `curate scan` and `curate filter` again"
        )
