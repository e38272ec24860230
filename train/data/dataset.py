"""The photos of a manifest's splits, checked to exist and to be unchanged before the first training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError, Vanished
from curate.image.decode import decode_bytes
from curate.locations import Location, RemotePath
from curate.manifest import Manifest
from curate.measures.borders import crop_borders, side_with_borders
from curate.packing.shards import MANIFEST_NAME, PACK_COLUMNS
from curate.sources import check_unchanged, locate_photo, read_bytes
from curate.sources.names import IN_TABLE
from curate.sources.reader import BORDER_COLUMNS
from curate.sources.tables.reader import largest_row_group
from curate.sources.tar.copies import find_compressed_tar
from train.data.changes import ignore, int_column, leave_out_changed
from train.data.packed import PackedDataset, check_shards, packed_dataset

REQUIRED_COLUMNS = ("source", "path", "bytes", "sha256", "colorfulness", "tone", "split")
CHECK_COLUMNS = ("tar_offset", "modified_ns", "sha256")
"""With which photos are checked, as far as a manifest has them."""
READ_COLUMNS = (*REQUIRED_COLUMNS, *CHECK_COLUMNS, *BORDER_COLUMNS, *(column.name for column in PACK_COLUMNS))
RUN_KIND = "run"
"""In its lineage, the kind of a run's own list of photos; see `train.data.run_photos`."""
LARGE_ROW_GROUP_BYTES = 64 << 20
"""Decoding half of a larger row group takes longer than decoding a photo."""
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
    sha256s: pa.Array
    """Hex SHA-256 when scanned; null if unknown."""
    roots: tuple[Path, ...] = ()
    """Folders to look in instead of `source`; see `locate`."""
    borders: tuple[pa.Array, ...] = ()
    """`BORDER_COLUMNS`; empty if the manifest lacks them."""
    crops_borders: bool = False
    """Whether bands are cropped; `borders` must not be empty then."""

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

    def shard_starts(self) -> NDArray[np.int64]:
        """Return an empty array: single files have no shards."""
        return np.empty(0, np.int64)

    def read_pixels(self, index: int, short_side_px: int) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 sRGB, whose short side has at least `short_side_px` if the photo has as many.

        It is what is inside of the bands if `crops_borders`.

        Raises:
            PhotoError: the photo can't be read, or its bytes are not those that were scanned.
        """
        data = self.read_unchanged(index)
        if not self.crops_borders:
            return decode_bytes(data, short_side_px=short_side_px).pixels
        left, top, right, bottom = (column[index].as_py() or 0.0 for column in self.borders)
        borders = (left, top, right, bottom)
        return crop_borders(decode_bytes(data, short_side_px=side_with_borders(short_side_px, borders)).pixels, borders)

    def read_unchanged(self, index: int) -> bytes:
        """Return the bytes of the file.

        Raises:
            PhotoError: it can't be read, or its bytes are not those that were scanned.
        """
        location = self.locate(index)
        if location is None:
            raise Vanished("the file can't be read: it no longer exists")
        data = read_bytes(location, offset=self.offsets[index].as_py(), size=self.sizes[index].as_py())
        check_unchanged(data, self.sha256s[index].as_py())
        return data


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
    photos_sha256: str = ""
    """SHA-256 of the run's own list of these photos, photos.parquet; empty if they are not from it."""
    photos_left_out: int = 0
    """Photos of the manifest that are left out, because they have changed since the scan."""


def load_datasets(path: Location, roots: Sequence[Path] = ()) -> Datasets:
    """Read a filtered manifest, and check that its photos exist and are those that were scanned.

    Args:
        path: a manifest that `curate filter` or `curate pack` wrote, or a pack's folder.
        roots: folders to look in if the photos have moved since the scan.

    Raises:
        ManifestError: as `read_rows` and `check_rows`.
    """
    return make_datasets(check_rows(read_rows(path), roots), roots)


def read_rows(path: Location) -> Manifest:
    """Read what training needs of a filtered manifest or a pack.

    Raises:
        ManifestError: the manifest can't be read, is empty, or has no color photos or no training photos.
    """
    if isinstance(path, Path) and any(path.glob("shard-*.arrow")) and not (path / MANIFEST_NAME).exists():
        raise ManifestError(f"{path} is an incomplete pack: run the same `curate pack` command again")
    read = manifest.read_manifest(path, required=REQUIRED_COLUMNS, columns=READ_COLUMNS)
    table = read.table.combine_chunks()
    _check_trainable(path, table)
    return replace(read, table=table)


def is_pack(table: pa.Table) -> bool:
    """Whether these are rows of a pack."""
    return {column.name for column in PACK_COLUMNS} <= set(table.column_names)


def check_rows(
    read: Manifest,
    roots: Sequence[Path] = (),
    *,
    skip_changed: bool = False,
    say: Callable[[str], None] = ignore,
) -> Manifest:
    """Check that all photos to train and validate on exist and are unchanged, or that the pack's shards are complete.

    Args:
        read: of `read_rows`.
        roots: folders to look in if the photos have moved.
        skip_changed: leave out photos that have changed, instead of refusing.
        say: prints a line for the user.

    Returns:
        The manifest without the rows that are left out.

    Raises:
        ManifestError: photos or shards are missing or have changed, or no training photo is left.
    """
    if is_pack(read.table):
        check_shards(_pack_folder(read.path), read.table)
        return read
    _check_random_access(read.path, read.table, f"run `curate pack {read.path} -o packs/NAME`, and train on packs/NAME")
    _warn_of_row_groups(read, say)
    used = pc.is_in(read.table["split"], pa.array(["train", "val"])).combine_chunks()
    how: dict[str, str] = {"advice": "bring them back"} if read.lineage and read.lineage.kind == RUN_KIND else {}
    table = leave_out_changed(read.path, read.table, used, roots, skip_changed=skip_changed, say=say, **how)
    if not pc.any(pc.equal(table["split"], "train")).as_py():
        raise ManifestError(f"all training photos of {read.path} have changed: run `curate scan` and `curate filter`")
    return replace(read, table=table)


def make_datasets(read: Manifest, roots: Sequence[Path] = ()) -> Datasets:
    """Return the photos by split, from rows that `check_rows` has checked."""
    rows_by_split = {split: read.table.filter(pc.equal(read.table["split"], split)) for split in SPLITS}
    _, *ancestors = manifest.list_ancestors(read.path, read.sha256, read.lineage)
    median = _median_colorfulness(rows_by_split["train"])
    if is_pack(read.table):
        folder = _pack_folder(read.path)
        photos: dict[str, Photos] = {
            split: packed_dataset(folder, read.sha256, rows) for split, rows in rows_by_split.items()
        }
    else:
        photos = {split: photo_dataset(rows, tuple(roots)) for split, rows in rows_by_split.items()}
    splits = photos["train"], photos["val"], photos["test"]
    size_px = read.lineage.options.get("size_px") if read.lineage and is_pack(read.table) else None
    return Datasets(read.path, read.sha256, *splits, ancestors, size_px, median)


def crop_datasets(datasets: Datasets, read: Manifest) -> Datasets:
    """Return the same photos without the bands at their sides. A pack's photos are cropped when they are packed.

    Args:
        datasets: of `make_datasets`.
        read: the manifest or pack that they are from.

    Raises:
        ManifestError: the manifest has no columns of bands, or the pack has whole photos.
    """
    if is_pack(read.table):
        if not (read.lineage and read.lineage.options.get("crop_borders")):
            raise ManifestError(f"{read.path} has whole photos: pack them again with `curate pack --crop-borders`")
        return datasets
    if absent := [name for name in BORDER_COLUMNS if name not in read.table.column_names]:
        raise ManifestError(f"{read.path} has no column {absent[0]!r}: run `curate scan` again for --crop-borders")
    splits = (datasets.train, datasets.val, datasets.test)
    train, val, test = (
        replace(photos, crops_borders=True) if isinstance(photos, PhotoDataset) else photos for photos in splits
    )
    return replace(datasets, train=train, val=val, test=test)


def load_split(
    path: Location,
    split: str,
    roots: Sequence[Path] = (),
    *,
    skip_changed: bool = False,
    say: Callable[[str], None] = ignore,
) -> tuple[PhotoDataset, str]:
    """Return the photos of one split (`train`, `val`, `test`, or `all`), and the manifest's sha256.

    Args:
        path: a filtered manifest; for `all`, any manifest.
        split: the split.
        roots, skip_changed, say: as for `check_rows`.

    Raises:
        ManifestError: the manifest can't be read or has no photos of that split; or photos are missing or have changed.
    """
    needed = ("source", "path", "bytes", "split") if split != "all" else ("source", "path", "bytes")
    read = manifest.read_manifest(path, required=needed, columns=(*needed, *CHECK_COLUMNS))
    rows = read.table.combine_chunks()
    if split != "all":
        rows = rows.filter(pc.equal(rows["split"], split))
    _check_random_access(path, rows, "unpack it, then scan and filter the folder")
    if rows.num_rows:
        used = pa.repeat(True, rows.num_rows)
        rows = leave_out_changed(path, rows, used, roots, skip_changed=skip_changed, say=say)
    if not rows.num_rows:
        raise ManifestError(f"{path} has no photos with split '{split}': choose another with --split, or --split all")
    return photo_dataset(rows, tuple(roots)), read.sha256


def _check_random_access(path: Location, rows: pa.Table, advice: str) -> None:
    """Check that no photo is in a compressed tar, where each read would begin at the tar's start.

    Raises:
        ManifestError: one is; the text ends with the advice.
    """
    if tar := find_compressed_tar(rows):
        raise ManifestError(
            f"photos of {path} are in the compressed tar {tar}, which can't be read in any order: {advice}"
        )


def _warn_of_row_groups(read: Manifest, say: Callable[[str], None]) -> None:
    """Print a line if photos are in a Parquet file with large row groups, of which each read decodes one."""
    if "tar_offset" not in read.table.column_names:
        return
    may_be = pc.match_substring_regex(read.table["path"], IN_TABLE, ignore_case=True)
    is_row = pc.and_(may_be, pc.is_valid(read.table["tar_offset"]))
    if (first := pc.index(is_row, True).as_py()) < 0:
        return
    row = read.table.slice(first, 1).to_pylist()[0]
    location = locate_photo(row["source"], row["path"], offset=row["tar_offset"])
    size = largest_row_group(location) if location else 0
    if size > LARGE_ROW_GROUP_BYTES:
        say(
            f"! slow to read: {location} has row groups of {size / 1e6:,.0f} MB, and each photo decodes up to one: run "
            f"`curate pack {read.path} -o packs/NAME`, and train on packs/NAME"
        )


def _check_trainable(path: Location, table: pa.Table) -> None:
    if not table.num_rows:
        raise ManifestError(f"{path} is empty: filter less strictly (--min-colorfulness, --keep-kind), or scan more")
    if unknown := set(pc.unique(table["split"]).to_pylist()) - {*SPLITS, None}:
        raise ManifestError(
            f"{path} has the split {min(unknown)!r}, but only {', '.join(SPLITS)} are known: run `curate filter` on it"
        )
    if not pc.any(pc.equal(table["tone"], "color")).as_py():
        raise ManifestError(f"{path} has no color photos, so there is no color to learn: scan and filter color photos")
    if not pc.any(pc.equal(table["split"], "train")).as_py():
        raise ManifestError(f"{path} has no photos with split 'train': run `curate filter` with a larger share for it")


def _pack_folder(path: Location) -> Path:
    if isinstance(path, RemotePath):
        raise ManifestError(f"{path} is a pack, which is read from a disk: copy its folder to this machine first")
    return path if path.is_dir() else path.parent


def _median_colorfulness(rows: pa.Table) -> float | None:
    (median,) = pc.quantile(rows["colorfulness"], 0.5).to_pylist()
    return None if median is None else float(median)


def photo_dataset(rows: pa.Table, roots: tuple[Path, ...] = ()) -> PhotoDataset:
    """Return the dataset of rows of a manifest; `bytes`, `tar_offset` and `sha256` are used if present."""
    # An Arrow string column holds at most 2 GiB; large_string has no such limit.
    sources, paths = (rows[name].cast(pa.large_string()).combine_chunks() for name in ("source", "path"))
    sizes, offsets = (int_column(rows, name) for name in ("bytes", "tar_offset"))
    sha256s = rows["sha256"] if "sha256" in rows.column_names else pa.chunked_array([pa.nulls(len(rows), pa.string())])
    has_borders = set(BORDER_COLUMNS) <= set(rows.column_names)
    borders = tuple(rows[name].combine_chunks() for name in BORDER_COLUMNS) if has_borders else ()
    sha256s = sha256s.cast(pa.large_string()).combine_chunks()
    return PhotoDataset(sources, paths, sizes, offsets, sha256s, roots, borders)
