"""How good a checkpoint is on photos that it wasn't trained on, beside what costs nothing to predict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from curate.errors import TrainingError
from curate.measures.colorfulness import colorfulness
from curate.measures.measure import measure
from train.data.dataset import PhotoDataset
from train.data.loader import Batch, CropLoader, load_batches
from train.data.sampler import SampleKey, sequential_batches
from train.evaluation.feature_metrics import Fid, Lpips
from train.models.colorspace import join_lab, split_lab
from train.models.losses import ColorizationWeightedLoss

Predictor = Literal["network", "mean colour", "neutral gray"]
PREDICTORS: tuple[Predictor, ...] = ("network", "mean colour", "neutral gray")
CENTER_CROP = "short side scaled to the size, square cut from the middle"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What was measured; numbers of another protocol don't compare."""

    checkpoint: str
    checkpoint_sha256: str
    manifest: str
    manifest_sha256: str
    split: str
    photos: int
    """That could be read."""
    unreadable: int
    size_px: int
    lpips_weights_sha256: str | None = None
    fid_weights_sha256: str | None = None
    crop: str = CENTER_CROP
    color_space: str = "loss on CIELAB ab/50, all else on 8-bit sRGB"


@dataclass(frozen=True, slots=True)
class Scores:
    """One predicted photo against its original."""

    psnr_db: float
    """Over R, G and B of 0..255; infinite where they are the same."""
    ssim: float
    """Wang's, 11-pixel Gaussian of sigma 1.5, mirrored at the border, mean of R, G and B."""
    colorfulness: float
    """Of the prediction: Hasler and Süsstrunk's M3, signed."""
    colorfulness_absolute: float
    """The variant that takes absolute values first, for comparing with papers."""
    colorfulness_difference: float
    """|M of the prediction − M of the original|."""
    loss: float
    """ColorizationWeightedLoss."""
    tone: str
    """As `curate` calls it."""
    lpips: float | None
    """How different it looks from the original; None where no network was given."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """One photo, by everything that was predicted for it."""

    place: int
    """In the list of photos."""
    name: str
    original_colorfulness: float
    original_colorfulness_absolute: float
    by: dict[Predictor, Scores]

    @property
    def gain(self) -> float:
        """How much better than gray the network is: positive is better, in units of the loss."""
        return self.by["neutral gray"].loss - self.by["network"].loss


@dataclass(frozen=True, slots=True)
class PredictionSummary:
    """One way to predict, over all photos."""

    psnr_db: float
    ssim: float
    colorfulness: float
    colorfulness_share: float
    """Of the originals'; 1 is as colourful."""
    colorfulness_absolute: float
    colorfulness_difference: float
    loss: float
    loss_to_neutral: float
    tones: dict[str, int]
    lpips: float | None
    fid: float | None
    """Of all pictures against all originals; None where no network was given."""


class Evaluation:
    """A network on a list of photos.

    Args:
        network: predicts ab/50 from lightness, in eval mode.
        photos: to be judged on.
        size_px: side of the square that is cut from each.
        criterion: the loss that it was trained by.
        device: where the network is.
        lpips: measures it where given.
        frechet: measures FID where given.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        photos: PhotoDataset,
        size_px: int,
        criterion: ColorizationWeightedLoss,
        device: str,
        lpips: Lpips | None = None,
        frechet: Fid | None = None,
    ) -> None:
        self.network, self.photos, self.criterion, self.device = network, photos, criterion, device
        self.lpips, self.frechet = lpips, frechet
        self.crops = CropLoader(photos, size_px, seed=0)
        self.mean_ab = torch.zeros(1, 2, 1, 1)

    def run(self, limit: int | None, progress: Callable[[int, int], None]) -> list[PhotoResult]:
        """Judge all photos, or `limit` of them, evenly spread.

        Raises:
            TrainingError: none can be read.
        """
        draws = sequential_batches(self.photos, 8, limit)
        self.mean_ab = self._mean_color(draws)
        judged: list[PhotoResult] = []
        for batch in load_batches(self.crops, draws, 0):
            judged += self._judge(batch)
            progress(len(judged), sum(map(len, draws)))
        if not judged:
            raise TrainingError("not one of these photos can be read: is the disk there?")
        return judged

    def _mean_color(self, draws: list[list[SampleKey]]) -> Tensor:
        """The single colour that costs least on these photos: the mean of ab under the loss's weights."""
        total, weight = torch.zeros(1, 2, 1, 1), 0.0
        for batch in load_batches(self.crops, draws, 0):
            if batch.photos:
                _, target = split_lab(batch.rgb)
                weights = self.criterion.weights(target)
                total += (weights * target).sum(dim=(0, 2, 3), keepdim=True)
                weight += float(weights.sum())
        return total / max(weight, 1e-12)

    def _judge(self, batch: Batch) -> Iterator[PhotoResult]:
        if not batch.photos:
            return
        lightness, target = split_lab(batch.rgb)
        guesses: dict[Predictor, Tensor] = {
            "network": self.predict(lightness),
            "mean colour": self.mean_ab.expand_as(target),
            "neutral gray": torch.zeros_like(target),
        }
        pictures: dict[str, Tensor] = {way: join_lab(lightness, ab) for way, ab in guesses.items()}
        likeness = self.lpips.distances(batch.rgb, pictures) if self.lpips else [{}] * len(batch.photos)
        if self.frechet:
            self.frechet.see(batch.rgb, pictures)
        for row, place in enumerate(batch.photos):
            rgb = batch.rgb[row]
            m = colorfulness(rgb.numpy())
            scores = {
                way: self._score(pictures[way][row], rgb, m, guesses[way][row], target[row], likeness[row].get(way))
                for way in PREDICTORS
            }
            absolute = colorfulness(rgb.numpy(), variant="absolute")
            yield PhotoResult(place, self.photos.name(place), m, absolute, scores)

    def _score(
        self, picture: Tensor, original: Tensor, m: float, ab: Tensor, target: Tensor, lpips: float | None
    ) -> Scores:
        seen = measure(picture.numpy())
        ours, truth = (pixels.permute(2, 0, 1)[None].float() for pixels in (picture, original))
        return Scores(
            psnr_db=float(peak_signal_noise_ratio(ours, truth, data_range=255.0)),
            ssim=float(structural_similarity_index_measure(ours, truth, data_range=255.0)),  # type: ignore[arg-type]  # a tensor without return_full_image
            colorfulness=seen.colorfulness,
            colorfulness_absolute=colorfulness(picture.numpy(), variant="absolute"),
            colorfulness_difference=abs(seen.colorfulness - m),
            loss=float(self.criterion(ab[None], target[None])),
            tone=seen.tone.tone,
            lpips=lpips,
        )

    @torch.no_grad()
    def predict(self, lightness: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 2, H, W), on the CPU."""
        predicted: Tensor = self.network(lightness.to(self.device)).float().cpu()
        return predicted

    def pictures(self, place: int) -> tuple[Pixels, Pixels, Pixels]:
        """Gray, predicted and original of one photo, (size, size, 3) each."""
        (batch,) = load_batches(self.crops, [[SampleKey(-1, place)]], 0)
        lightness, target = split_lab(batch.rgb)
        gray, ours = (join_lab(lightness, ab)[0].numpy() for ab in (torch.zeros_like(target), self.predict(lightness)))
        return gray, ours, batch.rgb[0].numpy()


def summarize(
    judged: Sequence[PhotoResult], fid: Mapping[str, float] | None = None
) -> dict[Predictor, PredictionSummary]:
    """Each way over all photos. Loss ÷ neutral and colourfulness' share are ratios of sums, all else are means.

    Args:
        judged: as from `Evaluation.run`.
        fid: as from `Fid.distances`; None where it wasn't measured.
    """
    originals = math.fsum(photo.original_colorfulness for photo in judged)
    neutral = math.fsum(photo.by["neutral gray"].loss for photo in judged)
    return {
        way: _summary([photo.by[way] for photo in judged], originals, neutral, (fid or {}).get(way))
        for way in PREDICTORS
    }


def _summary(scores: Sequence[Scores], originals: float, neutral: float, fid: float | None) -> PredictionSummary:
    likeness = [entry.lpips for entry in scores if entry.lpips is not None]
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
        lpips=_mean(likeness) if likeness else None,
        fid=fid,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
