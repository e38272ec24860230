"""Find uniform bands at the sides of a photo: letterboxes, padding, film borders, album mounts.

A band is a group of rows (or columns) at one side. It spans the whole side, has one color along it and across it, and
ends in a straight edge, where most of the picture differs from it at once. A night sky or a white background is uniform
too, but what stands in front of it begins at a different place in each column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.colorfulness import colorfulness

TOLERANCE_LEVELS = 10
"""Largest difference from the band's color, in levels of 255; it leaves room for film grain and JPEG noise."""
UNIFORM_SHARE = 0.96
"""Least share of a line's pixels within that distance, if the line belongs to a band."""
EDGE_SHARE = 0.8
"""Least share of the pixels just inside of a band that differ from its color."""
LEAST_EDGE_LEVELS = 4.0
"""A pixel differs if its distance is over this, and over `EDGE_DEVIATIONS` of the band's own deviation."""
EDGE_DEVIATIONS = 4.0
LEAST_INSIDE_SHARE = 0.2
"""If less of a side is left, the picture is not a photo with bands."""
MAX_FRAMES = 3
"""Bands are looked for again inside of the bands that were found, this often."""
_CHECKED_POINTS = 16
_LEAST_CHECKED = 13
"""Of 16 points of a side, this many must have one color; otherwise there is no band. For most photos there is none."""


@dataclass(frozen=True, slots=True)
class Borders:
    """The bands at the sides of a photo."""

    border_share: float
    """Share of the area that bands cover, 0..1."""
    border_left: float
    """Width of the band at the left, as a share of the photo's width, 0..1; 0 without a band."""
    border_top: float
    """Height of the band at the top, as a share of the photo's height."""
    border_right: float
    border_bottom: float
    inside_colorfulness: float
    """M of what is inside of the bands; the photo's own M without bands."""

    def turn(self, turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Borders:
        """Return the bands of the turned photo.

        Args:
            turn: turns an array as the photo is turned.
        """
        shares = [0.0, self.border_left, self.border_top, self.border_right, self.border_bottom]
        turned = turn(np.array([[0, 2, 0], [1, 0, 3], [0, 4, 0]], np.uint8))
        left, top, right, bottom = (shares[turned[place]] for place in ((1, 0), (0, 1), (1, 2), (2, 1)))
        return Borders(self.border_share, left, top, right, bottom, self.inside_colorfulness)


Shares = tuple[float, float, float, float]
"""Widths of the bands at the left, top, right and bottom, as shares of the photo's width and height."""
Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are the first ones outside."""


def find_box(small: NDArray[np.uint8]) -> Box:
    """Return the box inside of all bands, in pixels of the small copy; the whole of it without bands.

    The box leaves out one pixel more where a band ends, because that one may be a mean of band and picture.

    Args:
        small: (h, w, 3) uint8 sRGB, see `curate.measures.measure.make_small_copy`.

    >>> photo = np.random.default_rng(0).integers(60, 255, (90, 120, 3), np.uint8)
    >>> photo[:12] = photo[-12:] = 0
    >>> find_box(photo)
    (0, 13, 120, 77)
    """
    left, top, right, bottom = 0, 0, small.shape[1], small.shape[0]
    for _ in range(MAX_FRAMES):
        inside = small[top:bottom, left:right]
        if min(inside.shape[:2]) < 8:
            break
        widths = _band_widths(inside)
        if not any(widths):
            break
        left, top, right, bottom = left + widths[0], top + widths[1], right - widths[2], bottom - widths[3]
    least = [max(4, LEAST_INSIDE_SHARE * side) for side in small.shape[:2]]
    if bottom - top < least[0] or right - left < least[1]:
        return 0, 0, small.shape[1], small.shape[0]
    return left, top, right, bottom


def measure_borders(
    pixels: NDArray[np.uint8],
    visible: NDArray[np.bool_] | None,
    small: NDArray[np.uint8],
    box: Box,
    whole_colorfulness: float,
    offset: tuple[int, int] = (0, 0),
) -> Borders:
    """Measure the bands of a photo.

    Args:
        pixels: (H, W, 3) uint8 sRGB, the photo.
        visible: (H, W) bool, the pixels that count for the colorfulness; None: all.
        small: (h, w, 3) uint8, its small copy.
        box: of `find_box`.
        whole_colorfulness: M of the photo.
        offset: rows and columns at the top and left that the small copy leaves out.
    """
    height, width = pixels.shape[:2]
    rows, columns = small.shape[:2]
    if box == (0, 0, columns, rows):
        return Borders(0.0, 0.0, 0.0, 0.0, 0.0, whole_colorfulness)
    scale_y, scale_x = (
        1 << (size // small_size).bit_length() - 1 for size, small_size in ((height, rows), (width, columns))
    )
    left = offset[1] + box[0] * scale_x if box[0] else 0
    top = offset[0] + box[1] * scale_y if box[1] else 0
    right = offset[1] + box[2] * scale_x if box[2] < columns else width
    bottom = offset[0] + box[3] * scale_y if box[3] < rows else height
    inside = pixels[top:bottom, left:right]
    inside_visible = None if visible is None else visible[top:bottom, left:right]
    if inside_visible is not None and not inside_visible.any():
        return Borders(0.0, 0.0, 0.0, 0.0, 0.0, whole_colorfulness)
    return Borders(
        border_share=1 - inside.shape[0] * inside.shape[1] / (height * width),
        border_left=left / width,
        border_top=top / height,
        border_right=(width - right) / width,
        border_bottom=(height - bottom) / height,
        inside_colorfulness=colorfulness(inside, inside_visible),
    )


def crop_inside(pixels: NDArray[np.uint8], borders: Borders) -> NDArray[np.uint8]:
    """Return what is inside of the measured bands of a photo, a view of its pixels."""
    if not borders.border_share:
        return pixels
    height, width = pixels.shape[:2]
    left, top = round(borders.border_left * width), round(borders.border_top * height)
    right, bottom = round(borders.border_right * width), round(borders.border_bottom * height)
    return pixels[top : height - bottom, left : width - right]


def side_with_borders(inside_px: int, borders: Shares) -> int:
    """Return the least short side in px of a photo, bands included, of which `inside_px` are inside of its bands.

    >>> side_with_borders(300, (0.0, 0.125, 0.0, 0.125))
    400
    """
    left, top, right, bottom = borders
    return math.ceil(inside_px / min(1 - left - right, 1 - top - bottom))


def crop_borders(pixels: NDArray[np.uint8], borders: Shares) -> NDArray[np.uint8]:
    """Return what is inside of bands: (h, w, 3) uint8, a view of the photo at any size.

    Args:
        pixels: (H, W, 3) uint8.
        borders: widths of the bands at the left, top, right and bottom, as shares of the width and height.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = (
        math.ceil(share * side - 0.01) for share, side in zip(borders, (width, height, width, height), strict=True)
    )  # 0.01 px: shares are stored as float32
    return pixels[top : max(top + 1, height - bottom), left : max(left + 1, width - right)]


@lru_cache(256)
def _checked_positions(height: int, width: int) -> NDArray[np.intp]:
    """(4, 16) positions of the checked points at the left, top, right and bottom of the pixels of a picture.

    Finding them takes longer than the check itself.
    """
    rows, columns = (np.linspace(0, side - 1, _CHECKED_POINTS).astype(np.intp) for side in (height, width))
    return np.stack([rows * width, columns, rows * width + width - 1, columns + (height - 1) * width])


def _may_have_bands(inside: NDArray[np.uint8]) -> list[bool]:
    """Return for left, top, right and bottom whether points of that side have one color."""
    height, width = inside.shape[:2]
    points = inside.reshape(-1, 3).take(_checked_positions(height, width), axis=0).astype(np.int16)
    middle = np.sort(points, axis=1)[:, _CHECKED_POINTS // 2 : _CHECKED_POINTS // 2 + 1]
    near = np.abs(points - middle).max(axis=2) <= TOLERANCE_LEVELS
    may_have: list[bool] = (near.sum(axis=1) >= _LEAST_CHECKED).tolist()
    return may_have


def _band_widths(inside: NDArray[np.uint8]) -> list[int]:
    """Return the widths of the bands at the left, top, right and bottom, each with its edge; 0 for no band.

    The edge of a band is looked for between the bands beside it: a photo on a page is narrower than the page. So if one
    of these turns out to be no band, the others are tested again.
    """
    turned = inside.transpose(1, 0, 2)
    views = (turned, inside, turned[::-1], inside[::-1])
    runs = [_uniform_rows(view) if maybe else 0 for view, maybe in zip(views, _may_have_bands(inside), strict=True)]
    while any(runs):
        found = [
            run if run and _has_edge(view, run, *(runs[1::2] if side % 2 == 0 else runs[::2])) else 0
            for side, (view, run) in enumerate(zip(views, runs, strict=True))
        ]
        if found == runs:
            break
        runs = found
    return [run + 1 if run else 0 for run in runs]


def _uniform_rows(view: NDArray[np.uint8]) -> int:
    """Return how many of the first rows have one color; 0 if all rows have."""
    length = view.shape[1]
    color = _middle_color(view).tolist()
    low, high = (tuple(level + sign * TOLERANCE_LEVELS for level in color) for sign in (-1, 1))
    rows = 0
    for end in sorted({1, min(8, len(view)), len(view)}):  # most photos have no band and most bands few rows
        near = cv2.inRange(np.ascontiguousarray(view[rows:end]), low, high)
        if rows == 0 and cv2.countNonZero(near) < UNIFORM_SHARE * length:
            return 0
        uniform = cv2.reduce(near, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() >= 255 * UNIFORM_SHARE
        if not uniform.all():
            return rows + int(np.argmin(uniform))  # the first row that isn't
        rows = end
    return 0


def _has_edge(view: NDArray[np.uint8], rows: int, before: int, after: int) -> bool:
    """Whether most of the picture beside a band of some rows differs from it.

    Args:
        view: (h, w, 3) uint8, the band is at its first row.
        rows: of the band.
        before, after: columns at both ends that belong to other bands.
    """
    color = _middle_color(view)
    off = np.minimum(_distance(view[:rows], color), TOLERANCE_LEVELS).ravel().astype(np.float32)
    least = max(LEAST_EDGE_LEVELS, EDGE_DEVIATIONS * math.sqrt(np.vdot(off, off) / len(off)))
    ends = [side + 1 if side else 0 for side in (before, after)]
    beside = view[rows : rows + 3, ends[0] : view.shape[1] - ends[1]]
    return bool(beside.shape[1] >= 4 and (_distance(beside, color) > least).mean(axis=1).max() >= EDGE_SHARE)


def _middle_color(view: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the median of each channel of the first row."""
    middle: NDArray[np.int16] = np.sort(view[0], axis=0)[view.shape[1] // 2].astype(np.int16)
    return middle


def _distance(pixels: NDArray[np.uint8], color: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the largest difference of the three channels from a color, without the last axis."""
    distance: NDArray[np.int16] = np.abs(pixels - color).max(axis=-1)
    return distance
