"""Export the photos of a manifest: WebDataset tars, Hugging Face imagefolder, copies or links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, OutputError, UsageError
from curate.executors.retry import Progress
from curate.exporting.card import CardContent, SplitInfo, exported_rows, write_card
from curate.exporting.folder import ExportFolder
from curate.exporting.items import ExportItem, ExportPlan, ExportSummary
from curate.exporting.names import Kind, SidecarNames, unique_names
from curate.exporting.parquet import ParquetOptions, export_parquet
from curate.exporting.tars import write_tars
from curate.exporting.tree import write_imagefolder, write_tree
from curate.files import locked_output_dir, write_errors, write_failed_csv
from curate.locations import Location, RemotePath
from curate.sources.entry import parse_row_path, to_sidecars
from curate.sources.members import is_metadata
from curate.sources.photo_columns import read_photo_columns
from curate.sources.reader import PHOTO_REF_COLUMNS
from curate.sources.tar_copies import copied_tars


def export_photos(
    manifest_path: Location,
    out: Location,
    kind: Kind,
    *,
    parquet: ParquetOptions | None = None,
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
        parquet: how to write Parquet files.
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
        return export_parquet(manifest_path, out, parquet or ParquetOptions(), progress=progress)
    plan = _plan(manifest_path, kind)
    write = {"webdataset": write_tars, "imagefolder": write_imagefolder}.get(kind, write_tree)
    summary = ExportSummary(failed_sidecars=plan.failed)
    report = progress or (lambda done, total: None)
    with locked_output_dir(out, {"manifest": plan.read.sha256, "to": kind}):
        with copied_tars(plan.rows, out):
            for done in write(plan, ExportFolder(out), kind, summary):
                report(done, len(plan.photos))
        write_failed_csv(out, [*summary.failed, *summary.failed_sidecars])
        with write_errors(out, OutputError, "-o", resumable=True):
            summary.card_kept = not write_card(out, _card(plan, kind, summary))
    return summary


def _card(plan: ExportPlan, kind: Kind, summary: ExportSummary) -> CardContent:
    failed = {path for path, _ in summary.failed}
    in_splits = kind in ("webdataset", "imagefolder")
    splits = Counter(
        photo.name.partition("/")[0] if in_splits else photo.row.get("split", "all")
        for photo in plan.photos
        if photo.row["path"] not in failed
    )
    patterns = {"webdataset": "{}-*.tar", "imagefolder": "{}/**"}
    infos = {split: SplitInfo(count, patterns.get(kind, "").format(split)) for split, count in splits.items()}
    return CardContent(plan.read, exported_rows(plan.rows, summary.failed), infos, kind)


def _plan(path: Location, kind: Kind) -> ExportPlan:
    """The photos of a manifest that can be exported, with their names and what belongs to them."""
    read = manifest.read_manifest(path, required=PHOTO_REF_COLUMNS)
    table = read.table.filter(pc.is_valid(read.table["sha256"]))
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    # Tars are read sequentially, so each should be a random sample; but photos in Parquet files are slow to read so.
    if kind == "webdataset" and not any(map(parse_row_path, table["path"].to_pylist())):
        table = table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])
    columns = read_photo_columns(table)
    rows = list(_rows(table))
    several = len(pc.unique(table["source"])) > 1
    sidecar_names = SidecarNames()
    photos = []
    for row, values, name in zip(rows, _rows(columns.table), unique_names(rows, kind, several=several), strict=True):
        found = [file for file in to_sidecars(row.pop("sidecars", None)) if not is_metadata(file.path)]
        sidecars = tuple((sidecar_names.name(name, row["path"], file, source=row["source"]), file) for file in found)
        photos.append(ExportItem(row, name, sidecars, values))
    return ExportPlan(photos, columns.table.column_names, read, table, columns.failed)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table, without null values."""
    if not table.num_columns:
        yield from ({} for _ in range(table.num_rows))
    for batch in table.to_batches(max_chunksize=1024) if table.num_columns else ():
        for row in batch.to_pylist():
            yield {name: value for name, value in row.items() if value is not None}
