"""What "saturated" and "diverse" are measured by, on a small copy of the photo."""

from __future__ import annotations

from dataclasses import dataclass

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


def appearance(rgb: NDArray[np.uint8], lab: NDArray[np.float32], luma: NDArray[np.uint8]) -> Appearance:
    """Describe a small copy.

    Args:
        rgb: (N, 3) uint8 visible pixels.
        lab: (N, 3) float32 CIELAB (D65) of the same pixels.
        luma: (H, W) uint8 gray values of the whole small copy.
    """
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    high, low = rgb.max(axis=1), rgb.min(axis=1)
    saturation = 1 - low / np.maximum(high, 1, dtype=np.float32)
    return Appearance(
        chroma_mean=float(chroma.mean()),
        saturation_mean=float(saturation.mean()),
        hue_entropy_bits=_hue_entropy_bits(lab, chroma),
        neutral_share=float((chroma < NEUTRAL_CHROMA).mean()),
        lightness_mean=float(lab[:, 0].mean()),
        dark_clipped_share=float((high <= 2).mean()),
        bright_clipped_share=float((low >= 253).mean()),
        sharpness=float(cv2.Laplacian(luma, cv2.CV_32F).var()),
    )


def _hue_entropy_bits(lab: NDArray[np.float32], chroma: NDArray[np.float32]) -> float:
    turns = np.arctan2(lab[:, 2], lab[:, 1]) / (2 * np.pi)
    bins = np.floor(turns * HUE_BINS).astype(np.int64) % HUE_BINS
    weights = np.bincount(bins, chroma, HUE_BINS)
    total = weights.sum()
    if total < 1e-3 * len(chroma):
        return 0.0
    share = weights[weights > 0] / total
    return abs(float(-(share * np.log2(share)).sum()))
