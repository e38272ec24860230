"""`train colorize`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.shell import FILE
from curate.errors import PhotoError, UsageError, VividsetError


@click.command()
@click.argument("checkpoint_path", type=FILE, metavar="CHECKPOINT")
@click.argument("photos", nargs=-1, required=True, type=FILE, metavar="PHOTO...")
@click.option("-o", "--out", type=FILE, required=True, help="Folder for the colour pictures.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or mps.")
def colorize(checkpoint_path: Path, photos: tuple[Path, ...], out: Path, device: str) -> None:
    """Colorize photos with a trained CHECKPOINT (a file, or a run's folder).

    Full size, upright, in sRGB. Lightness is the photo's own; only colour is the network's. Each picture says in its
    metadata that a machine colorized it, by which checkpoint, and which manifest's photos taught that.
    """
    from train import checkpoint
    from train.colorize import Colorizer, targets

    pairs = list(zip(photos, targets(list(photos), out), strict=True))
    try:
        colorizer = Colorizer(checkpoint.load(checkpoint_path, weights_only=True), device)
    except (RuntimeError, AssertionError) as exc:
        raise UsageError(f"--device {device} can't be had: {' '.join(str(exc).split())[:200]}") from exc
    failed = 0
    for photo, target in pairs:
        try:
            colorizer.colorize_file(photo, target)
            click.echo(str(target))
        except PhotoError as exc:
            failed += 1
            click.echo(f"{photo}: {exc}", err=True)
    if failed:
        raise VividsetError(f"{failed} of {len(pairs)} photos could not be colorized, each for the reason above")
