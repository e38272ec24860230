"""Small colours onto a large photo, following its edges.

Source: K. He, J. Sun, "Fast Guided Filter" (2015): colour is a linear function of lightness within small windows; the
function's coefficients are found at the network's size and applied at the photo's. Unlike there, only the slopes are
smoothed: the network's own colours stay, and lightness that they can't know of moves them. docs/results/colorizing.md
compares the two.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RADIUS_PX = 1
"""Of the windows, at the network's size."""
SMOOTHING = 25.0
"""In squared L*: windows whose lightness varies by less than 5 hardly move their colour."""


def coefficients(light: Floats, ab: Floats) -> Floats:
    """The linear function around each pixel: ab = slope · L + offset.

    Args:
        light: (h, w) L* at the network's size, 0..100.
        ab: (h, w, 2) a* and b* there.

    Returns:
        (h, w, 4) float32: slopes of a and b, then their offsets.
    """
    mean_light, mean_ab = _box(light), _box(ab)
    variance = _box(light * light) - mean_light * mean_light
    covariance = _box(ab * light[..., None]) - mean_ab * mean_light[..., None]
    slope = _box(np.asarray(covariance / (variance + np.float32(SMOOTHING))[..., None], np.float32))
    return np.concatenate([slope, ab - slope * light[..., None]], axis=-1)


def rows_of(small: Floats, first_row: int, light: Floats, height: int) -> Floats:
    """Colours of some rows of the large photo.

    Args:
        small: as from `coefficients`.
        first_row: where the rows begin in the photo.
        light: (rows, W) L* of the photo's rows.
        height: of the whole photo.

    Returns:
        (rows, W, 2) a* and b*.
    """
    rows, width = light.shape
    place = (np.arange(first_row, first_row + rows) + 0.5) * (small.shape[0] / height) - 0.5
    place = np.clip(place, 0, small.shape[0] - 1)
    above = place.astype(np.intp)
    below = np.minimum(above + 1, small.shape[0] - 1)
    share = (place - above).astype(np.float32)[:, None, None]
    across = small[above] * (1 - share) + small[below] * share
    wide = cv2.resize(across, (width, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide[..., :2] * light[..., None] + wide[..., 2:], np.float32)


def _box(values: Floats) -> Floats:
    side = 2 * RADIUS_PX + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)
