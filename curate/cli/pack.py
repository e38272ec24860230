"""`curate pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import PATH, echo_lines, engine_options, progress_bar, typed_command
from curate.errors import VividsetError
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.executors.engines import EngineName
    from curate.packing.pack import Encoding


@click.command(short_help="Resize photos once, into shards that `train fit` reads fast.")
@click.argument("manifest", type=PATH)
@click.option("-o", "--out", type=PATH, help="Folder of the pack.  [default: packs/NAME OF THE MANIFEST]")
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(32, 4096),
    default=288,
    show_default=True,
    help="Short side in px, an eighth more than the crops that are wanted; smaller photos stay as they are.",
)
@click.option(
    "--encoding",
    type=click.Choice(["raw", "jpeg"]),
    default="raw",
    show_default=True,
    help="raw reads fastest; jpeg (4:4:4) takes about a fifth of the space.",
)
@click.option("--quality", type=click.IntRange(95, 100), default=95, show_default=True, help="Of JPEGs.")
@engine_options("packed")
@click.option("--overwrite", is_flag=True, help="Replace another pack in the folder.")
def pack(
    manifest: Path,
    out: Path | None,
    size_px: int,
    encoding: Encoding,
    quality: int,
    workers: int | None,
    engine: EngineName,
    timeout_s: float,
    *,
    overwrite: bool,
) -> None:
    """Resize the photos of MANIFEST once, into shards that `train fit` reads fast.

    The folder gets Arrow files, manifest.parquet (the rows of MANIFEST and where each photo lies) and, for photos that
    failed, failed.csv. Interrupted or killed, the same command goes on.
    """
    from curate.packing.pack import PackOptions
    from curate.packing.pack import pack_photos as run_pack

    folder = out or Path("packs") / manifest.stem
    options = PackOptions(size_px, encoding, quality, workers, timeout_s, overwrite, engine)
    with progress_bar("photos") as progress:
        summary = run_pack(manifest, folder, options, command=typed_command(), progress=progress)
    echo_lines(summaries.pack_summary(summary, folder))
    if not summary.photos:
        raise VividsetError(f"of {pluralize(len(summary.failed), 'photo')} none could be packed, for the reasons above")
