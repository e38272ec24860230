"""`train colorize`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH, echo_lines, progress_bar
from curate.errors import VividsetError
from curate.text import escape_control, pluralize
from train.cli.common import root_option
from train.models.device import device_errors


@click.command(short_help="Colorize photos with a trained checkpoint.")
@click.argument("checkpoint_path", type=PATH, metavar="CHECKPOINT")
@click.argument("photos", nargs=-1, required=True, type=PATH, metavar="PHOTO...")
@click.option("-o", "--out", type=PATH, required=True, help="Folder for the colour pictures.")
@root_option
@click.option("--drop-gps", is_flag=True, help="Leave out where the photo was taken.  [default: kept]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or mps.")
def colorize(
    checkpoint_path: Path, photos: tuple[Path, ...], out: Path, roots: tuple[Path, ...], drop_gps: bool, device: str
) -> None:
    """Colorize photos with a trained CHECKPOINT (a file, or a run's folder).

    PHOTO is a photo, a folder, a tar, or a manifest; a folder keeps its tree. Full size, upright, in sRGB. Lightness is
    the photo's own; only colour is the network's. JPEGs become JPEGs, all else PNGs, which keep transparency. Each
    picture says in its metadata that a machine colorized it, by which checkpoint, and which manifest's photos taught
    that. Run again, it makes what is missing, and anew what another checkpoint made; a picture of another photo is
    never replaced. Prints what was made. Exits 1 if a photo failed, after doing the rest.
    """
    from curate.manifest import escape
    from train import checkpoint
    from train.inference.colorizer import Colorizer, colorize_all
    from train.inference.output_paths import plan_outputs

    jobs = plan_outputs(photos, out, roots)
    with device_errors(device):
        colorizer = Colorizer(checkpoint.load(checkpoint_path, weights_only=True), device)
    failed = there = 0
    with progress_bar("photos") as progress:
        for number, done in enumerate(colorize_all(colorizer, jobs, drop_gps=drop_gps), 1):
            if done.made:
                echo_lines([escape(str(done.job.target))])
            elif done.problem is not None:
                failed += 1
                click.echo(escape_control(f"{done.job.name()}: {done.problem}"), err=True)
            else:
                there += 1
            progress(number, len(jobs))
    if there:
        click.echo(f"{there:,} of {pluralize(len(jobs), 'picture')} there already, made by this checkpoint", err=True)
    if failed:
        raise VividsetError(
            f"{failed:,} of {pluralize(len(jobs), 'photo')} could not be colorized, each for the reason above"
        )
