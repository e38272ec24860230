"""Evaluate a checkpoint, and compare colorized pictures of any tool with their originals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from curate.errors import UsageError
from curate.files import sha256_of
from curate.locations import local_path, parse_location
from train.api.arguments import (
    Progress,
    StrPath,
    check_image_size,
    check_split,
    check_timeout,
    optional_path,
    to_roots,
)
from train.api.checkpoints import load_checkpoint
from train.data.dataset import load_split
from train.data.loader import TIMEOUT_S
from train.evaluation import report
from train.evaluation.comparison import Comparison, ComparisonResult
from train.evaluation.evaluator import Evaluation, EvaluationResult
from train.evaluation.feature_metrics import Fid, Lpips
from train.evaluation.pairs import Pairs, list_folder, load_originals
from train.evaluation.protocols import CENTER_CROP, WHOLE_PICTURE, ComparisonProtocol, Protocol
from train.evaluation.scores import summarize
from train.evaluation.training_photos import count_training_photos
from train.models.device import choose_device, device_errors
from train.models.losses import ColorizationWeightedLoss
from train.models.strength import Strength, resolve_strength


def evaluate(
    checkpoint: StrPath,
    manifest: StrPath,
    *,
    split: Literal["test", "val", "train", "all"] = "test",
    image_size: int | None = None,
    limit: int | None = None,
    roots: StrPath | Sequence[StrPath] = (),
    skip_changed: bool = False,
    lpips_weights: StrPath | None = None,
    fid_weights: StrPath | None = None,
    html: StrPath | None = None,
    timeout_s: float = TIMEOUT_S,
    strength: Strength = 1.0,
    device: str = "auto",
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Evaluate a checkpoint on photos of a manifest, compared with a gray and a single-color prediction.

    Args:
        checkpoint: a .safetensors file, or a run's folder.
        manifest: a manifest of `curate.filter_manifest`.
        split: photos to use; `fit` never reads those of `test`.
        image_size: side of the square crops, 32 to 4096 px; None is the size of the training.
        limit: use this many photos, evenly spread; None uses all.
        roots: one or many folders to look in, if the photos have moved since the scan.
        skip_changed: leave out photos that have changed since the scan; otherwise they are an error.
        lpips_weights: TorchScript file vgg16.pt, to measure LPIPS. It runs as a program.
        fid_weights: TorchScript file inception-2015-12-05.pt, to measure FID. It runs as a program.
        html: page to write with the best, median and worst photos.
        timeout_s: a photo that takes longer to read counts as unreadable.
        strength: factor for the chroma of the network's colors, 0 to 4, or `auto`, as for `Colorizer.colorize`.
        device: auto (the first GPU, else the CPU), cpu, cuda, cuda:1 or mps.
        say: called with each line of text for the user.
        progress: called with the number of photos done and of all photos.

    Returns:
        `summary["network"]` with `loss_to_neutral`, `colorfulness`, `psnr_db`, `ssim`, ..., beside
        `summary["neutral gray"]` and `summary["mean color"]`; `photos` with the scores of each photo; `protocol`.

    Raises:
        CheckpointError: the checkpoint cannot be read, or `strength` is `auto` and it has no automatic strength.
        ManifestError: the manifest has no photos of that split, or photos are gone or changed.
        UsageError: an argument has no meaning, or the device does not exist.
        TrainingError: no photo can be read.

    Example:
        >>> result = train.evaluate("runs/clean", "clean.parquet")  # doctest: +SKIP
        >>> result.summary["network"].loss_to_neutral  # doctest: +SKIP
        0.71
    """
    check_timeout(timeout_s)
    check_split(split)
    check_image_size(image_size)
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be a number of photos, 1 or more, not {limit!r}")
    page = optional_path(html)
    if page:
        report.PAGE.check_path(page)
    chosen, manifest_sha256 = load_split(
        parse_location(manifest), split, to_roots(roots), skip_changed=skip_changed, say=say
    )
    source = load_checkpoint(checkpoint)
    recipe = source.metadata.recipe
    size_px = image_size or recipe.image_size
    factor = resolve_strength(strength, source.metadata.auto_strength, source.path)
    device = choose_device(device)
    with device_errors(device):
        network = source.network().to(device)
    lpips = Lpips(local_path(lpips_weights), device) if lpips_weights else None
    fid = Fid(local_path(fid_weights), device) if fid_weights else None
    evaluation = Evaluation(
        network, chosen, size_px, ColorizationWeightedLoss.from_recipe(recipe), device, lpips, fid, timeout_s, factor
    )
    photos = evaluation.run(limit, progress or (lambda done, total: None))
    training_photos, parents_known = count_training_photos(
        source, parse_location(manifest), chosen, [photo.index for photo in photos]
    )
    protocol = Protocol(
        checkpoint=str(source.path),
        checkpoint_sha256=sha256_of(source.path),
        manifest=str(manifest),
        manifest_sha256=manifest_sha256,
        split=split,
        photos=len(photos),
        unreadable=min(limit or len(chosen), len(chosen)) - len(photos),
        size_px=size_px,
        training_photos=training_photos,
        parents_known=parents_known,
        strength=factor,
        lpips_weights_sha256=lpips.features.sha256 if lpips else None,
        fid_weights_sha256=fid.features.sha256 if fid else None,
    )
    summary = summarize(photos, fid.distances() if fid else None)
    if page:
        text = report.render_page(evaluation.render, protocol, photos, summary)
        report.PAGE.write(page, text)
    unreadable = {chosen.name(index): reason for index, reason in evaluation.unreadable.items()}
    return EvaluationResult(protocol, photos, summary, unreadable, evaluation.auto_strength())


def compare(
    pictures: StrPath,
    truth: StrPath,
    *,
    image_size: int | None = None,
    split: Literal["test", "val", "train", "all"] = "all",
    roots: StrPath | Sequence[StrPath] = (),
    lpips_weights: StrPath | None = None,
    fid_weights: StrPath | None = None,
    html: StrPath | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Progress | None = None,
) -> ComparisonResult:
    """Compare colorized pictures of any tool with their originals, beside a gray and a single-color prediction.

    A picture belongs to the original that has the same path below its folder, suffixes aside. A picture of another size
    is scaled to the size of its original. The loss is that of the documented recipe.

    Args:
        pictures: folder, tar or ZIP of the colorized pictures.
        truth: folder, tar or ZIP of the originals, or a manifest.
        image_size: scale the short side of both to this many px, 32 to 4096, and cut a square from the middle, as
            `evaluate` does; None compares whole pictures at the size of the original.
        split: photos of the manifest to use.
        roots: one or many folders to look in, if the photos of the manifest have moved since the scan.
        lpips_weights: TorchScript file vgg16.pt, to measure LPIPS. It runs as a program.
        fid_weights: TorchScript file inception-2015-12-05.pt, to measure FID. It runs as a program.
        html: page to write with the best, median and worst pictures.
        timeout_s: a picture that takes longer to read counts as unreadable.
        progress: called with the number of pictures done and of all pictures.

    Returns:
        `summary["pictures"]` with `loss_to_neutral`, `colorfulness`, `psnr_db`, `ssim`, `hue`, ..., beside
        `summary["neutral gray"]` and `summary["mean color"]`; `photos` with the scores of each picture; `protocol`;
        and the pictures that were left out.

    Raises:
        SourceError: a folder has no photos or can't be listed.
        ManifestError: the manifest has no photos of that split, or photos are gone or changed.
        UsageError: an argument has no meaning, no picture has an original, or a path without suffix is not unique.
        TrainingError: no picture can be compared.

    Example:
        >>> result = train.compare("colored", "originals", image_size=256)  # doctest: +SKIP
        >>> result.summary["pictures"].loss_to_neutral  # doctest: +SKIP
        0.71
    """
    check_timeout(timeout_s)
    check_split(split)
    check_image_size(image_size)
    page = optional_path(html)
    if page:
        report.PAGE.check_path(page)
    folder, source = local_path(pictures), parse_location(truth)
    inner, outer = ([], []) if folder == source else ([folder], [source])  # one folder may be inside the other
    originals, sha256 = load_originals(source, split, to_roots(roots), inner)
    pairs = Pairs.match(list_folder(folder, [path for path in outer if isinstance(path, Path)]), originals)
    lpips = Lpips(local_path(lpips_weights), "cpu") if lpips_weights else None
    fid = Fid(local_path(fid_weights), "cpu") if fid_weights else None
    comparison = Comparison(pairs, image_size, lpips, fid, timeout_s)
    photos = comparison.run(progress or (lambda done, total: None))
    protocol = ComparisonProtocol(
        pictures=str(pictures),
        truth=str(truth),
        truth_sha256=sha256,
        split=None if sha256 is None else split,
        photos=len(photos),
        size_px=image_size,
        resized=len(comparison.resized),
        stretched=len(comparison.stretched),
        unmatched=len(pairs.unmatched),
        originals_without_picture=len(originals) - len(pairs.matches),
        unreadable=len(comparison.unreadable),
        colorless=len(comparison.colorless),
        lpips_weights_sha256=lpips.features.sha256 if lpips else None,
        fid_weights_sha256=fid.features.sha256 if fid else None,
        crop=CENTER_CROP if image_size else WHOLE_PICTURE,
    )
    summary = summarize(photos, fid.distances() if fid else None)
    if page:
        text = report.render_page(comparison.render, protocol, photos, summary)
        report.PAGE.write(page, text)
    return ComparisonResult(protocol, photos, summary, pairs.unmatched, comparison.unreadable, comparison.colorless)
