"""The photos of a manifest's splits, checked to exist before the first training step."""

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
from curate.locations import Location, RemotePath
from curate.manifest import Manifest
from curate.packing.shards import MANIFEST_NAME, PACK_COLUMNS
from curate.sources import has_zip_name, locate_photo, read_bytes
from curate.text import pluralize
from train.data.packed import PackedDataset, check_shards, packed_dataset

REQUIRED_COLUMNS = ("source", "path", "bytes", "sha256", "colorfulness", "tone", "split")
SPLITS = ("train", "val", "test")
Ancestors = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PhotoDataset:
    """Original photos of one split. Columns are Arrow arrays: worker processes share those instead of copying them."""

    sources: pa.Array
    paths: pa.Array
    sizes: pa.Array
    """Bytes when scanned; null if unknown."""
    offsets: pa.Array
    """Position of a photo within its tar or ZIP (`tar_offset`); null for a file of its own."""
    roots: tuple[Path, ...] = ()
    """Folders to look in instead of `source`; see `locate`."""

    unscaled: ClassVar[bool] = False
    """Crops are scaled to the crop size."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path below the photo's source, escaped as in manifests."""
        text: str = self.paths[index].as_py()
        return text

    def locate(self, index: int) -> str | None:
        """Return where the photo's file, or the tar or ZIP that contains it, is now; None if nowhere.

        See `curate.sources.locate_photo`.
        """
        return locate_photo(
            self.sources[index].as_py(), self.name(index), self.roots, offset=self.offsets[index].as_py()
        )

    def size_matches(self, index: int, location: str) -> bool:
        """Return whether the file has its scanned size, or the tar or ZIP is long enough. URLs are not checked."""
        size, offset = self.sizes[index].as_py(), self.offsets[index].as_py()
        if size is None or "://" in location:
            return True
        size_now = os.path.getsize(location)
        if offset is None:
            return bool(size_now == size)
        return bool(size_now >= offset + (0 if has_zip_name(location) else size))

    def shard_starts(self) -> NDArray[np.int64]:
        """Return an empty array: single files have no shards."""
        return np.empty(0, np.int64)

    def read_pixels(self, index: int, short_side_px: int) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 sRGB, whose short side has at least `short_side_px` if the photo has as many.

        Raises:
            PhotoError: the photo can't be read.
        """
        location = self.locate(index)
        if location is None:
            raise Vanished("the file can't be read: it no longer exists")
        data = read_bytes(location, offset=self.offsets[index].as_py(), size=self.sizes[index].as_py())
        return decode(data, short_side_px=short_side_px).pixels


Photos = PhotoDataset | PackedDataset


@dataclass(frozen=True, slots=True)
class Datasets:
    """The photos of a manifest to train, validate and test on."""

    manifest_path: Location
    manifest_sha256: str
    train: Photos
    val: Photos
    test: Photos
    ancestors: Ancestors = ()
    """The manifests that this one was made from, nearest first: kind, path and sha256 of each."""
    packed_px: int | None = None
    """Short side of a pack's photos in px; None where the originals are read."""
    colorfulness_median: float | None = None
    """Of the training photos, as scanned."""


def load_datasets(path: Location, roots: Sequence[Path] = ()) -> Datasets:
    """Read a filtered manifest, and check that its photos exist and have their scanned size.

    Args:
        path: a manifest that `curate filter` or `curate pack` wrote, or a pack's folder.
        roots: folders to look in if the photos have moved since the scan.

    Raises:
        ManifestError: the manifest can't be read, is empty, or has no color photos or no training photos; or photos
            are missing or have changed.
    """
    packed = [column.name for column in PACK_COLUMNS]
    if isinstance(path, Path) and any(path.glob("shard-*.arrow")) and not (path / MANIFEST_NAME).exists():
        raise ManifestError(f"{path} is an incomplete pack: run the same `curate pack` command again")
    read = manifest.read_manifest(path, required=REQUIRED_COLUMNS, columns=(*REQUIRED_COLUMNS, "tar_offset", *packed))
    table = read.table.combine_chunks()
    _check_trainable(path, table)
    rows_by_split = {split: table.filter(pc.equal(table["split"], split)) for split in SPLITS}
    if not rows_by_split["train"].num_rows:
        raise ManifestError(f"{path} has no photos with split 'train': run `curate filter` with a larger share for it")
    _, *ancestors = manifest.list_ancestors(path, read.sha256, read.lineage)
    if set(packed) <= set(table.column_names):
        return _load_pack(path, read, rows_by_split, ancestors)
    photos = {split: _photo_dataset(rows, tuple(roots)) for split, rows in rows_by_split.items()}
    for split in ("train", "val"):
        _check_photos_exist(path, photos[split])
    splits = photos["train"], photos["val"], photos["test"]
    median = _median_colorfulness(rows_by_split["train"])
    return Datasets(path, read.sha256, *splits, ancestors, colorfulness_median=median)


def load_split(path: Location, split: str, roots: Sequence[Path] = ()) -> tuple[PhotoDataset, str]:
    """Return the photos of one split (`train`, `val`, `test`, or `all`), and the manifest's sha256.

    Raises:
        ManifestError: the manifest can't be read or has no photos of that split; or photos are missing or have changed.
    """
    needed = ("source", "path", "bytes", "split") if split != "all" else ("source", "path", "bytes")
    read = manifest.read_manifest(path, required=needed, columns=(*needed, "tar_offset"))
    rows = read.table.combine_chunks()
    if split != "all":
        rows = rows.filter(pc.equal(rows["split"], split))
    if not rows.num_rows:
        raise ManifestError(f"{path} has no photos with split '{split}': choose another with --split, or --split all")
    photos = _photo_dataset(rows, tuple(roots))
    _check_photos_exist(path, photos)
    return photos, read.sha256


def _check_trainable(path: Location, table: pa.Table) -> None:
    if not table.num_rows:
        raise ManifestError(f"{path} is empty: filter with a lower --min-colorfulness, or scan more photos")
    if unknown := set(pc.unique(table["split"]).to_pylist()) - {*SPLITS, None}:
        raise ManifestError(
            f"{path} has the split {min(unknown)!r}, but only {', '.join(SPLITS)} are known: run `curate filter` on it"
        )
    if not pc.any(pc.equal(table["tone"], "color")).as_py():
        raise ManifestError(f"{path} has no color photos, so there is no color to learn: scan and filter color photos")


def _load_pack(path: Location, read: Manifest, rows_by_split: Mapping[str, pa.Table], ancestors: Ancestors) -> Datasets:
    if isinstance(path, RemotePath):
        raise ManifestError(f"{path} is a pack, which is read from a disk: copy its folder to this machine first")
    folder = path if path.is_dir() else path.parent
    check_shards(folder, read.table)
    photos = {split: packed_dataset(folder, read.sha256, rows) for split, rows in rows_by_split.items()}
    size_px = read.lineage.options.get("size_px") if read.lineage else None
    splits = photos["train"], photos["val"], photos["test"]
    return Datasets(path, read.sha256, *splits, ancestors, size_px, _median_colorfulness(rows_by_split["train"]))


def _median_colorfulness(rows: pa.Table) -> float | None:
    (median,) = pc.quantile(rows["colorfulness"], 0.5).to_pylist()
    return None if median is None else float(median)


def _photo_dataset(rows: pa.Table, roots: tuple[Path, ...]) -> PhotoDataset:
    # An Arrow string column holds at most 2 GiB; large_string has no such limit.
    sources, paths = (rows[name].cast(pa.large_string()).combine_chunks() for name in ("source", "path"))
    sizes, offsets = (
        rows[name].cast(pa.int64()).combine_chunks() if name in rows.column_names else pa.nulls(len(rows), pa.int64())
        for name in ("bytes", "tar_offset")
    )
    return PhotoDataset(sources, paths, sizes, offsets, roots)


def _check_photos_exist(path: Location, photos: PhotoDataset) -> None:
    missing: list[str] = []
    changed: list[str] = []
    for index in range(len(photos)):
        location = photos.locate(index)
        if location is None:
            missing.append(photos.name(index))
        elif not photos.size_matches(index, location):
            changed.append(photos.name(index))
    total = pluralize(len(photos), "photo")
    if missing:
        looked_in = f"in {', '.join(map(str, photos.roots))}" if photos.roots else "where they were scanned"
        raise ManifestError(
            f"{len(missing):,} of {total} of {path} {'was' if len(missing) == 1 else 'were'} not found {looked_in}, "
            f"for example {missing[0]}: name the folder that they moved to with --root, "
            "or run `curate scan` and `curate filter` again"
        )
    if changed:
        raise ManifestError(
            f"{len(changed):,} of {total} of {path} {'has' if len(changed) == 1 else 'have'} changed since the scan, "
            f"for example {changed[0]}: run `curate scan` and `curate filter` again"
        )
