"""Looking at photos without learning from them: baselines, held-out photos, sample sheets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from curate.errors import TrainingError
from curate.measures import measure
from train import checkpoint
from train.data import Batch, Crops, Draw, batches, in_order
from train.health import Validation
from train.lab import join_lab, split_lab
from train.photos import Photos
from train.pictures import side_by_side
from train.run import Run

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


def measure_baselines(run: Run) -> Baselines:
    """Neutral gray and the best single colour, on up to 512 training photos cropped from the middle.

    The best single colour is the mean of ab under the loss's own weights: the minimum of a weighted squared error.
    """
    draws = in_order(run.photos.train, run.recipe.batch_size, BASELINE_PHOTOS)
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


def validate(run: Run) -> Validation | None:
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


def sample_sheet(run: Run) -> Image.Image | None:
    """Gray | predicted | original of a few held-out photos, or of training photos where none are held out."""
    photos = run.photos.val if len(run.photos.val) else run.photos.train
    rows = []
    for lightness, _, predicted, rgb in predictions(run, photos, SAMPLE_PHOTOS):
        grays = join_lab(lightness, torch.zeros_like(predicted)).cpu().numpy()
        ours = join_lab(lightness, predicted).cpu().numpy()
        rows += list(zip(grays, ours, rgb.cpu().numpy(), strict=True))
    return side_by_side(rows, ("gray", f"predicted, step {run.step:,}", "original")) if rows else None


def predictions(run: Run, photos: Photos, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(lightness, target, predicted, rgb) of photos cropped from the middle, in batches."""
    network = run.seen.eval()
    with torch.no_grad():
        for batch in _center_batches(run, photos, in_order(photos, run.recipe.batch_size, limit)):
            rgb = batch.rgb.to(run.fabric.device)
            lightness, target = split_lab(rgb)
            with run.fabric.autocast():
                predicted = network(lightness)
            yield lightness, target, predicted.float(), rgb


def _center_batches(run: Run, photos: Photos, draws: list[list[Draw]]) -> Iterator[Batch]:
    crops = Crops(photos, run.recipe.image_size, run.recipe.seed)
    for batch in batches(crops, draws, run.plan.machine.workers if len(draws) > 2 else 0):
        if batch.photos:
            yield batch
