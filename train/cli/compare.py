"""The command `train compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from curate.cli import common
from curate.cli.common import LOCATION, PATH, echo_data, echo_lines, echo_message, progress_bar
from curate.locations import Location, RemotePath
from train.cli.common import check_manifest, read_timeout_option, root_option

MAX_NAMES = 20
"""Pictures of one kind that are named on the console."""


@click.command(short_help="Score colorized pictures of any tool, compared with their originals.")
@click.argument("pictures", type=PATH)
@click.argument("truth", type=LOCATION)
@click.option(
    "--image-size",
    type=click.IntRange(32, 4096),
    help="Scale the short side of both to this many px and cut a square from the middle, as `train evaluate` does.  "
    "[default: whole pictures at the size of the original]",
)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="all",
    show_default=True,
    help="Photos to use, if TRUTH is a manifest.",
)
@root_option
@click.option("--lpips-weights", type=PATH, help="TorchScript file vgg16.pt, to measure LPIPS.")
@click.option("--fid-weights", type=PATH, help="TorchScript file inception-2015-12-05.pt, to measure FID.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, including the scores of every picture.")
@click.option("--html", type=PATH, help="Also write an HTML page with the best, median and worst pictures.")
@read_timeout_option
def compare(
    pictures: Path,
    truth: Location,
    image_size: int | None,
    split: Literal["test", "val", "train", "all"],
    roots: tuple[Path, ...],
    lpips_weights: Path | None,
    fid_weights: Path | None,
    as_json: bool,
    html: Path | None,
    timeout_s: float,
) -> None:
    """Score the colorized PICTURES of any tool against their originals in TRUTH, by the numbers of `train evaluate`.

    PICTURES is a folder, a tar or a ZIP; TRUTH is one, too, or a manifest. A picture belongs to the original with the
    same path below its folder, suffixes aside. A picture of another size is scaled to the size of its original. Use
    --image-size 64 where originals and pictures don't lie exactly on each other.

    Prints the same table as `train evaluate`, beside plain gray and the best single color. Pictures without original,
    or whose original is gray or can't be read, are named and left out.
    """
    if isinstance(truth, RemotePath) or truth.suffix == ".parquet":
        check_manifest(truth)
    import train
    from train.evaluation import report

    with progress_bar("pictures") as progress:
        result = train.compare(
            pictures,
            truth,
            image_size=image_size,
            split=split,
            roots=roots,
            lpips_weights=lpips_weights,
            fid_weights=fid_weights,
            html=html,
            timeout_s=timeout_s,
            progress=progress,
        )
    _name_pictures([f"{name}: it has no original in {truth}" for name in result.unmatched])
    _name_pictures([f"{name}: {reason}" for name, reason in result.unreadable.items()])
    _name_pictures([f"{name}: its original has no color" for name in result.colorless])
    if as_json:
        left_out = {
            "unmatched": list(result.unmatched),
            "unreadable": dict(result.unreadable),
            "colorless": list(result.colorless),
        }
        echo_data([report.as_json(result.protocol, result.photos, result.summary, left_out)])
    else:
        echo_lines(report.render_lines(result.protocol, result.photos, result.summary, common.output_width()))
    if html:
        click.echo(f"written: {html}", err=as_json)


def _name_pictures(lines: list[str]) -> None:
    for line in lines[:MAX_NAMES]:
        echo_message(f"left out: {line}")
    if len(lines) > MAX_NAMES:
        echo_message(f"left out: {len(lines) - MAX_NAMES:,} more of this kind; --json lists all")
