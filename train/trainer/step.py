"""One optimizer step: forward, backward, gradient clipping, AdamW, EMA; non-finite steps and lack of memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor

from curate.errors import TrainingError
from curate.process_settings import ignore_warnings
from train.data.loader import Batch
from train.models.colorspace import gray_lightness, split_lab
from train.trainer.fabric import all_gather, all_reduce_sum
from train.trainer.state import TrainState

_OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "allocate memory",
    "enough memory",
    "insufficient memory",
    "bad_alloc",
    "bad alloc",
)
"""How CUDA, torch's CPU allocator, OpenCV and the system say that memory ran out; not so a full /dev/shm."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Losses of one optimizer step, over all processes."""

    loss: float
    """Mean over the photos; NaN if the step was skipped because the loss or a gradient was NaN or infinite."""
    neutral: float
    """Loss of predicting neutral gray for the same photos."""
    perceptual: float | None = None
    """Perceptual loss, before its weight; None if the recipe doesn't use one."""
    bad_photos: tuple[int, ...] | None = None
    """None if the step was taken. Of a skipped step, the photos whose loss or gradient is NaN or infinite when each is
    processed alone; empty if that happens for the batch as a whole only."""


def train_step(state: TrainState, batch: Batch, photos: int) -> StepResult:
    """Train on one batch; if the loss or a gradient is NaN or infinite, skip the step and leave the state unchanged.

    Args:
        state: network, optimizer and EMA; updated in place.
        batch: this process's share of the step; may be empty.
        photos: number of photos in the step, over all processes.

    Raises:
        TrainingError: out of memory; the message gives a batch size that fits.
    """
    with _out_of_memory_advice(state, batch.rgb):
        old_buffers = [buffer.clone() for buffer in state.network.buffers()]  # BatchNorm's running statistics
        state.model.train()
        loss, neutral, perceptual = all_reduce_sum(state.fabric, *_backward(state, batch, photos))
        gradient_norm: Any = state.fabric.clip_gradients(
            state.model, state.optimizer, max_norm=state.recipe.clip_grad or math.inf, error_if_nonfinite=False
        )
        finite = math.isfinite(loss) and (math.isfinite(float(gradient_norm)) or _loss_scale_can_shrink(state))
        bad_photos = None if finite else find_nonfinite_photos(state, batch)
        if finite or state.scaler:  # with infinite gradients the scaler skips the update and lowers its scale
            state.optimizer.step()
        if not finite:
            with torch.no_grad():
                for buffer, old in zip(state.network.buffers(), old_buffers, strict=True):
                    buffer.copy_(old)
        elif state.ema:
            state.ema.update_parameters(state.network)
        state.optimizer.zero_grad(set_to_none=True)
        return StepResult(
            loss if finite else math.nan, neutral, perceptual if state.perceptual_loss else None, bad_photos
        )


def advance_schedule(state: TrainState) -> None:
    """Advance the learning-rate schedule and the step count by one; also after a skipped step."""
    with ignore_warnings:  # torch warns if the first step was skipped
        state.schedule.step()
    state.step += 1
    state.auto_strength = None


def _backward(state: TrainState, batch: Batch, photos: int) -> tuple[float, float, float]:
    """Accumulate the gradients of the step's mean loss, `batch_size` photos at a time.

    Args:
        state: receives the gradients.
        batch: N crops; N may be 0.
        photos: number of photos in the step, over all processes.

    Returns:
        This process's part of the loss, of the neutral prediction's loss and of the perceptual loss; their sums over
        the processes are the means over the step's photos.
    """
    rgb, gray = batch.rgb, batch.gray
    if not len(rgb):  # DDP needs a backward pass in every process: a black photo with a share of 0
        rgb = torch.zeros(1, state.recipe.image_size, state.recipe.image_size, 3, dtype=torch.uint8)
        gray, photos = None, 0
    parts = torch.split(rgb, state.recipe.batch_size)
    grays = [None] * len(parts) if gray is None else torch.split(gray, state.recipe.batch_size)
    losses = []
    for part, part_gray in zip(parts, grays, strict=True):
        lightness, target, seen = _split_photos(state, part, part_gray)
        share = len(part) / photos if photos else 0.0
        more_to_come = state.fabric.world_size > 1 and part is not parts[-1]
        with state.fabric.no_backward_sync(state.model, enabled=more_to_come):
            loss, perceptual = (term * share for term in _losses(state, lightness, state.model(seen), target))
            total = loss + state.recipe.perceptual_weight * perceptual
            state.fabric.backward(total * state.fabric.world_size)  # DDP averages gradients; we need their sum
        neutral = share * state.criterion(torch.zeros_like(target), target)
        losses.append(torch.stack([loss.detach(), neutral, perceptual.detach()]))
    loss_sum, neutral_sum, perceptual_sum = map(  # one wait for the GPU instead of three a part
        math.fsum, zip(*torch.stack(losses).tolist(), strict=True)
    )
    return loss_sum, neutral_sum, perceptual_sum


def _split_photos(state: TrainState, rgb: Tensor, gray: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the lightness and the target of photos, as from `split_lab`, and the lightness that the network sees."""
    lightness, target = split_lab(rgb.to(state.fabric.device))
    return lightness, target, lightness if gray is None else gray_lightness(gray.to(state.fabric.device))


def _losses(state: TrainState, lightness: Tensor, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted loss and the perceptual loss, the latter 0 if the recipe doesn't use it."""
    loss = state.criterion(predicted, target)
    perceptual = state.perceptual_loss
    return loss, perceptual(lightness, predicted, target) if perceptual else torch.zeros_like(loss)


def _loss_scale_can_shrink(state: TrainState) -> bool:
    """Whether the float16 loss scale alone may explain infinite gradients; the scaler then lowers it, as it should."""
    return state.scaler is not None and state.scaler.get_scale() > 1


def find_nonfinite_photos(state: TrainState, batch: Batch) -> tuple[int, ...]:
    """Return the photos, of all processes, whose loss or gradient is NaN or infinite when processed alone."""
    parameters = [parameter for parameter in state.network.parameters() if parameter.requires_grad]
    bad = []
    for row, photo in enumerate(batch.photos):
        gray = None if batch.gray is None else batch.gray[row : row + 1]
        _, target, seen = _split_photos(state, batch.rgb[row : row + 1], gray)
        with state.fabric.autocast():
            loss = state.criterion(state.network(seen), target)
        values = [loss.detach(), *torch.autograd.grad(loss, parameters, allow_unused=True)]
        if not all(bool(value.isfinite().all()) for value in values if value is not None):
            bad.append(photo)
    return tuple(all_gather(state.fabric, bad))


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether an exception of Python, torch, CUDA or a CPU allocator means that memory ran out."""
    if isinstance(exc, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(exc).lower()
    return any(words in text for words in _OUT_OF_MEMORY_WORDS)


@contextmanager
def _out_of_memory_advice(state: TrainState, rgb: Tensor) -> Iterator[None]:
    """Turn an out-of-memory error into a TrainingError that names a batch size that fits."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        clear_frames(exc.__traceback__)  # their local variables hold the tensors that fill the memory
        raise TrainingError(largest_batch_hint(state, rgb)) from exc


def largest_batch_hint(state: TrainState, rgb: Tensor) -> str:
    """Say which smaller batch size fits in memory, by trying halves of the batch that did not fit."""
    recipe = state.recipe
    size = recipe.batch_size // 2
    while size and not _fits_in_memory(state, rgb[:size]):
        size //= 2
    if not size:
        return "not even a batch of 1 fits in memory: lower --image-size or --channels, and give a new --run-dir"
    accumulate = -(-recipe.batch_size * recipe.accumulate // size)
    return (
        f"a batch of {recipe.batch_size} doesn't fit in memory, but a batch of {size} does: give --batch-size {size} "
        f"--accumulate {accumulate}, which makes steps of the same size, and a new --run-dir"
    )


def _fits_in_memory(state: TrainState, rgb: Tensor) -> bool:
    """Try a forward and backward pass on (N, size, size, 3) uint8 photos."""
    state.optimizer.zero_grad(set_to_none=True)
    if state.fabric.device.type == "cuda":
        torch.cuda.empty_cache()
    lightness, target = split_lab(rgb.to(state.fabric.device))
    try:
        with state.fabric.autocast():
            loss, perceptual = _losses(state, lightness, state.network(lightness), target)
            torch.autograd.backward(loss + perceptual)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        return False
    return True
