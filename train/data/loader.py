"""Photos to batches of uint8 crops, the same whatever the number of workers and wherever a run was cut."""

from __future__ import annotations

import signal
import sys
import time
import warnings
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
from curate.executors.worker import end_with_parent, start_fork_server
from curate.image.decode import memory_errors
from train.data.dataset import Photos
from train.data.sampler import CENTER, SampleKey, StepSampler, _Numbered

DECODED_SIDES = 1
"""A JPEG is decoded no smaller than so many crop sides; docs/results/feeding.md has what that does to colours."""


BATCHES_AHEAD = 2
"""Each reader works on so many batches before they are asked for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    photos: list[int]
    """Places in the list."""
    rgb: Tensor
    """(N, size, size, 3) uint8; N may be 0 if nothing could be read."""
    errors: list[tuple[int, str]]
    """Places in the list, and why these could not be read."""


class CropLoader:
    """Batches of square crops, each crop drawn from (seed, epoch, photo) alone."""

    def __init__(self, photos: Photos, size: int, seed: int) -> None:
        self.photos, self.size, self.seed = photos, size, seed

    def batch(self, draws: Sequence[SampleKey]) -> Batch:
        """One batch."""
        rgb = torch.empty((len(draws), self.size, self.size, 3), dtype=torch.uint8)
        photos, errors = self.fill(draws, rgb.numpy())
        return Batch(photos, rgb[: len(photos)], errors)

    def fill(self, draws: Sequence[SampleKey], rgb: NDArray[np.uint8]) -> tuple[list[int], list[tuple[int, str]]]:
        """Write the crops of all photos that can be read into `rgb`, one after another.

        Args:
            draws: what to crop.
            rgb: (at least as many, size, size, 3) uint8, contiguous.

        Returns:
            The photos whose crops are in `rgb`, and those that can't be read with the reasons.
        """
        photos: list[int] = []
        errors: list[tuple[int, str]] = []
        for draw in draws:
            chance = None if draw.epoch == CENTER else np.random.default_rng((self.seed, draw.epoch, draw.photo))
            try:
                with memory_errors("cropping it"):
                    pixels = self.photos.pixels(draw.photo, DECODED_SIDES * self.size)
                    crop(pixels, chance, rgb[len(photos)], at_scale=self.photos.at_scale)
                photos.append(draw.photo)
            except PhotoError as exc:
                errors.append((draw.photo, str(exc)))
        return photos, errors


def crop(
    pixels: NDArray[np.uint8], chance: np.random.Generator | None, out: NDArray[np.uint8], *, at_scale: bool = False
) -> None:
    """Cut a square out of a photo, bring it to size, and mirror it half of the time.

    Args:
        pixels: (H, W, 3) uint8.
        chance: where to cut and whether to mirror; None cuts from the middle and doesn't.
        out: (size, size, 3) uint8, contiguous: gets the crop.
        at_scale: cut no more than `size` pixels, which then are only copied; else as large a square as there is.
    """
    height, width = pixels.shape[:2]
    size = len(out)
    side = min(height, width, size) if at_scale else min(height, width)
    spare = (height - side, width - side)
    top, left = (spare[0] // 2, spare[1] // 2) if chance is None else chance.integers(0, spare, endpoint=True)
    square = pixels[top : top + side, left : left + side]
    if side != size:
        how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        cv2.resize(square, (size, size), dst=out, interpolation=how)
        square = out
    if chance is not None and chance.random() < 0.5:
        cv2.flip(square, 1, dst=out)  # twenty times as fast as numpy's negative strides
    elif square is not out:
        np.copyto(out, square)


def batches(
    crops: CropLoader, steps: Sampler[list[SampleKey]] | list[list[SampleKey]], workers: int
) -> Iterator[Batch]:
    """A batch for each list of draws, in order, read by so many processes; 0 reads in this one.

    Processes write their crops into shared memory that is used again and again, and send no more than a few numbers: a
    new piece of it for every batch costs more than reading the photos of a pack.
    """
    cv2.setNumThreads(1)  # a forked reader hangs if this process keeps a pool of OpenCV threads
    if not workers:
        yield from map(crops.batch, steps)
        return
    most = steps.batch_size if isinstance(steps, StepSampler) else max(map(len, steps), default=0)
    slots = torch.empty((BATCHES_AHEAD * workers + 2, most, crops.size, crops.size, 3), dtype=torch.uint8)
    slots.share_memory_()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more readers than cores were asked for
        loader = DataLoader(
            _Slots(crops, slots),
            batch_size=None,
            sampler=_Numbered(steps),
            num_workers=workers,
            prefetch_factor=BATCHES_AHEAD,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            multiprocessing_context=start_method(),
        )
        started = iter(loader)
    for number, (photos, errors) in enumerate(started):
        yield Batch(photos, slots[number % len(slots), : len(photos)].clone(), errors)


def start_method() -> BaseContext | str | None:
    """How reader processes are started, in each of several trainers too; None leaves it to the platform.

    Forked, they need not import torch again. Where Ray was imported, as by `--engine ray` before, its threads and
    connections make a forked process crash: there they are forked from a process that never imported it.
    """
    if sys.platform != "linux":
        return None
    return start_fork_server(__name__) if "ray" in sys.modules else "fork"


class _Slots(Dataset[tuple[list[int], list[tuple[int, str]]]]):
    """In a reader: crops into the slot whose turn it is; the loader keeps `BATCHES_AHEAD` a reader in work, no more."""

    def __init__(self, crops: CropLoader, slots: Tensor) -> None:
        self.crops, self.slots = crops, slots

    def __getitem__(self, step: tuple[int, list[SampleKey]]) -> tuple[list[int], list[tuple[int, str]]]:
        number, draws = step
        return self.crops.fill(draws, self.slots[number % len(self.slots)].numpy())


def _as_it_is(answer: Any) -> Any:
    return answer


def _start_worker(_number: int) -> None:
    """Leave Ctrl-C and SIGTERM to the trainer, and end with it: terminals and schedulers send them to readers too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    cv2.setNumThreads(1)


MOST_WAITING = 0.03
"""A larger share of the time spent waiting for photos is worth a hint."""
Item = TypeVar("Item")


class DataTimer:
    """Hands batches on and measures how long they are waited for; the first, for which readers start, doesn't count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waited_s = self._total_s = 0.0
        self._hinted = False

    def over(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same batches."""
        handed_on: float | None = None
        asked = self._clock()
        for batch in batches:
            now = self._clock()
            if handed_on is not None:
                self._waited_s += now - asked
                self._total_s += now - handed_on
            handed_on = now
            yield batch
            asked = self._clock()

    @property
    def share(self) -> float:
        """Of the time since the first batch, 0 to 1."""
        return self._waited_s / self._total_s if self._total_s else 0.0

    def hint(self) -> str | None:
        """What to do if the device waits too much; once."""
        if self._hinted or self.share <= MOST_WAITING:
            return None
        self._hinted = True
        waits = f"the device waits for photos {self.share:.0%} of the time"
        return f"! {waits}; loader-bound: pack the photos, or raise --workers"
