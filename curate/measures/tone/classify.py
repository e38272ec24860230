"""Classify a photo as color, grayscale, sepia or toned in another hue.

Three rules are applied in this order, to the features of `curate.measures.tone.features`:

1. A photo is `grayscale` if it has hardly any chroma anywhere (mean and 99th percentile).
2. A photo is toned if one ratio R : G : B holds throughout a photo with a range of brightness, as toning by a matrix
   makes it; or if a logistic regression on the features says so, whose weights were learned from labeled photos
   (`weights`). The regression uses no absolute hue. Where it is in doubt, the log odds of two networks are added: a
   small one that reads the same cells (`network`), and a pretrained one (`pretrained`). Their share grows from 0 to 1
   at both ends of the range of doubt, so that the score has no steps.
3. A toned photo is `sepia` if its mean hue is 40 to 100 degrees, brown to yellow; otherwise it is `toned`.

Accuracy and known errors: docs/results/tone.md. How the weights were learned: benchmarks/tone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.measures.names import NetworkSize, Tone
from curate.measures.tone import network, weights
from curate.measures.tone.features import compute_features, make_grids
from curate.measures.tone.pretrained import COLORFULNESS_RANGE, pretrained_log_odds

GRAY_CHROMA_MEAN = 3.0
GRAY_CHROMA_P99 = 4.5
"""Gray photos stored as RGB, with JPEG chroma noise and a faint cast, stay below both (CIELAB units)."""
SEPIA_HUE_DEG = (40.0, 100.0)
"""Range of the mean CIELAB hue of a toned photo that is called sepia, in degrees."""
ONE_RATIO_LEVELS = 5.0
"""90 % of the cells of a matrix-toned photo are within this distance, in levels of 255, of one ratio R : G : B."""
ONE_RATIO_BRIGHTNESS_SPREAD = 15.0
"""Least standard deviation of brightness, in levels of 255. A plain blue sky has one ratio, too, but less spread."""

BATCH_PHOTOS = 32
"""Number of photos whose features are computed together. A larger batch does not fit into the processor's cache."""
MAX_TONING_SPREAD_AB = 37.0
"""Colors whose (a, b) spread further along their main axis are not called toned by the regression. Of 33,000 toned
pictures, the widest reached 36; a picture of two flat colors goes beyond."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ToneMeasure:
    """The tone of a photo, and the numbers behind it, from which another threshold can be applied."""

    tone: Tone
    """color, grayscale, sepia or toned."""
    tone_score: float
    """Log odds of toned against color, minus the threshold: above 0 is toned (or gray), below is color. From the
    regression; where that is in doubt, plus those of the networks, without a step."""
    tone_confidence: float
    """Distance from the threshold, 0.5 (on it) to 1 (far from it); photos near 0.5 are worth a review."""
    tone_chroma: float
    """Mean CIELAB chroma of the cells of a 40 x 32 grid, 0 or more."""
    tone_chroma_p99: float
    """99th percentile of that chroma."""
    tone_residual: float
    """RMS distance of (a, b) from the mean of its lightness bin, 32 bins, CIELAB units: 0 for any pure toning."""
    tone_ratio_residual: float
    """90th percentile of the distance from one ratio R : G : B, in levels of 255."""
    tone_hue_deg: float
    """CIELAB hue of the mean color, 0..360 degrees; sepia is 40..100."""


def classify_tone(small: NDArray[np.uint8]) -> ToneMeasure:
    """Classify one photo.

    Args:
        small: (h, w, 3) uint8 sRGB, the photo's small copy from `curate.measures.measure.make_small_copy`.

    >>> classify_tone(np.full((40, 40, 3), 128, np.uint8)).tone
    'grayscale'
    """
    return classify_tones([small])[0]


def classify_tones(
    smalls: Sequence[NDArray[np.uint8]],
    larges: Sequence[NDArray[np.uint8]] | None = None,
    colorfulness: Sequence[float] | None = None,
    tone_network: NetworkSize = "small",
) -> list[ToneMeasure]:
    """Classify several photos, at a quarter of the cost of one by one.

    The photos do not influence each other's numbers, not even by rounding.

    Args:
        smalls: one array per photo, see `classify_tone`.
        larges: their larger copies, which the pretrained network reads at 224 px; None takes the small ones.
        colorfulness: M of the photos; None evaluates the pretrained network at any M.
        tone_network: `large` evaluates the pretrained network at 224 px.

    Raises:
        ValueError: the number of larger copies or of M is not that of the small copies.
        VividsetError: a network's file is missing or damaged.
    """
    for name, given in (("larger copies", larges), ("values of M", colorfulness)):
        if given is not None and len(given) != len(smalls):
            raise ValueError(f"{len(given)} {name} for {len(smalls)} photos; give one for each photo, or None")
    if not smalls:
        return []
    batches = [smalls[first : first + BATCH_PHOTOS] for first in range(0, len(smalls), BATCH_PHOTOS)]
    grids = list(map(make_grids, batches))
    measured = list(map(compute_features, batches, grids))
    features = {name: np.concatenate([batch[name] for batch in measured]) for name in measured[0]}
    scores = regression_log_odds(features)
    share = tone_network_share(scores, tone_network)
    doubtful = np.flatnonzero(share)
    labs = [lab for batch in grids for lab in batch.lab]
    small_odds = network.network_log_odds([labs[index] for index in doubtful.tolist()])
    scores[doubtful] += share[doubtful] * weights.NETWORK_WEIGHT * small_odds
    if colorfulness is not None:
        share *= np.interp(colorfulness, COLORFULNESS_RANGE, (0, 1))
    colorful = np.flatnonzero(share)
    copies = smalls if tone_network == "small" or larges is None else larges
    scores[colorful] += share[colorful] * pretrained_log_odds([copies[i] for i in colorful.tolist()], tone_network)
    # at most 1 if both the mean and the 99th percentile of chroma are within the limits for gray
    gray = np.maximum(features["all_chroma_ab"] / GRAY_CHROMA_MEAN, features["all_chroma_p99_ab"] / GRAY_CHROMA_P99)
    one_ratio = (features["ratio_p90_levels"] < ONE_RATIO_LEVELS) & (
        features["brightness_spread_levels"] >= ONE_RATIO_BRIGHTNESS_SPREAD
    )
    hue = features["all_hue_deg"]
    toned = np.where((hue >= SEPIA_HUE_DEG[0]) & (hue <= SEPIA_HUE_DEG[1]), "sepia", "toned")
    tones = np.where(gray <= 1, "grayscale", np.where((scores > 0) | one_ratio, toned, "color"))
    probability = 1 / (1 + np.exp(-np.minimum(np.abs(scores), 50)))
    # 0.5 where only the ratio rule says toned: the score is on the other side of the threshold
    confidence = np.where(gray <= 1, 1 - gray / 2, np.where((scores > 0) | ~one_ratio, probability, 0.5))
    stored = ("all_chroma_ab", "all_chroma_p99_ab", "all_bin_rms_ab", "ratio_p90_levels", "all_hue_deg")
    columns = [tones, scores, confidence, *(features[name] for name in stored)]
    return [ToneMeasure(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def tone_network_share(regression: FloatArray, tone_network: NetworkSize = "small") -> FloatArray:
    """(n,) 0..1: how much the networks count, from the log odds of the regression; they are needed above 0.

    1 within the range of doubt, falling linearly to 0 on both sides of it.
    """
    return np.interp(regression, weights.NETWORK_RANGES[tone_network], (0, 1, 1, 0))


def regression_log_odds(features: Mapping[str, FloatArray]) -> FloatArray:
    """Compute the log odds of toned against color from the regression, minus the threshold.

    The inputs are log(1 + feature), standardized and clipped to ±4, and some products of two of these. The result is
    capped by MAX_TONING_SPREAD_AB minus the spread of (a, b), so that colors further apart than any toning score
    below 0.

    Args:
        features: (n,) float64 by name, see `compute_features`.

    Returns:
        (n,) float64.
    """
    logs = np.stack([np.log1p(features[name]) for name in weights.FEATURES], axis=1)
    mean, deviation, factors = np.array(list(weights.FEATURES.values())).T
    standardized = np.clip((logs - mean) / deviation, -4, 4)
    column_of = {name: column for column, name in enumerate(weights.FEATURES)}
    first, second = np.array([[column_of[i], column_of[j]] for i, j in weights.PRODUCTS]).T
    products = standardized.take(first, axis=1) * standardized.take(second, axis=1) * list(weights.PRODUCTS.values())
    odds = weights.BIAS + (standardized * factors).sum(axis=1) + products.sum(axis=1)
    capped: FloatArray = np.minimum(odds, MAX_TONING_SPREAD_AB - features["all_major_ab"])
    return capped
