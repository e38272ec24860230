"""The command `train colorize`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from curate.cli.common import PATH, PHOTO_PATH, echo_data, echo_message, progress_bar
from curate.errors import VividsetError
from curate.text import pluralize
from train.cli.common import (
    checkpoint_argument,
    read_timeout_option,
    report_missing_best,
    root_option,
    strength_option,
    use_device_option,
)


@click.command(short_help="Colorize photos with a trained checkpoint.")
@checkpoint_argument
@click.argument("photos", nargs=-1, required=True, type=PHOTO_PATH, metavar="PHOTO...")
@click.option("-o", "--out", type=PATH, required=True, help="Folder for the colorized pictures.")
@root_option
@strength_option
@click.option(
    "--image-size",
    type=click.IntRange(32, 4096),
    help="Short side in px of the copy that the network gets; a smaller photo is not enlarged.  [default: as trained]",
)
@click.option(
    "--page",
    "with_page",
    is_flag=True,
    help="Also write before-after.html into the folder: a page with a slider between each photo and its picture, of "
    "more than 100 for 100.",
)
@click.option("--drop-gps", is_flag=True, help="Leave out the GPS position of the photo.  [default: kept]")
@read_timeout_option
@use_device_option
def colorize(
    checkpoint_path: Path,
    photos: tuple[Path, ...],
    out: Path,
    roots: tuple[Path, ...],
    strength: float | Literal["auto"],
    image_size: int | None,
    with_page: bool,
    drop_gps: bool,
    timeout_s: float,
    device: str,
) -> None:
    """Colorize photos with a trained CHECKPOINT (a file, a run's folder, or `ready`).

    PHOTO is a photo, a folder, a tar, a ZIP, a Parquet or Arrow file with images, or a manifest; a folder keeps its
    tree. Pictures have the photo's full size and its own lightness; only the color is predicted. They are upright and
    in sRGB. JPEGs become JPEGs, anything else becomes a PNG, which keeps transparency. The metadata of each picture
    says that a machine colorized it, and contains the sha256 of the checkpoint and of its training manifest.

    If run again, it makes only the pictures that are missing, or were made by another checkpoint or with other options.
    Files that are not earlier pictures of the same photo are never replaced. Prints the path of each new picture. If a
    photo fails, the others are still made, and the exit code is 1.
    """
    from curate.manifest import escape
    from train.inference import slider_page
    from train.inference.output_paths import plan_outputs

    report_missing_best(checkpoint_path)
    jobs = plan_outputs(photos, out, roots)
    page = out / slider_page.PAGE_NAME
    if with_page:
        slider_page.PAGE.check_path(page)
    from train.inference.colorizer import Colorizer, colorize_all  # only now, because it imports torch

    colorizer = Colorizer.load(checkpoint_path, device=device, image_size=image_size)
    failed = existing = 0
    pairs = []
    with progress_bar("photos") as progress:
        results = colorize_all(
            colorizer,
            jobs,
            drop_gps=drop_gps,
            strength=strength,
            pair_of=lambda index: with_page and slider_page.is_shown(index, len(jobs)),
            timeout_s=timeout_s,
        )
        for number, result in enumerate(results, 1):
            if result.made:
                echo_data([escape(str(result.job.target))])
            elif result.error is not None:
                failed += 1
                echo_message(f"{result.job.name()}: {result.error}")
            else:
                existing += 1
            if result.pair:
                pairs.append(result.pair)
            progress(number, len(jobs))
    if existing:
        total = pluralize(len(jobs), "picture")
        echo_message(f"{existing:,} of {total} already existed, made by this checkpoint")
    if pairs:
        facts = colorizer.describe(strength), f"These are copies of at most {slider_page.THUMBNAIL_PX} px."
        slider_page.PAGE.write(page, slider_page.render_page(pairs, facts, len(jobs) - failed))
        echo_message(f"written: {page}")
    if failed:
        raise VividsetError(
            f"{failed:,} of {pluralize(len(jobs), 'photo')} could not be colorized: the reasons are above"
        )
