"""The commands `curate explain` and `curate inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli import summaries
from curate.cli.common import LOCATION, PHOTO_PATH, SCAN_MANIFEST, echo_lines
from curate.cli.filter_options import PHOTO_OPTIONS, filter_options
from curate.locations import Location


@click.command(short_help="Show whether a filter keeps a photo, and why not.")
@click.argument("photos", nargs=-1, required=True, type=PHOTO_PATH, metavar="PHOTO...")
@click.option(
    "--scan",
    type=LOCATION,
    default=SCAN_MANIFEST,
    show_default=True,
    help="Scan manifest in which to look up photos that no longer exist, or are in a container.",
)
@filter_options(*PHOTO_OPTIONS)
def explain(photos: tuple[Path, ...], scan: Location, settings: dict[str, Any]) -> None:
    """Measure each PHOTO now and show whether a filter with these options keeps it, and why not.

    The photos don't need to be in a manifest. For a photo that no longer exists, or is in a tar, ZIP, Parquet or Arrow
    file (photos.zip/cat.jpg, train.parquet/000000017), the measurements come from the scan manifest.

    Rules that compare a photo with others (--keep-top, --duplicates, --balance of a preset) are ignored.
    """
    from curate.api.photos import explain_photo
    from curate.explain import find_scanned_row, list_photo
    from curate.filtering.options import build_options

    options = build_options(settings).without_dataset_rules()
    for photo in photos:  # report a wrong path before any photo is measured
        if find_scanned_row(photo, scan) is None:
            list_photo(photo)
    for photo in photos:
        echo_lines(summaries.explanation_lines(photo, explain_photo(photo, scan=scan, options=options)))


@click.command(short_help="Show the content and the origin of a manifest.")
@click.argument("path", type=LOCATION, metavar="MANIFEST")
def inspect(path: Location) -> None:
    """Show the number of rows, the origin and the columns of a manifest.

    The origin is every command that led to this manifest, back to the scan.
    """
    from curate.api.manifests import inspect_manifest

    info = inspect_manifest(path)
    echo_lines(summaries.manifest_lines(path, info.counts, info.sha256))
    for ancestor in info.ancestors:
        echo_lines(summaries.ancestor_lines(ancestor))
    echo_lines(summaries.column_lines(info.schema))
