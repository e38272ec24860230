"""Upsampling of predicted colors to the photo's size, so that they follow its edges.

Source: K. He, J. Sun, "Fast Guided Filter" (2015). Within small windows, color is modeled as a linear function of
lightness, ab = slope · L + offset. The function is fitted at the network's size and evaluated with the full-size
lightness, so an edge in lightness becomes an edge in color, where bilinear upsampling would blur it.

One difference: the paper smooths slopes and offsets. Here only the slopes are smoothed, and each offset is chosen so
that the function gives the network's own color at that pixel. The predicted colors are kept, and only details of the
lightness that the small copy lacks change them. docs/results/colorizing.md compares the two.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RADIUS_PX = 1
"""Radius of the windows, at the network's size."""
SMOOTHING = 25.0
"""Regularization in squared L*: where lightness varies by less than 5 within a window, slopes are near zero."""


def fit_coefficients(light: Floats, ab: Floats) -> Floats:
    """Fit ab = slope · L + offset around each pixel.

    Args:
        light: (h, w) L* at the network's size, 0..100.
        ab: (h, w, 2) predicted a* and b*.

    Returns:
        (h, w, 4) float32: slopes of a and b, then offsets of a and b.
    """
    # Least squares in each window: slope = covariance / (variance + regularization).
    mean_light, mean_ab = _box_mean(light), _box_mean(ab)
    variance = _box_mean(light * light) - mean_light * mean_light
    covariance = _box_mean(ab * light[..., None]) - mean_ab * mean_light[..., None]
    # A pixel is in several windows; it gets the mean of their slopes.
    slope = _box_mean(np.asarray(covariance / (variance + np.float32(SMOOTHING))[..., None], np.float32))
    return np.concatenate([slope, ab - slope * light[..., None]], axis=-1)


def upsample_rows(coefficients: Floats, first_row: int, light: Floats, height: int) -> Floats:
    """Return the colors of some rows of the full-size photo.

    Rows are independent, so that a large photo can be processed in strips, in little memory and by several threads.

    Args:
        coefficients: (h, w, 4), of `fit_coefficients`.
        first_row: index of the first of these rows in the photo.
        light: (rows, W) L* of the photo's rows.
        height: of the whole photo, in px.

    Returns:
        (rows, W, 2) float32 a* and b*.
    """
    rows, width = light.shape
    # Bilinear interpolation of the coefficients. Rows by hand, because cv2.resize can't start in the middle of a photo;
    # 0.5: pixel centers, as cv2.resize places them.
    position = (np.arange(first_row, first_row + rows) + 0.5) * (coefficients.shape[0] / height) - 0.5
    position = np.clip(position, 0, coefficients.shape[0] - 1)
    upper = position.astype(np.intp)
    lower = np.minimum(upper + 1, coefficients.shape[0] - 1)
    weight = (position - upper).astype(np.float32)[:, None, None]
    between = coefficients[upper] * (1 - weight) + coefficients[lower] * weight
    wide = cv2.resize(between, (width, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide[..., :2] * light[..., None] + wide[..., 2:], np.float32)


def _box_mean(values: Floats) -> Floats:
    side = 2 * RADIUS_PX + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)
