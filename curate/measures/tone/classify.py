"""Is it a colour photo, or a monochrome one: gray, sepia, or toned in another hue?

Three rules, in this order, on what `tone_features` measures:

1. `grayscale`: hardly any chroma anywhere (mean and 99th percentile).
2. toned: one ratio R : G : B throughout a photo with a range of brightness, which is what toning by a matrix leaves;
   or a logistic regression on the features, with weights learned from labelled photos (`tone_weights`), which knows no
   absolute hue. Where it is in doubt, about one photo in ten, a small network looks too (`tone_network`).
3. A toned photo is `sepia` if its mean hue lies at 40 to 100 degrees, brown to yellow; otherwise `toned`.

How well it does, and what it gets wrong: docs/results/tone.md. How the weights were learned: benchmarks/tone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.measures.tone import network, weights
from curate.measures.tone.features import compute_features

Tone = Literal["color", "grayscale", "sepia", "toned"]
TONES: tuple[Tone, ...] = ("color", "grayscale", "sepia", "toned")

GRAY_CHROMA_MEAN = 3.0
GRAY_CHROMA_P99 = 4.5
"""Gray stored as RGB, with JPEG's chroma noise and a faint cast, stays below both (CIELAB units)."""
SEPIA_HUE_DEG = (40.0, 100.0)
ONE_RATIO_LEVELS = 5.0
"""90 % of the cells of a matrix-toned photo lie within so many levels of 255 of one ratio R : G : B."""
ONE_RATIO_BRIGHTNESS_SPREAD = 15.0
"""Levels of 255; a plain blue sky has one ratio too, but hardly a range of brightness."""

PHOTOS_AT_ONCE = 32
"""More don't fit into the processor's cache and cost more each."""
TONING_SPREAD_AB = 37.0
"""No toning spreads (a, b) so far along its main axis: of 33,000 toned pictures one reached 36. Two flat colours do."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ToneMeasure:
    """The verdict and the numbers it was drawn from, so that another line can be drawn."""

    tone: Tone
    tone_score: float
    """Log odds of toned against colour, less the threshold: above 0 is toned (or gray), below is colour. The
    regression's; where that is in doubt the network's too."""
    tone_confidence: float
    """How far from the line, 0.5 (on it) to 1: review the photos near 0.5."""
    tone_chroma: float
    """Mean CIELAB chroma of the grid's cells."""
    tone_chroma_p99: float
    """99th percentile of the same."""
    tone_residual: float
    """RMS distance of (a, b) from the mean of its lightness bin, 32 bins: 0 for any toning, however coloured."""
    tone_ratio_residual: float
    """90th percentile of the distance from one ratio R : G : B, in levels of 255."""
    tone_hue_deg: float
    """Hue of the mean colour, 0..360 degrees; sepia lies at 40..100."""


def classify_tone(small: NDArray[np.uint8]) -> ToneMeasure:
    """Judge a photo's tone.

    Args:
        small: (h, w, 3) uint8 sRGB, a small copy as `curate.measures.make_small_copy` makes it.
    """
    return classify_tones([small])[0]


def classify_tones(smalls: Sequence[NDArray[np.uint8]]) -> list[ToneMeasure]:
    """As `tone`, for some photos at a quarter of the cost; none changes what is said of another, not by a bit."""
    batches = [smalls[first : first + PHOTOS_AT_ONCE] for first in range(0, len(smalls), PHOTOS_AT_ONCE)]
    return [said for batch in batches for said in _judged(batch)]


def _judged(smalls: Sequence[NDArray[np.uint8]]) -> list[ToneMeasure]:
    found = compute_features(smalls)
    scores = log_odds(found)
    gray = np.maximum(found["all_chroma_ab"] / GRAY_CHROMA_MEAN, found["all_chroma_p99_ab"] / GRAY_CHROMA_P99)
    for place in np.flatnonzero(is_doubtful(scores) & (gray > 1)).tolist():
        scores[place] = combine_scores(scores[place], network.log_odds(smalls[place]))
    one_ratio = (found["ratio_p90_levels"] < ONE_RATIO_LEVELS) & (
        found["brightness_spread_levels"] >= ONE_RATIO_BRIGHTNESS_SPREAD
    )
    hue = found["all_hue_deg"]
    brown = (hue >= SEPIA_HUE_DEG[0]) & (hue <= SEPIA_HUE_DEG[1])
    toned = np.where(brown, "sepia", "toned")
    verdicts = np.where(gray <= 1, "grayscale", np.where((scores > 0) | one_ratio, toned, "color"))
    sure = 1 / (1 + np.exp(-np.minimum(np.abs(scores), 50)))
    confidence = np.where(gray <= 1, 1 - gray / 2, np.where((scores > 0) | ~one_ratio, sure, 0.5))
    kept = ("all_chroma_ab", "all_chroma_p99_ab", "all_bin_rms_ab", "ratio_p90_levels", "all_hue_deg")
    columns = [verdicts, scores, confidence, *(found[name] for name in kept)]
    return [ToneMeasure(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def is_doubtful(scores: Numbers) -> NDArray[np.bool_]:
    """(n,) whether the regression's log odds call for a second look."""
    low, high = weights.DOUBT_RANGE
    return (scores > low) & (scores < high)


def combine_scores(regression: float, network: float) -> float:
    """The log odds of both together."""
    bias, by_regression, by_network = weights.COMBINED_WEIGHTS
    return bias + by_regression * regression + by_network * network


def log_odds(found: Mapping[str, Numbers]) -> Numbers:
    """(n,) of the regression: weights on standardised log(1 + feature), clipped to ±4, and on a few products of two.

    Capped, so that colours further apart than any toning takes them are never above 0.

    Args:
        found: (n,) each; see `features`.
    """
    logs = np.stack([np.log1p(found[name]) for name in weights.FEATURES], axis=1)
    mean, deviation, factors = np.array(list(weights.FEATURES.values())).T
    standardised = np.clip((logs - mean) / deviation, -4, 4)
    places = {name: place for place, name in enumerate(weights.FEATURES)}
    one, other = np.array([[places[i], places[j]] for i, j in weights.PRODUCTS]).T
    products = standardised.take(one, axis=1) * standardised.take(other, axis=1) * list(weights.PRODUCTS.values())
    odds = weights.BIAS + (standardised * factors).sum(axis=1) + products.sum(axis=1)
    capped: Numbers = np.minimum(odds, TONING_SPREAD_AB - found["all_major_ab"])
    return capped
