"""Export photos as Parquet files that Hugging Face `datasets` and the Hub read: pictures, captions and measures.

An interrupted export continues: a file that exists is whole, and its metadata names what failed in it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import manifest
from curate.errors import ManifestError, OutputError, PhotoError, UsageError
from curate.executors.engines import ENGINES, EngineName, WorkerLost, check_engine_options
from curate.executors.retry import Progress
from curate.exporting.card import CardContent, SplitInfo, exported_rows, write_card
from curate.exporting.features import hub_metadata
from curate.exporting.items import OWN_PREFIX, ExportSummary
from curate.exporting.names import clean_name
from curate.files import commit, locked_output_dir, make_drafts_folder, write_errors, write_failed_csv
from curate.locations import Location, RemotePath
from curate.manifest import Manifest
from curate.sources.members import is_metadata
from curate.sources.photo_columns import read_photo_columns
from curate.sources.reader import PHOTO_REF_COLUMNS, PhotoRef, photo_refs
from curate.sources.sidecars import read_sidecar, sidecar_suffix
from curate.sources.tar_copies import copied_tars, use_copies

PARQUET_COLUMNS = ("width", "height", "colorfulness", "tone", "sha256")
"""Columns of the manifest in the output if none are chosen, as far as the manifest has them."""
SHARD_MB = 500
_BYTES_PER_MB = 1_000_000
ROW_GROUP_PHOTOS, ROW_GROUP_BYTES = 100, 32 << 20
"""A row group ends with the photo with which it reaches one of these; a reader loads a row group at once."""
MAX_KINDS = 100
"""Different endings of files beside photos, each of which is a column."""
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT_SUFFIXES = frozenset({".txt", ".json", ".caption", ".text"})
_TYPES = (pa.int64(), pa.string(), pa.binary())
"""Types of a column of sidecars; each holds what those before it hold."""
_WHOLE_NUMBER = re.compile(rb"\s*(0|-?[1-9][0-9]{0,17})\s*")
_FOOTER_KEY = b"vividset_export"
"""Not `vividset.`, with which the metadata of a manifest begins: the file is a source of photos."""


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How to write Parquet files; `columns` and `shard_mb` decide their content."""

    columns: tuple[str, ...] = ()
    """Columns of the manifest; none is PARQUET_COLUMNS."""
    shard_mb: int = SHARD_MB
    """Size of a file, in millions of bytes of photos."""
    workers: int | None = None
    """Worker processes; None: one per available core, with the engine `ray` of the whole cluster."""
    engine: EngineName = "processes"

    def __post_init__(self) -> None:
        check_engine_options(self.engine, self.workers, 1)
        if self.shard_mb < 1:
            raise UsageError(f"--shard-size must be 1 MB or more, not {self.shard_mb}")


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
        return SidecarColumn(self.suffix, self.name, _TYPES[_TYPES.index(self.type) + 1])


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One Parquet file to write."""

    name: str
    """Path below the output folder."""
    split: str
    rows: pa.Table
    """Rows of the manifest; what goes into the file has the names that it gets there, with the prefix `PASSED`."""
    sidecars: tuple[SidecarColumn, ...]

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


PASSED = "\0"
"""Before the names of columns that are passed on as they are."""


@dataclass(slots=True)
class ShardResult:
    """What is in a finished file, or why it could not be written."""

    photos: int = 0
    bytes: int = 0
    """Of the file."""
    data_bytes: int = 0
    """Of its content, before compression."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    too_narrow: SidecarColumn | None = None
    """A column whose type can't hold a value; then nothing was written."""


def export_parquet(
    manifest_path: Location, out: Location, options: ParquetOptions, *, progress: Progress | None = None
) -> ExportSummary:
    """Write the photos of a manifest into Parquet files: `data/SPLIT-00000-of-00012.parquet`.

    Args:
        manifest_path: any manifest; rows with an error are skipped.
        out: a new or empty folder, or one with this export or an unfinished part of it.
        options: see `ParquetOptions`.
        progress: called with the number of finished photos and the total.

    Raises:
        ManifestError: the manifest can't be read, or has no photo or no such column.
        OutputError: `out` has other content, is locked or can't be written, or a source of photos is gone.
    """
    read = manifest.read_manifest(manifest_path, required=PHOTO_REF_COLUMNS)
    for name in options.columns:
        if name not in read.table.column_names:
            raise ManifestError(f"{manifest_path} has no column {name!r}: choose from those of `curate inspect`")
    summary = ExportSummary()
    made_of = {"manifest": read.sha256, "to": "parquet", "columns": options.columns, "shard_mb": options.shard_mb}
    readable = _readable_rows(read)
    with locked_output_dir(out, json.loads(json.dumps(made_of))):
        rows, sidecars = _choose_columns(readable, options, summary)
        jobs = list(_plan(rows, options, sidecars))
        with copied_tars(readable, out):
            results, sidecars = _write_all(jobs, out, options, progress)
        splits: dict[str, ShardResult] = {}
        for job, (result, is_new) in zip(jobs, results, strict=True):
            split = splits.setdefault(job.split, ShardResult())
            split.photos, split.bytes = split.photos + result.photos, split.bytes + result.bytes
            split.data_bytes += result.data_bytes
            summary.photos += result.photos
            summary.exported_now += result.photos * is_new
            summary.failed += result.failed
            summary.failed_sidecars += result.failed_sidecars
        write_failed_csv(out, [*summary.failed, *summary.failed_sidecars])
        infos = {
            split: SplitInfo(result.photos, f"data/{_file_name(split)}-*", result.bytes, result.data_bytes)
            for split, result in splits.items()
        }
        schema = _replace_sidecars(jobs[0], sidecars).schema
        card = CardContent(read, exported_rows(readable, summary.failed), infos, "parquet", schema)
        with write_errors(out, OutputError, "-o", resumable=True):
            summary.card_kept = not write_card(out, card)
    return summary


def _readable_rows(read: Manifest) -> pa.Table:
    table = read.table.filter(pc.is_valid(read.table["sha256"]))
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    return table


def _choose_columns(
    rows: pa.Table, options: ParquetOptions, summary: ExportSummary
) -> tuple[pa.Table, tuple[SidecarColumn, ...]]:
    """The rows with everything that workers need, and the columns of sidecars; names are made unique."""
    taken = {"image"}

    def claim(name: str, prefix: str) -> str:
        while name.casefold() in taken:
            name = prefix + name
        taken.add(name.casefold())
        return name

    suffixes = _find_suffixes(rows)
    sidecars = tuple(
        SidecarColumn(suffix, claim(suffix.lstrip(".") or "sidecar", "sidecar_"), _first_type(suffix))
        for suffix in suffixes
    )
    of_source = read_photo_columns(rows)
    summary.failed_sidecars += of_source.failed
    wanted = [*PHOTO_REF_COLUMNS, "bytes", "tar_offset", "sidecars", "split", "format"]
    chosen = rows.select([name for name in wanted if name in rows.column_names])
    for name in of_source.table.column_names:
        chosen = chosen.append_column(PASSED + claim(name, "metadata_"), of_source.table[name])
    for name in dict.fromkeys(options.columns or PARQUET_COLUMNS):
        if name in rows.column_names:
            chosen = chosen.append_column(PASSED + claim(name, OWN_PREFIX), rows[name])
    return chosen, sidecars


def _find_suffixes(rows: pa.Table) -> list[str]:
    """The endings of all sidecars, sorted."""
    found: set[str] = set()
    if "sidecars" not in rows.column_names or rows["sidecars"].null_count == rows.num_rows:
        return []
    for batch in rows.select(["path", "sidecars"]).to_batches(max_chunksize=4096):
        numbers = pc.list_parent_indices(batch["sidecars"])
        paths = pc.list_flatten(batch["sidecars"]).field("path").to_pylist()
        photos = batch["path"].take(numbers).to_pylist()
        pairs = zip(photos, paths, strict=True)
        found |= {sidecar_suffix(photo, path) for photo, path in pairs if not is_metadata(path)}
    if len(found) > MAX_KINDS:
        examples = ", ".join(sorted(found)[:3])
        raise OutputError(
            f"the files beside the photos have {len(found):,} different endings ({examples}, ...), and each would be a "
            "column: scan again, and leave out those that don't belong to the photos with --exclude"
        )
    return sorted(found)


def _first_type(suffix: str) -> pa.DataType:
    """The type that a column of sidecars gets unless a value doesn't fit it."""
    if suffix.lower() == ".cls":
        return pa.int64()
    return pa.string() if suffix.lower() in _TEXT_SUFFIXES else pa.binary()


def _plan(rows: pa.Table, options: ParquetOptions, sidecars: tuple[SidecarColumn, ...]) -> Iterator[ShardJob]:
    """Divide the photos of each split into files of about equal size, in the order of the manifest."""
    splits = rows["split"].fill_null("train") if "split" in rows.column_names else pa.array(["train"] * rows.num_rows)
    for split in pc.unique(splits).to_pylist():
        chosen = rows.filter(pc.equal(splits, split))
        sizes = chosen["bytes"].fill_null(0).to_numpy() if "bytes" in chosen.column_names else np.zeros(len(chosen))
        count = max(1, round(float(sizes.sum()) / (options.shard_mb * _BYTES_PER_MB)))
        middles = np.cumsum(sizes) - sizes / 2
        ends = np.searchsorted(middles, sizes.sum() / count * np.arange(1, count)).tolist()
        bounds = sorted({0, *ends, chosen.num_rows})
        count = len(bounds) - 1
        for number in range(count):
            name = f"data/{_file_name(split)}-{number:05d}-of-{count:05d}.parquet"
            yield ShardJob(name, split, chosen.slice(bounds[number], bounds[number + 1] - bounds[number]), sidecars)


def _file_name(split: str) -> str:
    """The name of a split as part of a file name."""
    return clean_name(split).replace("/", "_")


def _write_all(
    jobs: Sequence[ShardJob], out: Location, options: ParquetOptions, progress: Progress | None
) -> tuple[list[tuple[ShardResult, bool]], tuple[SidecarColumn, ...]]:
    """Write the files that are missing; return the result of each, whether it is new, and the columns of sidecars.

    If a value doesn't fit the type of its column, the column gets a wider type, and files with the old type are written
    again.
    """
    report = progress or (lambda done, total: None)
    total = sum(job.rows.num_rows for job in jobs)
    files = {job.name: _read_footer(out, job.name) for job in jobs}
    sidecars = _widest(jobs[0].sidecars, [footer.schema for footer in files.values() if footer])
    new: dict[str, ShardResult] = {}
    while True:
        kept = {job.name: result for job in jobs if (result := _finished(files[job.name], job, sidecars))}
        new = {name: result for name, result in new.items() if name in kept}
        to_do = [job for job in jobs if job.name not in kept]
        if not to_do:
            return [(new.get(job.name, kept[job.name]), job.name in new) for job in jobs], sidecars
        done = sum(result.photos for result in kept.values())
        report(done, total)
        current = list(sidecars)  # the jobs are read as workers become free, with the types that are known by then
        pending = (_copied(_replace_sidecars(job, tuple(current))) for job in to_do)
        for outcome in ENGINES[options.engine](partial(write_shard, out), pending, workers=options.workers):
            if isinstance(outcome, WorkerLost):
                raise OutputError(
                    f"the process that wrote {outcome.item.name} ended: is the memory full? Run the same command again "
                    "with fewer --workers; what is finished is kept"
                )
            job, result = outcome.item, outcome.result
            if result.too_narrow is not None:
                number = [column.name for column in current].index(result.too_narrow.name)
                if current[number].type == result.too_narrow.type:
                    current[number] = result.too_narrow.widened()
                continue
            new[job.name] = result
            files[job.name] = _Footer(job.schema, result, retry=False)
            report(done := done + job.rows.num_rows, total)
        sidecars = tuple(current)


def _replace_sidecars(job: ShardJob, sidecars: tuple[SidecarColumn, ...]) -> ShardJob:
    return ShardJob(job.name, job.split, job.rows, sidecars)


def _copied(job: ShardJob) -> ShardJob:
    """The job with a copy of its rows: a slice of a table would be sent to a worker with the whole table."""
    return ShardJob(job.name, job.split, job.rows.take(pa.array(range(job.rows.num_rows), pa.int64())), job.sidecars)


@dataclass(frozen=True, slots=True)
class _Footer:
    """What the end of a finished file says."""

    schema: pa.Schema
    result: ShardResult
    retry: bool
    """Whether something in it failed, and should be tried again."""


def _read_footer(out: Location, name: str) -> _Footer | None:
    """The end of a file; None if the file is missing or damaged."""
    try:
        if isinstance(out, RemotePath):
            with (out / name).open() as file:
                return _parse_footer(pq.ParquetFile(file), file.size)
        with open(out / name, "rb") as file:
            return _parse_footer(pq.ParquetFile(file), os.fstat(file.fileno()).st_size)
    except (OSError, pa.ArrowException, ValueError, KeyError):
        return None


def _parse_footer(file: pq.ParquetFile, size: int) -> _Footer:
    known = json.loads(file.metadata.metadata[_FOOTER_KEY])
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    data_bytes = sum(group.total_byte_size for group in groups)
    result = ShardResult(file.metadata.num_rows, size, data_bytes)
    return _Footer(file.schema_arrow.remove_metadata(), result, retry=bool(known["failed"]))


def _finished(footer: _Footer | None, job: ShardJob, sidecars: tuple[SidecarColumn, ...]) -> ShardResult | None:
    """The content of a file that needs no more work."""
    if footer is None or footer.retry:
        return None
    return footer.result if footer.schema.equals(_replace_sidecars(job, sidecars).schema) else None


def _widest(sidecars: Sequence[SidecarColumn], schemas: Sequence[pa.Schema]) -> tuple[SidecarColumn, ...]:
    """The columns with the widest types that finished files have for them."""
    found = []
    for column in sidecars:
        types = [schema.field(column.name).type for schema in schemas if column.name in schema.names]
        known = [kind for kind in types if kind in _TYPES]
        widest = max([column.type, *known], key=_TYPES.index)
        found.append(SidecarColumn(column.suffix, column.name, widest))
    return tuple(found)


def write_shard(out: Location, job: ShardJob) -> ShardResult:
    """Write one file, in a worker; it gets its name when it is whole.

    Raises:
        OutputError: it can't be written, or a source of photos is gone.
    """
    with write_errors(out, OutputError, "-o", resumable=True), use_copies(out):
        if isinstance(out, RemotePath):
            with TemporaryDirectory(dir=make_drafts_folder(out)) as scratch:
                draft = Path(scratch, "draft")
                if (result := _write_draft(draft, job)).too_narrow is None:
                    commit(draft, out / job.name)
                return result
        draft = out / f".{job.name.replace('/', '-')}.{os.getpid()}.draft"
        try:
            if (result := _write_draft(draft, job)).too_narrow is None:
                (out / job.name).parent.mkdir(exist_ok=True)
                commit(draft, out / job.name)
        finally:
            draft.unlink(missing_ok=True)
    return result


def _write_draft(draft: Path, job: ShardJob) -> ShardResult:
    result = ShardResult()
    schema = job.schema.with_metadata(hub_metadata(job.schema))
    plain = [column.name for column in schema if pa.types.is_primitive(column.type) or pa.types.is_string(column.type)]
    with (
        pa.OSFile(os.fsencode(draft), "wb") as sink,
        pq.ParquetWriter(sink, schema, compression="snappy", use_dictionary=plain, write_statistics=plain) as file,
    ):
        for start in range(0, job.rows.num_rows, ROW_GROUP_PHOTOS):
            rows = job.rows.slice(start, ROW_GROUP_PHOTOS)
            for batch in _read_batches(rows, job, result):
                if result.too_narrow is not None:
                    return result
                file.write_table(batch)
        failed = [*result.failed, *result.failed_sidecars]
        file.add_key_value_metadata({_FOOTER_KEY.decode(): json.dumps({"failed": failed})})
    footer = pq.read_metadata(draft)
    result.bytes = draft.stat().st_size
    result.data_bytes = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    return result


def _read_batches(rows: pa.Table, job: ShardJob, result: ShardResult) -> Iterator[pa.Table]:
    """Read photos and their sidecars, some at a time; what fails is added to `result`."""
    read: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for number, photo in enumerate(photo_refs(rows)):
        try:
            data = photo.read()
        except PhotoError as exc:
            result.failed.append((photo.path, str(exc)))
            continue
        values, sidecar_bytes = _read_sidecars(photo, job, result)
        if result.too_narrow is not None:
            yield job.schema.empty_table()
            return
        values["image"] = {"bytes": data, "path": clean_name(photo.path)}
        read.append((number, values))
        size += len(data) + sidecar_bytes
        if size >= ROW_GROUP_BYTES:
            yield _to_table(rows, read, job)
            result.photos += len(read)
            read, size = [], 0
    if read:
        yield _to_table(rows, read, job)
        result.photos += len(read)


def _read_sidecars(photo: PhotoRef, job: ShardJob, result: ShardResult) -> tuple[dict[str, Any], int]:
    """The values of the columns of sidecars for a photo, and their size."""
    values: dict[str, Any] = {}
    size = 0
    columns = {column.suffix: column for column in job.sidecars}
    for sidecar in photo.sidecars:
        column = columns[sidecar_suffix(photo.path, sidecar.path)]
        try:
            data = read_sidecar(photo.source, sidecar)
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
