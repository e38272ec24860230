"""Classify a picture as a photo or a graphic.

A photo shows a scene that a camera recorded, in at least 80 % of the picture, with drawn elements on at most 5 %. All
else is a graphic: drawings, logos, maps, charts, screenshots, rendered scenes, scanned pages, paintings, collages.

A logistic regression on statistics of colors and edges decides the clear cases. For the others a network is evaluated
at 96 px, and at 224 px if it is not sure then that the picture is a photo. The share of each later number grows from 0
to 1 at the ends of the range of doubt, so that the score has no steps.

Accuracy and known errors: docs/results/kind.md. How the weights were learned: benchmarks/kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import Appearance
from curate.measures.kind import weights
from curate.measures.kind.features import compute_statistics
from curate.measures.names import Kind, NetworkSize
from curate.measures.pretrained import PretrainedOdds

FloatArray = NDArray[np.float64]

REGRESSION_INPUTS = (
    *("color_share", "color_entropy_bits", "top_color_share", "top_4_color_share"),
    *("flat_share", "near_flat_share", "soft_share", "edge_share", "luma_step_mean", "flat_color_share"),
    *("top_luma_share", "luma_levels_share", "white_share", "black_share", "border_spread"),
    *("chroma_mean", "saturation_mean", "hue_entropy_bits", "neutral_share", "lightness_mean"),
    *("dark_clipped_share", "bright_clipped_share", "sharpness"),
)
"""Statistics of `features`, and measures of `curate.measures.appearance`."""


@dataclass(frozen=True, slots=True)
class KindMeasure:
    """The kind of a picture, and the numbers behind it, from which another threshold can be applied."""

    kind: Kind
    """photo or graphic."""
    kind_score: float
    """Log odds of graphic against photo, minus the threshold: above 0 is graphic. From the statistics where they are
    clear, else from the network, at 96 or 224 px."""
    kind_confidence: float
    """Distance from the threshold, 0.5 (on it) to 1 (far from it); pictures near 0.5 are worth a review."""
    kind_color_share: float
    """Different colors, in steps of 8 levels, per sampled pixel, 0..1: low in drawings, high in most photos."""
    kind_flat_share: float
    """Share of neighboring pixels of the small copy with equal luma, 0..1: high in drawings and screenshots."""
    kind_edge_share: float
    """Share of neighboring pixels of the small copy that differ by at least 32 in luma, 0..1."""


def classify_kinds(
    samples: Sequence[NDArray[np.uint8]],
    smalls: Sequence[NDArray[np.uint8]],
    lumas: Sequence[NDArray[np.uint8]],
    appearances: Sequence[Appearance],
    odds: PretrainedOdds | None = None,
    kind_network: NetworkSize = "small",
) -> list[KindMeasure]:
    """Classify several pictures. The pictures do not influence each other's numbers.

    Args:
        samples: one array per picture, (h, w, 3) uint8 sRGB: pixels of the full-size picture, in any order.
        smalls: one array per picture, (H, W, 3) uint8 sRGB: its small copy, without invisible pixels.
        lumas: one array per picture, (H, W) uint8: gray values of the small copy.
        appearances: the measures of `curate.measures.appearance`, which the regression reads, too.
        odds: log odds of the pretrained network for these pictures; None evaluates it on the small copies, at any M.
        kind_network: see `Networks.kind`.
    """
    if not samples:
        return []
    statistics = compute_statistics(samples, smalls, lumas)
    regression = regression_log_odds(statistics, appearances)
    odds = odds or PretrainedOdds(smalls)
    share = kind_network_share(regression, kind_network) * odds.share
    doubtful = np.flatnonzero(share)
    network_scores = np.zeros(len(samples))
    network_scores[doubtful] = _network_scores(odds, doubtful, kind_network)
    scores = combine_kind_scores(regression, network_scores, share)
    kinds = np.where(scores > 0, "graphic", "photo")
    confidence = 1 / (1 + np.exp(-np.minimum(np.abs(scores), 50)))
    stored = [statistics[name] for name in ("color_share", "flat_share", "edge_share")]
    columns = [kinds, scores, confidence, *stored]
    return [KindMeasure(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def kind_network_share(regression: FloatArray, kind_network: NetworkSize = "small") -> FloatArray:
    """(n,) 0..1: how much the network counts, from the log odds of the regression; the network is needed above 0."""
    shares = (0, 1, 1, 0) if kind_network == "small" else (1, 1, 1, 0)
    return np.interp(regression, weights.NETWORK_RANGE, shares)


def _network_scores(odds: PretrainedOdds, pictures: NDArray[np.intp], kind_network: NetworkSize) -> FloatArray:
    """(k,) scores of the network for some of the pictures."""
    if kind_network == "large":
        return odds.evaluate("kind_large", pictures) - weights.NETWORK_THRESHOLD
    small_odds = odds.evaluate("kind", pictures)
    share = kind_large_share(small_odds)
    large_odds = np.zeros(len(pictures))
    large_odds[share > 0] = odds.evaluate("kind_large", pictures[share > 0])
    return combine_network_scores(small_odds, large_odds, share)


def kind_large_share(small_odds: FloatArray) -> FloatArray:
    """(n,) 0..1: how much the network counts at 224 px, from its log odds at 96 px; it is needed above 0."""
    return np.interp(small_odds, weights.LARGE_NETWORK_RANGE, (0, 1))


def combine_network_scores(small_odds: FloatArray, large_odds: FloatArray, large_share: FloatArray) -> FloatArray:
    """(n,) scores of the network from its log odds at 96 px, and those at 224 px, which have the share 0..1."""
    intercept, slope = weights.SMALL_NETWORK_LINE  # so that all scores are on the scale of those at 224 px
    small = intercept + slope * small_odds - weights.NETWORK_THRESHOLD
    scores: FloatArray = small + large_share * (large_odds - weights.NETWORK_THRESHOLD - small)
    return scores


def combine_kind_scores(regression: FloatArray, network_scores: FloatArray, share: FloatArray) -> FloatArray:
    """(n,) kind scores from the log odds of the regression and the scores of the network, which have the share 0..1."""
    center = (weights.NETWORK_RANGE[1] + weights.NETWORK_RANGE[2]) / 2
    clear = regression - center  # below the range of doubt negative, above it positive
    scores: FloatArray = clear + share * (network_scores - clear)
    return scores


def regression_log_odds(statistics: Mapping[str, FloatArray], appearances: Sequence[Appearance]) -> FloatArray:
    """(n,) log odds of graphic against photo from the regression; its inputs are standardized and clipped to ±4."""
    _, inputs = regression_inputs(statistics, appearances)
    mean, deviation, factors = np.array([weights.FEATURES[name] for name in REGRESSION_INPUTS]).T
    odds: FloatArray = weights.BIAS + (np.clip((inputs - mean) / deviation, -4, 4) * factors).sum(axis=1)
    return odds


def regression_inputs(
    statistics: Mapping[str, FloatArray], appearances: Sequence[Appearance]
) -> tuple[Sequence[str], FloatArray]:
    """Return the names and values of what the regression reads: logarithms of statistics and appearance measures.

    Returns:
        Names, and (n, names) float64: log(1 + 100 x) of shares, log(1 + x) of other numbers.
    """
    values = [
        statistics[name] if name in statistics else np.array([getattr(appearance, name) for appearance in appearances])
        for name in REGRESSION_INPUTS
    ]
    scales = [100.0 if name.endswith("_share") or name == "saturation_mean" else 1.0 for name in REGRESSION_INPUTS]
    logs = [np.log1p(value * scale) for value, scale in zip(values, scales, strict=True)]
    return REGRESSION_INPUTS, np.stack(logs, axis=1)
