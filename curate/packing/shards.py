"""Packed photos in Arrow IPC files: written in a stream, found by a byte offset, read without parsing.

A shard is an ordinary Arrow file that `pyarrow.ipc.open_file` reads. Its photos lie uncompressed one after another, so
a pack's manifest can say at which byte of which file each one starts, and a reader maps the file and takes that slice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.files import commit

MANIFEST_NAME = "manifest.parquet"
SHARD_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),  # of the file that it was made from
        pa.field("width_px", pa.int32()),
        pa.field("height_px", pa.int32()),
        pa.field("pixels", pa.large_binary()),  # (height, width, 3) uint8 sRGB, or a JPEG file of them
        pa.field("error", pa.string()),  # `Kind: what was wrong`; a row has pixels or an error
    ]
)
PACK_COLUMNS = (
    pa.field("pack_shard", pa.int32()),
    pa.field("pack_offset", pa.int64()),
    pa.field("pack_bytes", pa.int64()),
    pa.field("pack_width", pa.int32()),
    pa.field("pack_height", pa.int32()),
)
"""What a pack's manifest has beside the columns of the one that it was made from: where the pixels lie."""
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """One photo of a pack, or why there is none."""

    sha256: str
    width_px: int | None = None
    height_px: int | None = None
    pixels: bytes | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.error is None):
            raise ValueError("a packed photo has pixels or an error, never both or neither")


def shard_path(pack: Path, index: int) -> Path:
    """Where the shard of that number lies.

    >>> shard_path(Path("packs/a"), 7).as_posix()
    'packs/a/shard-000007.arrow'
    """
    return pack / f"shard-{index:06d}.arrow"


def write_shard(path: Path, photos: Iterable[Packed]) -> None:
    """Write a shard, whole or not at all, holding few photos in memory.

    Raises:
        OSError: the disk says no.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")  # a killed run's worker may still write its own
    try:
        with pa.OSFile(os.fsencode(draft), "wb") as sink, pa.ipc.new_file(sink, SHARD_SCHEMA) as out:
            waiting: list[Packed] = []
            for photo in photos:
                waiting.append(photo)
                if sum(len(each.pixels or b"") for each in waiting) >= _BATCH_BYTES:
                    out.write_batch(_batch(waiting))
                    waiting = []
            if waiting:
                out.write_batch(_batch(waiting))
        commit(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _batch(photos: list[Packed]) -> pa.RecordBatch:
    columns = [[getattr(photo, name) for photo in photos] for name in SHARD_SCHEMA.names]
    return pa.record_batch(columns, schema=SHARD_SCHEMA)


def read_errors(path: Path) -> list[str | None]:
    """Of each photo of a shard, why it isn't there; None for those that are.

    Raises:
        ValueError, OSError, KeyError: it is damaged.
    """
    with pa.memory_map(os.fsencode(path)) as source:
        file = pa.ipc.open_file(source)
        if file.schema != SHARD_SCHEMA:
            raise ValueError("it has other columns than a shard")
        batches = (file.get_batch(number) for number in range(file.num_record_batches))
        return [error for batch in batches for error in batch["error"].to_pylist()]


def read_places(path: Path, index: int) -> pa.Table:
    """`PACK_COLUMNS` of all photos of a shard, those that failed included."""
    with pa.memory_map(os.fsencode(path)) as source:
        start = source.read_buffer(source.size()).address
        file = pa.ipc.open_file(source)
        pieces = [_places(file.get_batch(number), start, index) for number in range(file.num_record_batches)]
    return pa.concat_tables(pieces)


def _places(batch: pa.RecordBatch, file_address: int, index: int) -> pa.Table:
    _, offsets, data = batch["pixels"].buffers()
    ends = np.frombuffer(offsets, np.int64, batch.num_rows + 1)
    first = (data.address - file_address) if data is not None and data.size else 0
    columns = [
        np.full(batch.num_rows, index, np.int32),
        first + ends[:-1],
        np.diff(ends),
        batch["width_px"],
        batch["height_px"],
    ]
    return pa.table(columns, schema=pa.schema(PACK_COLUMNS))
