"""The command `curate pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli import summaries
from curate.cli.common import LOCATION, echo_lines, engine_options, progress_bar, typed_command
from curate.errors import VividsetError
from curate.locations import Location
from curate.text import pluralize

if TYPE_CHECKING:
    from curate.executors.engines import EngineName
    from curate.packing.pack import Encoding


@click.command(short_help="Resize photos once, so that `train fit` reads them fast.")
@click.argument("manifest", type=LOCATION)
@click.option(
    "-o", "--out", type=LOCATION, help="Output folder, or its URL.  [default: packs/NAME for the manifest NAME.parquet]"
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(32, 4096),
    default=288,
    show_default=True,
    help="Short side in px: 1/8 more than the crop size of the training. Smaller photos are not enlarged.",
)
@click.option(
    "--encoding",
    type=click.Choice(["raw", "jpeg"]),
    default="raw",
    show_default=True,
    help="raw is fastest to read; jpeg (4:4:4) needs about 1/5 of the space.",
)
@click.option(
    "--quality", type=click.IntRange(95, 100), default=95, show_default=True, help="JPEG quality, with --encoding jpeg."
)
@click.option("--crop-borders", is_flag=True, help="Pack only what is inside of the bands that the scan found.")
@engine_options
@click.option(
    "--overwrite", is_flag=True, help="Replace a pack that was made from another manifest or with other options."
)
def pack(
    manifest: Location,
    out: Location | None,
    size_px: int,
    encoding: Encoding,
    quality: int,
    workers: int | None,
    engine: EngineName,
    timeout_s: float,
    *,
    crop_borders: bool,
    overwrite: bool,
) -> None:
    """Resize the photos of MANIFEST once and write them as a pack that `train fit` reads fast.

    A pack is a folder with the pixels in Arrow files and with manifest.parquet: the rows of MANIFEST and the position
    of each photo in these files. Photos that can't be packed are listed in failed.csv. If the command is interrupted,
    run it again to continue.
    """
    from curate.api.outputs import pack_photos
    from curate.packing.pack import PackOptions

    folder = out or Path("packs") / manifest.stem
    options = PackOptions(size_px, encoding, quality, workers, timeout_s, overwrite, engine, crop_borders)
    with progress_bar("photos") as progress:
        summary = pack_photos(manifest, folder, options=options, command=typed_command(), progress=progress)
    echo_lines(summaries.pack_summary(summary, folder))
    if not summary.photos:
        raise VividsetError(
            f"no photo could be packed ({pluralize(len(summary.failed), 'photo')} failed): see the reasons above"
        )
