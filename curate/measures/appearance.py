"""Measure chroma, saturation, hue, lightness, clipping and sharpness.

docs/reference/measures.md has each definition with its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NEUTRAL_CHROMA = 5.0
"""A pixel with less CIELAB chroma than this looks gray, even beside a gray pixel."""

HUE_BINS = 36
"""Bins of the hue histogram, of 10 degrees each."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """Measures of a photo's colors, light and sharpness."""

    chroma_mean: float
    """Mean CIELAB chroma √(a² + b²), 0..133.8 in sRGB; 0 if every pixel is gray (R = G = B)."""
    saturation_mean: float
    """Mean HSV saturation, 0..1."""
    hue_entropy_bits: float
    """Entropy of the chroma-weighted CIELAB hue histogram, 36 bins: 0 (at most one hue) to 5.17 bits (uniform)."""
    hue_peak_deg: float
    """Middle of that histogram's highest bin, neighbors counted half: the main hue, 5..355; 0 if all are gray."""
    neutral_share: float
    """Share of pixels with CIELAB chroma below 5, 0..1."""
    lightness_mean: float
    """Mean CIELAB L*, 0..100."""
    dark_clipped_share: float
    """Share of pixels whose three channels are all 2 or less, 0..1."""
    bright_clipped_share: float
    """Share of pixels whose three channels are all 253 or more, 0..1."""
    sharpness: float
    """Variance of the 3 × 3 Laplacian of luma on the small copy (Pech-Pacheco 2000), 0 or more."""


def measure_appearances(samples: Sequence[NDArray[np.uint8]], lumas: Sequence[NDArray[np.uint8]]) -> list[Appearance]:
    """Measure several photos. The photos do not influence each other's numbers, not even by rounding.

    Args:
        samples: one array per photo, (h, w, 3) uint8 sRGB: pixels of the full-size photo, in any order.
        lumas: one array per photo, (H, W) uint8: gray values of its small copy, for sharpness.

    Returns:
        One result per photo, in the same order.
    """
    if not samples:
        return []
    counts = np.array([sample.size // 3 for sample in samples])
    rgb = np.concatenate([sample.reshape(1, -1, 3) for sample in samples], axis=1)
    lightness, a, b = cv2.split(cv2.cvtColor(rgb * np.float32(1 / 255), cv2.COLOR_RGB2Lab))
    chroma, hue_deg = cv2.cartToPolar(a, b, angleInDegrees=True)
    _, saturation, high = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    low = cv2.min(cv2.min(*cv2.split(rgb)[:2]), rgb[..., 2])
    chroma *= high != low  # a gray has no chroma, but OpenCV computes up to 0.14; the least of any other color is 0.28
    weights = _hue_weights(hue_deg.ravel(), chroma.ravel(), counts)
    columns = [
        _means(chroma, counts),
        _means(saturation, counts) / 255,
        _entropy_bits(weights),
        _peak_deg(weights),
        _means(chroma < NEUTRAL_CHROMA, counts),
        _means(lightness, counts),
        _means(high <= 2, counts),
        _means(low >= 253, counts),
        np.array([_sharpness(luma) for luma in lumas]),
    ]
    return [Appearance(*numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


def _means(values: NDArray[Any], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,) mean of each photo. `values` holds one photo after another, `counts` the number of values of each."""
    sums: NDArray[np.float64] = np.add.reduceat(values.ravel(), np.cumsum(counts) - counts, dtype=np.float64)
    return sums / counts


def _hue_weights(hue_deg: NDArray[Any], chroma: NDArray[Any], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n, HUE_BINS) float64: for each photo, the share of its total chroma in each hue bin; all 0 if it has none."""
    first_bins = np.repeat(np.arange(0, HUE_BINS * len(counts), HUE_BINS), counts)
    bins = (hue_deg * np.float32(HUE_BINS / 360)).astype(np.intp)
    bins[bins == HUE_BINS] = 0  # 360 degrees is 0
    weights = np.bincount(bins + first_bins, chroma, HUE_BINS * len(counts)).reshape(-1, HUE_BINS)
    shares: NDArray[np.float64] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return shares


def _entropy_bits(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) Shannon entropy of (n, HUE_BINS) shares."""
    bits: NDArray[np.float64] = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    entropy: NDArray[np.float64] = np.abs((weights * bits).sum(axis=1))
    return entropy


def _peak_deg(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) middle of the highest bin of (n, HUE_BINS) shares, smoothed with its neighbors; 0 without color."""
    smooth = np.roll(weights, 1, axis=1) + 2 * weights + np.roll(weights, -1, axis=1)
    return np.where(weights.any(axis=1), (smooth.argmax(axis=1) + 0.5) * (360 / HUE_BINS), 0.0)


def _sharpness(luma: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian, from exact integer sums."""
    edges = cv2.Laplacian(luma, cv2.CV_16S)
    total, squares = round(cv2.sumElems(edges)[0]), round(cv2.norm(edges, cv2.NORM_L2SQR))
    return (edges.size * squares - total * total) / edges.size**2
