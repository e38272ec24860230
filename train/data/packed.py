"""Photos of a pack: mapped into memory, so that a crop costs a copy of its pixels and nothing else."""

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
from curate.packing.shards import PACK_COLUMNS, shard_path

MAPPED_SHARDS = 64
"""A process keeps so many open; a sampler draws from `train.data.POOLED_SHARDS` at a time."""
LARGEST = 1.5
"""Times the crop's side: a crop from a larger pack would show too little of a photo."""


@dataclass(frozen=True, slots=True)
class PackedDataset:
    """Photos of one split of a pack, in its order. Columns stay numpy and Arrow: worker processes share them."""

    folder: Path
    pack_sha256: str
    """Of its manifest."""
    paths: pa.Array
    columns: dict[str, NDArray[Any]]
    """`PACK_COLUMNS`."""

    at_scale: ClassVar[bool] = True
    """Crops are cut from the pixels as they are."""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path below its source, as manifest text."""
        text: str = self.paths[index].as_py()
        return text

    def starts(self) -> NDArray[np.int64]:
        """Where in the list each shard but the first begins."""
        return np.flatnonzero(np.diff(self.columns["pack_shard"])) + 1

    def pixels(self, index: int, _short_side_px: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB, read-only where the pack is raw.

        Raises:
            BrokenPhoto: it isn't what was packed.
        """
        shard, first, size, width, height = (int(self.columns[column.name][index]) for column in PACK_COLUMNS)
        data = _mapped(str(shard_path(self.folder, shard)), self.pack_sha256)[first : first + size]
        if size == 3 * width * height:
            return data.reshape(height, width, 3)
        try:
            decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as exc:
            raise BrokenPhoto(f"damaged in the pack ({exc}): delete its shard and run `curate pack` again") from exc
        return decoded


def packed_dataset(folder: Path, sha256: str, rows: pa.Table) -> PackedDataset:
    """The rows of one split."""
    columns = {column.name: rows[column.name].to_numpy() for column in PACK_COLUMNS}
    return PackedDataset(folder, sha256, rows["path"].cast(pa.large_string()).combine_chunks(), columns)


def check_shards(folder: Path, rows: pa.Table) -> None:
    """Make sure that every shard is there and as long as the manifest says.

    Raises:
        ManifestError: one isn't.
    """
    ends = pa.table({"shard": rows["pack_shard"], "end": pc.add(rows["pack_offset"], rows["pack_bytes"])})
    for row in ends.group_by("shard").aggregate([("end", "max")]).to_pylist():
        path = shard_path(folder, row["shard"])
        if not path.is_file() or path.stat().st_size < row["end_max"]:
            raise ManifestError(f"{path} is gone or cut short: delete it and run `curate pack` again, which repairs it")


def check_size(pack: Path, size_px: int | None, image_size: int) -> None:
    """Make sure that crops of `image_size` can be cut from photos packed at `size_px`; None is no pack.

    Raises:
        UsageError: they can't.
    """
    if size_px is not None and not image_size <= size_px <= LARGEST * image_size:
        raise UsageError(
            f"{pack} was packed at {size_px} px, and crops of {image_size} px are cut from {image_size} to "
            f"{int(LARGEST * image_size)}: run `curate pack` with --size {image_size * 9 // 8}, or give another "
            "--image-size"
        )


@lru_cache(MAPPED_SHARDS)
def _mapped(path: str, _pack_sha256: str) -> NDArray[np.uint8]:
    """A shard's bytes; the system is asked to read it from front to back at once."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_WILLNEED"):
        mapped.madvise(mmap.MADV_WILLNEED)
    return np.frombuffer(mapped, np.uint8)
