"""Shards: Arrow IPC files with the pixels of packed photos.

`pyarrow.ipc.open_file` reads a shard. The pixels are stored uncompressed, so the manifest of a pack can give the file,
byte offset and length of each photo, and a reader can memory-map the file and slice it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.files import commit, make_drafts_folder, write_atomic
from curate.locations import Location, RemotePath

PackFolder = TypeVar("PackFolder", Path, RemotePath)
MANIFEST_NAME = "manifest.parquet"
SIDECAR_FIELDS = (
    pa.field("suffix", pa.string()),
    pa.field("path", pa.string()),
    pa.field("data", pa.binary()),
    pa.field("error", pa.string()),
)
"""A file beside a photo: the end of its name (`.txt`), its path below the source, and its content."""
SHARD_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),  # of the original file
        pa.field("width_px", pa.int32()),
        pa.field("height_px", pa.int32()),
        pa.field("pixels", pa.large_binary()),  # (height, width, 3) uint8 sRGB, or a JPEG file of them
        pa.field("error", pa.string()),  # `Kind: reason`; a row has either pixels or an error
        # what lies beside the original under its stem: an entry has either data or an error
        pa.field("sidecars", pa.list_(pa.struct(SIDECAR_FIELDS))),
    ]
)
PACK_COLUMNS = (
    pa.field("pack_shard", pa.int32()),
    pa.field("pack_offset", pa.int64()),
    pa.field("pack_bytes", pa.int64()),
    pa.field("pack_width", pa.int32()),
    pa.field("pack_height", pa.int32()),
)
"""Columns that a pack adds to the manifest: where the pixels of each photo are."""
ERROR_FIELDS = (
    pa.field("error", pa.string()),
    pa.field("sidecar_errors", pa.list_(pa.struct([("path", pa.string()), ("error", pa.string())]))),
)
"""What failed, in the index of a shard: the photo itself, or files beside it."""
_BATCH_BYTES = 16 << 20
"""Pixels that are collected in memory before they are written."""


class PackedSidecar(NamedTuple):
    """A file beside a photo: its content, or why it could not be read."""

    suffix: str
    path: str
    data: bytes | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PackedPhoto:
    """One row of a shard: the pixels of a photo, or the error of a photo that could not be packed."""

    sha256: str
    width_px: int | None = None
    height_px: int | None = None
    pixels: bytes | None = None
    error: str | None = None
    sidecars: tuple[PackedSidecar, ...] = ()

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.error is None):
            raise ValueError("a packed photo has pixels or an error, never both or neither")


def shard_path(pack: PackFolder, index: int) -> PackFolder:
    """Path of the shard with this number.

    >>> shard_path(Path("packs/a"), 7).as_posix()
    'packs/a/shard-000007.arrow'
    """
    return pack / f"shard-{index:06d}.arrow"


def save_shard(pack: Location, index: int, photos: Iterable[PackedPhoto]) -> None:
    """Write a shard of a pack; at a URL also its index, with which the manifest is made without reading the shard.

    Raises:
        OSError: the shard can't be written.
    """
    if isinstance(pack, Path):
        write_pack_shard(shard_path(pack, index), photos)
        return
    index_file = pack / f"{shard_path(pack, index).name}.index"
    with TemporaryDirectory(dir=make_drafts_folder(pack)) as scratch:
        local = shard_path(Path(scratch), index)
        write_pack_shard(local, photos)
        content = read_shard(local, index)
        index_file.remove()  # an index without its shard is noticed, and an older index of a new shard would not be
        commit(local, shard_path(pack, index))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, content.schema) as out:
        out.write_table(content)
    write_atomic(sink.getvalue(), index_file)


def read_shards(pack: Location, count: int) -> dict[int, pa.Table]:
    """`read_shard` of the first `count` shards of a pack by number, without those that are missing or damaged."""
    if isinstance(pack, RemotePath):
        files = pack.list_files()
        names = {f"{shard_path(pack, index).name}.index": index for index in range(count)}
        indexes = pack.read_files([name for name in names if name in files and name.removesuffix(".index") in files])
        readers = {names[name]: partial(_read_index, data) for name, data in indexes.items()}
    else:
        readers = {index: partial(read_shard, shard_path(pack, index), index) for index in range(count)}
    found = {}
    for index, read in readers.items():
        with suppress(ValueError, OSError, KeyError, pa.ArrowException):
            found[index] = read()
    return found


def read_shard(path: Path, index: int) -> pa.Table:
    """`PACK_COLUMNS` and `ERROR_FIELDS` of all photos of a shard; metadata `bytes` is the size of the file.

    Raises:
        ValueError, OSError, KeyError, ArrowException: the shard is missing or damaged.
    """
    table = read_locations(path, index)
    for column, values in zip(ERROR_FIELDS, zip(*read_errors(path), strict=True), strict=True):
        table = table.append_column(column, pa.array(values, column.type))
    return table.replace_schema_metadata({"bytes": str(path.stat().st_size)})


def _read_index(data: bytes) -> pa.Table:
    return pa.ipc.open_file(data).read_all()


def write_pack_shard(path: Path, photos: Iterable[PackedPhoto]) -> None:
    """Write a shard completely or not at all, with about 16 MB of pixels in memory.

    Raises:
        OSError: the shard can't be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")  # unique: a worker of a killed run may still be writing
    try:
        with pa.OSFile(os.fsencode(draft), "wb") as sink, pa.ipc.new_file(sink, SHARD_SCHEMA) as out:
            batch: list[PackedPhoto] = []
            for photo in photos:
                batch.append(photo)
                if sum(map(_count_bytes, batch)) >= _BATCH_BYTES:
                    out.write_batch(_record_batch(batch))
                    batch = []
            if batch:
                out.write_batch(_record_batch(batch))
        commit(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _count_bytes(photo: PackedPhoto) -> int:
    return len(photo.pixels or b"") + sum(len(sidecar.data or b"") for sidecar in photo.sidecars)


def read_errors(path: Path) -> list[tuple[str | None, list[dict[str, str]] | None]]:
    """The values of `ERROR_FIELDS` of each photo of a shard; None where there is no error.

    Raises:
        ValueError, OSError, KeyError: the shard is damaged.
    """
    with pa.memory_map(os.fsencode(path)) as source:
        file = pa.ipc.open_file(source)
        if file.schema != SHARD_SCHEMA:
            raise ValueError("the file doesn't have the columns of a shard")
        rows: list[tuple[str | None, list[dict[str, str]] | None]] = []
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            for column in ("error", "sidecars"):
                batch[column].validate(full=True)  # wrong offsets of a damaged file would end the process
            rows += zip(batch["error"].to_pylist(), _sidecar_errors(batch), strict=True)
        return rows


def _sidecar_errors(batch: pa.RecordBatch) -> list[list[dict[str, str]] | None]:
    """Path and error of the sidecars of each photo that could not be read; None for photos without such."""
    errors: list[list[dict[str, str]] | None] = [None] * batch.num_rows
    files = pc.list_flatten(batch["sidecars"])
    failed = pc.is_valid(files.field("error"))
    rows = pc.list_parent_indices(batch["sidecars"]).filter(failed).to_pylist()
    paths, texts = (files.field(name).filter(failed).to_pylist() for name in ("path", "error"))
    for row, path, text in zip(rows, paths, texts, strict=True):
        errors[row] = [*(errors[row] or []), {"path": path, "error": text}]
    return errors


def read_locations(path: Path, index: int) -> pa.Table:
    """`PACK_COLUMNS` of all photos of a shard, failed ones included.

    Args:
        path: the shard.
        index: its number.
    """
    with pa.memory_map(os.fsencode(path)) as source:
        start = source.read_buffer(source.size()).address
        file = pa.ipc.open_file(source)
        parts = [_locations(file.get_batch(number), start, index) for number in range(file.num_record_batches)]
    return pa.concat_tables(parts)


def _record_batch(photos: list[PackedPhoto]) -> pa.RecordBatch:
    columns = [[getattr(photo, name) for photo in photos] for name in SHARD_SCHEMA.names]
    return pa.record_batch(columns, schema=SHARD_SCHEMA)


def _locations(batch: pa.RecordBatch, file_address: int, index: int) -> pa.Table:
    """`PACK_COLUMNS` of one record batch; `file_address` is the memory address of the mapped file."""
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
