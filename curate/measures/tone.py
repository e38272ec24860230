"""Is it a colour photo, or a monochrome one: gray, sepia, or toned in another hue?

A toned monochrome is a photo whose chroma is a function of its lightness, (a, b) = f(L): narrow the lightness, and
hardly any spread of chroma is left, at any hue. A sunset or a forest keeps real spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Tone = Literal["color", "grayscale", "sepia", "toned"]
TONES: tuple[Tone, ...] = ("color", "grayscale", "sepia", "toned")

LIGHTNESS_BINS = 32
GRAY_CHROMA = 3.0
SEPIA_HUE_DEG = (40.0, 105.0)
TONED_RESIDUAL = 4.0
TONED_RELATIVE = 0.40


@dataclass(frozen=True, slots=True)
class ToneMeasure:
    """The verdict and the numbers it was drawn from, so that another line can be drawn."""

    tone: Tone
    tone_residual: float
    """RMS distance of (a, b) from the mean of its lightness bin, CIELAB units."""
    tone_chroma: float
    """RMS chroma, CIELAB units."""
    tone_hue_deg: float
    """Hue of the mean colour, 0..360 degrees; sepia lies at 40..105."""


def tone(lab: NDArray[np.float32]) -> ToneMeasure:
    """Judge a photo's tone.

    Args:
        lab: (N, 3) float32 CIELAB (D65) pixels of a small copy; order doesn't matter.
    """
    bins = np.clip(lab[:, 0] * (LIGHTNESS_BINS / 100), 0, LIGHTNESS_BINS - 1).astype(np.int64)
    count = np.maximum(np.bincount(bins, minlength=LIGHTNESS_BINS), 1)
    explained = total = 0.0
    for channel in (1, 2):
        values = lab[:, channel].astype(np.float64)
        sums = np.bincount(bins, values, LIGHTNESS_BINS)
        explained += float((sums * sums / count).sum())
        total += float((values * values).sum())
    residual = math.sqrt(max(0.0, total - explained) / len(lab))
    chroma = math.sqrt(total / len(lab))
    mean_a, mean_b = (float(lab[:, channel].mean()) for channel in (1, 2))
    hue_deg = math.degrees(math.atan2(mean_b, mean_a)) % 360
    return ToneMeasure(_verdict(residual, chroma, hue_deg), residual, chroma, hue_deg)


def _verdict(residual: float, chroma: float, hue_deg: float) -> Tone:
    if chroma < GRAY_CHROMA:
        return "grayscale"
    if residual > TONED_RESIDUAL or residual > TONED_RELATIVE * chroma:
        return "color"
    return "sepia" if SEPIA_HUE_DEG[0] <= hue_deg <= SEPIA_HUE_DEG[1] else "toned"
