"""The command `curate merge`."""

from __future__ import annotations

import click

from curate.cli.common import LOCATION, SCAN_MANIFEST, echo_lines, typed_command
from curate.locations import Location
from curate.text import pluralize


@click.command(short_help="Merge the outputs of `curate scan --shard`.")
@click.argument("parts", nargs=-1, required=True, type=LOCATION, metavar="PART...")
@click.option(
    "-o", "--out", type=LOCATION, default=SCAN_MANIFEST, show_default=True, help="Manifest to write, also at a URL."
)
@click.option("--overwrite", is_flag=True, help="Replace the output file, even if it isn't a vividset manifest.")
def merge(parts: tuple[Location, ...], out: Location, *, overwrite: bool) -> None:
    """Merge the manifests that `curate scan --shard` wrote into one manifest.

    PART is such a manifest, or a folder of them. The result has the same rows as one scan without --shard. The command
    fails if a part is missing or given twice, or if the parts belong to different scans.
    """
    from curate.api.manifests import merge_manifests

    lineage = merge_manifests(parts, out, command=typed_command(), overwrite=overwrite)
    echo_lines(
        [
            f"{pluralize(lineage.rows or 0, 'photo')} from {pluralize(len(lineage.options['parts']), 'part')}",
            f"written: {out}",
        ]
    )
