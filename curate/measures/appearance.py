"""What "saturated" and "diverse" are measured by; docs/measures.md has each definition with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NEUTRAL_CHROMA = 5.0
"""Below this CIELAB chroma a pixel looks gray beside a truly gray one."""

HUE_BINS = 36


@dataclass(frozen=True, slots=True)
class Appearance:
    """Numbers a person would name when describing a photo's colours."""

    chroma_mean: float
    """Mean CIELAB chroma √(a² + b²), 0..133.8 in sRGB."""
    saturation_mean: float
    """Mean HSV saturation, 0..1."""
    hue_entropy_bits: float
    """Shannon entropy of the chroma-weighted CIELAB hue histogram, 36 bins: 0 (one hue) to 5.17 bits (all alike)."""
    hue_peak_deg: float
    """Middle of that histogram's highest bin, neighbours counted half: the hue most seen, 5..355; 0 without colour."""
    neutral_share: float
    """Share of pixels with CIELAB chroma below 5, 0..1."""
    lightness_mean: float
    """Mean CIELAB L*, 0..100."""
    dark_clipped_share: float
    """Share of pixels whose three channels are all 2 or less, 0..1."""
    bright_clipped_share: float
    """Share of pixels whose three channels are all 253 or more, 0..1."""
    sharpness: float
    """Variance of the 3 × 3 Laplacian of luma on the small copy (Pech-Pacheco 2000); compare photos, not cameras."""


def appearance(rgb: NDArray[np.uint8], luma: NDArray[np.uint8]) -> Appearance:
    """Describe a photo.

    Args:
        rgb: (h, w, 3) uint8 sRGB, pixels of the whole photo in whatever arrangement.
        luma: (H, W) uint8 gray values of the small copy.
    """
    lightness, a, b = cv2.split(cv2.cvtColor(rgb * np.float32(1 / 255), cv2.COLOR_RGB2Lab))
    chroma, hue_deg = cv2.cartToPolar(a, b, angleInDegrees=True)
    _, saturation, high = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    red, green, blue = cv2.split(rgb)
    low = cv2.min(cv2.min(red, green), blue)
    weights = _hue_weights(hue_deg, chroma)
    return Appearance(
        chroma_mean=cv2.mean(chroma)[0],
        saturation_mean=cv2.mean(saturation)[0] / 255,
        hue_entropy_bits=_entropy_bits(weights),
        hue_peak_deg=_peak_deg(weights),
        neutral_share=np.count_nonzero(chroma < NEUTRAL_CHROMA) / chroma.size,
        lightness_mean=cv2.mean(lightness)[0],
        dark_clipped_share=np.count_nonzero(high <= 2) / high.size,
        bright_clipped_share=np.count_nonzero(low >= 253) / low.size,
        sharpness=float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0]) ** 2,
    )


def _hue_weights(hue_deg: NDArray[Any], chroma: NDArray[Any]) -> NDArray[np.float64]:
    """(HUE_BINS,) share of all chroma in each bin of hue; all 0 for a photo without colour."""
    bins = (hue_deg * np.float32(HUE_BINS / 360)).astype(np.intp).ravel()
    weights = np.bincount(bins, chroma.ravel(), HUE_BINS + 1)
    weights[0] += weights[HUE_BINS]  # 360 degrees
    total = weights.sum()
    return weights[:HUE_BINS] / total if total >= 1e-3 * chroma.size else np.zeros(HUE_BINS)


def _entropy_bits(weights: NDArray[np.float64]) -> float:
    share = weights[weights > 0]
    return abs(float(-(share * np.log2(share)).sum()))


def _peak_deg(weights: NDArray[np.float64]) -> float:
    if not weights.any():
        return 0.0
    ringed = np.concatenate([weights[-1:], weights, weights[:1]])
    return (int(np.argmax(ringed[:-2] + 2 * weights + ringed[2:])) + 0.5) * 360 / HUE_BINS
