"""Baselines, validation, and the pictures of a run: loss plot and sample sheets. No step here changes the weights."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from curate.errors import TrainingError
from curate.files import write_atomic
from curate.measures.appearance import HUE_BINS
from curate.measures.colorfulness import colorfulness
from curate.measures.hue_spread import hue_histogram, hue_spread
from curate.measures.measure import measure_color
from curate.text import pluralize
from train import checkpoint
from train.data.dataset import Photos
from train.data.loader import Batch, CropLoader, load_batches
from train.data.sampler import SampleKey, sequential_batches, spread_indices
from train.health.curve import LossCurve, Validation
from train.health.findings import DOCUMENTED_LOSSES, DOCUMENTED_NEUTRAL, WINDOW_STEPS
from train.models.colorspace import AB_UNIT, join_lab, split_lab
from train.models.strength import MAX_PHOTOS, StrengthSamples, loss_at
from train.trainer.state import TrainState

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 sRGB."""
BASELINE_PHOTOS = 512
SAMPLE_PHOTOS = 6
MEASURED_PHOTOS = 64
"""Validation pictures whose colorfulness and tone are measured, evenly spread."""
GAP_PX = 4
CAPTION_PX = 16
MIN_COLUMN_PX = 160
"""Smaller pictures are enlarged in a grid, so that a caption fits above them."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """Losses of constant predictions on the training photos."""

    neutral: float
    """Loss of predicting neutral gray everywhere."""
    mean_color: float
    """Loss of predicting the best single color everywhere."""


def measure_baselines(state: TrainState) -> Baselines:
    """Measure the baselines on up to 512 training photos, cropped from the middle.

    The best single color is the mean of ab under the loss's weights: that minimizes a weighted squared error.

    Raises:
        TrainingError: none of the photos can be read.
    """
    samples = sequential_batches(state.datasets.train, state.recipe.batch_size, BASELINE_PHOTOS)
    targets = []
    for batch in _center_crops(state, state.datasets.train, samples):
        _, target = split_lab(batch.rgb.to(state.fabric.device))
        targets.append(torch.nn.functional.avg_pool2d(target, 2).to(torch.float16))  # 1/8 of the memory
    if not targets:
        raise TrainingError("no training photo can be read: check that their disk is mounted, then start again")
    target = torch.cat(targets).float()
    weights = state.criterion.weights(target)
    mean = (weights * target).sum(dim=(0, 2, 3), keepdim=True) / weights.sum()
    neutral = float(state.criterion(torch.zeros_like(target), target))
    return Baselines(neutral, float(state.criterion(mean.expand_as(target), target)))


def validate(state: TrainState) -> Validation | None:
    """Measure loss, hues, colorfulness and tone on the validation photos; remember the weights if their score is best.

    Returns:
        The measurements; None if there are no validation photos.

    Raises:
        TrainingError: none of the photos can be read.
    """
    if not len(state.datasets.val):
        return None
    loss = neutral = energy = 0.0
    photos, total = 0, len(state.datasets.val)
    measured, sampled = (
        np.isin(np.arange(total), spread_indices(total, limit)) for limit in (MEASURED_PHOTOS, MAX_PHOTOS)
    )
    hues = np.zeros((2, HUE_BINS))
    pictures, samples = _Pictures(), StrengthSamples()
    for lightness, target, predicted, rgb in predict(state, state.datasets.val):
        count = len(target)
        loss += count * float(state.criterion(predicted, target))
        neutral += count * float(state.criterion(torch.zeros_like(target), target))
        energy += count * float((state.criterion.weights(target) * predicted.square()).mean())
        hues += [hue_histogram((ab * AB_UNIT).cpu().numpy()) for ab in (predicted, target)]
        batch = slice(photos, photos + count)
        for collection, mask in ((pictures, measured[batch]), (samples, sampled[batch])):
            if mask.any():
                rows = torch.from_numpy(mask)
                collection.add(lightness[rows], predicted[rows], rgb[rows])
        photos += count
    if not photos:
        raise TrainingError(
            "no validation photo can be read: check that their disk is mounted, then continue with --resume"
        )
    state.auto_strength = strength = samples.automatic_strength()
    validation = Validation(
        step=state.step,
        ratio=loss / neutral if neutral else math.inf,
        colorfulness_share=pictures.predicted_sum / pictures.original_sum if pictures.original_sum else 0.0,
        tones=dict(pictures.tones),
        loss=loss / photos,
        photos=photos,
        auto_strength=strength,
        auto_ratio=loss_at(strength, loss, neutral, energy) / neutral if neutral and strength is not None else None,
        hue=hue_spread(hues[0]),
        original_hue=hue_spread(hues[1]),
    )
    if math.isfinite(validation.ratio) and (state.best_score is None or validation.score < state.best_score):
        state.best_score, state.best_step = validation.score, state.step
        state.best_weights, state.best_auto_strength = checkpoint.network_tensors(state.eval_model), strength
    return validation


class _Pictures:
    """Colorfulness and tone of predictions."""

    def __init__(self) -> None:
        self.original_sum = self.predicted_sum = 0.0
        """Sums of the colorfulness."""
        self.tones: Counter[str] = Counter()
        """Number of predictions by tone."""

    def add(self, lightness: Tensor, ab: Tensor, rgb: Tensor) -> None:
        """Measure a batch: lightness and predicted ab as in `split_lab`, and the photos, (N, H, W, 3) uint8."""
        for picture, original in zip(join_lab(lightness, ab).cpu().numpy(), rgb.cpu().numpy(), strict=True):
            predicted, tone = measure_color(picture)
            self.predicted_sum += predicted
            self.original_sum += colorfulness(original)
            self.tones[tone.tone] += 1


def predict(
    state: TrainState, photos: Photos, limit: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Run the network on crops from the middle of photos, without gradients.

    Args:
        state: of the run.
        photos: training or validation photos.
        limit: use this many photos, evenly spread; None uses all.

    Yields:
        For each batch, lightness (N, 1, H, W), target ab and predicted ab (N, 2, H, W), all as in `split_lab`, and the
        crops, (N, H, W, 3) uint8.
    """
    network = state.eval_model.eval()
    with torch.no_grad():
        for batch in _center_crops(state, photos, sequential_batches(photos, state.recipe.batch_size, limit)):
            rgb = batch.rgb.to(state.fabric.device)
            lightness, target = split_lab(rgb)
            with state.fabric.autocast():
                predicted = network(lightness)
            yield lightness, target, predicted.float(), rgb


def _center_crops(state: TrainState, photos: Photos, samples: list[list[SampleKey]]) -> Iterator[Batch]:
    """Load batches, without those of which no photo can be read; two batches aren't worth starting workers for."""
    crops, device_config = CropLoader(photos, state.recipe.image_size, state.recipe.seed), state.config.device_config
    batches = load_batches(
        crops,
        samples,
        device_config.workers if len(samples) > 2 else 0,
        timeout_s=device_config.timeout_s,
        is_stopping=state.stop.is_set,
        say=state.say,
    )
    for batch in batches:
        for photo, reason in batch.errors:
            if (name := photos.name(photo)) not in state.reported_photos:
                state.reported_photos.add(name)
                state.say(f"! skipped photo {name}: {reason}")
        if batch.photos:
            yield batch


def make_sample_sheet(state: TrainState) -> Image.Image | None:
    """Return a grid of gray, predicted and original pictures; None if no photo can be read.

    It shows the first validation photos, or training photos if there are none.
    """
    photos = state.datasets.val if len(state.datasets.val) else state.datasets.train
    rows = []
    for lightness, _, predicted, rgb in predict(state, photos, SAMPLE_PHOTOS):
        grays = join_lab(lightness, torch.zeros_like(predicted)).cpu().numpy()
        predictions = join_lab(lightness, predicted).cpu().numpy()
        rows += list(zip(grays, predictions, rgb.cpu().numpy(), strict=True))
    return picture_grid(rows, ("gray", f"predicted, step {state.step:,}", "original")) if rows else None


def picture_grid(rows: Sequence[Sequence[Picture]], captions: Sequence[str]) -> Image.Image:
    """Return a grid of pictures with a caption above each column.

    Args:
        rows: pictures by row, one for each caption; the pictures of a row have the same height.
        captions: one for each column.
    """
    narrowest = min(picture.shape[1] for row in rows for picture in row)
    factor = -(-MIN_COLUMN_PX // narrowest)
    rows = [[picture.repeat(factor, axis=0).repeat(factor, axis=1) for picture in row] for row in rows]
    widths = [max(row[column].shape[1] for row in rows) for column in range(len(captions))]
    height = CAPTION_PX + sum(max(picture.shape[0] for picture in row) + GAP_PX for row in rows)
    grid = Image.new("RGB", (sum(widths) + GAP_PX * (len(widths) - 1), height), "white")
    draw = ImageDraw.Draw(grid)
    left = 0
    for column, caption in enumerate(captions):
        draw.text((left + 2, 2), caption, fill="black")
        top = CAPTION_PX
        for row in rows:
            grid.paste(Image.fromarray(row[column]), (left, top))
            top += max(picture.shape[0] for picture in row) + GAP_PX
        left += widths[column] + GAP_PX
    return grid


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, atomically."""
    data = io.BytesIO()
    picture.save(data, format="PNG")
    write_atomic(data.getbuffer(), path)


def plot_losses(path: Path, curve: LossCurve) -> None:
    """Plot loss ÷ neutral of the same photos over the steps, with the documented levels, as PNG, written atomically."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    losses, neutrals = curve.finite_values(0)
    ratios = losses / np.where(neutrals > 0, neutrals, np.nan)
    _plot_training(axes, ratios, losses, neutrals)
    if curve.validations:
        steps, values = zip(*((validation.step, validation.ratio) for validation in curve.validations), strict=True)
        style = "o-" if len(curve.validations) <= 50 else "-"
        axes.plot(steps, values, style, color="tab:red", markersize=3, linewidth=1, label="validation")
    _plot_documented_levels(axes)
    axes.axhline(curve.mean_color, color="tab:brown", linewidth=0.8, linestyle="--", label="mean color")
    finite = ratios[np.isfinite(ratios)]
    top = max(1.15, min(2.0, float(np.quantile(finite, 0.99)) * 1.1 if len(finite) else 1))
    axes.set(xlabel="step", ylabel="loss ÷ neutral", ylim=(0, top))
    axes.set_title("Loss ÷ loss of gray on the same photos; green: the documented loss levels", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_atomic(data.getbuffer(), path)


def _plot_training(
    axes: Axes, ratios: NDArray[np.float64], losses: NDArray[np.float64], neutrals: NDArray[np.float64]
) -> None:
    steps = np.arange(1, len(ratios) + 1)
    axes.plot(steps, ratios, color="0.8", linewidth=0.7, label="each step")
    width = max(1, min(WINDOW_STEPS, len(ratios) // 10))
    loss_sums, neutral_sums = (np.convolve(values, np.ones(width), mode="valid") for values in (losses, neutrals))
    smooth = loss_sums / np.where(neutral_sums > 0, neutral_sums, np.nan)
    axes.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of {pluralize(width, 'step')}")


def _plot_documented_levels(axes: Axes) -> None:
    for documented in DOCUMENTED_LOSSES:
        ratio = documented / DOCUMENTED_NEUTRAL
        axes.axhline(ratio, color="tab:green", linewidth=0.6, linestyle=":")
        transform = axes.get_yaxis_transform()  # x as a share of the axes' width, y as a loss
        axes.text(1.005, ratio, f"{documented:.2f}", transform=transform, color="tab:green", fontsize=8, va="center")
