"""Photos to batches of uint8 crops.

Batches don't depend on the number of worker processes, nor on the step at which a run was stopped and resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.errors import PhotoError, TimedOut
from curate.executors.watchdog import WaitStopped, Watchdog, never
from curate.image.decode import memory_errors
from curate.process_settings import one_opencv_thread
from train.data.dataset import Photos
from train.data.film import photograph_on_film
from train.data.readers import MAX_FAILURES_IN_A_ROW, ReaderPool, hanging_photos
from train.data.sampler import CENTER, SampleKey, StepSampler
from train.recipe import Augment

MIN_DECODED_SIDES = 1
"""A JPEG is decoded to a short side of at least this many crop sides: docs/results/feeding.md has what smaller does."""
TIMEOUT_S = 60.0
"""Seconds that reading and decoding one photo may take, unless `--timeout` says otherwise."""
MAX_WAIT_SHARE = 0.03
"""A larger share of time spent waiting for photos is reported with a hint."""
FILM_STREAM = 1
"""Random numbers of `film` are seeded by (seed, epoch, photo, this): crops and flips are the same without it."""
Item = TypeVar("Item")
ReadPixels = Callable[[int, int], NDArray[np.uint8]]
"""Returns a photo's pixels; see `train.data.dataset.PhotoDataset.read_pixels`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The crops of one step."""

    photos: list[int]
    """Index in the dataset of each crop."""
    rgb: Tensor
    """(N, size, size, 3) uint8 sRGB; N is 0 if no photo could be read."""
    errors: list[tuple[int, str]]
    """(index, reason) of each photo that could not be read."""
    gray: Tensor | None = None
    """(N, size, size) uint8 sRGB-encoded gray: what the network sees instead of the crops' own lightness."""


class CropLoader:
    """Loads square crops; each crop is determined by (seed, epoch, photo) alone.

    Args:
        photos: to crop.
        size: side of the crops in px.
        seed: of positions, mirroring and degradation.
        augment: `film` adds a degraded copy of each crop; see `train.data.film`.
    """

    def __init__(self, photos: Photos, size: int, seed: int, augment: Augment = "none") -> None:
        self.photos, self.size, self.seed = photos, size, seed
        self.has_gray = augment == "film"

    def load_batch(self, keys: Sequence[SampleKey], *, read_pixels: ReadPixels | None = None) -> Batch:
        """Return the crops of these samples, in their order; `read_pixels` replaces the method of the photos."""
        rgb = torch.empty((len(keys), self.size, self.size, 3), dtype=torch.uint8)
        gray = torch.empty(rgb.shape[:-1], dtype=torch.uint8) if self.has_gray else None
        grays = None if gray is None else gray.numpy()
        photos, errors = self.fill_crops(keys, rgb.numpy(), grays, read_pixels=read_pixels)
        return Batch(photos, rgb[: len(photos)], errors, None if gray is None else gray[: len(photos)])

    def fill_crops(
        self,
        keys: Sequence[SampleKey],
        rgb: NDArray[np.uint8],
        gray: NDArray[np.uint8] | None = None,
        *,
        read_pixels: ReadPixels | None = None,
        skip: Mapping[int, str] = MappingProxyType({}),
        on_photo: Callable[[int], None] | None = None,
    ) -> tuple[list[int], list[tuple[int, str]]]:
        """Write the crops of all readable photos into the first rows of `rgb`.

        Args:
            keys: samples to crop.
            rgb: (at least len(keys), size, size, 3) uint8, contiguous.
            gray: (at least len(keys), size, size) uint8: gets the degraded copies of the crops; None makes none.
            read_pixels: replaces the method of the photos.
            skip: position in `keys` and reason of photos that are not read.
            on_photo: called with the position in `keys` of each photo before it is read.

        Returns:
            The indices of the photos whose crops are in `rgb`, and (index, reason) of those that can't be read.
        """
        read_pixels = read_pixels or self.photos.read_pixels
        photos: list[int] = []
        errors: list[tuple[int, str]] = []
        for position, key in enumerate(keys):
            if position in skip:
                errors.append((key.photo, skip[position]))
                continue
            if on_photo:
                on_photo(position)
            seed = (self.seed, key.epoch, key.photo)
            rng = None if key.epoch == CENTER else np.random.default_rng(seed)
            try:
                with memory_errors("cropping it"):
                    pixels = read_pixels(key.photo, MIN_DECODED_SIDES * self.size)
                    crop(pixels, rng, rgb[len(photos)], unscaled=self.photos.unscaled)
                    if gray is not None:
                        film_rng = np.random.default_rng((*seed, FILM_STREAM))
                        gray[len(photos)] = photograph_on_film(rgb[len(photos)], film_rng)
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
    crops: CropLoader,
    steps: StepSampler | list[list[SampleKey]],
    workers: int,
    *,
    timeout_s: float = TIMEOUT_S,
    is_stopping: Callable[[], bool] = never,
    abandon: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[Batch]:
    """Yield a batch for each step's samples, in order.

    Args:
        crops: makes the crops.
        steps: samples of each step.
        workers: number of processes; 0 reads in a thread of this process.
        timeout_s: a photo that takes longer counts as unreadable.
        is_stopping: whether the user asked to stop.
        abandon: then end instead of waiting for a batch; otherwise no photo is waited for longer than a few seconds.
        say: prints a line for the user.

    Raises:
        TrainingError: processes can't be started, or photos hang or end their process again and again.
    """
    largest = steps.batch_size if isinstance(steps, StepSampler) else max(map(len, steps), default=0)
    # a forked worker hangs if this process has a pool of OpenCV threads
    with one_opencv_thread, suppress(WaitStopped):
        if not workers or not largest:
            with closing(Watchdog(timeout_s, is_stopping, abandon=abandon)) as watchdog:
                # A pack is read by page faults, which stop all threads if they hang: there only processes help.
                read_pixels = None if crops.photos.unscaled else _TimedReader(crops.photos, watchdog).read_pixels
                for keys in steps:
                    yield crops.load_batch(keys, read_pixels=read_pixels)
            return
        with ReaderPool(
            crops, workers, largest, timeout_s=timeout_s, is_stopping=is_stopping, abandon=abandon, say=say
        ) as pool:
            for photos, rgb, gray, errors in pool.batches(steps):
                yield Batch(photos, rgb, errors, gray)


class _TimedReader:
    """Reads photos in a thread, and stops waiting for a photo that hangs."""

    def __init__(self, photos: Photos, watchdog: Watchdog) -> None:
        self._photos, self._watchdog = photos, watchdog
        self._failures = 0

    def read_pixels(self, index: int, short_side_px: int) -> NDArray[np.uint8]:
        """Read a photo; see `Photos`.

        Raises:
            PhotoError: the photo can't be read, or takes too long.
            TrainingError: several photos in a row took too long.
        """
        try:
            pixels = self._watchdog.call(self._photos.read_pixels, index, short_side_px)
        except TimedOut as exc:
            self._failures += 1
            if self._failures >= MAX_FAILURES_IN_A_ROW:
                raise hanging_photos(self._failures, self._watchdog.timeout_s) from exc
            raise
        self._failures = 0
        return pixels


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
