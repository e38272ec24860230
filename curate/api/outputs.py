"""What is made from a manifest: packs for training, exports for other tools, and the report page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import curate.exporting.export
import curate.packing.pack
import curate.report
from curate.api.arguments import StrPath, call_text, choose_options, to_roots
from curate.errors import UsageError
from curate.executors.engines import EngineName
from curate.executors.retry import Progress
from curate.exporting.items import SHARD_MB, ExportOptions, ExportSummary
from curate.exporting.lists import ListKind, export_list
from curate.exporting.names import Kind
from curate.locations import parse_location
from curate.packing.pack import PackOptions, PackSummary
from curate.report import ReportSummary


def pack_photos(
    manifest: StrPath,
    out: StrPath | None = None,
    *,
    size_px: int = 288,
    encoding: Literal["raw", "jpeg"] = "raw",
    quality: int = 95,
    workers: int | None = None,
    engine: EngineName = "processes",
    timeout_s: float = 60.0,
    overwrite: bool = False,
    crop_borders: bool = False,
    options: PackOptions | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> PackSummary:
    """Resize the photos of a manifest once, into shards that `train.fit` reads fast.

    Args:
        manifest: a manifest of `filter_manifest`; rows with an error are left out.
        out: folder or URL of the pack, new or with a part of it; None is `packs/NAME OF THE MANIFEST`.
        size_px: short side of the packed photos, 32 to 4096 px; smaller photos stay as they are.
        encoding: `raw` reads fastest; `jpeg` (4:4:4) takes about a fifth of the space.
        quality: of JPEGs, 95 to 100.
        workers: processes that decode, 1 or more; None is one per available core.
        engine: `processes`, `serial` or `ray`, as in `scan_photos`.
        timeout_s: seconds after which decoding one photo is given up.
        overwrite: replace another pack in the folder.
        crop_borders: pack only what is inside of the bands that the scan found.
        options: all settings above as one object, instead of single arguments.
        progress: called with the number of photos done and of all photos to pack.
        command: text that the pack records as what made it; None records this call.

    Returns:
        Counts: `photos`, `packed_now`, `bytes`; `failed` (path and reason of each photo that failed) and
        `failed_sidecars` (of each file beside a photo that could not be read).

    Raises:
        ManifestError: the manifest cannot be read, or has no photo.
        OutputError: `out` has other content, is locked or cannot be written, or a source is lost.
        UsageError: an argument has no meaning.

    Example:
        >>> curate.pack_photos("clean.parquet", "packs/clean", size_px=288).photos  # doctest: +SKIP
        871
    """
    chosen = choose_options(
        options,
        PackOptions(size_px, encoding, quality, workers, timeout_s, overwrite, engine, crop_borders),
        PackOptions(),
    )
    source = parse_location(manifest)
    folder = Path("packs") / source.stem if out is None else parse_location(out)
    command = call_text(command, "pack_photos", manifest, folder)
    return curate.packing.pack.pack_photos(source, folder, chosen, command=command, progress=progress)


def export_photos(
    manifest: StrPath,
    out: StrPath,
    kind: Literal["webdataset", "imagefolder", "parquet", "copy", "links", "hardlinks", "txt", "csv"],
    *,
    columns: str | Sequence[str] = (),
    null: bool = False,
    shard_mb: int = SHARD_MB,
    workers: int | None = None,
    engine: EngineName = "processes",
    progress: Progress | None = None,
) -> ExportSummary:
    """Bring the photos of a manifest, unchanged, into a folder that other tools read, or list them in a file.

    Files beside the photos, such as captions, and rows of metadata files go with them.

    Args:
        manifest: any manifest; rows with an error are left out, except from lists.
        out: a new or empty folder, or one that has a part of this export; or its URL. A file for `txt` and `csv`.
        kind: `webdataset`: tars with each photo and its row as `.vividset.json`; `imagefolder`: a folder per split with
            metadata.jsonl; `parquet`: Parquet files for Hugging Face `datasets`; `copy`, `links`, `hardlinks`: the tree
            of folders; `txt`: the path or URL of each photo
            that is a file of its own, one per line; `csv`: a table with the column `location` and `columns`.
        columns: one or many columns of the manifest, for `csv` and `parquet`; none is size, colorfulness and tone, for
            `csv` also split, reasons and error, for `parquet` also sha256.
        null: end the paths of `txt` with NUL bytes, so that names may have newlines.
        shard_mb: size of a file of `parquet`, in millions of bytes of photos.
        workers: processes that write, 1 or more; None is one per available core. Lists need none.
        engine: `processes`, `serial` or `ray`, as in `scan_photos`.
        progress: called with the number of photos done and of all photos.

    Returns:
        Counts: `photos`, `exported_now`, `left_out` (by `txt`: what is in containers); `failed` (path and reason of
        each photo that failed) and `failed_sidecars` (of each file beside a photo that could not be read).

    Raises:
        ManifestError: the manifest cannot be read, or has no photo or no such column.
        OutputError: `out` has other content, is locked or cannot be written, a source is lost, or `txt` needs `null`.
        UsageError: there is no such kind, or an argument does not fit it.

    Example:
        >>> curate.export_photos("clean.parquet", "tars", "webdataset").photos  # doctest: +SKIP
        871
    """
    if kind not in (kinds := get_args(Kind) + get_args(ListKind)):
        raise UsageError(f"there is no export of kind {kind!r}: choose from {', '.join(kinds)}")
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    if kind in ("txt", "csv"):
        lines, left_out = export_list(parse_location(manifest), parse_location(out), kind, columns=columns, null=null)
        return ExportSummary(lines, lines, left_out=left_out)
    if null or (columns and kind != "parquet"):
        raise UsageError(
            "--column is for --to csv and parquet, and -0 for --to txt: leave it out, or choose that format"
        )
    options = ExportOptions(columns, shard_mb, workers, engine)
    return curate.exporting.export.export_photos(
        parse_location(manifest), parse_location(out), cast("Kind", kind), options, progress=progress
    )


def write_report(
    manifest: StrPath,
    out: StrPath | None = None,
    *,
    roots: StrPath | Sequence[StrPath] = (),
    workers: int | None = None,
) -> ReportSummary:
    """Write one HTML page about a manifest: counts, the distribution of M, and a sample of the photos.

    Args:
        manifest: a scan, clean or rejected manifest.
        out: page to write, a path or URL; None is beside the manifest, with its name and `.html`.
        roots: one or many folders to look in, if the photos have moved since the scan.
        workers: processes that decode thumbnails; None is one per available core.

    Returns:
        The page's path or URL `out`, its size in `bytes`, and how many photos it shows.

    Raises:
        ManifestError: the manifest cannot be read or has no rows, or the page cannot be written.

    Example:
        >>> curate.write_report("scan.parquet").out  # doctest: +SKIP
        PosixPath('scan.html')
    """
    source = parse_location(manifest)
    page = source.with_suffix(".html") if out is None else parse_location(out)
    return curate.report.write_report(source, page, to_roots(roots), workers=workers)
