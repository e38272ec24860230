"""Classify a picture as a photo or a graphic.

A photo shows a scene that a camera recorded, in at least 80 % of the picture, with drawn elements on at most 5 %. All
else is a graphic: drawings, logos, maps, charts, screenshots, rendered scenes, scanned pages, paintings, collages.

A small network reads every picture at 64 px. Where it is not sure that the picture is a photo, a large one reads it at
224 px and decides instead. The share of the large one grows from 0 to 1, so that the score has no step.

Accuracy and known errors: docs/results/kind.md. How the networks were trained: benchmarks/kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.measures.kind.network import kind_log_odds
from curate.measures.kind.statistics import measure_color_share, measure_edge_shares
from curate.measures.names import Kind, NetworkSize

FloatArray = NDArray[np.float64]

DOUBT_RANGES: Mapping[NetworkSize, tuple[float, float]] = {"small": (-0.2, 0.0), "large": (-3.0, -2.8)}
"""For each value of --kind-network: log odds of the small network at which the share of the large one begins, and is 1.
Of photos that were not trained on, 12 % are above the first number of `small`, and two thirds above that of `large`."""
SMALL_NETWORK_LINE = (-1.15, 0.77)
"""Intercept and slope of the line that predicts the large network's log odds from those of the small one, below the
range of `small`."""
THRESHOLD = 1.9
"""Log odds of the large network above which a picture is a graphic."""


@dataclass(frozen=True, slots=True)
class KindMeasure:
    """The kind of a picture, and the numbers behind it, from which another threshold can be applied."""

    kind: Kind
    """photo or graphic."""
    kind_score: float
    """Log odds of graphic against photo, minus the threshold: above 0 is graphic. From the small network for clear
    photos, else from the large one."""
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
    larges: Sequence[NDArray[np.uint8]],
    lumas: Sequence[NDArray[np.uint8]],
    kind_network: NetworkSize = "small",
) -> list[KindMeasure]:
    """Classify several pictures. The pictures do not influence each other's numbers.

    Args:
        samples: one array per picture, (h, w, 3) uint8 sRGB: pixels of the full-size picture, in any order.
        smalls: one array per picture, (H, W, 3) uint8 sRGB: its small copy, without invisible pixels.
        larges: one array per picture, uint8 sRGB: its larger copy, without invisible pixels.
        lumas: one array per picture, (H, W) uint8: gray values of the small copy.
        kind_network: see `Networks.kind`.

    Raises:
        ValueError: the numbers of the arrays differ.
        VividsetError: a network's file is missing or damaged.
    """
    if not len(samples) == len(smalls) == len(larges) == len(lumas):
        raise ValueError(
            f"{len(samples)} samples, {len(smalls)} small and {len(larges)} larger copies, {len(lumas)} lumas"
        )
    small_odds = kind_log_odds(smalls, "small")
    share = large_network_share(small_odds, kind_network)
    doubtful = np.flatnonzero(share)
    large_odds = np.zeros(len(smalls))
    large_odds[doubtful] = kind_log_odds([larges[index] for index in doubtful.tolist()], "large")
    scores = combine_kind_scores(small_odds, large_odds, share)
    kinds = np.where(scores > 0, "graphic", "photo")
    confidence = 1 / (1 + np.exp(-np.minimum(np.abs(scores), 50)))
    columns = (column.tolist() for column in (kinds, scores, confidence))
    return [
        KindMeasure(kind, score, certain, measure_color_share(sample), *measure_edge_shares(luma))
        for kind, score, certain, sample, luma in zip(*columns, samples, lumas, strict=True)
    ]


def large_network_share(small_odds: FloatArray, kind_network: NetworkSize = "small") -> FloatArray:
    """(n,) 0..1: how much the large network counts, from the log odds of the small one; it is needed above 0."""
    return np.interp(small_odds, DOUBT_RANGES[kind_network], (0, 1))


def combine_kind_scores(small_odds: FloatArray, large_odds: FloatArray, share: FloatArray) -> FloatArray:
    """(n,) kind scores from the log odds of both networks, where the large one has the share 0..1."""
    intercept, slope = SMALL_NETWORK_LINE
    small = intercept + slope * small_odds
    scores: FloatArray = small + share * (large_odds - small) - THRESHOLD
    return scores
