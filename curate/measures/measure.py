"""Measure the pixels of photos: every column of a manifest row that comes from pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import Appearance, measure_appearances
from curate.measures.colorfulness import Moments, blocks, colorfulness_level, counted
from curate.measures.perceptual_hash import compute_fingerprint
from curate.measures.tone.classify import ToneMeasure, classify_tones

SMALL_SIDE_PX = 160
"""The small copy that tone, sharpness and fingerprint look at has a long side of at most this, and over half of it."""

SAMPLE_PIXELS = 4000
"""Chroma, saturation, hue, lightness and clipping are measured on about so many pixels of the whole photo."""

HALVED_AT_ONCE = 3
"""Blocks are halved so often at most: their rows are a multiple of 2**3, and should be few, to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything a scan knows about a photo's looks."""

    colorfulness: float
    colorfulness_level: str
    appearance: Appearance
    tone: ToneMeasure
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PixelSummary:
    """What is kept of a photo's pixels: M, and few enough of them for the other measures."""

    colorfulness: float
    small: NDArray[np.uint8]
    """(h, w, 3), see `make_small_copy`."""
    visible: NDArray[np.bool_] | None
    """(h, w), what of it is mostly visible; None if all is."""
    sample: NDArray[np.uint8]
    """(h, w, 3), see `sample_pixels`."""


def measure(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None) -> Measures:
    """Measure one photo.

    Args:
        pixels: (H, W, 3) uint8, sRGB, upright, as a viewer shows it.
        visible: (H, W) bool, False where fully transparent; None where all is visible.

    Raises:
        ValueError: no pixel is visible.
    """
    return measure_batch([summarize_pixels(pixels, visible)])[0]


def summarize_pixels(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None) -> PixelSummary:
    """The half of `measure` that needs all pixels; arguments and errors as there."""
    m, small, seen = _in_one_pass(pixels, visible)
    return PixelSummary(m, small, seen, sample_pixels(pixels, visible))


def measure_batch(looks: Sequence[PixelSummary]) -> list[Measures]:
    """The other half of `measure`, for some photos: one measure after another, while its code is in the cache."""
    lumas = [np.asarray(cv2.cvtColor(seen.small, cv2.COLOR_RGB2GRAY), np.uint8) for seen in looks]
    toned = classify_tones(
        [seen.small if seen.visible is None else _filled(seen.small, seen.visible) for seen in looks]
    )
    seen_as = measure_appearances([seen.sample for seen in looks], lumas)
    return [
        Measures(
            colorfulness=seen.colorfulness,
            colorfulness_level=colorfulness_level(seen.colorfulness),
            appearance=seen_as[i],
            tone=toned[i],
            fingerprint=compute_fingerprint(lumas[i]),
        )
        for i, seen in enumerate(looks)
    ]


def make_small_copy(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Halve, averaging 2 x 2 pixels, until the long side is at most SMALL_SIDE_PX (any other factor costs far more).

    Returns:
        (h, w, 3) uint8, and (h, w) bool of what is mostly visible, None if all is. An odd last row or column is left
        out at each halving.
    """
    return _shrunk(
        [np.asarray(plane, np.uint8) for plane in cv2.split(pixels)],
        None if visible is None else visible.astype(np.float32),
    )


def sample_pixels(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """About SAMPLE_PIXELS visible pixels on a regular grid, all if they are few: the photo's own, unlike averages.

    Returns:
        (h, w, 3) uint8; the visible ones as (n, 1, 3) where not all are.
    """
    height, width = pixels.shape[:2]
    count = height * width if visible is None else np.count_nonzero(visible)
    step = max(1.0, math.sqrt(count / SAMPLE_PIXELS))  # hardly ever whole, so no place in JPEG's blocks is favoured
    size = (max(1, int(width / step)), max(1, int(height / step)))
    chosen = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    if visible is None:
        return chosen
    seen = cv2.resize(visible.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return (chosen[seen] if seen.any() else pixels[visible])[:, None]


def _in_one_pass(
    pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None
) -> tuple[float, NDArray[np.uint8], NDArray[np.bool_] | None]:
    """M and the small copy: a block is split into planes, summed and halved while it lies in the processor's cache."""
    moments, (height, width) = Moments(), pixels.shape[:2]
    times = min(HALVED_AT_ONCE, _halvings(height, width))
    halves = np.empty((3, height >> times, width >> times), np.uint8)
    for rows, planes in blocks(pixels, multiple=1 << times):
        moments.add(*counted(planes, rows, visible))
        here = halves[:, rows.start >> times : rows.stop >> times]
        below_each_other = _halved(planes.reshape(-1, width), times)
        here[:] = below_each_other.reshape(3, -1, width >> times)[:, : here.shape[1]]
    if not times:
        return moments.colorfulness(), pixels, visible
    red, blue, green = halves
    shares = None if visible is None else _halved(visible.astype(np.float32), times)
    return moments.colorfulness(), *_shrunk([red, green, blue], shares)


def _shrunk(
    planes: Sequence[NDArray[np.uint8]], shares: NDArray[np.float32] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    times = _halvings(*planes[0].shape)
    small = np.asarray(cv2.merge([_halved(plane, times) for plane in planes]), np.uint8)
    if shares is None:
        return small, None
    shares = _halved(shares, times)
    return small, shares >= min(0.5, float(shares.max()))


def _halvings(height: int, width: int) -> int:
    """How often to halve until it is small."""
    if max(height, width) <= SMALL_SIDE_PX or min(height, width) < 2:
        return 0
    return 1 + _halvings(height // 2, width // 2)


def _halved(plane: NDArray[Any], times: int) -> NDArray[Any]:
    """(h, w) to (h >> times, w >> times). One plane at a time: OpenCV is six times quicker then."""
    for _ in range(times):
        height, width = plane.shape[0] // 2, plane.shape[1] // 2
        plane = cv2.resize(plane[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return plane


def _filled(small: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Invisible pixels in the mean of the visible ones, so that they say nothing about tone."""
    filled = small.copy()
    filled[~seen] = small[seen].mean(axis=0).round().astype(np.uint8)
    return filled
