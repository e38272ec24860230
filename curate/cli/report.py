"""The command `curate report`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli import summaries
from curate.cli.common import LOCATION, PATH, SCAN_MANIFEST, echo_lines, workers_option
from curate.locations import Location


@click.command(short_help="Write an HTML page about a manifest, to choose thresholds.")
@click.argument("path", type=LOCATION, default=SCAN_MANIFEST, metavar="[MANIFEST]")
@click.option(
    "-o",
    "--out",
    type=LOCATION,
    help="HTML file to write, also at a URL.  [default: NAME.html beside the manifest NAME.parquet]",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=PATH,
    help="Folder to look in for photos that have moved since the scan. Can be given several times.",
)
@workers_option("Number of processes that make thumbnails.")
def report(path: Location, out: Location | None, roots: tuple[Path, ...], workers: int | None) -> None:
    """Write an HTML page about a manifest, with an adjustable colorfulness threshold and photos on both sides of it.

    MANIFEST is a manifest written by `curate scan` or `curate filter` (default: manifests/scan.parquet). The page is
    one file of at most 15 MB and needs no server and no network. Counts are of all rows; the photos shown are a sample.
    """
    from curate.api.outputs import write_report

    echo_lines(summaries.report_summary(write_report(path, out, roots=roots, workers=workers)))
