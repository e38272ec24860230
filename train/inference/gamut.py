"""CIELAB to sRGB for full-size pictures: colours that sRGB lacks lose chroma, never lightness or hue.

Everything works on strips of float32 rows with OpenCV's vectorised steps; `train.lab` is the same space on tensors.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WHITE_XYZ = np.array([0.95047, 1.0, 1.08883], np.float32)
"""D65, 2 degrees."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ (IEC 61966-2-1)."""
_FROM_RATIOS = (np.linalg.inv(TO_XYZ) * WHITE_XYZ).astype(np.float32)
_TOE = 6 / 29
_TABLE_STEPS = (201, 721)
"""The gamut's edge is tabled at every half L* and half degree."""


def lightness(rgb: NDArray[np.uint8]) -> Floats:
    """CIELAB L*, 0..100, (H, W) float32 of (H, W, 3) uint8 sRGB."""
    luminance = cv2.transform(cv2.LUT(rgb, _linear_table()), TO_XYZ[1:2].astype(np.float32))
    cubic = cv2.pow(luminance, 1 / 3)
    toe = luminance <= _TOE**3
    cubic[toe] = luminance[toe] / (3 * _TOE**2) + 4 / 29
    return np.asarray(cubic * 116 - 16, np.float32)


def to_srgb(lightness_0_100: Floats, ab: Floats) -> NDArray[np.uint8]:
    """CIELAB to pixels; what lies outside sRGB moves towards gray at its own lightness and hue until it is inside.

    Args:
        lightness_0_100: (H, W) L*.
        ab: (H, W, 2) a* and b*.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    linear = _linear(lightness_0_100, ab)
    flat = linear.reshape(-1, 3)
    outside = np.flatnonzero(((linear < -1e-4) | (linear > 1 + 1e-4)).any(axis=-1))
    if len(outside):
        light, color = lightness_0_100.reshape(-1)[outside], ab.reshape(-1, 2)[outside]
        flat[outside] = _linear(light[:, None], (color * _share_inside(light, color)[:, None])[:, None])[:, 0]
    return _encode(linear)


def _share_inside(light: Floats, ab: Floats) -> Floats:
    """How much of its chroma each colour may keep, 0..1, from the tabled edge of sRGB; (N,) and (N, 2) to (N,)."""
    hue_deg = np.degrees(np.arctan2(ab[:, 1], ab[:, 0])) % 360
    across, down = (hue_deg * 2).astype(np.float32), (light * 2).astype(np.float32)
    edge = _lookup(largest_chroma(), across, down)
    return np.minimum(1, edge / np.maximum(np.hypot(ab[:, 0], ab[:, 1]), 1e-6)).astype(np.float32)


def _lookup(table: Floats, across: Floats, down: Floats) -> Floats:
    """Bilinear, at fractional columns and rows."""
    column = np.minimum(across.astype(np.intp), table.shape[1] - 2)
    row = np.minimum(down.astype(np.intp), table.shape[0] - 2)
    right, low = across - column, down - row
    top = table[row, column] * (1 - right) + table[row, column + 1] * right
    bottom = table[row + 1, column] * (1 - right) + table[row + 1, column + 1] * right
    return np.asarray(top * (1 - low) + bottom * low, np.float32)


@lru_cache(maxsize=1)
def largest_chroma() -> Floats:
    """The largest CIELAB chroma that sRGB has, by lightness (rows, 0..100) and hue (columns, 0..360 degrees).

    Found by halving: 24 times from 0..150 is within 0.00001.
    """
    rows, columns = _TABLE_STEPS
    light = np.repeat(np.linspace(0, 100, rows, dtype=np.float32)[:, None], columns, axis=1)
    hue = np.radians(np.linspace(0, 360, columns))
    direction = np.broadcast_to(np.stack([np.cos(hue), np.sin(hue)], axis=-1), (rows, columns, 2)).astype(np.float32)
    least, most = np.zeros_like(light), np.full_like(light, 150)
    for _ in range(24):
        middle = np.asarray((least + most) / 2, np.float32)
        linear = _linear(light, np.asarray(direction * middle[..., None], np.float32))
        inside = ((linear >= 0) & (linear <= 1)).all(axis=-1)
        least, most = np.where(inside, middle, least), np.where(inside, most, middle)
    return least


def _linear(light: Floats, ab: Floats) -> Floats:
    """(H, W) L* and (H, W, 2) a*, b* to (H, W, 3) linear sRGB, unclipped."""
    ratios = np.empty((*light.shape, 3), np.float32)
    middle = (light + 16) / 116
    np.add(middle, ab[..., 0] * np.float32(1 / 500), out=ratios[..., 0])
    ratios[..., 1] = middle
    np.subtract(middle, ab[..., 1] * np.float32(1 / 200), out=ratios[..., 2])
    cubes = ratios * ratios * ratios
    toe = ratios <= _TOE
    cubes[toe] = 3 * _TOE**2 * (ratios[toe] - 4 / 29)
    return np.asarray(cv2.transform(cubes, _FROM_RATIOS), np.float32).reshape(cubes.shape)


def _encode(linear: Floats) -> NDArray[np.uint8]:
    """Linear 0..1 to sRGB 0..255, by a table of 16 bits: at most a fifth of a level off before rounding."""
    index = np.clip(linear * 65535 + 0.5, 0, 65535).astype(np.uint16)
    return np.asarray(_encoded_table()[index])


@lru_cache(maxsize=1)
def _encoded_table() -> NDArray[np.uint8]:
    linear = np.arange(65536) / 65535
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)


@lru_cache(maxsize=1)
def _linear_table() -> Floats:
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)
