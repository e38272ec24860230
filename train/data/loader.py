"""Photos to batches of uint8 crops.

Batches don't depend on the number of worker processes, nor on the step at which a run was stopped and resumed.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from curate.errors import PhotoError
from curate.executors.worker import exit_with_parent, start_fork_server
from curate.image.decode import memory_errors
from curate.process_settings import ignore_warnings, one_opencv_thread
from train.data.dataset import Photos
from train.data.sampler import CENTER, NumberedSampler, SampleKey, StepSampler

MIN_DECODED_SIDES = 1
"""A JPEG is decoded to a short side of at least this many crop sides: docs/results/feeding.md has what smaller does."""
PREFETCH_BATCHES = 2
"""Batches that each worker prepares ahead."""
MAX_WAIT_SHARE = 0.03
"""A larger share of time spent waiting for photos is reported with a hint."""
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Batch:
    """The crops of one step."""

    photos: list[int]
    """Index in the dataset of each crop."""
    rgb: Tensor
    """(N, size, size, 3) uint8 sRGB; N is 0 if no photo could be read."""
    errors: list[tuple[int, str]]
    """(index, reason) of each photo that could not be read."""


class CropLoader:
    """Loads square crops; each crop is determined by (seed, epoch, photo) alone.

    Args:
        photos: to crop.
        size: side of the crops in px.
        seed: of positions and mirroring.
    """

    def __init__(self, photos: Photos, size: int, seed: int) -> None:
        self.photos, self.size, self.seed = photos, size, seed

    def load_batch(self, keys: Sequence[SampleKey]) -> Batch:
        """Return the crops of these samples, in their order."""
        rgb = torch.empty((len(keys), self.size, self.size, 3), dtype=torch.uint8)
        photos, errors = self.fill_crops(keys, rgb.numpy())
        return Batch(photos, rgb[: len(photos)], errors)

    def fill_crops(self, keys: Sequence[SampleKey], rgb: NDArray[np.uint8]) -> tuple[list[int], list[tuple[int, str]]]:
        """Write the crops of all readable photos into the first rows of `rgb`.

        Args:
            keys: samples to crop.
            rgb: (at least len(keys), size, size, 3) uint8, contiguous.

        Returns:
            The indices of the photos whose crops are in `rgb`, and (index, reason) of those that can't be read.
        """
        photos: list[int] = []
        errors: list[tuple[int, str]] = []
        for key in keys:
            rng = None if key.epoch == CENTER else np.random.default_rng((self.seed, key.epoch, key.photo))
            try:
                with memory_errors("cropping it"):
                    pixels = self.photos.read_pixels(key.photo, MIN_DECODED_SIDES * self.size)
                    crop(pixels, rng, rgb[len(photos)], unscaled=self.photos.unscaled)
                photos.append(key.photo)
            except PhotoError as exc:
                errors.append((key.photo, str(exc)))
        return photos, errors


def crop(
    pixels: NDArray[np.uint8], rng: np.random.Generator | None, out: NDArray[np.uint8], *, unscaled: bool = False
) -> None:
    """Cut a square out of a photo, scale it to the size of `out`, and mirror it with a probability of one half.

    Args:
        pixels: (H, W, 3) uint8.
        rng: decides position and mirroring; None cuts from the middle and doesn't mirror.
        out: (size, size, 3) uint8, contiguous: receives the crop.
        unscaled: cut `size` px without scaling (less only if the photo is smaller); else cut the largest square.
    """
    height, width = pixels.shape[:2]
    size = len(out)
    side = min(height, width, size) if unscaled else min(height, width)
    margins = (height - side, width - side)
    top, left = (margins[0] // 2, margins[1] // 2) if rng is None else rng.integers(0, margins, endpoint=True)
    square = pixels[top : top + side, left : left + side]
    if side != size:
        cv2.resize(square, (size, size), dst=out, interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
        square = out
    if rng is not None and rng.random() < 0.5:
        cv2.flip(square, 1, dst=out)  # twenty times as fast as numpy's negative strides
    elif square is not out:
        np.copyto(out, square)


def load_batches(
    crops: CropLoader, steps: Sampler[list[SampleKey]] | list[list[SampleKey]], workers: int
) -> Iterator[Batch]:
    """Yield a batch for each step's samples, in order, loaded by worker processes; with 0, by this process.

    Workers write crops into shared memory that is reused, and send only a few numbers: allocating shared memory for
    every batch takes longer than reading the photos of a pack.
    """
    with one_opencv_thread:  # a forked worker hangs if this process has a pool of OpenCV threads
        if not workers:
            yield from map(crops.load_batch, steps)
            return
        largest = steps.batch_size if isinstance(steps, StepSampler) else max(map(len, steps), default=0)
        # Prefetched batches, plus the one that is copied out below and one to spare: no slot is overwritten before use.
        slots = torch.empty((PREFETCH_BATCHES * workers + 2, largest, crops.size, crops.size, 3), dtype=torch.uint8)
        slots.share_memory_()  # type: ignore[no-untyped-call]
        with ignore_warnings:  # torch warns about more workers than cores, which are the user's choice
            loader = DataLoader(
                _SlotFiller(crops, slots),
                batch_size=None,
                sampler=NumberedSampler(steps),
                num_workers=workers,
                prefetch_factor=PREFETCH_BATCHES,
                collate_fn=_unchanged,
                worker_init_fn=_init_worker,
                multiprocessing_context=start_method(),
            )
            results = iter(loader)
        for number, (photos, errors) in enumerate(results):
            yield Batch(photos, slots[number % len(slots), : len(photos)].clone(), errors)


def start_method() -> BaseContext | str | None:
    """Return how worker processes are started; None leaves the choice to torch.

    On Linux they are forked, so that they don't import torch again. If this process has imported Ray, its threads and
    connections make a forked process crash: workers are then forked from a server process that never imported it.
    """
    if sys.platform != "linux":
        return None
    return start_fork_server(__name__) if "ray" in sys.modules else "fork"


class _SlotFiller(Dataset[tuple[list[int], list[tuple[int, str]]]]):
    """Runs in a worker: writes the crops of step `number` into slot `number % len(slots)`."""

    def __init__(self, crops: CropLoader, slots: Tensor) -> None:
        self.crops, self.slots = crops, slots

    def __getitem__(self, step: tuple[int, list[SampleKey]]) -> tuple[list[int], list[tuple[int, str]]]:
        number, keys = step
        return self.crops.fill_crops(keys, self.slots[number % len(self.slots)].numpy())


def _unchanged(result: Any) -> Any:
    """As `collate_fn`: torch's own would turn the lists of numbers into tensors."""
    return result


def _init_worker(_number: int) -> None:
    """Ignore SIGINT and SIGTERM, which terminals and schedulers send to workers too, and end with the trainer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    exit_with_parent()
    cv2.setNumThreads(1)


class DataTimer:
    """Measures the share of time that training waits for batches.

    The first batch doesn't count: workers start before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited_s = self._total_s = 0.0
        self._hinted = False

    def measure_wait(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield the batches unchanged, and measure how long each one was waited for."""
        previous: float | None = None
        asked = self._clock()
        for batch in batches:
            now = self._clock()
            if previous is not None:
                self._waited_s += now - asked
                self._total_s += now - previous
            previous = now
            yield batch
            asked = self._clock()

    @property
    def wait_share(self) -> float:
        """Share of the time since the first batch that was spent waiting, 0 to 1."""
        return self._waited_s / self._total_s if self._total_s else 0.0

    def hint(self) -> str | None:
        """Return, once, what to do if the share of waiting is above `MAX_WAIT_SHARE`; else None."""
        if self._hinted or self.wait_share <= MAX_WAIT_SHARE:
            return None
        self._hinted = True
        waits = f"the device waits for photos {self.wait_share:.0%} of the time"
        return f"! {waits}: pack them with `curate pack`, or raise --workers"
