"""`curate merge`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH, SCAN_MANIFEST, echo_lines, typed_command
from curate.text import pluralize


@click.command(short_help="Join the parts of `curate scan --shard` into one manifest.")
@click.argument("parts", nargs=-1, required=True, type=PATH, metavar="PART...")
@click.option("-o", "--out", type=PATH, default=SCAN_MANIFEST, show_default=True, help="Manifest to write.")
@click.option("--overwrite", is_flag=True, help="Replace the output, whatever it is.")
def merge(parts: tuple[Path, ...], out: Path, *, overwrite: bool) -> None:
    """Join the parts that `curate scan --shard` wrote, or folders of them, into one manifest.

    The rows are those of a scan that was never divided. Missing and doubled parts, and parts of another scan, are named
    and refused.
    """
    from curate.scanning.merge import merge_manifests as merge_parts

    lineage = merge_parts(parts, out, command=typed_command(), overwrite=overwrite)
    echo_lines(
        [
            f"{pluralize(lineage.rows or 0, 'photo')} from {pluralize(len(lineage.options['parts']), 'part')}",
            f"written: {out}",
        ]
    )
