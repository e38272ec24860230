"""`curate filter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate import words
from curate.cli.deciding import CHOOSING, JUDGING, deciding
from curate.cli.shell import CLEAN_MANIFEST, FILE, SCAN_MANIFEST, say, typed_command


@click.command("filter")
@click.argument("scan_path", type=FILE, default=SCAN_MANIFEST, metavar="[SCAN]")
@deciding(*JUDGING, *CHOOSING)
@click.option(
    "-o",
    "--out",
    type=FILE,
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
    from curate import presets
    from curate.outputs import rejected_beside
    from curate.select import write_selection

    options = presets.options_of(settings)
    if show:
        say(presets.toml(settings))
        return
    chosen = write_selection(scan_path, out, options, command=typed_command(), dry_run=dry_run)
    say(words.of_selection(chosen))
    rejected = rejected_beside(out)
    say(["dry run: nothing was written" if dry_run else f"written: {out} and {rejected}"])
    look = scan_path if dry_run else rejected
    if warning := words.of_gate_that_drops_most(chosen, str(look)):
        click.echo(warning, err=True)
