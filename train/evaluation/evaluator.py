"""Scores of a checkpoint on photos that it wasn't trained on, compared with two baselines: one color, and gray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.errors import TrainingError
from train.data.dataset import PhotoDataset
from train.data.loader import TIMEOUT_S, Batch, CropLoader, load_batches
from train.data.sampler import CENTER, SampleKey, sequential_batches, spread_indices
from train.evaluation.feature_metrics import Fid, Lpips
from train.evaluation.protocols import Protocol
from train.evaluation.scores import MeanColor, PhotoResult, PredictionSummary, Predictor, score_photo
from train.models.colorspace import join_lab, split_lab
from train.models.losses import ColorizationWeightedLoss
from train.models.strength import MAX_PHOTOS, StrengthSamples

BATCH_PHOTOS = 8
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Scores of a checkpoint on photos, compared with predicting gray and with predicting one mean color."""

    protocol: Protocol
    """What was measured; numbers of another protocol don't compare."""
    photos: Sequence[PhotoResult]
    """Scores of every photo."""
    summary: Mapping[Predictor, PredictionSummary]
    """Means over the photos, for `network`, `mean color` and `neutral gray`."""
    unreadable: Mapping[str, str]
    """Reason for each photo that could not be read, by its name in the manifest."""
    auto_strength: float | None = None
    """Factor for the chroma of the network's colors that makes these photos as colorful as their originals, at most 2;
    measured on up to 256 of them. None if a prediction is NaN or infinite."""


class Evaluation:
    """Evaluates a network on photos.

    Args:
        network: predicts ab/50 from L*/50 − 1, in eval mode.
        photos: to evaluate on.
        size_px: side of the square that is cut from each photo.
        criterion: the loss of the training.
        device: device of the network.
        lpips: to measure LPIPS; None leaves it out.
        fid: to measure FID; None leaves it out.
        timeout_s: a photo that takes longer to read counts as unreadable.
        strength: factor for the chroma of the network's colors.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        photos: PhotoDataset,
        size_px: int,
        criterion: ColorizationWeightedLoss,
        device: str,
        lpips: Lpips | None = None,
        fid: Fid | None = None,
        timeout_s: float = TIMEOUT_S,
        strength: float = 1.0,
    ) -> None:
        self.network, self.photos, self.criterion, self.device = network, photos, criterion, device
        self.lpips, self.fid, self.timeout_s = lpips, fid, timeout_s
        self.crops = CropLoader(photos, size_px, seed=0)
        self.mean_ab = torch.zeros(1, 2, 1, 1)
        self.strength = strength
        self._samples = StrengthSamples()
        self.unreadable: dict[int, str] = {}
        """Reason for each photo that could not be read, by its index."""

    def run(self, limit: int | None, progress: Callable[[int, int], None]) -> list[PhotoResult]:
        """Return the results of all photos, or of `limit` photos evenly spread.

        Args:
            limit: largest number of photos; None for all.
            progress: called with the number of photos done and the total.

        Raises:
            TrainingError: no photo can be read.
        """
        keys = sequential_batches(self.photos, BATCH_PHOTOS, limit)
        self.mean_ab = self._mean_color(keys)
        keys = [[key for key in batch if key.photo not in self.unreadable] for batch in keys]
        total = sum(map(len, keys))
        sampled = set(spread_indices(total, MAX_PHOTOS).tolist())
        results: list[PhotoResult] = []
        for batch in self._load(keys):
            for result, *sample in self._evaluate_batch(batch):
                if len(results) in sampled:
                    self._samples.add(*sample)
                results.append(result)
            progress(len(results), total)
        if not results:
            raise TrainingError("none of these photos can be read: check that their disk is mounted")
        return results

    def auto_strength(self) -> float | None:
        """Return the strength that makes the photos of `run` as colorful as their originals, 0 to 2, or None."""
        return self._samples.automatic_strength()

    def _load(self, keys: list[list[SampleKey]]) -> Iterator[Batch]:
        for batch in load_batches(self.crops, keys, 0, timeout_s=self.timeout_s):
            self.unreadable.update(batch.errors)
            yield batch

    def _mean_color(self, keys: list[list[SampleKey]]) -> Tensor:
        """Return the ab/50 with the lowest loss on these photos, (1, 2, 1, 1)."""
        color = MeanColor(self.criterion)
        for batch in self._load(keys):
            if batch.photos:
                color.add(split_lab(batch.rgb)[1])
        return color.mean()

    def _evaluate_batch(self, batch: Batch) -> Iterator[tuple[PhotoResult, Tensor, Tensor, Tensor]]:
        """Yield the result of each photo, and of its batch of one lightness, the network's ab/50, and the photo."""
        if not batch.photos:
            return
        lightness, target = split_lab(batch.rgb)
        network_ab = self._predict(lightness)
        predictions: dict[Predictor, Tensor] = {
            "network": self.strength * network_ab,
            "mean color": self.mean_ab.expand_as(target),
            "neutral gray": torch.zeros_like(target),
        }
        pictures: dict[str, Tensor] = {name: join_lab(lightness, ab) for name, ab in predictions.items()}
        lpips = self.lpips.distances(batch.rgb, pictures) if self.lpips else [{}] * len(batch.photos)
        if self.fid:
            self.fid.update(batch.rgb, pictures)
        for row, index in enumerate(batch.photos):
            result = score_photo(
                index,
                self.photos.name(index),
                batch.rgb[row],
                target[row],
                {name: ab[row] for name, ab in predictions.items()},
                {name: picture[row] for name, picture in pictures.items()},
                self.criterion,
                lpips[row],
            )
            only = slice(row, row + 1)
            yield result, lightness[only], network_ab[only], batch.rgb[only]

    @torch.no_grad()
    def _predict(self, lightness: Tensor) -> Tensor:
        """Return the network's ab/50, (N, 2, H, W) float32 on the CPU, for lightness (N, 1, H, W)."""
        predicted: Tensor = self.network(lightness.to(self.device)).float().cpu()
        return predicted

    def render(self, index: int) -> tuple[Pixels, Pixels, Pixels]:
        """Return gray, predicted and original of one photo, each (size, size, 3) uint8 sRGB.

        Raises:
            TrainingError: the photo can't be read any more.
        """
        (batch,) = self._load([[SampleKey(CENTER, index)]])
        if not batch.photos:
            raise TrainingError(
                f"{self.photos.name(index)} can't be read any more: check its disk, then run the command again"
            )
        lightness, target = split_lab(batch.rgb)
        gray, predicted = (
            join_lab(lightness, ab)[0].numpy()
            for ab in (torch.zeros_like(target), self.strength * self._predict(lightness))
        )
        return gray, predicted, batch.rgb[0].numpy()
