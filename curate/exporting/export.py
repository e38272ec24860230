"""Export the photos of a manifest: WebDataset tars, Hugging Face imagefolder, copies or links.

Workers write one tar, or a part of a tree, each. An interrupted export continues: what is finished is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import OutputError, UsageError
from curate.executors.retry import Progress
from curate.exporting.card import CardContent, SplitInfo, write_card
from curate.exporting.folder import draft_path
from curate.exporting.items import (
    PASSED,
    ExportJob,
    ExportOptions,
    ExportSummary,
    JobResult,
    copy_rows,
    iter_rows,
    own_name,
    readable_rows,
)
from curate.exporting.jobs import copied_tars, run_jobs
from curate.exporting.names import ExportNames, Kind, split_folder
from curate.exporting.parquet import export_parquet
from curate.exporting.tars import TAR_PHOTOS, failed_marker, write_tar
from curate.exporting.tree import PART_PHOTOS, MetadataFiles, write_part
from curate.files import locked_output_dir, make_drafts_folder, write_errors, write_failed_csv
from curate.locations import Location, RemotePath
from curate.manifest import Manifest
from curate.sources.names import IN_TABLE
from curate.sources.photo_columns import read_photo_columns
from curate.sources.reader import PHOTO_REF_COLUMNS, photo_refs

_NAME_COLUMNS = ("source", "path", "sha256", "split", "format")
"""Columns on which the name of a photo depends."""
_FILES = {"webdataset": "{}-*.tar", "imagefolder": "{}/**"}
"""Pattern of the files of a split."""


def export_photos(
    manifest_path: Location,
    out: Location,
    kind: Kind,
    options: ExportOptions,
    *,
    progress: Progress | None = None,
) -> ExportSummary:
    """Export the photos of a manifest into the folder `out`; each file is written completely or not at all.

    File names and folders are kept; characters that some file systems can't store are replaced, and names are made
    unique. What lies beside a photo under its name goes with it. An interrupted export continues. Photos that fail are
    listed in `failed.csv`.

    Args:
        manifest_path: any manifest; rows with an error are skipped.
        out: a new or empty folder, or one with this export or an unfinished part of it.
        kind: `webdataset`: tars with each photo and its row as JSON; `imagefolder`: one folder per split, with
            metadata.jsonl; `copy`, `links`, `hardlinks`: files in the same folders as the originals; `parquet`: files
            for Hugging Face `datasets`.
        options: see `ExportOptions`.
        progress: called with the number of finished photos and the total.

    Raises:
        ManifestError: the manifest can't be read, or has no photo.
        OutputError: `out` has other content, is locked or can't be written, or a source of photos is gone.
    """
    if isinstance(out, RemotePath) and kind in ("links", "hardlinks"):
        raise UsageError(
            f"{out} is a URL, where nothing can be linked: use --to copy, or choose a local folder with -o"
        )
    if kind == "parquet":
        return export_parquet(manifest_path, out, options, progress=progress)
    plan = _make_plan(manifest.read_manifest(manifest_path, required=PHOTO_REF_COLUMNS), kind)
    with locked_output_dir(out, {"manifest": plan.read.sha256, "to": kind}):
        summary = ExportSummary(failed_sidecars=plan.failed)
        with copied_tars(plan.rows, out, options, progress):
            kept = _run(plan, out, kind, options, summary, progress)
        write_failed_csv(out, [*summary.failed, *summary.failed_sidecars])
        with write_errors(out, OutputError, "-o", resumable=True):
            rows = plan.rows if kept.all() else plan.rows.filter(pa.array(kept))
            summary.card_kept = not write_card(out, _card(plan, kind, rows))
    return summary


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """All photos of an export."""

    groups: list[tuple[str, pa.Table]]
    """The splits of tars, with their names as file names; or all rows of a tree."""
    line_columns: tuple[str, ...]
    """Columns of the metadata files; none if there are no such files."""
    read: Manifest
    """Without its rows."""
    failed: list[tuple[str, str]]
    """Path and reason of each metadata file that can't be read."""

    @property
    def rows(self) -> pa.Table:
        """The rows of the manifest, in the order of the export."""
        table = pa.concat_tables([rows for _, rows in self.groups])
        return table.drop_columns([name for name in table.column_names if name.startswith(PASSED)])


def _make_plan(read: Manifest, kind: Kind) -> ExportPlan:
    table = readable_rows(read)
    read = replace(read, table=table.schema.empty_table())  # the rows are copied below
    # Tars are read sequentially, so each should be a random sample; but photos in Parquet files are slow to read so.
    in_table = pc.any(pc.match_substring_regex(table["path"], IN_TABLE, ignore_case=True)).as_py()
    if kind == "webdataset" and not in_table:
        table = table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])
    columns = read_photo_columns(table)
    names = columns.table.column_names
    line_columns: list[str] = []
    if kind != "webdataset":
        line_columns += names
    if kind == "imagefolder":  # every line gets all columns: `datasets` infers the types from the lines
        own = (name for name in table.column_names if name != "sidecars" and table[name].null_count < table.num_rows)
        line_columns += [own_name(name, names) for name in own]
    for name in names:
        table = table.append_column(PASSED + name, columns.table[name])
    groups = _by_split(table) if kind == "webdataset" else [("", table)]
    return ExportPlan(groups, tuple(line_columns), read, columns.failed)


def _by_split(table: pa.Table) -> list[tuple[str, pa.Table]]:
    """The rows of each split, by its name as a file name."""
    folders = _split_folders(table)
    splits: list[str] = pc.unique(folders).to_pylist()
    if len(splits) == 1:
        return [(splits[0], table)]
    return [(split, table.filter(pc.equal(folders, split))) for split in splits]


def _split_folders(table: pa.Table) -> pa.Array:
    """The split of each row as a file name."""
    if "split" not in table.column_names:
        return pa.array(["train"] * table.num_rows, pa.string())
    splits = table["split"].cast(pa.string()).fill_null("train").combine_chunks().dictionary_encode()
    names = pa.array([split_folder(split) for split in splits.dictionary.to_pylist()], pa.string())
    return names.take(splits.indices)


def _run(
    plan: ExportPlan,
    out: Location,
    kind: Kind,
    options: ExportOptions,
    summary: ExportSummary,
    progress: Progress | None,
) -> NDArray[np.bool_]:
    """Run the jobs; return, for each of `plan.rows`, whether its photo is in the output."""
    total = sum(rows.num_rows for _, rows in plan.groups)
    kept = np.ones(total, np.bool_)
    report = progress or (lambda done, total: None)
    report(0, total)
    results: dict[int, JobResult] = {}
    done = 0
    with draft_path(make_drafts_folder(out)) as spool, open(spool, "w+b") as lines:
        metadata = MetadataFiles(lines)
        write = write_tar if kind == "webdataset" else write_part
        for job, result in run_jobs(write, out, _jobs(plan, out, kind), options):
            metadata.add(job.number, result.lines)
            result.lines = {}
            kept[np.array(result.failed_rows, np.int64) + job.first] = False
            summary.photos += result.photos
            summary.exported_now += result.exported_now
            if result.failed or result.failed_sidecars:
                results[job.number] = result
            report(done := done + job.rows.num_rows, total)
        metadata.write(out)
    for _, result in sorted(results.items()):
        summary.failed += result.failed
        summary.failed_sidecars += result.failed_sidecars
    return kept


def _jobs(plan: ExportPlan, out: Location, kind: Kind) -> Iterator[ExportJob]:
    """Divide the photos, and name them."""
    known = {name: info.bytes or 0 for name, info in out.list_files().items()} if isinstance(out, RemotePath) else {}
    several = len(pc.unique(plan.rows["source"])) > 1
    names = ExportNames(kind, several=several)
    count = TAR_PHOTOS if kind == "webdataset" else PART_PHOTOS
    number = first = 0
    for split, rows in plan.groups:
        for index, start in enumerate(range(0, rows.num_rows, count)):
            part = rows.slice(start, count)
            photos, sidecars = _name_photos(part, names)
            file = f"{split}-{index:06d}.tar" if kind == "webdataset" else ""
            files = (file, failed_marker(file)) if file else (*photos, *(name for group in sidecars for name in group))
            yield ExportJob(
                number=number,
                first=first,
                kind=kind,
                file=file,
                rows=copy_rows(part),
                names=photos,
                sidecar_names=sidecars,
                line_columns=plan.line_columns,
                known={name: known[name] for name in files if name in known},
            )
            number, first = number + 1, first + part.num_rows


def _name_photos(rows: pa.Table, names: ExportNames) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The name of each photo, and of the files beside it."""
    photos, sidecars = [], []
    chosen = rows.select([name for name in _NAME_COLUMNS if name in rows.column_names])
    for row, photo in zip(iter_rows(chosen), photo_refs(rows), strict=True):
        photos.append(name := names.photo(row))
        sidecars.append(tuple(names.sidecar(name, row, sidecar) for sidecar in photo.sidecars))
    return tuple(photos), tuple(sidecars)


def _card(plan: ExportPlan, kind: Kind, rows: pa.Table) -> CardContent:
    """The card of an export with these rows."""
    if kind in _FILES:
        splits = _split_folders(rows)
    elif "split" in rows.column_names:
        splits = rows["split"].fill_null("all")
    else:
        splits = pa.array(["all"] * rows.num_rows, pa.string())
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(splits).to_pylist()}
    infos = {split: SplitInfo(count, _FILES.get(kind, "").format(split)) for split, count in counts.items()}
    return CardContent(plan.read, rows, infos, kind)
