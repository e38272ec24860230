"""`curate filter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.cli import summaries
from curate.cli.common import CLEAN_MANIFEST, PATH, SCAN_MANIFEST, echo_lines, typed_command
from curate.cli.filter_options import DATASET_OPTIONS, PHOTO_OPTIONS, filter_options


@click.command("filter")
@click.argument("scan_path", type=PATH, default=SCAN_MANIFEST, metavar="[SCAN]")
@filter_options(*PHOTO_OPTIONS, *DATASET_OPTIONS)
@click.option(
    "-o",
    "--out",
    type=PATH,
    default=CLEAN_MANIFEST,
    show_default=True,
    help="Manifest of the kept photos; rejected.parquet goes beside it, or X.rejected.parquet beside X.parquet.",
)
@click.option("--dry-run", is_flag=True, help="Decide and print, but write nothing.")
@click.option("--show", is_flag=True, help="Print what is in force as a preset, and do nothing else.")
def filter_command(scan_path: Path, out: Path, settings: dict[str, Any], *, dry_run: bool, show: bool) -> None:
    """Decide from a scan's numbers which photos are kept.

    SCAN is a manifest of `curate scan`; without it, manifests/scan.parquet. Gray, sepia and toned photos are rejected
    unless --keep-tone brings them back. Every rejected photo keeps all its reasons.

    A preset is a set of these options under a name; options that are typed go before it. Save what --show prints in a
    file, change it, and give it as --preset FILE.
    """
    from curate.filtering.filter import filter_manifest, rejected_beside
    from curate.filtering.options import preset_options, preset_to_toml

    options = preset_options(settings)
    if show:
        echo_lines(preset_to_toml(settings))
        return
    chosen = filter_manifest(scan_path, out, options, command=typed_command(), dry_run=dry_run)
    echo_lines(summaries.filter_summary(chosen))
    rejected = rejected_beside(out)
    echo_lines(["dry run: nothing was written" if dry_run else f"written: {out} and {rejected}"])
    look = scan_path if dry_run else rejected
    if warning := summaries.strictest_rule_warning(chosen, str(look)):
        click.echo(warning, err=True)
