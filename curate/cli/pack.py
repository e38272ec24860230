"""`curate pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate import words
from curate.cli.shell import FILE, progress_bar, say, typed_command
from curate.errors import VividsetError

if TYPE_CHECKING:
    from curate.engines import EngineName
    from curate.shrink import Encoding


@click.command()
@click.argument("manifest", type=FILE)
@click.option("-o", "--out", type=FILE, help="Folder of the pack.  [default: packs/NAME OF THE MANIFEST]")
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
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    show_default="one a core",
    help="Processes that decode; with ray, tasks at once.",
)
@click.option(
    "--engine",
    type=click.Choice(["serial", "processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where photos are packed: in this process, on this machine, on a Ray cluster.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which a photo is given up.",
)
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
    from curate.pack import pack as run_pack
    from curate.shrink import PackOptions

    folder = out or Path("packs") / manifest.stem
    options = PackOptions(size_px, encoding, quality, workers, timeout_s, overwrite, engine)
    with progress_bar("photos") as progress:
        summary = run_pack(manifest, folder, options, command=typed_command(), progress=progress)
    say(words.of_pack(summary, folder))
    if not summary.photos:
        raise VividsetError(f"none of {len(summary.failed):,} photos could be packed, each for the reason above")
