"""The command `curate filter`."""

from __future__ import annotations

from typing import Any

import click

from curate.cli import summaries
from curate.cli.common import (
    CLEAN_MANIFEST,
    LOCATION,
    SCAN_MANIFEST,
    echo_data,
    echo_lines,
    echo_message,
    typed_command,
)
from curate.cli.filter_options import DATASET_OPTIONS, PHOTO_OPTIONS, filter_options
from curate.locations import Location


@click.command("filter", short_help="Select photos by the measurements of a scan.")
@click.argument("scan_path", type=LOCATION, default=SCAN_MANIFEST, metavar="[SCAN]")
@filter_options(*PHOTO_OPTIONS, *DATASET_OPTIONS)
@click.option(
    "-o",
    "--out",
    type=LOCATION,
    default=CLEAN_MANIFEST,
    show_default=True,
    help="Manifest of the kept photos, also at a URL. The rejected photos go to rejected.parquet in the same folder, "
    "or to NAME.rejected.parquet if the output is another NAME.parquet than clean.parquet.",
)
@click.option("--dry-run", is_flag=True, help="Print the result, but write no files.")
@click.option("--show", is_flag=True, help="Print the options in effect as a preset file, and do nothing else.")
def filter_command(scan_path: Location, out: Location, settings: dict[str, Any], *, dry_run: bool, show: bool) -> None:
    """Select photos by the measurements of a scan, without reading the photos again.

    SCAN is a manifest written by `curate scan` (default: manifests/scan.parquet). Grayscale, sepia and toned photos are
    rejected, unless --keep-tone is given, and graphics (drawings, maps, screenshots), unless --keep-kind is
    given. The manifest of rejected photos lists all reasons for each photo.

    A preset is a named set of these options. Options on the command line replace those of the preset. To make your own
    preset, save the output of --show in a file, edit it, and use it with --preset FILE.
    """
    from curate.api.manifests import filter_manifest
    from curate.filtering.filter import rejected_path_for
    from curate.filtering.options import build_options, settings_to_toml

    options = build_options(settings)
    if show:
        echo_data(settings_to_toml(settings))
        return
    chosen = filter_manifest(scan_path, out, options=options, command=typed_command(), dry_run=dry_run)
    echo_lines(summaries.filter_summary(chosen))
    rejected = rejected_path_for(out)
    echo_lines(["dry run: no files were written" if dry_run else f"written: {out} and {rejected}"])
    if chosen.without_kind:
        echo_message("Warning: the scan has no column 'kind', so graphics were not rejected: run `curate scan` again")
    if warning := summaries.join_warning(chosen):
        echo_message(warning)
    if warning := summaries.strictest_rule_warning(chosen, str(scan_path if dry_run else rejected)):
        echo_message(warning)
