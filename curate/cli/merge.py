"""`curate merge`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.shell import FILE, SCAN_MANIFEST, say, typed_command
from curate.errors import counted


@click.command(short_help="Join the parts of `curate scan --shard` into one manifest.")
@click.argument("parts", nargs=-1, required=True, type=FILE, metavar="PART...")
@click.option("-o", "--out", type=FILE, default=SCAN_MANIFEST, show_default=True, help="Manifest to write.")
@click.option("--overwrite", is_flag=True, help="Replace the output, whatever it is.")
def merge(parts: tuple[Path, ...], out: Path, *, overwrite: bool) -> None:
    """Join the parts that `curate scan --shard` wrote, or folders of them, into one manifest.

    The rows are those of a scan that was never divided. Missing and doubled parts, and parts of another scan, are named
    and refused.
    """
    from curate.merge import merge as merge_parts

    lineage = merge_parts(parts, out, command=typed_command(), overwrite=overwrite)
    say(
        [
            f"{counted(lineage.rows or 0, 'photo')} from {counted(len(lineage.options['parts']), 'part')}",
            f"written: {out}",
        ]
    )
