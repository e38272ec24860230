"""`curate export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import PATH, echo_lines, progress_bar
from curate.errors import VividsetError
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.exporting.export import Kind


@click.command(short_help="Bring photos, unchanged, into a folder that other tools read.")
@click.argument("manifest", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="New or empty folder, or one that holds a part of it.")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["webdataset", "imagefolder", "copy", "links", "hardlinks"]),
    required=True,
    help="What to make of the photos.",
)
def export(manifest: Path, out: Path, kind: Kind) -> None:
    """Bring the photos of MANIFEST, unchanged, into a folder that other tools read.

    webdataset makes tars of a thousand photos for each split, each photo with its row as JSON; imagefolder a folder a
    split with metadata.jsonl, for `datasets.load_dataset("imagefolder", data_dir=...)`; copy, links and hardlinks keep
    the tree. Names lose what some systems can't store. Photos that fail are listed in failed.csv.
    """
    from curate.exporting.export import export_photos as run_export

    with progress_bar("photos") as progress:
        summary = run_export(manifest, out, kind, progress=progress)
    echo_lines(summaries.export_summary(summary, out))
    if not summary.photos:
        raise VividsetError(
            f"of {pluralize(len(summary.failed), 'photo')} none could be exported, for the reasons above"
        )
