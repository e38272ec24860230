"""What an export consists of: its options, the photos of one job, what belongs to them, and the counts at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, PhotoError, UsageError
from curate.executors.engines import EngineName, check_engine_options
from curate.exporting.names import Kind
from curate.manifest import Manifest
from curate.sources.entry import Sidecar
from curate.sources.reader import PhotoRef, photo_refs
from curate.sources.sidecars import read_sidecar

SHARD_MB = 500
OWN_PREFIX = "vividset_"
"""Put before the name of a column of the manifest if the photos' source has a column of this name."""
PASSED = "\0"
"""Before the names of columns that are not of the manifest, but of metadata files and other columns of the source."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export; `columns` and `shard_mb` decide the content of Parquet files."""

    columns: tuple[str, ...] = ()
    """Columns of the manifest in Parquet files; none is `PARQUET_COLUMNS`."""
    shard_mb: int = SHARD_MB
    """Size of a Parquet file, in millions of bytes of photos."""
    workers: int | None = None
    """Worker processes; None: one per available core, with the engine `ray` of the whole cluster."""
    engine: EngineName = "processes"
    """Where the work runs: `serial`, `processes` or `ray`."""

    def __post_init__(self) -> None:
        check_engine_options(self.engine, self.workers, 1)
        if self.shard_mb < 1:
            raise UsageError(f"--shard-size must be 1 MB or more, not {self.shard_mb}")


@dataclass(slots=True)
class ExportSummary:
    """Counts of an export."""

    photos: int = 0
    """Photos in the output folder."""
    exported_now: int = 0
    """Photos that this run wrote or linked; the others were there already."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each photo that could not be exported."""
    left_out: int = 0
    """Rows that are no files of their own, and so are not in a list of paths."""
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each file beside a photo, or of its metadata, that could not be exported with it."""
    card_kept: bool = False
    """Whether the folder has a README.md that this command did not write, or that was edited."""


@dataclass(slots=True)
class JobResult:
    """What a worker did with the photos of one job."""

    photos: int = 0
    """Photos in the output."""
    exported_now: int = 0
    """Photos that this run wrote or linked."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each photo that could not be exported."""
    failed_rows: list[int] = field(default_factory=list)
    """Numbers of their rows in the job."""
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each file beside a photo that could not be exported with it."""
    lines: dict[str, bytes] = field(default_factory=dict)
    """Lines for files with the metadata of the photos, by the path of the file below the output folder."""

    def fail(self, item: ExportItem, error: PhotoError) -> None:
        """Record that a photo could not be exported."""
        self.failed.append((item.photo.path, str(error)))
        self.failed_rows.append(item.number)


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One photo and its name in the export."""

    number: int
    """Of its row in the job."""
    row: dict[str, Any]
    """The manifest row, without null values."""
    photo: PhotoRef
    name: str
    """Path below the output folder, with `/` as separator; its first part is the split, except in a tree."""
    sidecars: tuple[tuple[str, Sidecar], ...] = ()
    """The files that belong to the photo, each with its path below the output folder."""
    columns: dict[str, Any] = field(default_factory=dict)
    """What metadata files and other columns of its source say about it, without null values."""

    def read(self, result: JobResult, copies: Path) -> bytes | None:
        """The bytes of the photo; None if it can't be read, with the reason in `result`."""
        try:
            data = self.photo.read(copies)
        except PhotoError as exc:
            result.fail(self, exc)
            return None
        result.photos += 1
        result.exported_now += 1
        return data

    def read_sidecar(self, sidecar: Sidecar, result: JobResult, copies: Path) -> bytes | None:
        """The bytes of a sidecar; None if it can't be read, with the reason in `result`."""
        try:
            return read_sidecar(self.photo.source, sidecar, copies)
        except PhotoError as exc:
            result.failed_sidecars.append((sidecar.path, str(exc)))
            return None


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Photos that one worker exports: those of a tar, or a part of a tree."""

    number: int
    first: int
    """Number of its first row in the export."""
    kind: Kind
    file: str
    """The name of the tar; empty for a tree."""
    rows: pa.Table
    """Of the manifest, with the columns of the photos' source under names that begin with PASSED."""
    names: tuple[str, ...]
    """Of each photo; see `ExportItem.name`."""
    sidecar_names: tuple[tuple[str, ...], ...]
    """Of the files beside each photo."""
    line_columns: tuple[str, ...] = ()
    """Columns of a line of metadata; none if no such lines are written."""
    known: Mapping[str, int] = field(default_factory=dict)
    """Size in bytes of those files of this job that are there already, if the output is at a URL."""

    def items(self) -> Iterator[ExportItem]:
        """The photos."""
        passed = [name for name in self.rows.column_names if name.startswith(PASSED)]
        own = [name for name in self.rows.column_names if name not in (*passed, "sidecars")]
        columns = iter_rows(self.rows.select(passed).rename_columns([name[len(PASSED) :] for name in passed]))
        groups = zip(iter_rows(self.rows.select(own)), photo_refs(self.rows), strict=True)
        for number, (row, photo) in enumerate(groups):
            sidecars = tuple(zip(self.sidecar_names[number], photo.sidecars, strict=True))
            yield ExportItem(number, row, photo, self.names[number], sidecars, next(columns, {}))


def readable_rows(read: Manifest) -> pa.Table:
    """The rows of a manifest that can be exported.

    Raises:
        ManifestError: there are none.
    """
    table = read.table
    if table["sha256"].null_count:  # each filter copies the rows
        table = table.filter(pc.is_valid(table["sha256"]))
    if "error" in table.column_names and table["error"].null_count < table.num_rows:
        table = table.filter(pc.is_null(table["error"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    return table


def iter_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table, without null values."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield {name: value for name, value in row.items() if value is not None}


def copy_rows(rows: pa.Table) -> pa.Table:
    """The rows without the table that they are a slice of, which would be sent to a worker with them."""
    return rows.take(pa.array(range(rows.num_rows), pa.int64()))


def own_name(name: str, columns: Sequence[str]) -> str:
    """The name of a column of the manifest beside columns of the photos' source."""
    return f"{OWN_PREFIX}{name}" if name in columns else name
