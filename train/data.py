"""Photos to batches of uint8 crops, the same whatever the number of workers and wherever a run was cut."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from curate.decode import decode
from curate.errors import PhotoError
from curate.sources import as_photo_error
from train.photos import PhotoList

DECODED_SIDES = 2
"""A JPEG is decoded no smaller than so many crop sides: twice costs hardly more than once, and halves the error."""
CENTER = -1
"""As an epoch: the crop that validation uses, from the middle and not flipped."""


THINNEST = 16
"""Long side over short side beyond which only a piece of a photo is scaled."""


class Draw(NamedTuple):
    """One photo in one epoch: all that decides its crop and flip."""

    epoch: int
    photo: int
    """Its place in the list."""


class Crop(NamedTuple):
    """A photo as the trainer sees it, or why it can't."""

    photo: int
    rgb: Tensor | None
    """(size, size, 3) uint8."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    photos: list[int]
    """Places in the list."""
    rgb: Tensor
    """(N, size, size, 3) uint8; N may be 0 if nothing could be read."""
    errors: list[tuple[int, str]]


class Crops(Dataset[Crop]):
    """Square crops of photos, drawn from (seed, epoch, photo) alone."""

    def __init__(self, photos: PhotoList, size: int, seed: int) -> None:
        self.photos, self.size, self.seed = photos, size, seed

    def __getitem__(self, draw: Draw) -> Crop:
        try:
            pixels = self._read(draw.photo)
        except PhotoError as exc:
            return Crop(draw.photo, None, str(exc))
        chance = None if draw.epoch == CENTER else np.random.default_rng((self.seed, draw.epoch, draw.photo))
        return Crop(draw.photo, torch.from_numpy(crop(pixels, self.size, chance)), None)

    def _read(self, index: int) -> NDArray[np.uint8]:
        place = self.photos.locate(index)
        try:
            if place is None:
                raise FileNotFoundError(2, "it is gone")
            with open(place, "rb") as file:
                data = file.read()
        except OSError as exc:
            raise as_photo_error(exc, "the file can't be read") from exc
        return decode(data, short_side_px=DECODED_SIDES * self.size).pixels


def crop(pixels: NDArray[np.uint8], size: int, chance: np.random.Generator | None) -> NDArray[np.uint8]:
    """Scale the short side to `size` and cut a square; mirrored half of the time.

    Args:
        pixels: (H, W, 3) uint8.
        size: side of the square, px.
        chance: where to cut and whether to mirror; None cuts from the middle and doesn't.

    Returns:
        (size, size, 3) uint8, contiguous.
    """
    pixels = _not_too_thin(pixels, chance)
    height, width = pixels.shape[:2]
    scale = size / min(height, width)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = pixels if target == (width, height) else cv2.resize(pixels, target, interpolation=how)
    spare = np.array([target[1] - size, target[0] - size])
    top, left = spare // 2 if chance is None else chance.integers(0, spare + 1)
    square = scaled[top : top + size, left : left + size]
    if chance is not None and chance.random() < 0.5:
        square = square[:, ::-1]
    return np.ascontiguousarray(square, np.uint8)


def _not_too_thin(pixels: NDArray[np.uint8], chance: np.random.Generator | None) -> NDArray[np.uint8]:
    """A piece of a photo that is a mere line, so that scaling its short side up doesn't fill the memory."""
    longest = THINNEST * min(pixels.shape[:2])
    for axis in (0, 1):
        spare = pixels.shape[axis] - longest
        if spare > 0:
            first = spare // 2 if chance is None else int(chance.integers(0, spare + 1))
            pixels = pixels.take(range(first, first + longest), axis=axis)
    return pixels


class StepSampler(Sampler[list[Draw]]):
    """The draws of each step of a whole run, starting at any step: a resumed run draws what the first would have.

    Every epoch is a permutation of all photos from (seed, epoch); its last batch may be smaller.

    Args:
        photos: how many there are.
        batch_size: photos a step, over all processes.
        seed: of the order.
        first_step, last_step: of the draws to give; steps count from 0.
        began: (step, epoch) at which an epoch began anew, after a rescue.
        share: (rank, processes): of each step, every so manieth draw, so that all shares together are the step.
    """

    def __init__(
        self,
        photos: int,
        batch_size: int,
        seed: int,
        first_step: int,
        last_step: int,
        *,
        began: tuple[int, int] = (0, 0),
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.photos, self.batch_size, self.seed = photos, batch_size, seed
        self.first_step, self.last_step = first_step, last_step
        self.began, self.share = began, share

    def __iter__(self) -> Iterator[list[Draw]]:
        per_epoch = -(-self.photos // self.batch_size)
        for step in range(self.first_step, self.last_step):
            epoch, batch = divmod(step - self.began[0], per_epoch)
            epoch += self.began[1]
            if batch == 0 or step == self.first_step:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.photos)
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [Draw(epoch, int(index)) for index in chosen[self.share[0] :: self.share[1]]]

    def __len__(self) -> int:
        return self.last_step - self.first_step


def batches(crops: Crops, steps: Sampler[list[Draw]] | list[list[Draw]], workers: int) -> DataLoader[Batch]:
    """A loader of `Batch` for each list of draws, in order."""
    cv2.setNumThreads(1)  # a forked reader hangs if this process keeps a pool of OpenCV threads
    return DataLoader(
        crops,  # type: ignore[arg-type]  # the loader's stub wants items, `collate` makes batches
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_start_worker if workers else None,
    )


def in_order(photos: PhotoList, batch_size: int, limit: int | None = None) -> list[list[Draw]]:
    """Draws of all photos (or `limit` of them, evenly spread), cropped from the middle."""
    count = len(photos) if limit is None else min(limit, len(photos))
    indices = np.linspace(0, len(photos) - 1, count).round().astype(int)
    draws = [Draw(CENTER, int(index)) for index in indices]
    return [draws[start : start + batch_size] for start in range(0, count, batch_size)]


def collate(crops: list[Crop]) -> Batch:
    """Stack what could be read, and keep why the rest could not."""
    good = [(entry.photo, entry.rgb) for entry in crops if entry.rgb is not None]
    rgb = torch.stack([pixels for _, pixels in good]) if good else torch.empty(0, 0, 0, 3, dtype=torch.uint8)
    return Batch([index for index, _ in good], rgb, [(entry.photo, entry.error) for entry in crops if entry.error])


def _start_worker(_number: int) -> None:
    """Leave Ctrl-C to the trainer: a terminal sends it to the readers too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
