"""`train evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH, echo_lines, progress_bar
from train.cli.common import root_option
from train.models.device import device_errors


@click.command(short_help="Judge a checkpoint on photos it was not trained on.")
@click.argument("checkpoint_path", type=PATH, metavar="CHECKPOINT")
@click.argument("manifest", type=PATH)
@click.option(
    "--split",
    type=click.Choice(["test", "val", "train", "all"]),
    default="test",
    show_default=True,
    help="Photos to judge on; `test` has never been looked at by `train fit`.",
)
@click.option("--image-size", type=click.IntRange(32, 4096), help="Side of the squares in px.  [default: as trained]")
@click.option("--limit", type=click.IntRange(1), help="Judge on so many photos, evenly spread.  [default: all]")
@root_option
@click.option("--lpips-weights", type=PATH, help="Measure LPIPS by this TorchScript file, vgg16.pt.")
@click.option("--fid-weights", type=PATH, help="Measure FID by this TorchScript file, inception-2015-12-05.pt.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every photo's scores.")
@click.option("--html", type=PATH, help="Write a page with the best, median and worst photos.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or mps.")
def evaluate(
    checkpoint_path: Path,
    manifest: Path,
    split: str,
    image_size: int | None,
    limit: int | None,
    roots: tuple[Path, ...],
    lpips_weights: Path | None,
    fid_weights: Path | None,
    as_json: bool,
    html: Path | None,
    device: str,
) -> None:
    """Judge a CHECKPOINT on photos of MANIFEST that it wasn't trained on.

    Prints loss ÷ neutral, colourfulness (Hasler and Süsstrunk, signed; the absolute variant by name), its difference
    to the originals', PSNR, SSIM and tone, always beside what plain gray and the best single colour score. PSNR and
    SSIM reward gray: a gray prediction is hard to beat by them. LPIPS and FID are measured where you have their
    networks' files, which run as programs: docs/how-to/measure-lpips-and-fid.md.
    """
    from curate.files import sha256_of
    from train import checkpoint
    from train.data import dataset
    from train.evaluation import report
    from train.evaluation.evaluator import Evaluation, Protocol, summarize
    from train.evaluation.feature_metrics import Fid, Lpips
    from train.models.losses import ColorizationWeightedLoss

    if html:
        report.check_place(html)
    chosen, manifest_sha256 = dataset.load_split(manifest, split, roots)
    source = checkpoint.load(checkpoint_path, weights_only=True)
    recipe = source.about.recipe
    size_px = image_size or recipe.image_size
    with device_errors(device):
        network = source.network().to(device)
    lpips = Lpips(lpips_weights, device) if lpips_weights else None
    frechet = Fid(fid_weights, device) if fid_weights else None
    evaluation = Evaluation(network, chosen, size_px, ColorizationWeightedLoss.of(recipe), device, lpips, frechet)
    with progress_bar("photos") as progress:
        judged = evaluation.run(limit, progress)
    protocol = Protocol(
        checkpoint=str(source.path),
        checkpoint_sha256=sha256_of(source.path),
        manifest=str(manifest),
        manifest_sha256=manifest_sha256,
        split=split,
        photos=len(judged),
        unreadable=min(limit or len(chosen), len(chosen)) - len(judged),
        size_px=size_px,
        lpips_weights_sha256=lpips.features.sha256 if lpips else None,
        fid_weights_sha256=frechet.features.sha256 if frechet else None,
    )
    rows = summarize(judged, frechet.distances() if frechet else None)
    echo_lines([report.as_json(protocol, judged, rows)] if as_json else report.lines(protocol, judged, rows))
    if html:
        report.write(html, report.page(evaluation, protocol, judged, rows))
        click.echo(f"written: {html}", err=as_json)
