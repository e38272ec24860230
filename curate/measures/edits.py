"""Measure what photo editors and colorizers leave: selective color, clipped saturation, dividers, blurred chroma.

Each measure is a number for a threshold; docs/results/spoilt.md has what they find, miss and wrongly find.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.borders import Box, find_box

EXACT_GRAY_LEVELS = 3
"""The channels of an exactly gray pixel differ by at most this, which leaves room for JPEG's rounding."""
FAINT_COLOR_LEVELS = 20
"""The channels of a faintly colored pixel differ by less than this."""
STRONG_COLOR_LEVELS = 60
"""The channels of a strongly colored pixel differ by at least this."""
CLIPPED_LEVELS = 2
"""A channel is clipped within this distance from 0 or 255."""
MIDTONE_LEVELS = 8
"""A midtone is at least this far from 0 and 255 in all channels."""
LEAST_MIDTONES, LEAST_GRAYS, LEAST_STRONG = 0.2, 0.2, 0.01
"""Selective color needs such shares: of midtones among all pixels, of exact grays among midtones, of strong colors."""
LEAST_GRAY_DEVIATION = 15.0
"""And the grays are no even background: their standard deviation, in levels."""

DIVIDER_WHITE, DIVIDER_BLACK = 225, 30
"""All channels of a white divider are at least, of a black one at most, at these levels."""
DIVIDER_SHARE = 0.96
"""Share of the pixels of a line of the small copy that are white (black), if it belongs to a divider."""
DIVIDER_EDGE_SHARE = 0.8
"""Share of the pixels two lines away from a divider, on both sides, that differ from it."""
DIVIDER_EDGE_LEVELS = 12
MAX_DIVIDER_WIDTH = 0.15
"""A wider band, as a share of the side, is no divider."""
_DIVIDER_RANGES = (
    (np.full(3, DIVIDER_WHITE, np.float64), np.full(3, 255.0)),
    (np.zeros(3), np.full(3, DIVIDER_BLACK, np.float64)),
)

SEAM_LINES = 32
"""Seams are looked for on about this many rows, and columns, of the full-size photo."""
SEAM_LEVELS, SEAM_FACTOR = 4, 3
"""At a seam, two neighboring pixels differ by more than SEAM_LEVELS + SEAM_FACTOR × the larger difference beside it."""
SEAM_MARGIN = 0.1
"""Seams are not looked for in this share of the side at both ends."""
LEAST_SEAM_SIDE_PX = 48
"""Smaller photos, or insides of bands, are not searched."""

STROKE_BRIGHT, STROKE_DARK = 235, 70
"""A stroke is at least as bright in green, and a pixel at most as bright as the second is near."""
STROKE_REACH_PX = 3
"""How near, along a row."""
STROKE_ROWS, STROKE_COLUMNS = 96, 512
"""Strokes are counted on about this many rows, on about this many pixels of each."""
STROKE_ROW_SHARE = 0.03
"""Share of the rows, those with most strokes, whose least number counts: the height of a line of small letters."""

FAR_PX = 8
"""Distance in the small copy with which neighboring pixels are compared for `chroma_detail`."""
LEAST_CHROMA_STEP = 0.5
"""Added to both distances, so that a gray photo has a `chroma_detail` of 1."""


@dataclass(frozen=True, slots=True)
class Edits:
    """Traces of editing."""

    selective_color: float
    """How exactly the grays around strong colors are gray, 0..1; 0 if there are few of either."""
    saturation_clipped_share: float
    """Share of pixels with one channel at 0 and another at 255, 0..1."""
    divider_count: int
    """White or black lines from side to side with a picture on both sides, as between the photos of a collage."""
    seam_share: float
    """Largest share of a straight line from side to side on which neighboring pixels differ sharply, 0..1."""
    stroke_density: float
    """Bright strokes beside dark ones per 100 px in the rows that have most, 0..50: many in captions."""
    chroma_detail: float
    """Difference of chroma between neighboring pixels divided by that 8 pixels apart; low if chroma is blurred."""


def measure_edits(
    sample: NDArray[np.uint8],
    small: NDArray[np.uint8],
    *,
    divider_count: int,
    seam_share: float,
    stroke_density: float,
) -> Edits:
    """Measure the traces of editing in one photo.

    Args:
        sample: (h, w, 3) uint8 sRGB, pixels of the photo, in any order.
        small: (h, w, 3) uint8 sRGB, its small copy.
        divider_count: of `count_dividers`.
        seam_share: of `measure_seams`.
        stroke_density: of `measure_strokes`.
    """
    selective, clipped = _measure_saturation(sample)
    return Edits(selective, clipped, divider_count, seam_share, stroke_density, measure_chroma_detail(small))


def _measure_saturation(sample: NDArray[np.uint8]) -> tuple[float, float]:
    """Return `selective_color` and `saturation_clipped_share` of pixels in any order."""
    red, green, blue = cv2.split(sample)
    high, low = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    spread = cv2.subtract(high, low)
    clipped = float(np.count_nonzero(spread >= 255 - 2 * CLIPPED_LEVELS) / spread.size)
    if np.count_nonzero(spread >= STRONG_COLOR_LEVELS) < LEAST_STRONG * spread.size:
        return 0.0, clipped
    midtone = (low >= MIDTONE_LEVELS) & (high <= 255 - MIDTONE_LEVELS)
    gray = midtone & (spread <= EXACT_GRAY_LEVELS)
    grays, midtones = np.count_nonzero(gray), np.count_nonzero(midtone)
    if midtones < LEAST_MIDTONES * spread.size or grays < LEAST_GRAYS * midtones:
        return 0.0, clipped
    if float(high[gray].std()) < LEAST_GRAY_DEVIATION:
        return 0.0, clipped
    return float(grays / np.count_nonzero(midtone & (spread < FAINT_COLOR_LEVELS))), clipped


def count_dividers(small: NDArray[np.uint8], box: Box | None = None) -> int:
    """Count white and black lines that cross the picture inside of its bands, with a picture on both sides.

    Args:
        small: (h, w, 3) uint8 sRGB, a small copy.
        box: of `curate.measures.borders.find_box`, if it is known.

    >>> collage = np.random.default_rng(0).integers(60, 200, (90, 120, 3), np.uint8)
    >>> collage[40:44] = 255
    >>> count_dividers(collage)
    1
    """
    left, top, right, bottom = box or find_box(small)
    inside = small[top:bottom, left:right]
    masks = (np.asarray(cv2.inRange(inside, low, high), np.uint8) for low, high in _DIVIDER_RANGES)
    return sum(_count_lines(inside, mask) for mask in masks)


def _count_lines(inside: NDArray[np.uint8], mask: NDArray[np.uint8]) -> int:
    """Count the dividers of one color, from the mask (h, w), 255 where a pixel has it."""
    if cv2.countNonZero(mask) < min(mask.shape):
        return 0
    count = 0
    for axis in (0, 1):
        full = cv2.reduce(mask, 1 - axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() >= 255 * DIVIDER_SHARE
        if not full.any():
            continue
        steps = np.diff(full.astype(np.int8), prepend=0, append=0)
        for first, end in zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True):
            if first >= 4 and end <= len(full) - 4 and end - first <= max(2, MAX_DIVIDER_WIDTH * len(full)):
                count += _has_edges(inside if axis == 0 else inside.transpose(1, 0, 2), first, end)
    return count


def _has_edges(rows: NDArray[np.uint8], first: int, end: int) -> bool:
    """Whether the pixels two lines outside of the lines `first` to `end` differ from them, on both sides."""
    line = rows[(first + end) // 2].astype(np.int16)
    beside = rows[[first - 2, end + 1]].astype(np.int16)
    differs = np.abs(beside - line).max(axis=2) > DIVIDER_EDGE_LEVELS
    return bool(differs.mean(axis=1).min() >= DIVIDER_EDGE_SHARE)


def measure_seams(pixels: NDArray[np.uint8]) -> float:
    """Return the largest share of a straight line, from side to side, at which neighboring pixels differ sharply.

    Where two pictures were put beside each other, the step is one pixel wide along the whole line. Edges in a photo are
    two and more pixels wide, and rarely straight. A mirrored or turned photo has the same value.

    Args:
        pixels: (H, W, 3) uint8 sRGB, the full-size photo inside of its bands.

    Returns:
        0..1: the share of about `SEAM_LINES` rows (or columns) whose step in green is over `SEAM_LEVELS` plus
        `SEAM_FACTOR` times the larger of the steps beside it; 0 for a small photo.

    >>> collage = np.random.default_rng(0).integers(100, 110, (90, 120, 3), np.uint8)
    >>> collage[:, 70:] += 100
    >>> measure_seams(collage)
    1.0
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SEAM_SIDE_PX:
        return 0.0
    rows = np.ascontiguousarray(pixels[_spaced_lines(height, SEAM_LINES), :, 1])
    columns = np.ascontiguousarray(pixels[:, _spaced_lines(width, SEAM_LINES), 1].T)
    return max(_largest_step_share(rows), _largest_step_share(columns))


def measure_strokes(pixels: NDArray[np.uint8]) -> float:
    """Return how many bright strokes beside dark ones the rows with most of them have, per 100 px.

    Captions are white with a black outline or on a black band, or black on white, so that they can be read on any
    photo. Their letters make more such strokes in a row than all but few photos have. A mirrored photo has the same
    value.

    Args:
        pixels: (H, W, 3) uint8 sRGB, the full-size photo, upright or upside down but not turned by 90 degrees.

    Returns:
        0..50; of about 100 rows, the third highest number of strokes, divided by the length and times 100. 0 for a
        photo with a side under 16 px.

    >>> striped = np.zeros((90, 120, 3), np.uint8)
    >>> striped[10:20, 2::4] = 255
    >>> measure_strokes(striped)
    25.0
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 16:
        return 0.0
    lines = np.ascontiguousarray(pixels[_spaced_lines(height, STROKE_ROWS), _spaced_lines(width, STROKE_COLUMNS), 1])
    bright, dark = ((lines >= STROKE_BRIGHT).view(np.uint8), (lines <= STROKE_DARK).view(np.uint8))
    strokes = cv2.bitwise_and(bright, cv2.dilate(dark, np.ones((1, 2 * STROKE_REACH_PX + 1), np.uint8)))
    ends = cv2.absdiff(strokes[:, 1:], strokes[:, :-1])
    counts = np.sort(cv2.reduce(ends, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()) / 2
    return float(counts[-max(1, round(STROKE_ROW_SHARE * len(counts)))] * 100 / lines.shape[1])


def _spaced_lines(side: int, count: int) -> slice:
    """About `count` evenly spaced positions along a side, the same from both ends."""
    step = max(1, side // count) | 1  # odd, so that one position less makes an odd rest even
    rest = (side - 1) % step
    if rest % 2:
        rest += step
    return slice(rest // 2, side - rest // 2, step)


def _largest_step_share(lines: NDArray[np.uint8]) -> float:
    """The largest share of lines, (n, length), that have a sharp step at the same position."""
    steps = cv2.absdiff(lines[:, 1:], lines[:, :-1])
    beside = cv2.max(steps[:, :-2], steps[:, 2:])
    least = cv2.addWeighted(beside, SEAM_FACTOR, beside, 0, SEAM_LEVELS)
    sharp = cv2.compare(steps[:, 1:-1], least, cv2.CMP_GT)
    counts = cv2.reduce((sharp > 0).view(np.uint8), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    margin = int(SEAM_MARGIN * lines.shape[1])
    return int(counts[margin : len(counts) - margin].max()) / len(lines)


def measure_chroma_detail(small: NDArray[np.uint8]) -> float:
    """Return the RMS difference of (Cr, Cb) between neighbors in a row, divided by that between pixels 8 apart.

    Chroma that was predicted or stored at a fraction of the size changes slowly: its neighbors are nearly equal. JPEG's
    4:2:0 does not matter, because the small copy is shrunk at least as much.

    Args:
        small: (h, w, 3) uint8 sRGB, a small copy.

    Returns:
        0 (blurred) to about 1 (chroma as sharp as noise); 1 for a gray or narrow photo.

    >>> measure_chroma_detail(np.full((90, 120, 3), 50, np.uint8))
    1.0
    """
    width = small.shape[1]
    if width <= FAR_PX:
        return 1.0
    chosen = np.ascontiguousarray(small[::2])  # half the cost, and nearly the same number
    planes = cv2.split(cv2.cvtColor(chosen, cv2.COLOR_RGB2YCrCb))[1:]
    near, far = (
        sum(cv2.norm(plane[:, step:], plane[:, :-step], cv2.NORM_L2SQR) for plane in planes) / (width - step)
        for step in (1, FAR_PX)
    )
    rows = len(chosen)
    return (math.sqrt(near / rows) + LEAST_CHROMA_STEP) / (math.sqrt(far / rows) + LEAST_CHROMA_STEP)
