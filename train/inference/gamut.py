"""CIELAB to sRGB for full-size pictures. Colors outside sRGB lose chroma, and keep their lightness and hue.

Clipping R, G and B instead would change lightness and hue. The functions work on strips of float32 rows with OpenCV's
vectorized operations; `train.models.colorspace` has the same conversion for tensors.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WHITE_XYZ = np.array([0.95047, 1.0, 1.08883], np.float32)
"""White point: D65, 2 degree observer."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ (IEC 61966-2-1)."""
_FROM_XYZ_RATIOS = (np.linalg.inv(TO_XYZ) * WHITE_XYZ).astype(np.float32)
"""X/Xn, Y/Yn, Z/Zn to linear sRGB."""
_TOE = 6 / 29
"""CIELAB's cube root is replaced by a straight line below this value of the root."""
_TABLE_SHAPE = (201, 721)
"""The largest chroma is tabled for every half L* and every half degree of hue."""
_MAX_CHROMA = 150
"""Above the largest chroma in sRGB, 133.8 (blue)."""
_TOLERANCE = 1e-4
"""Linear values that are outside 0..1 by less are rounding errors."""


def lightness(rgb: NDArray[np.uint8]) -> Floats:
    """Return CIELAB L*, (H, W) float32 from 0 to 100, of (H, W, 3) uint8 sRGB."""
    luminance = cv2.transform(cv2.LUT(rgb, _linear_table()), TO_XYZ[1:2].astype(np.float32))
    root = cv2.pow(luminance, 1 / 3)
    toe = luminance <= _TOE**3
    root[toe] = luminance[toe] / (3 * _TOE**2) + 4 / 29
    return np.asarray(root * 116 - 16, np.float32)


def to_srgb(light: Floats, ab: Floats) -> NDArray[np.uint8]:
    """Convert CIELAB to sRGB. The chroma of a color outside sRGB is reduced until the color is inside.

    Args:
        light: (H, W) L*, 0 to 100.
        ab: (H, W, 2) a* and b*.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    linear = _to_linear(light, ab)
    flat = linear.reshape(-1, 3)
    outside = np.flatnonzero(((linear < -_TOLERANCE) | (linear > 1 + _TOLERANCE)).any(axis=-1))
    if len(outside):  # few pixels, usually: only these are converted a second time
        light_outside, ab_outside = light.reshape(-1)[outside], ab.reshape(-1, 2)[outside]
        reduced = ab_outside * _chroma_factor(light_outside, ab_outside)[:, None]
        flat[outside] = _to_linear(light_outside[:, None], reduced[:, None])[:, 0]
    return _encode(linear)


def _chroma_factor(light: Floats, ab: Floats) -> Floats:
    """Return the factor, 0 to 1, that brings each color's chroma into sRGB; (N,) and (N, 2) to (N,)."""
    hue_deg = np.degrees(np.arctan2(ab[:, 1], ab[:, 0])) % 360
    columns, rows = (hue_deg * 2).astype(np.float32), (light * 2).astype(np.float32)
    largest = _interpolate(largest_chroma(), rows, columns)
    return np.minimum(1, largest / np.maximum(np.hypot(ab[:, 0], ab[:, 1]), 1e-6)).astype(np.float32)


def _interpolate(table: Floats, rows: Floats, columns: Floats) -> Floats:
    """Look up values at fractional rows and columns, bilinearly."""
    column = np.minimum(columns.astype(np.intp), table.shape[1] - 2)
    row = np.minimum(rows.astype(np.intp), table.shape[0] - 2)
    right, low = columns - column, rows - row
    top = table[row, column] * (1 - right) + table[row, column + 1] * right
    bottom = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
    return np.asarray(top * (1 - low) + bottom * low, np.float32)


@lru_cache(maxsize=1)
def largest_chroma() -> Floats:
    """Return the largest CIELAB chroma in sRGB, (201, 721), by lightness (rows, 0..100) and hue (columns, 0..360 deg).

    There is no closed form, so it is found by bisection between 0 and 150; 24 halvings are accurate to 0.00001.
    """
    rows, columns = _TABLE_SHAPE
    light = np.repeat(np.linspace(0, 100, rows, dtype=np.float32)[:, None], columns, axis=1)
    hue = np.radians(np.linspace(0, 360, columns))
    direction = np.broadcast_to(np.stack([np.cos(hue), np.sin(hue)], axis=-1), (rows, columns, 2)).astype(np.float32)
    low, high = np.zeros_like(light), np.full_like(light, _MAX_CHROMA)
    for _ in range(24):
        middle = np.asarray((low + high) / 2, np.float32)
        linear = _to_linear(light, np.asarray(direction * middle[..., None], np.float32))
        inside = ((linear >= 0) & (linear <= 1)).all(axis=-1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _to_linear(light: Floats, ab: Floats) -> Floats:
    """Convert (H, W) L* and (H, W, 2) a*, b* to (H, W, 3) linear sRGB, not clipped."""
    roots = np.empty((*light.shape, 3), np.float32)  # cube roots of X/Xn, Y/Yn, Z/Zn
    root_y = (light + 16) / 116
    np.add(root_y, ab[..., 0] * np.float32(1 / 500), out=roots[..., 0])
    roots[..., 1] = root_y
    np.subtract(root_y, ab[..., 1] * np.float32(1 / 200), out=roots[..., 2])
    ratios = roots * roots * roots  # ** 3 would call pow for every value
    toe = roots <= _TOE
    ratios[toe] = 3 * _TOE**2 * (roots[toe] - 4 / 29)
    return np.asarray(cv2.transform(ratios, _FROM_XYZ_RATIOS), np.float32).reshape(ratios.shape)


def _encode(linear: Floats) -> NDArray[np.uint8]:
    """Convert linear 0..1 to sRGB 0..255. The 16-bit table's error is at most a fifth of a level before rounding."""
    index = np.clip(linear * 65535 + 0.5, 0, 65535).astype(np.uint16)
    return np.asarray(_encoding_table()[index])


@lru_cache(maxsize=1)
def _encoding_table() -> NDArray[np.uint8]:
    linear = np.arange(65536) / 65535
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)


@lru_cache(maxsize=1)
def _linear_table() -> Floats:
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)
