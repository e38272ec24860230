"""One Parquet file of an export: its columns, how a worker writes it, and what the end of a finished one says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.errors import PhotoError
from curate.exporting.features import hub_metadata
from curate.exporting.folder import open_draft
from curate.exporting.items import PASSED
from curate.exporting.names import clean_name, file_path
from curate.files import make_drafts_folder
from curate.locations import Location, RemotePath
from curate.sources.reader import PhotoRef, photo_refs, read_in_row_order
from curate.sources.sidecars import read_sidecar, sidecar_suffix

ROW_GROUP_PHOTOS, ROW_GROUP_BYTES = 100, 32 << 20
"""A row group ends with the photo with which it reaches one of these; a reader loads a row group at once."""
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SIDECAR_TYPES = (pa.int64(), pa.string(), pa.binary())
"""Types of a column of sidecars; each holds what those before it hold."""
_WHOLE_NUMBER = re.compile(rb"\s*(0|-?[1-9][0-9]{0,17})\s*")
_FOOTER_KEY = b"vividset_export"
"""Not `vividset.`, with which the metadata of a manifest begins: the file is a source of photos."""


@dataclass(frozen=True, slots=True)
class SidecarColumn:
    """A column with the content of all sidecars of one ending."""

    suffix: str
    name: str
    type: pa.DataType

    def convert(self, data: bytes | None) -> bytes | str | int | None:
        """The value of a sidecar; a ValueError says that the type can't hold it."""
        if data is None or pa.types.is_binary(self.type):
            return data
        if pa.types.is_string(self.type):
            return data.decode()
        if not _WHOLE_NUMBER.fullmatch(data):
            raise ValueError("not a whole number")
        return int(data)

    def widened(self) -> SidecarColumn:
        """The column with the next type, which holds more."""
        return SidecarColumn(self.suffix, self.name, SIDECAR_TYPES[SIDECAR_TYPES.index(self.type) + 1])


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One Parquet file to write."""

    name: str
    """Path below the output folder."""
    split: str
    rows: pa.Table
    """Rows of the manifest; what goes into the file has the names that it gets there, with the prefix `PASSED`."""
    numbers: NDArray[np.int64]
    """(photos,) number of each row in the export."""
    sidecars: tuple[SidecarColumn, ...]
    features: dict[str, Any] = field(default_factory=dict)
    """Features that the source of the photos recorded for columns."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file."""
        passed = [column for column in self.rows.schema if column.name.startswith(PASSED)]
        return pa.schema(
            [
                pa.field("image", IMAGE_TYPE),
                *(pa.field(column.name, column.type) for column in self.sidecars),
                *(column.with_name(column.name.removeprefix(PASSED)).with_nullable(True) for column in passed),
            ]
        )


@dataclass(slots=True)
class ShardResult:
    """What is in a finished file, or why it could not be written."""

    photos: int = 0
    bytes: int = 0
    """Of the file."""
    data_bytes: int = 0
    """Of its content, before compression."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    failed_rows: list[int] = field(default_factory=list)
    """Numbers of the rows in the job whose photo failed."""
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    too_narrow: SidecarColumn | None = None
    """A column whose type can't hold a value; then nothing was written."""


@dataclass(frozen=True, slots=True)
class ShardFooter:
    """What the end of a finished file says."""

    schema: pa.Schema
    result: ShardResult
    retry: bool
    """Whether something in it failed, and should be tried again."""


def read_footer(out: Location, name: str) -> ShardFooter | None:
    """The end of a file; None if the file is missing or damaged."""
    try:
        if isinstance(out, RemotePath):
            with (out / name).open() as file:
                return _parse_footer(pq.ParquetFile(file), file.size)
        with open(out / name, "rb") as file:
            return _parse_footer(pq.ParquetFile(file), os.fstat(file.fileno()).st_size)
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return None


def _parse_footer(file: pq.ParquetFile, size: int) -> ShardFooter:
    known = json.loads(file.metadata.metadata[_FOOTER_KEY])
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    data_bytes = sum(group.total_byte_size for group in groups)
    result = ShardResult(file.metadata.num_rows, size, data_bytes)
    return ShardFooter(file.schema_arrow.remove_metadata(), result, retry=bool(known["failed"]))


def finished_result(
    footer: ShardFooter | None, job: ShardJob, sidecars: tuple[SidecarColumn, ...]
) -> ShardResult | None:
    """The content of a file that needs no more work."""
    if footer is None or footer.retry:
        return None
    return footer.result if footer.schema.equals(replace(job, sidecars=sidecars).schema) else None


def write_shard(out: Location, job: ShardJob) -> ShardResult:
    """Write one file, in a worker; it gets its name when it is whole.

    Raises:
        OSError: it can't be written.
        OutputError: a source of photos is gone.
    """
    with open_draft(out, job.name) as draft:
        if (result := _write_draft(draft, make_drafts_folder(out), job)).too_narrow is not None:
            draft.unlink()
    return result


def _write_draft(draft: Path, copies: Path, job: ShardJob) -> ShardResult:
    result = ShardResult()
    schema = job.schema.with_metadata(hub_metadata(job.schema, job.features))
    plain = [column.name for column in schema if pa.types.is_primitive(column.type) or pa.types.is_string(column.type)]
    with (
        pa.OSFile(os.fsencode(draft), "wb") as sink,
        pq.ParquetWriter(sink, schema, compression="snappy", use_dictionary=plain, write_statistics=plain) as file,
    ):
        for start in range(0, job.rows.num_rows, ROW_GROUP_PHOTOS):
            rows = job.rows.slice(start, ROW_GROUP_PHOTOS)
            for batch in _read_batches(rows, job, start, copies, result):
                if result.too_narrow is not None:
                    return result
                file.write_table(batch)
        failed = [*result.failed, *result.failed_sidecars]
        file.add_key_value_metadata({_FOOTER_KEY.decode(): json.dumps({"failed": failed})})
    footer = pq.read_metadata(draft)
    result.bytes = draft.stat().st_size
    result.data_bytes = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    return result


def _read_batches(rows: pa.Table, job: ShardJob, first: int, copies: Path, result: ShardResult) -> Iterator[pa.Table]:
    """Read photos and their sidecars, some at a time; what fails is added to `result`."""
    read: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for number, photo in enumerate(read_in_row_order(photo_refs(rows))):
        try:
            data = photo.read(copies)
        except PhotoError as exc:
            result.failed.append((photo.path, str(exc)))
            result.failed_rows.append(first + number)
            continue
        values, sidecar_bytes = _read_sidecars(photo, job, copies, result)
        if result.too_narrow is not None:
            yield job.schema.empty_table()
            return
        values["image"] = {"bytes": data, "path": clean_name(file_path(photo.path))}
        read.append((number, values))
        size += len(data) + sidecar_bytes
        if size >= ROW_GROUP_BYTES:
            yield _to_table(rows, read, job)
            result.photos += len(read)
            read, size = [], 0
    if read:
        yield _to_table(rows, read, job)
        result.photos += len(read)


def _read_sidecars(photo: PhotoRef, job: ShardJob, copies: Path, result: ShardResult) -> tuple[dict[str, Any], int]:
    """The values of the columns of sidecars for a photo, and their size."""
    values: dict[str, Any] = {}
    size = 0
    columns = {column.suffix: column for column in job.sidecars}
    for sidecar in photo.sidecars:
        column = columns[sidecar_suffix(photo.path, sidecar.path)]
        try:
            data = read_sidecar(photo.source, sidecar, copies)
            values[column.name] = column.convert(data)
            size += len(data)
        except PhotoError as exc:
            result.failed_sidecars.append((sidecar.path, str(exc)))
        except ValueError:  # UnicodeDecodeError is one
            result.too_narrow = column
    return values, size


def _to_table(rows: pa.Table, read: list[tuple[int, dict[str, Any]]], job: ShardJob) -> pa.Table:
    """The rows of a file for photos that were read; the other columns are taken from `rows` as they are."""
    numbers = pa.array([number for number, _ in read], pa.int64())
    columns = []
    for column in job.schema:
        passed = PASSED + column.name
        if passed in rows.column_names:
            columns.append(rows[passed].take(numbers))
        else:
            columns.append(pa.array([values.get(column.name) for _, values in read], column.type))
    return pa.table(columns, schema=job.schema)
