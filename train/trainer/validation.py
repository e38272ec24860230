"""Looking at photos without learning from them: baselines, held-out photos, sample sheets."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from curate.errors import TrainingError
from curate.files import write_atomic
from curate.measures.measure import measure
from curate.text import pluralize
from train import checkpoint
from train.data.dataset import Photos
from train.data.loader import Batch, CropLoader, load_batches
from train.data.sampler import SampleKey, sequential_batches
from train.health.detectors import Validation
from train.health.findings import DOCUMENTED_LOSSES, DOCUMENTED_NEUTRAL, WINDOW_STEPS
from train.models.colorspace import join_lab, split_lab
from train.trainer.state import TrainState

Picture = NDArray[np.uint8]
GAP_PX = 4
CAPTION_PX = 16
READABLE_PX = 160


def loss_plot(path: Path, ratios: Sequence[float], validations: Sequence[Validation], mean_color_ratio: float) -> None:
    """Draw loss ÷ neutral over steps with the documented ladder; the file is replaced whole."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    losses = np.asarray(ratios, np.float64)
    _draw_losses(axes, losses)
    if validations:
        steps, held_out = zip(*((seen.step, seen.ratio) for seen in validations), strict=True)
        how = "o-" if len(validations) <= 50 else "-"
        axes.plot(steps, held_out, how, color="tab:red", markersize=3, linewidth=1, label="held-out photos")
    _draw_ladder(axes)
    axes.axhline(mean_color_ratio, color="tab:brown", linewidth=0.8, linestyle="--", label="mean colour")
    finite = losses[np.isfinite(losses)]
    top = max(1.15, min(2.0, float(np.quantile(finite, 0.99)) * 1.1 if len(finite) else 1))
    axes.set(xlabel="step", ylabel="loss ÷ neutral", ylim=(0, top))
    axes.set_title("Loss; green: the documented ladder", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_atomic(data.getbuffer(), path)


def _draw_losses(axes: Axes, losses: NDArray[np.float64]) -> None:
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="0.8", linewidth=0.7, label="each step")
    width = max(1, min(WINDOW_STEPS, len(losses) // 10))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of {pluralize(width, 'step')}")


def _draw_ladder(axes: Axes) -> None:
    for documented in DOCUMENTED_LOSSES:
        ratio = documented / DOCUMENTED_NEUTRAL
        axes.axhline(ratio, color="tab:green", linewidth=0.6, linestyle=":")
        place = axes.get_yaxis_transform()  # across in parts of the frame, up in losses
        axes.text(1.005, ratio, f"{documented:.2f}", transform=place, color="tab:green", fontsize=8, va="center")


def side_by_side(rows: Sequence[Sequence[Picture]], captions: Sequence[str]) -> Image.Image:
    """Rows of pictures of one height each under captions, one caption a column."""
    narrowest = min(picture.shape[1] for row in rows for picture in row)
    enlarge = -(-READABLE_PX // narrowest)  # small pictures are shown larger, so that a caption fits above them
    rows = [[picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1) for picture in row] for row in rows]
    widths = [max(row[column].shape[1] for row in rows) for column in range(len(captions))]
    height = CAPTION_PX + sum(max(picture.shape[0] for picture in row) + GAP_PX for row in rows)
    sheet = Image.new("RGB", (sum(widths) + GAP_PX * (len(widths) - 1), height), "white")
    draw = ImageDraw.Draw(sheet)
    left = 0
    for column, caption in enumerate(captions):
        draw.text((left + 2, 2), caption, fill="black")
        top = CAPTION_PX
        for row in rows:
            sheet.paste(Image.fromarray(row[column]), (left, top))
            top += max(picture.shape[0] for picture in row) + GAP_PX
        left += widths[column] + GAP_PX
    return sheet


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole."""
    data = io.BytesIO()
    picture.save(data, format="PNG")
    write_atomic(data.getbuffer(), path)


BASELINE_PHOTOS = 512
SAMPLE_PHOTOS = 6
JUDGED_PHOTOS = 64
"""Validation pictures whose colourfulness and tone are measured."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """What costs nothing to predict, on the training photos."""

    neutral: float
    """Loss of predicting neutral gray everywhere."""
    mean_color: float
    """Loss of the best single colour."""


def measure_baselines(run: TrainState) -> Baselines:
    """Neutral gray and the best single colour, on up to 512 training photos cropped from the middle.

    The best single colour is the mean of ab under the loss's own weights: the minimum of a weighted squared error.
    """
    draws = sequential_batches(run.photos.train, run.recipe.batch_size, BASELINE_PHOTOS)
    targets = []
    for batch in _center_batches(run, run.photos.train, draws):
        _, target = split_lab(batch.rgb.to(run.fabric.device))
        targets.append(torch.nn.functional.avg_pool2d(target, 2).to(torch.float16))
    if not targets:
        raise TrainingError("not one training photo can be read: is the disk there? then start again")
    target = torch.cat(targets).float()
    weights = run.criterion.weights(target)
    mean = (weights * target).sum(dim=(0, 2, 3), keepdim=True) / weights.sum()
    neutral = float(run.criterion(torch.zeros_like(target), target))
    return Baselines(neutral, float(run.criterion(mean.expand_as(target), target)))


def validate(run: TrainState) -> Validation | None:
    """Look at the held-out photos: loss ÷ neutral, colourfulness and tone; keep the best weights.

    Returns:
        What was seen; None if no photos are held out.

    Raises:
        TrainingError: none of them can be read.
    """
    if not len(run.photos.val):
        return None
    loss = neutral = 0.0
    photos = 0
    judged: list[tuple[Any, Any]] = []
    for lightness, target, predicted, rgb in predictions(run, run.photos.val):
        count = len(target)
        loss += count * float(run.criterion(predicted, target))
        neutral += count * float(run.criterion(torch.zeros_like(target), target))
        photos += count
        if len(judged) < JUDGED_PHOTOS:
            judged += zip(join_lab(lightness, predicted).cpu().numpy(), rgb.cpu().numpy(), strict=True)
    if not photos:
        raise TrainingError("not one held-out photo can be read: is the disk there? then --resume")
    measured = [(measure(ours), measure(original)) for ours, original in judged]
    colorful = sum(original.colorfulness for _, original in measured)
    validation = Validation(
        step=run.step,
        ratio=loss / neutral if neutral else math.inf,
        colorfulness_share=sum(ours.colorfulness for ours, _ in measured) / colorful if colorful else 0.0,
        tones=dict(Counter(ours.tone.tone for ours, _ in measured)),
        loss=loss / photos,
        photos=photos,
    )
    if math.isfinite(validation.ratio) and (run.best_score is None or validation.score < run.best_score):
        run.best_score, run.best_step = validation.score, run.step
        run.best_weights = checkpoint.weights(run.seen)
    return validation


def sample_sheet(run: TrainState) -> Image.Image | None:
    """Gray | predicted | original of a few held-out photos, or of training photos where none are held out."""
    photos = run.photos.val if len(run.photos.val) else run.photos.train
    rows = []
    for lightness, _, predicted, rgb in predictions(run, photos, SAMPLE_PHOTOS):
        grays = join_lab(lightness, torch.zeros_like(predicted)).cpu().numpy()
        ours = join_lab(lightness, predicted).cpu().numpy()
        rows += list(zip(grays, ours, rgb.cpu().numpy(), strict=True))
    return side_by_side(rows, ("gray", f"predicted, step {run.step:,}", "original")) if rows else None


def predictions(
    run: TrainState, photos: Photos, limit: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(lightness, target, predicted, rgb) of photos cropped from the middle, in batches."""
    network = run.seen.eval()
    with torch.no_grad():
        for batch in _center_batches(run, photos, sequential_batches(photos, run.recipe.batch_size, limit)):
            rgb = batch.rgb.to(run.fabric.device)
            lightness, target = split_lab(rgb)
            with run.fabric.autocast():
                predicted = network(lightness)
            yield lightness, target, predicted.float(), rgb


def _center_batches(run: TrainState, photos: Photos, draws: list[list[SampleKey]]) -> Iterator[Batch]:
    crops = CropLoader(photos, run.recipe.image_size, run.recipe.seed)
    for batch in load_batches(crops, draws, run.plan.machine.workers if len(draws) > 2 else 0):
        if batch.photos:
            yield batch
