"""The photos of a pack. Its shards are mapped into memory, so that reading a raw photo is a copy of its pixels."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from curate.errors import BrokenPhoto, ManifestError, UsageError
from curate.locations import Location
from curate.packing.shards import PACK_COLUMNS, shard_path
from curate.sources import as_photo_error

MAX_MAPPED_SHARDS = 64
"""Shards that a process keeps mapped. A sampler draws from `train.data.sampler.POOLED_SHARDS` of them at a time."""
MAX_SIZE_RATIO = 1.5
"""Largest allowed packed size ÷ crop size: crops from a larger pack would show too little of each photo."""


@dataclass(frozen=True, slots=True)
class PackedDataset:
    """Photos of one split of a pack, in the pack's order.

    The columns are numpy and Arrow arrays: worker processes share those, where Python objects would be copied.
    """

    folder: Path
    pack_sha256: str
    """Of the pack's manifest."""
    paths: pa.Array
    columns: dict[str, NDArray[Any]]
    """By the names in `PACK_COLUMNS`."""

    unscaled: ClassVar[bool] = True
    """Crops are cut from the pixels as they are, without scaling: packing has scaled the photo."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path below the photo's source, escaped as in manifests."""
        text: str = self.paths[index].as_py()
        return text

    def shard_starts(self) -> NDArray[np.int64]:
        """Return the index of the first photo of every shard but the first."""
        return np.flatnonzero(np.diff(self.columns["pack_shard"])) + 1

    def read_pixels(self, index: int, _short_side_px: int) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 sRGB at the packed size; a read-only view if the pack is raw.

        Raises:
            PhotoError: the shard can't be read, or the stored JPEG is damaged.
        """
        shard, first, size, width, height = (int(self.columns[column.name][index]) for column in PACK_COLUMNS)
        data = _map_shard(str(shard_path(self.folder, shard)), self.pack_sha256)[first : first + size]
        if size == 3 * width * height:  # raw pixels have exactly this size, and a JPEG has another
            return data.reshape(height, width, 3)
        try:
            decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as exc:
            raise BrokenPhoto(f"damaged in the pack ({exc}): delete its shard and run `curate pack` again") from exc
        return decoded


def packed_dataset(folder: Path, sha256: str, rows: pa.Table) -> PackedDataset:
    """Return the dataset of one split from the rows of the pack's manifest."""
    columns = {column.name: rows[column.name].to_numpy() for column in PACK_COLUMNS}
    return PackedDataset(folder, sha256, rows["path"].cast(pa.large_string()).combine_chunks(), columns)


def check_shards(folder: Path, rows: pa.Table) -> None:
    """Check that every shard exists and is at least as long as the manifest says.

    Raises:
        ManifestError: a shard is missing or too short.
    """
    ends = pa.table({"shard": rows["pack_shard"], "end": pc.add(rows["pack_offset"], rows["pack_bytes"])})
    for row in ends.group_by("shard").aggregate([("end", "max")]).to_pylist():
        path = shard_path(folder, row["shard"])
        if not path.is_file() or path.stat().st_size < row["end_max"]:
            raise ManifestError(
                f"{path} is missing or incomplete: delete it if it exists, and run `curate pack` again to rebuild it"
            )


def check_pack_size(pack: Location, size_px: int | None, image_size: int) -> None:
    """Check that crops of `image_size` px can be cut from photos packed at `size_px` px; None means no pack.

    Raises:
        UsageError: the pack is smaller than the crops, or more than `MAX_SIZE_RATIO` times as large.
    """
    if size_px is not None and not image_size <= size_px <= MAX_SIZE_RATIO * image_size:
        raise UsageError(
            f"{pack} was packed at {size_px} px, but crops of {image_size} px need a pack of {image_size} to "
            f"{int(MAX_SIZE_RATIO * image_size)} px: run `curate pack` with --size {image_size * 9 // 8}, or choose "
            "another --image-size"
        )


@lru_cache(MAX_MAPPED_SHARDS)
def _map_shard(path: str, _pack_sha256: str) -> NDArray[np.uint8]:
    """Map a shard. The hash is part of the cache's key, so that a pack that was made again is mapped again."""
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as exc:
        raise as_photo_error(exc, "its shard can't be read") from exc
    if hasattr(mmap, "MADV_WILLNEED"):
        mapped.madvise(mmap.MADV_WILLNEED)  # read ahead in order: random access to a cold file is slow
    return np.frombuffer(mapped, np.uint8)
