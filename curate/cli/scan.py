"""`curate scan`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import PATH, SCAN_MANIFEST, PathOrUrl, echo_lines, engine_options, progress_bar, typed_command
from curate.errors import UsageError, VividsetError
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.executors.engines import EngineName
    from curate.scanning.scan import ScanSummary
    from curate.scanning.scorer import Fidelity


@click.command(short_help="Score every photo in folders, tars, lists or buckets.")
@click.argument("paths", nargs=-1, type=PathOrUrl(readable=False), metavar="[PATH]...")
@click.option(
    "--from-file",
    "from_files",
    multiple=True,
    metavar="LIST",
    help="Also scan the paths in this file, one a line; - is standard input. May be given again.",
)
@click.option("-0", "--null", is_flag=True, help="Paths in lists end in NUL bytes, as `find -print0` writes them.")
@click.option(
    "-o", "--out", type=PATH, default=SCAN_MANIFEST, show_default=True, help="Manifest to write or bring up to date."
)
@engine_options("measured")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=250_000_000,
    show_default=True,
    help="Larger photos become errors, undecoded.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    show_default=True,
    help="fast: JPEGs decoded at a quarter of their size; M is then some 1 lower.",
)
@click.option("--shard", metavar="I/N", help="Measure part I of N only, for jobs side by side; then `curate merge`.")
@click.option("--retry-errors", is_flag=True, help="Measure unchanged files again that failed before.")
@click.option("--overwrite", is_flag=True, help="Measure everything again and replace the output, whatever it is.")
@click.option(
    "--forget",
    multiple=True,
    type=PathOrUrl(readable=False),
    metavar="PATH",
    help="Drop the rows below this path from the manifest, except of photos that this scan finds; may be given again.",
)
@click.option("--prune", is_flag=True, help="Drop the rows of photos that are missing now from the manifest.")
@click.option("--max-errors", metavar="N|N%", help="Exit 1 if more photos than this fail.")
@click.option("--dry-run", is_flag=True, help="Only say how many files there are, and how many of them would be read.")
def scan(
    paths: tuple[str, ...],
    from_files: tuple[str, ...],
    null: bool,
    out: Path,
    workers: int | None,
    engine: EngineName,
    max_pixels: int,
    fidelity: Fidelity,
    timeout_s: float,
    shard: str | None,
    retry_errors: bool,
    overwrite: bool,
    forget: tuple[str, ...],
    prune: bool,
    max_errors: str | None,
    dry_run: bool,
) -> None:
    """Score every photo below folders, in tars or in lists of paths, here or behind URLs, one row each.

    Writes colourfulness (Hasler and Süsstrunk), tone (color, grayscale, sepia, toned) and what else can be decided
    from later; no verdicts. A photo that can't be read is a row with the reason. Run it again after adding photos, or
    after it was interrupted: only what is new or changed is measured. A photo that is gone keeps its row, as missing,
    until --prune.
    """
    too_many = _error_limit(max_errors)
    if not paths and not from_files:
        raise UsageError("nothing to scan: name folders, photos or tars, or a list of them with --from-file")
    _prefork(forked=engine == "processes" and (overwrite or not os.path.exists(out)) and not dry_run)
    from curate.scanning.scan import ScanOptions, count_to_do
    from curate.scanning.scan import scan_photos as run_scan
    from curate.scanning.scorer import ScoreOptions
    from curate.sources import ALL_SHARDS, ShardSpec

    score = ScoreOptions(max_pixels, fidelity)
    share = ShardSpec.parse(shard) if shard else ALL_SHARDS
    options = ScanOptions(
        workers, score, timeout_s, retry_errors, overwrite, from_files, null, engine, share, forget, prune
    )
    if dry_run:
        echo_lines(summaries.dry_scan_summary(count_to_do(paths, out, options)))
        return
    with progress_bar("photos") as progress:
        summary = run_scan(paths, out, options, command=typed_command(), progress=progress)
    echo_lines(summaries.scan_summary(summary, out))
    _check_errors(summary, out, too_many, f"over --max-errors {max_errors}")


def _check_errors(summary: ScanSummary, out: Path, too_many: Callable[[int, int], bool], limit: str) -> None:
    """Raise where no photo could be scored, or too many couldn't."""
    photos, failed = pluralize(summary.photos, "photo"), sum(summary.errors.values())
    if summary.photos and not summary.scored:
        raise VividsetError(f"of {photos} none could be scored: {out} has the reason of each")
    if too_many(failed, summary.photos):
        raise VividsetError(f"{failed:,} of {photos} failed, {limit}: {out} has the reasons")


def _prefork(*, forked: bool) -> None:
    """In a process of our own, save what importing libraries takes.

    Args:
        forked: workers will be needed for sure, so start at once what they are forked from.
    """
    if "numpy" in sys.modules or current_thread() is not main_thread():  # another program calls this
        return
    from curate.executors.worker import SINGLE_THREAD_ENV, start_fork_server

    os.environ.update(SINGLE_THREAD_ENV)
    if forked:
        start_fork_server("curate.scanning.preload")


def _error_limit(text: str | None) -> Callable[[int, int], bool]:
    """From `N` or `N%`: whether so many failures of so many photos are too many."""
    if text is None:
        return lambda failed, photos: False
    try:
        value = float(text.removesuffix("%"))
    except ValueError as exc:
        raise UsageError(f"--max-errors {text!r} isn't understood: write a count like 100, or a share like 1%") from exc
    if not 0 <= value < float("inf"):
        raise UsageError(f"--max-errors {text!r} isn't understood: write a count like 100, or a share like 1%")
    return lambda failed, photos: failed > (value * photos / 100 if text.endswith("%") else value)
