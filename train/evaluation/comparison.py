"""Scores of colorized pictures of any tool, by the same numbers as the evaluation of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.errors import BrokenPhoto, PhotoError, TrainingError
from curate.executors.watchdog import Watchdog
from curate.image.decode import Photo, decode_bytes, memory_errors
from train.data.dataset import PhotoDataset
from train.data.loader import crop
from train.evaluation.feature_metrics import Fid, Lpips
from train.evaluation.pairs import Pairs
from train.evaluation.protocols import ComparisonProtocol
from train.evaluation.scores import (
    MeanColor,
    PhotoResult,
    PredictionSummary,
    Predictor,
    histogram_of,
    score_photo,
)
from train.models.colorspace import join_lab, split_lab
from train.models.losses import ColorizationWeightedLoss

MIN_SIDE_PX = 16
"""SSIM and tone need pictures of this size."""
MAX_STRETCH = 0.02
"""Relative difference of the aspect ratios of a picture and its original; more is reported."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Scores of colorized pictures, compared with gray and with one mean color."""

    protocol: ComparisonProtocol
    """What was measured; numbers of another protocol don't compare."""
    photos: Sequence[PhotoResult]
    """Scores of every picture."""
    summary: Mapping[Predictor, PredictionSummary]
    """Means over the pictures, for `pictures`, `mean color` and `neutral gray`."""
    unmatched: Sequence[str]
    """Pictures without original, by their path."""
    unreadable: Mapping[str, str]
    """Reason for each picture that was left out because it or its original can't be read, by the picture's path."""
    colorless: Sequence[str]
    """Pictures that were left out because their original has no color, by their path."""


class Comparison:
    """Compares pictures with their originals.

    Args:
        pairs: what to compare.
        size_px: side of the square that is cut from the middle of both; None compares whole pictures.
        lpips: to measure LPIPS; None leaves it out.
        fid: to measure FID; None leaves it out.
        timeout_s: a picture that takes longer to read counts as unreadable.
    """

    def __init__(
        self, pairs: Pairs, size_px: int | None, lpips: Lpips | None, fid: Fid | None, timeout_s: float
    ) -> None:
        self.pairs, self.size_px, self.lpips, self.fid, self.timeout_s = pairs, size_px, lpips, fid, timeout_s
        self.criterion = ColorizationWeightedLoss()
        self.mean_ab = torch.zeros(1, 2, 1, 1)
        self.resized: set[int] = set()
        """Index of each picture that was scaled to the size of its original."""
        self.stretched: set[int] = set()
        """Index of those that have another aspect ratio than their original."""
        self.unreadable: dict[str, str] = {}
        self.colorless: list[str] = []

    def run(self, progress: Callable[[int, int], None]) -> list[PhotoResult]:
        """Return the scores of all pairs.

        Raises:
            TrainingError: no pair can be compared.
        """
        usable = self._measure_mean_color()
        results = []
        for match, picture, original in self._load(usable):
            results.append(self._compare(match, picture, original))
            progress(len(results), len(usable))
        if not results:
            raise TrainingError(
                f"no picture can be compared: {len(self.unreadable):,} can't be read, {len(self.colorless):,} have an "
                "original without color"
            )
        return results

    def render(self, index: int) -> tuple[Pixels, Pixels, Pixels]:
        """Return gray, picture and original of one picture, each (H, W, 3) uint8 sRGB.

        Raises:
            TrainingError: one of them can't be read any more.
        """
        match = next(match for match in self.pairs.matches if match[0] == index)
        loaded = list(self._load([match]))
        if not loaded:
            raise TrainingError(
                f"{self.pairs.pictures.name(index)} can't be read any more: check its disk, then run the command again"
            )
        ((_, picture, original),) = loaded
        lightness, target = split_lab(original[None])
        return join_lab(lightness, torch.zeros_like(target))[0].numpy(), picture.numpy(), original.numpy()

    def _measure_mean_color(self) -> list[tuple[int, int]]:
        """Set the ab/50 with the lowest loss on all originals that can be used; return their pairs."""
        color = MeanColor(self.criterion)
        usable = []
        for match, _, original in self._load(self.pairs.matches):
            _, target = split_lab(original[None])
            if not histogram_of(target).any():
                self.colorless.append(self.pairs.pictures.name(match[0]))
                continue
            color.add(target)
            usable.append(match)
        self.mean_ab = color.mean()
        return usable

    def _load(self, matches: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Tensor, Tensor]]:
        """Yield each pair that can be read, with picture and original, both (H, W, 3) uint8 of the same size."""
        with closing(Watchdog(self.timeout_s)) as watchdog:
            for match in matches:
                try:
                    with memory_errors("comparing it"):
                        picture, original = self._read_pair(match, watchdog)
                except PhotoError as exc:
                    self.unreadable[self.pairs.pictures.name(match[0])] = str(exc)
                else:
                    # torch warns of arrays that can't be written, which the decoder returns for some gray pictures
                    picture, original = (np.require(pixels, requirements="W") for pixels in (picture, original))
                    yield match, torch.from_numpy(picture), torch.from_numpy(original)

    def _read_pair(self, match: tuple[int, int], watchdog: Watchdog) -> tuple[Pixels, Pixels]:
        picture = self._decode(self.pairs.pictures, match[0], watchdog)
        try:
            original = self._decode(self.pairs.originals, match[1], watchdog)
        except PhotoError as exc:
            raise type(exc)(f"its original: {exc.args[0]}") from exc
        size, wanted = ((photo.header.width, photo.header.height) for photo in (picture, original))
        pixels = picture.pixels
        if size != wanted:
            self.resized.add(match[0])
        if abs(size[0] * wanted[1] / (size[1] * wanted[0]) - 1) > MAX_STRETCH:
            self.stretched.add(match[0])
        elif self.size_px:
            return self._cut(pixels), self._cut(original.pixels)
        pixels = _resize(pixels, original.pixels.shape[:2])
        return (self._cut(pixels), self._cut(original.pixels)) if self.size_px else (pixels, original.pixels)

    def _decode(self, photos: PhotoDataset, index: int, watchdog: Watchdog) -> Photo:
        data = watchdog.call(photos.read_unchanged, index)
        photo: Photo = watchdog.call(decode_bytes, data, short_side_px=self.size_px)
        if min(photo.pixels.shape[:2]) < MIN_SIDE_PX:
            raise BrokenPhoto(f"it is smaller than {MIN_SIDE_PX} px")
        return photo

    def _cut(self, pixels: Pixels) -> Pixels:
        assert self.size_px is not None  # noqa: S101
        square = np.empty((self.size_px, self.size_px, 3), np.uint8)
        crop(pixels, None, square)
        return square

    def _compare(self, match: tuple[int, int], picture: Tensor, original: Tensor) -> PhotoResult:
        lightness, target = split_lab(original[None])
        _, ab = split_lab(picture[None])
        predictions: dict[Predictor, Tensor] = {
            "pictures": ab,
            "mean color": self.mean_ab.expand_as(target),
            "neutral gray": torch.zeros_like(target),
        }
        shown: dict[str, Tensor] = {
            name: picture[None] if name == "pictures" else join_lab(lightness, color)
            for name, color in predictions.items()
        }
        lpips = self.lpips.distances(original[None], shown)[0] if self.lpips else {}
        if self.fid:
            self.fid.update(original[None], shown)
        return score_photo(
            match[0],
            self.pairs.pictures.name(match[0]),
            original,
            target[0],
            {name: color[0] for name, color in predictions.items()},
            {name: pixels[0] for name, pixels in shown.items()},
            self.criterion,
            lpips,
        )


def _resize(pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return pixels at another (height, width)."""
    if pixels.shape[:2] == shape:
        return pixels
    shrinks = pixels.shape[0] > shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (shape[1], shape[0]), interpolation=interpolation), np.uint8)
