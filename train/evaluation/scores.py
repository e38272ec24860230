"""Scores of one prediction for one photo, and their summary over all photos."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from curate.measures.colorfulness import colorfulness
from curate.measures.hue_spread import Histogram, HueSpread, hue_histogram, hue_spread
from curate.measures.measure import measure_color
from train.models.colorspace import AB_UNIT
from train.models.losses import ColorizationWeightedLoss

Predictor = Literal["network", "pictures", "mean color", "neutral gray"]
"""The checkpoint's network or another tool's pictures, and the baselines: the best single color for all photos, and no
color. JSON keys."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one prediction, compared with the original photo."""

    psnr_db: float
    """Over R, G and B from 0 to 255, in dB; infinite for identical pictures."""
    ssim: float
    """Wang et al. 2004: 11 px Gaussian window with sigma 1.5, mirrored at the border, mean of R, G and B; at most 1."""
    colorfulness: float
    """Of the prediction: M3 of Hasler and Süsstrunk 2003, with signed differences."""
    colorfulness_absolute: float
    """The same with absolute differences, for comparison with papers that use this variant."""
    colorfulness_difference: float
    """|M of the prediction − M of the original|."""
    loss: float
    """`ColorizationWeightedLoss` of the predicted ab."""
    tone: str
    """Tone of the prediction, as `curate` classifies it."""
    lpips: float | None
    """Perceptual distance to the original; None if not measured."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """The scores of all predictions for one photo."""

    index: int
    """In the dataset."""
    name: str
    original_colorfulness: float
    original_colorfulness_absolute: float
    scores: dict[Predictor, Scores]
    """Of the network or the pictures, then of the baselines."""
    hues: dict[Predictor | Literal["originals"], Histogram]
    """Chroma by hue of each prediction, and of the original."""

    @property
    def judged(self) -> Scores:
        """Scores of the network, or of the pictures."""
        return next(iter(self.scores.values()))

    @property
    def gain(self) -> float:
        """Loss of gray minus loss of the network or picture: positive where that is better."""
        return self.scores["neutral gray"].loss - self.judged.loss


@dataclass(frozen=True, slots=True)
class PredictionSummary:
    """Scores of one predictor over all photos: means, except for the ratios."""

    psnr_db: float
    ssim: float
    colorfulness: float
    colorfulness_share: float
    """Colorfulness of all predictions ÷ that of all originals; 1 is as colorful. NaN if all originals are gray."""
    colorfulness_absolute: float
    colorfulness_difference: float
    loss: float
    loss_to_neutral: float
    """Sum of the losses ÷ sum of the losses of predicting gray; NaN if gray has no loss."""
    tones: dict[str, int]
    """Number of predictions by tone."""
    lpips: float | None
    fid: float | None
    """Distance between the set of predictions and the set of originals; None if not measured."""
    hue: HueSpread
    """Entropy of the chroma by hue, and shares of the chroma in four ranges of hue."""


def score_prediction(
    picture: Tensor,
    ab: Tensor,
    original: Tensor,
    target: Tensor,
    m: float,
    criterion: ColorizationWeightedLoss,
    lpips: float | None = None,
) -> Scores:
    """Compare the prediction for one photo with the original.

    Args:
        picture: (H, W, 3) uint8 sRGB, the prediction as a picture.
        ab: (2, H, W) float32, the prediction as ab/50.
        original: (H, W, 3) uint8 sRGB.
        target: (2, H, W) float32, ab/50 of the original.
        m: colorfulness of the original.
        criterion: the loss of the training.
        lpips: perceptual distance to the original; None if not measured.
    """
    predicted, tone = measure_color(picture.numpy())
    picture_rgb, original_rgb = (pixels.permute(2, 0, 1)[None].float() for pixels in (picture, original))
    return Scores(
        psnr_db=float(peak_signal_noise_ratio(picture_rgb, original_rgb, data_range=255.0)),
        ssim=float(structural_similarity_index_measure(picture_rgb, original_rgb, data_range=255.0)),  # type: ignore[arg-type]  # a tensor without return_full_image
        colorfulness=predicted,
        colorfulness_absolute=colorfulness(picture.numpy(), variant="absolute"),
        colorfulness_difference=abs(predicted - m),
        loss=float(criterion(ab[None], target[None])),
        tone=tone.tone,
        lpips=lpips,
    )


def score_photo(
    index: int,
    name: str,
    original: Tensor,
    target: Tensor,
    predictions: Mapping[Predictor, Tensor],
    pictures: Mapping[str, Tensor],
    criterion: ColorizationWeightedLoss,
    lpips: Mapping[str, float],
) -> PhotoResult:
    """Compare all predictions for one photo with the original.

    Args:
        index: of the photo in its dataset.
        name: of the photo.
        original: (H, W, 3) uint8 sRGB.
        target: (2, H, W) float32, ab/50 of the original.
        predictions: (2, H, W) float32 of each predictor, ab/50.
        pictures: (H, W, 3) uint8 sRGB of each predictor.
        criterion: the loss of the training.
        lpips: perceptual distance of each predictor to the original; empty if not measured.
    """
    m = colorfulness(original.numpy())
    return PhotoResult(
        index=index,
        name=name,
        original_colorfulness=m,
        original_colorfulness_absolute=colorfulness(original.numpy(), variant="absolute"),
        scores={
            predictor: score_prediction(pictures[predictor], ab, original, target, m, criterion, lpips.get(predictor))
            for predictor, ab in predictions.items()
        },
        hues={predictor: histogram_of(ab) for predictor, ab in predictions.items()}
        | {"originals": histogram_of(target)},
    )


class MeanColor:
    """The single color with the lowest loss for a set of photos: the mean of ab/50 under the weights of the loss.

    Args:
        criterion: the loss of the training.
    """

    def __init__(self, criterion: ColorizationWeightedLoss) -> None:
        self._criterion = criterion
        self._total, self._weight = torch.zeros(1, 2, 1, 1), 0.0

    def add(self, target: Tensor) -> None:
        """Add photos, (N, 2, H, W) ab/50."""
        weights = self._criterion.weights(target)
        self._total += (weights * target).sum(dim=(0, 2, 3), keepdim=True)
        self._weight += float(weights.sum())

    def mean(self) -> Tensor:
        """Return its ab/50, (1, 2, 1, 1); zero without photos."""
        return self._total / max(self._weight, 1e-12)


def histogram_of(ab: Tensor) -> Histogram:
    """Return the `hue_histogram` of predictions or targets, (2, H, W) or (N, 2, H, W) ab/50 on any device."""
    return hue_histogram((ab * AB_UNIT).cpu().numpy())


def summarize(
    results: Sequence[PhotoResult], fid: Mapping[str, float] | None = None
) -> dict[Predictor, PredictionSummary]:
    """Summarize each predictor over all photos. `loss_to_neutral` and `colorfulness_share` are ratios of sums.

    Args:
        results: of all photos, at least one.
        fid: of `Fid.distances`; None if not measured.
    """
    return {name: _summarize_predictor(results, name, (fid or {}).get(name)) for name in results[0].scores}


def originals_hue(results: Sequence[PhotoResult]) -> HueSpread:
    """Return the hue spread of all originals."""
    return hue_spread(_sum_histograms(results, "originals"))


def _summarize_predictor(results: Sequence[PhotoResult], name: Predictor, fid: float | None) -> PredictionSummary:
    originals = math.fsum(photo.original_colorfulness for photo in results)
    neutral = math.fsum(photo.scores["neutral gray"].loss for photo in results)
    scores = [photo.scores[name] for photo in results]
    lpips = [entry.lpips for entry in scores if entry.lpips is not None]
    loss, colors = (math.fsum(getattr(entry, name) for entry in scores) for name in ("loss", "colorfulness"))
    return PredictionSummary(
        psnr_db=_mean([entry.psnr_db for entry in scores]),
        ssim=_mean([entry.ssim for entry in scores]),
        colorfulness=colors / len(scores),
        colorfulness_share=colors / originals if originals else math.nan,
        colorfulness_absolute=_mean([entry.colorfulness_absolute for entry in scores]),
        colorfulness_difference=_mean([entry.colorfulness_difference for entry in scores]),
        loss=loss / len(scores),
        loss_to_neutral=loss / neutral if neutral else math.nan,
        tones=dict(Counter(entry.tone for entry in scores)),
        lpips=_mean(lpips) if lpips else None,
        fid=fid,
        hue=hue_spread(_sum_histograms(results, name)),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sum_histograms(results: Sequence[PhotoResult], name: Predictor | Literal["originals"]) -> Histogram:
    total: Histogram = np.sum([photo.hues[name] for photo in results], axis=0)
    return total
