"""The command `curate scan`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import (
    LOCATION,
    SCAN_MANIFEST,
    PathOrUrl,
    echo_lines,
    engine_options,
    progress_bar,
    typed_command,
)
from curate.errors import UsageError, VividsetError
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.executors.engines import EngineName
    from curate.locations import Location
    from curate.measures.names import NetworkSize
    from curate.scanning.scorer import Fidelity
    from curate.scanning.summary import ScanSummary


@click.command(short_help="Measure every photo and write one manifest.")
@click.argument("paths", nargs=-1, type=PathOrUrl(readable=False), metavar="[PATH]...")
@click.option(
    "--from-file",
    "from_files",
    multiple=True,
    metavar="LIST",
    help="Also scan the paths listed in this file, one per line; - for standard input. Can be given several times.",
)
@click.option(
    "-0", "--null", is_flag=True, help="Paths in the lists end with a NUL byte, as written by `find -print0`."
)
@click.option(
    "-o",
    "--out",
    type=LOCATION,
    default=SCAN_MANIFEST,
    show_default=True,
    help="Manifest to write or update, also at a URL.",
)
@engine_options
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=250_000_000,
    show_default=True,
    help="Don't decode photos with more pixels; they are recorded as errors.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    show_default=True,
    help="fast decodes JPEGs at 1/4 of their size; colorfulness is then about 1 lower.",
)
@click.option(
    "--tone-network",
    type=click.Choice(["small", "large"]),
    default="small",
    show_default=True,
    help="large evaluates the network at 224 px instead of 96 px, for photos whose tone is in doubt.",
)
@click.option(
    "--kind-network",
    type=click.Choice(["small", "large"]),
    default="small",
    show_default=True,
    help="large evaluates a second network for all but the clearest photos: finds more graphics, takes twice as long.",
)
@click.option(
    "--shard", metavar="I/N", help="Measure only part I of N, for parallel jobs. Merge the outputs with `curate merge`."
)
@click.option("--retry-errors", is_flag=True, help="Also measure unchanged files that failed in an earlier scan.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Measure everything again and replace the output file, even if it isn't a vividset manifest.",
)
@click.option(
    "--forget",
    multiple=True,
    type=PathOrUrl(readable=False),
    metavar="PATH",
    help="Remove the rows of this path from the manifest, except for photos that this scan finds. Can be given several "
    "times.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Skip files and folders that match this pattern, as in .gitignore: *.gif, previews/, 2020/**/raw. Can be "
    "given several times.",
)
@click.option(
    "--image-column",
    "image_columns",
    multiple=True,
    metavar="NAME",
    help="Scan this column of Parquet and Arrow files, instead of all columns of images. Can be given several times.",
)
@click.option("--prune", is_flag=True, help="Remove the rows of photos that no longer exist from the manifest.")
@click.option(
    "--max-errors",
    metavar="N|N%",
    help="Exit with code 1 if more photos fail than this number (100) or percentage (1%).",
)
@click.option("--dry-run", is_flag=True, help="Print how many files would be read, and do nothing else.")
def scan(
    paths: tuple[str, ...],
    from_files: tuple[str, ...],
    null: bool,
    out: Location,
    workers: int | None,
    engine: EngineName,
    max_pixels: int,
    fidelity: Fidelity,
    tone_network: NetworkSize,
    kind_network: NetworkSize,
    timeout_s: float,
    shard: str | None,
    retry_errors: bool,
    overwrite: bool,
    forget: tuple[str, ...],
    exclude: tuple[str, ...],
    image_columns: tuple[str, ...],
    prune: bool,
    max_errors: str | None,
    dry_run: bool,
) -> None:
    """Measure every photo and write one manifest with one row per photo.

    PATH is a photo, a folder, a tar file, a ZIP file, a Parquet or Arrow file with images, or a URL of one. The
    manifest has the colorfulness (Hasler and Süsstrunk), the tone (color, grayscale, sepia, toned) and other
    measurements of each photo. A photo that can't be read gets a row with the reason. `curate filter` then selects
    photos by these measurements.

    Run the same command again after adding photos or after an interruption: only new and changed photos are measured.
    A photo that no longer exists keeps its row, marked as missing; --prune removes such rows.
    """
    too_many = _error_limit(max_errors)
    if not paths and not from_files:
        raise UsageError(
            "nothing to scan: give folders, photos, tars, ZIPs, or Parquet or Arrow files, or a list of them with "
            "--from-file"
        )
    _prefork(
        forked=engine == "processes" and (overwrite or not (isinstance(out, Path) and out.exists())) and not dry_run
    )
    from curate.api.manifests import scan_photos
    from curate.scanning.scan import ScanOptions, preview_scan
    from curate.scanning.scorer import ScoreOptions
    from curate.sources import ALL_SHARDS, ShardSpec

    score = ScoreOptions(max_pixels, fidelity, tone_network, kind_network)
    shard_spec = ShardSpec.parse(shard) if shard else ALL_SHARDS
    options = ScanOptions(
        workers,
        score,
        timeout_s,
        retry_errors,
        overwrite,
        from_files,
        null,
        engine,
        shard_spec,
        forget,
        prune,
        exclude,
        image_columns,
    )
    if dry_run:
        echo_lines(summaries.dry_scan_summary(preview_scan(paths, out, options)))
        return
    with progress_bar("photos") as progress:
        summary = scan_photos(paths, out, options=options, command=typed_command(), progress=progress)
    echo_lines(summaries.scan_summary(summary, out))
    _check_errors(summary, out, too_many, f"more than --max-errors {max_errors}")


def _check_errors(summary: ScanSummary, out: Location, too_many: Callable[[int, int], bool], limit: str) -> None:
    """Raise a VividsetError if no photo could be measured, or if too many failed."""
    photos, failed = pluralize(summary.photos, "photo"), sum(summary.errors.values())
    if summary.photos and not summary.scored:
        raise VividsetError(
            f"no photo could be measured ({photos} failed): see the reasons in the column 'error' of {out}"
        )
    if too_many(failed, summary.photos):
        raise VividsetError(f"{failed:,} of {photos} failed, {limit}: see the reasons in the column 'error' of {out}")


def _prefork(*, forked: bool) -> None:
    """Shorten the start: limit library threads, and import libraries in the fork server while this process does.

    Does nothing if another program runs this command inside its own process.

    Args:
        forked: worker processes will be needed, so start the fork server now.
    """
    if "numpy" in sys.modules or current_thread() is not main_thread():
        return
    from curate.executors.worker import SINGLE_THREAD_ENV, start_fork_server

    os.environ.update(SINGLE_THREAD_ENV)
    if forked:
        start_fork_server("curate.scanning.preload")


def _error_limit(text: str | None) -> Callable[[int, int], bool]:
    """A function (failed, photos) -> whether `failed` exceeds the limit `N` or `N%`; never without a limit.

    Raises:
        UsageError: the text isn't a finite, non-negative number or percentage.
    """
    if text is None:
        return lambda failed, photos: False
    try:
        limit = float(text.removesuffix("%"))
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise UsageError(f"--max-errors {text!r} is not a number: write a count like 100, or a percentage like 1%")
    return lambda failed, photos: failed > (limit * photos / 100 if text.endswith("%") else limit)
