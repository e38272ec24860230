"""The command `train evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from curate.cli import common
from curate.cli.common import LOCATION, PATH, echo_data, echo_lines, echo_message, progress_bar
from curate.locations import Location
from train.cli.common import (
    check_manifest,
    checkpoint_argument,
    read_timeout_option,
    report_missing_best,
    root_option,
    skip_changed_option,
    strength_option,
    use_device_option,
)


@click.command(short_help="Score a checkpoint on photos it was not trained on.")
@checkpoint_argument
@click.argument("manifest", type=LOCATION)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Photos to use; `train fit` never reads those of `test`.",
)
@click.option("--image-size", type=click.IntRange(32, 4096), help="Side of the squares in px.  [default: as trained]")
@click.option("--limit", type=click.IntRange(1), help="Use only N photos, evenly spread.  [default: all]", metavar="N")
@root_option
@skip_changed_option
@click.option("--lpips-weights", type=PATH, help="TorchScript file vgg16.pt, to measure LPIPS.")
@click.option("--fid-weights", type=PATH, help="TorchScript file inception-2015-12-05.pt, to measure FID.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, including the scores of every photo.")
@click.option("--html", type=PATH, help="Also write an HTML page with the best, median and worst photos.")
@read_timeout_option
@strength_option
@use_device_option
def evaluate(
    checkpoint_path: Path,
    manifest: Location,
    split: Literal["test", "val", "train", "all"],
    image_size: int | None,
    limit: int | None,
    roots: tuple[Path, ...],
    skip_changed: bool,
    lpips_weights: Path | None,
    fid_weights: Path | None,
    as_json: bool,
    html: Path | None,
    timeout_s: float,
    strength: float | Literal["auto"],
    device: str,
) -> None:
    """Score a CHECKPOINT (a file, a run's folder, or `ready`) on photos of MANIFEST that it wasn't trained on.

    Prints the loss divided by that of predicting gray, colorfulness, PSNR, SSIM and tone, and the same for two
    baselines: plain gray, and the best single color. PSNR and SSIM are high for gray predictions too, so judge by
    colorfulness and by the baselines. LPIPS and FID need files with their networks, which run as programs:
    docs/how-to/measure-lpips-and-fid.md.
    """
    check_manifest(manifest)
    import train
    from train.evaluation import report

    report_missing_best(checkpoint_path)
    with progress_bar("photos") as progress:
        result = train.evaluate(
            checkpoint_path,
            manifest,
            split=split,
            image_size=image_size,
            limit=limit,
            roots=roots,
            skip_changed=skip_changed,
            say=echo_message,
            lpips_weights=lpips_weights,
            fid_weights=fid_weights,
            html=html,
            timeout_s=timeout_s,
            strength=strength,
            device=device,
            progress=progress,
        )
    for name, reason in result.unreadable.items():
        echo_message(f"skipped photo {name}: {reason}")
    if as_json:
        echo_data(
            [report.as_json(result.protocol, result.photos, result.summary, {"auto_strength": result.auto_strength})]
        )
    else:
        echo_lines(report.render_lines(result.protocol, result.photos, result.summary, common.output_width()))
        if result.auto_strength is not None:
            echo_lines(
                [f"automatic strength: {result.auto_strength:g} makes these as colorful as their originals (at most 2)"]
            )
    if html:
        click.echo(f"written: {html}", err=as_json)
