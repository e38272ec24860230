"""One optimizer step: forward, backward, and what happens when a number is no number or memory runs out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor

from curate.errors import TrainingError
from train.data.loader import Batch
from train.models.colorspace import split_lab
from train.trainer.fabric import all_gather, all_reduce_sum
from train.trainer.state import TrainState


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step came to, over all processes."""

    loss: float
    """Mean over the photos; NaN where it, or a gradient, was no number and the step was left out."""
    neutral: float
    """What predicting neutral gray costs on the same photos."""
    perceptual: float | None = None
    """The perceptual loss, not weighted; None where the recipe leaves it out."""
    lost: tuple[int, ...] | None = None
    """Of a step that was left out: the photos that alone give no number; none if only the batch as a whole does."""


def train_step(run: TrainState, batch: Batch, photos: int) -> StepResult:
    """Take one step; where loss or gradients are no number, leave weights, moments and buffers as they were.

    Args:
        run: to be trained.
        batch: this process's share of the step, which may be empty.
        photos: in the whole step.

    Raises:
        TrainingError: the batch doesn't fit in memory.
    """
    try:
        return _learn(run, batch, photos)
    except (RuntimeError, MemoryError) as exc:
        if not out_of_memory(exc):
            raise
        clear_frames(exc.__traceback__)  # they hold what filled the memory
        raise TrainingError(largest_batch_hint(run, batch.rgb)) from exc


def _learn(run: TrainState, batch: Batch, photos: int) -> StepResult:
    buffers = [buffer.clone() for buffer in run.network.buffers()]
    run.model.train()
    loss, neutral, perceptual = all_reduce_sum(run.fabric, *_backward(run, batch.rgb, photos))
    norm: Any = run.fabric.clip_gradients(
        run.model, run.optimizer, max_norm=run.recipe.clip_grad or math.inf, error_if_nonfinite=False
    )
    sound = math.isfinite(loss) and (math.isfinite(float(norm)) or _scaled_too_far(run))
    lost = None if sound else find_nonfinite_photos(run, batch)
    if lost is None or run.scaler:  # which then leaves the weights as they are, and lowers its scale
        run.optimizer.step()
    if lost is None:
        if run.ema:
            run.ema.update_parameters(run.network)
    else:
        with torch.no_grad():
            for buffer, before in zip(run.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
    run.optimizer.zero_grad(set_to_none=True)
    return StepResult(loss if lost is None else math.nan, neutral, perceptual if run.perceptual else None, lost)


def _scaled_too_far(run: TrainState) -> bool:
    """Whether gradients may overflow for no other reason than their scale: no fault of the photos or the weights."""
    return run.scaler is not None and run.scaler.get_scale() > 1


def _backward(run: TrainState, rgb: Tensor, photos: int) -> tuple[float, float, float]:
    """Gradients of the whole step's mean cost, a batch at a time.

    Returns:
        This process's part of the loss, of the neutral prediction's loss, and of the perceptual loss.
    """
    if not len(rgb):  # all processes must take part, with a share of 0
        rgb = torch.zeros(1, run.recipe.image_size, run.recipe.image_size, 3, dtype=torch.uint8)
        parts, photos = [rgb], 0
    else:
        parts = list(torch.split(rgb, run.recipe.batch_size))
    found = []
    for part in parts:
        lightness, target = split_lab(part.to(run.fabric.device))
        share = len(part) / photos if photos else 0.0
        waits = run.fabric.world_size > 1 and part is not parts[-1]
        with run.fabric.no_backward_sync(run.model, enabled=waits):
            cost, look = (term * share for term in _costs(run, lightness, run.model(lightness), target))
            whole = cost + run.recipe.perceptual_weight * look
            run.fabric.backward(whole * run.fabric.world_size)  # whose gradients the processes average
        neutral = share * run.criterion(torch.zeros_like(target), target)
        found.append(torch.stack([cost.detach(), neutral, look.detach()]))
    loss, neutral, perceptual = map(math.fsum, zip(*torch.stack(found).tolist(), strict=True))  # waits for a GPU once
    return loss, neutral, perceptual


def _costs(run: TrainState, lightness: Tensor, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the perceptual loss; 0 where the recipe leaves that out."""
    cost = run.criterion(predicted, target)
    return cost, run.perceptual(lightness, predicted, target) if run.perceptual else torch.zeros_like(cost)


def find_nonfinite_photos(run: TrainState, batch: Batch) -> tuple[int, ...]:
    """The photos, of all processes, whose loss or gradient is no number when the network sees them alone."""
    weights = [weight for weight in run.network.parameters() if weight.requires_grad]
    found = []
    for photo, rgb in zip(batch.photos, batch.rgb, strict=True):
        lightness, target = split_lab(rgb[None].to(run.fabric.device))
        with run.fabric.autocast():
            cost = run.criterion(run.network(lightness), target)
        numbers = [cost.detach(), *torch.autograd.grad(cost, weights, allow_unused=True)]
        if not all(bool(number.isfinite().all()) for number in numbers if number is not None):
            found.append(photo)
    return tuple(all_gather(run.fabric, found))


def advance_schedule(run: TrainState) -> None:
    """One step on in the learning rate's schedule, also after a step that was left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        run.schedule.step()
    run.step += 1


def out_of_memory(exc: BaseException) -> bool:
    """Whether this is how Python, torch, CUDA or a CPU allocator say that memory ran out."""
    return isinstance(exc, (MemoryError, torch.OutOfMemoryError)) or "memory" in str(exc).lower()


def largest_batch_hint(run: TrainState, rgb: Tensor) -> str:
    """Say which smaller batch size fits in memory, by trying halves of the batch that did not fit."""
    recipe = run.recipe
    size = recipe.batch_size // 2
    while size and not _fits(run, rgb[:size]):
        size //= 2
    if not size:
        return "not even one photo fits in memory: lower --image-size or --channels, and give a new --run-dir"
    accumulate = -(-recipe.batch_size * recipe.accumulate // size)
    return (
        f"a batch of {recipe.batch_size} doesn't fit in memory, {size} do: --batch-size {size} --accumulate "
        f"{accumulate} takes steps of as many photos; give a new --run-dir"
    )


def _fits(run: TrainState, rgb: Tensor) -> bool:
    run.optimizer.zero_grad(set_to_none=True)
    if run.fabric.device.type == "cuda":
        torch.cuda.empty_cache()
    lightness, target = split_lab(rgb.to(run.fabric.device))
    try:
        with run.fabric.autocast():
            cost, look = _costs(run, lightness, run.network(lightness), target)
            torch.autograd.backward(cost + look)
    except (RuntimeError, MemoryError) as exc:
        if not out_of_memory(exc):
            raise
        return False
    return True
