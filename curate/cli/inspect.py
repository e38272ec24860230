"""`curate explain` and `curate inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli import summaries
from curate.cli.common import PATH, SCAN_MANIFEST, PathOrUrl, echo_lines
from curate.cli.filter_options import PHOTO_OPTIONS, filter_options
from curate.errors import UsageError


@click.command(short_help="Say whether a filter would keep photos, and why not.")
@click.argument("places", nargs=-1, required=True, type=PathOrUrl(), metavar="PHOTO...")
@click.option(
    "--scan",
    type=PATH,
    default=SCAN_MANIFEST,
    show_default=True,
    help="Manifest to look up photos in that aren't there any more.",
)
@filter_options(*PHOTO_OPTIONS)
def explain(places: tuple[str, ...], scan: Path, settings: dict[str, Any]) -> None:
    """Score photos, scanned or not, and say whether a filter would keep each, and why not.

    A photo that isn't there any more is explained by the row that the scan kept of it, with the time since when it is
    missing.

    Rules of a preset that need other photos to compare with are left out.
    """
    from curate.explain import explain_photo, explain_row, missing_row, named
    from curate.filtering.options import preset_options
    from curate.sources import is_url

    options = preset_options(settings).for_one_photo()
    if url := next(filter(is_url, places), None):
        raise UsageError(f"{url} isn't on this machine: fetch it first, or scan it with `curate scan`")
    photos = list(map(Path, places))
    missing = {photo: row for photo in photos if (row := missing_row(photo, scan)) is not None}
    for photo in photos:  # a name that is no photo's ends it before the first is scored
        if photo not in missing:
            named(photo)
    for photo in photos:
        row = missing.get(photo)
        found = explain_photo(photo, options) if row is None else explain_row(row, options)
        echo_lines(summaries.explanation_lines(photo, found))


@click.command(short_help="Say what a manifest holds and what made it, back to the scan.")
@click.argument("path", type=PATH, metavar="MANIFEST")
def inspect(path: Path) -> None:
    """Say what a manifest holds, what made it, and where it comes from, back to the scan."""
    from curate import manifest
    from curate.manifest.reader import trace_lineage

    chain = trace_lineage(path)
    schema, _ = manifest.inspect_manifest(path)
    echo_lines(summaries.manifest_lines(path, manifest.count_values(path, ("split", "tone")), manifest.digest(path)))
    for ancestor in chain:
        echo_lines(summaries.ancestor_lines(ancestor))
    echo_lines(summaries.column_lines(schema))
