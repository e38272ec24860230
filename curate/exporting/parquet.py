"""Export photos as Parquet files that Hugging Face `datasets` and the Hub read: pictures, captions and measures.

An interrupted export continues: a file that exists is whole, and its metadata names what failed in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, OutputError
from curate.executors.retry import Progress
from curate.exporting.card import CardContent, SplitInfo, write_card
from curate.exporting.items import OWN_PREFIX, PASSED, ExportOptions, ExportSummary, copy_rows, readable_rows
from curate.exporting.jobs import copied_tars, run_jobs
from curate.exporting.names import split_folder
from curate.exporting.parquet_shards import (
    SIDECAR_TYPES,
    ShardFooter,
    ShardJob,
    ShardResult,
    SidecarColumn,
    finished_result,
    read_footer,
    write_shard,
)
from curate.files import locked_output_dir, write_errors, write_failed_csv
from curate.locations import Location
from curate.sources.names import is_metadata
from curate.sources.photo_columns import read_photo_columns
from curate.sources.reader import PHOTO_REF_COLUMNS
from curate.sources.sidecars import sidecar_suffix

PARQUET_COLUMNS = ("width", "height", "colorfulness", "tone", "sha256")
"""Columns of the manifest in the output if none are chosen, as far as the manifest has them."""
_BYTES_PER_MB = 1_000_000
MAX_KINDS = 100
"""Different endings of files beside photos, each of which is a column."""
_TEXT_SUFFIXES = frozenset({".txt", ".json", ".caption", ".text"})


def export_parquet(
    manifest_path: Location, out: Location, options: ExportOptions, *, progress: Progress | None = None
) -> ExportSummary:
    """Write the photos of a manifest into Parquet files: `data/SPLIT-00000-of-00012.parquet`.

    Args:
        manifest_path: any manifest; rows with an error are skipped.
        out: a new or empty folder, or one with this export or an unfinished part of it.
        options: see `ExportOptions`.
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
    readable = readable_rows(read)
    read = replace(read, table=readable.schema.empty_table())
    with locked_output_dir(out, json.loads(json.dumps(made_of))):
        rows, sidecars, features = _choose_columns(readable, options, summary)
        jobs = list(_plan(rows, options, sidecars, features))
        with copied_tars(readable, out, options, progress):
            results, sidecars = _write_all(jobs, out, options, progress)
        splits: dict[str, ShardResult] = {}
        kept = np.ones(readable.num_rows, np.bool_)
        for job, (result, is_new) in zip(jobs, results, strict=True):
            kept[job.numbers[result.failed_rows]] = False
            split = splits.setdefault(job.split, ShardResult())
            split.photos, split.bytes = split.photos + result.photos, split.bytes + result.bytes
            split.data_bytes += result.data_bytes
            summary.photos += result.photos
            summary.exported_now += result.photos * is_new
            summary.failed += result.failed
            summary.failed_sidecars += result.failed_sidecars
        write_failed_csv(out, [*summary.failed, *summary.failed_sidecars])
        infos = {
            split: SplitInfo(result.photos, f"data/{split_folder(split)}-*", result.bytes, result.data_bytes)
            for split, result in splits.items()
        }
        schema = replace(jobs[0], sidecars=sidecars).schema
        card = CardContent(read, readable.filter(pa.array(kept)), infos, "parquet", schema, jobs[0].features)
        with write_errors(out, OutputError, "-o", resumable=True):
            summary.card_kept = not write_card(out, card)
    return summary


def _choose_columns(
    rows: pa.Table, options: ExportOptions, summary: ExportSummary
) -> tuple[pa.Table, tuple[SidecarColumn, ...], dict[str, Any]]:
    """The rows with everything that workers need, the columns of sidecars, and features; names are made unique."""
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
    features: dict[str, Any] = {}
    for name in of_source.table.column_names:
        own = claim(name, "metadata_")
        chosen = chosen.append_column(PASSED + own, of_source.table[name])
        features |= {own: of_source.features[name]} if name in of_source.features else {}
    for name in dict.fromkeys(options.columns or PARQUET_COLUMNS):
        if name in rows.column_names and not _has_values(of_source.table, name, rows[name]):
            chosen = chosen.append_column(PASSED + claim(name, OWN_PREFIX), rows[name])
    return chosen, sidecars, features


def _has_values(table: pa.Table, name: str, values: pa.ChunkedArray) -> bool:
    """Whether a column of the source has the values of a measure, because it is that of an earlier export."""
    names = (known for known in table.column_names if known == name or known == OWN_PREFIX + name)
    return any(table[known].type == values.type and table[known].equals(values) for known in names)


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


def _plan(
    rows: pa.Table, options: ExportOptions, sidecars: tuple[SidecarColumn, ...], features: dict[str, Any]
) -> Iterator[ShardJob]:
    """Divide the photos of each split into files of about equal size, in the order of the manifest."""
    splits = rows["split"].fill_null("train") if "split" in rows.column_names else pa.array(["train"] * rows.num_rows)
    for split in pc.unique(splits).to_pylist():
        is_chosen = pc.equal(splits, split)
        chosen, numbers = rows.filter(is_chosen), pc.indices_nonzero(is_chosen).to_numpy()
        sizes = chosen["bytes"].fill_null(0).to_numpy() if "bytes" in chosen.column_names else np.zeros(len(chosen))
        count = max(1, round(float(sizes.sum()) / (options.shard_mb * _BYTES_PER_MB)))
        middles = np.cumsum(sizes) - sizes / 2
        ends = np.searchsorted(middles, sizes.sum() / count * np.arange(1, count)).tolist()
        bounds = sorted({0, *ends, chosen.num_rows})
        count = len(bounds) - 1
        for number in range(count):
            name = f"data/{split_folder(split)}-{number:05d}-of-{count:05d}.parquet"
            first, end = bounds[number : number + 2]
            yield ShardJob(name, split, chosen.slice(first, end - first), numbers[first:end], sidecars, features)


def _write_all(
    jobs: Sequence[ShardJob], out: Location, options: ExportOptions, progress: Progress | None
) -> tuple[list[tuple[ShardResult, bool]], tuple[SidecarColumn, ...]]:
    """Write the files that are missing; return the result of each, whether it is new, and the columns of sidecars.

    If a value doesn't fit the type of its column, the column gets a wider type, and files with the old type are written
    again.
    """
    report = progress or (lambda done, total: None)
    total = sum(job.rows.num_rows for job in jobs)
    files = {job.name: read_footer(out, job.name) for job in jobs}
    sidecars = _widest(jobs[0].sidecars, [footer.schema for footer in files.values() if footer])
    new: dict[str, ShardResult] = {}
    while True:
        kept = {job.name: result for job in jobs if (result := finished_result(files[job.name], job, sidecars))}
        new = {name: result for name, result in new.items() if name in kept}
        to_do = [job for job in jobs if job.name not in kept]
        if not to_do:
            return [(new.get(job.name, kept[job.name]), job.name in new) for job in jobs], sidecars
        done = sum(result.photos for result in kept.values())
        report(done, total)
        current = list(sidecars)  # the jobs are read as workers become free, with the types that are known by then
        pending = (replace(job, rows=copy_rows(job.rows), sidecars=tuple(current)) for job in to_do)
        for job, result in run_jobs(write_shard, out, pending, options):
            if result.too_narrow is not None:
                number = [column.name for column in current].index(result.too_narrow.name)
                if current[number].type == result.too_narrow.type:
                    current[number] = result.too_narrow.widened()
                continue
            new[job.name] = result
            files[job.name] = ShardFooter(job.schema, result, retry=False)
            report(done := done + job.rows.num_rows, total)
        sidecars = tuple(current)


def _widest(sidecars: Sequence[SidecarColumn], schemas: Sequence[pa.Schema]) -> tuple[SidecarColumn, ...]:
    """The columns with the widest types that finished files have for them."""
    found = []
    for column in sidecars:
        types = [schema.field(column.name).type for schema in schemas if column.name in schema.names]
        known = [kind for kind in types if kind in SIDECAR_TYPES]
        widest = max([column.type, *known], key=SIDECAR_TYPES.index)
        found.append(SidecarColumn(column.suffix, column.name, widest))
    return tuple(found)
