"""`curate report`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli import summaries
from curate.cli.common import PATH, SCAN_MANIFEST, echo_lines, workers_option


@click.command(short_help="Write a page to look at a manifest, with a line to drag.")
@click.argument("path", type=PATH, default=SCAN_MANIFEST, metavar="[MANIFEST]")
@click.option("-o", "--out", type=PATH, help="Page to write; by default beside the manifest, with its name.")
@click.option(
    "--root", "roots", multiple=True, type=PATH, help="Where the photos are now, if they moved; may be repeated."
)
@workers_option("Processes that decode thumbnails.")
def report(path: Path, out: Path | None, roots: tuple[Path, ...], workers: int | None) -> None:
    """Write one HTML page to look at a manifest: the line to drag, and photos on either side of it.

    MANIFEST is what `curate scan` or `curate filter` wrote; without it, manifests/scan.parquet. The page needs no
    server and no network, and is at most 15 MB: exact counts of all rows, and a sample of the photos.
    """
    from curate.report import write_report

    echo_lines(summaries.report_summary(write_report(path, out or path.with_suffix(".html"), roots, workers=workers)))
