"""Arrays in, numbers out. Every measure is a pure function; `measure` takes them all in one pass over a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import Appearance, appearance
from curate.measures.colorfulness import colorfulness, level
from curate.measures.fingerprint import fingerprint
from curate.measures.tone import ToneMeasure, tone

__all__ = ["SMALL_SIDE_PX", "Measures", "measure", "small_copy"]

SMALL_SIDE_PX = 160
"""The small copy that all measures but colourfulness look at has a long side of at most this, and over half of it."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything a scan knows about a photo's looks."""

    colorfulness: float
    colorfulness_level: str
    appearance: Appearance
    tone: ToneMeasure
    fingerprint: str


def measure(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None) -> Measures:
    """Measure one photo.

    Args:
        pixels: (H, W, 3) uint8, sRGB, upright, as a viewer shows it.
        visible: (H, W) bool, False where fully transparent; None where all is visible.

    Raises:
        ValueError: no pixel is visible.
    """
    m = colorfulness(pixels, visible)
    small, seen = small_copy(pixels, visible)
    luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    rgb = small if seen is None else small[seen][:, None]
    lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)
    return Measures(
        colorfulness=m,
        colorfulness_level=level(m),
        appearance=appearance(rgb, lab, luma),
        tone=tone(small if seen is None else _filled(small, seen)),
        fingerprint=fingerprint(luma),
    )


def small_copy(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Halve, averaging 2 x 2 pixels, until the long side is at most SMALL_SIDE_PX (any other factor costs far more).

    Returns:
        (h, w, 3) uint8, and (h, w) bool of what is mostly visible, None if all is. An odd last row or column is left
        out at each halving.
    """
    small = pixels
    shares = None if visible is None else visible.astype(np.float32)
    while max(small.shape[:2]) > SMALL_SIDE_PX and min(small.shape[:2]) >= 2:
        small = _halved(small)
        shares = None if shares is None else _halved(shares)
    seen = None if shares is None else shares >= min(0.5, float(shares.max()))
    return np.ascontiguousarray(small, np.uint8), seen


def _filled(small: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Invisible pixels in the mean of the visible ones, so that they say nothing about tone."""
    filled = small.copy()
    filled[~seen] = small[seen].mean(axis=0).round().astype(np.uint8)
    return filled


def _halved(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
