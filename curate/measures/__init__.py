"""Arrays in, numbers out. Every measure is a pure function; `measure` takes them all in one pass over a photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import Appearance, appearance
from curate.measures.colorfulness import colorfulness, level
from curate.measures.fingerprint import fingerprint
from curate.measures.tone import ToneMeasure, tone

__all__ = ["SMALL_SIDE_PX", "Measures", "measure", "small_copy"]

SMALL_SIDE_PX = 160
"""Long side of the small copy that all measures but colourfulness look at: at least this, at most twice it."""


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
    small, small_visible = small_copy(pixels, visible)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)
    rgb_seen, lab_seen = small[small_visible], lab[small_visible]
    return Measures(
        colorfulness=m,
        colorfulness_level=level(m),
        appearance=appearance(rgb_seen, lab_seen, luma.astype(np.uint8)),
        tone=tone(lab_seen),
        fingerprint=fingerprint(luma.astype(np.uint8)),
    )


def small_copy(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Shrink by a whole factor, averaging areas (a fractional factor costs ten times as much).

    Returns:
        (h, w, 3) uint8 and (h, w) bool; the long side is 160..319 px unless the photo is smaller. Rows and columns
        beyond a multiple of the factor are left out.
    """
    height, width = pixels.shape[:2]
    factor = min(max(1, max(height, width) // SMALL_SIDE_PX), height, width)
    size = (width // factor, height // factor)
    whole = (slice(0, size[1] * factor), slice(0, size[0] * factor))
    small = pixels[whole] if factor == 1 else cv2.resize(pixels[whole], size, interpolation=cv2.INTER_AREA)
    if visible is None:
        return small.astype(np.uint8, copy=False), np.ones(small.shape[:2], np.bool_)
    shares = visible[whole].astype(np.float32)
    if factor > 1:
        shares = cv2.resize(shares, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = shares >= min(0.5, float(shares.max()))
    return small.astype(np.uint8, copy=False), seen
