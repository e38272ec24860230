"""From an RGB space of three curves and a matrix to 8-bit sRGB, as LittleCMS rounds it, in a third of its time.

Most RGB profiles (Display P3, Adobe RGB, ProPhoto, the camera makers' own) say no more than how light each channel's
levels are and which XYZ colours its primaries have: ICC.1:2022, 8.4.2 and F.3. What is computed here is LittleCMS's own
8-bit arithmetic: light in steps of 1/16384, one 3 x 3 matrix, clipping, and a table back to levels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

_ONE = 1 << 14
"""Full light, as an integer."""
_FURTHEST = 1 << 17
"""Light that the table of levels covers, above zero and below."""
_BLOCK_PIXELS = 4096
"""What stays in a core's cache together with its indices."""
_HEADER_BYTES = 128
_TABLES_FIRST = (b"A2B", b"D2B", b"B2A", b"B2D")
"""Tags that stand for more than curves and a matrix, and go before them."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixTransform:
    """The way of one such space to sRGB, relative colorimetric."""

    light: NDArray[np.int32]
    """(1, 256, 1 or 3) int32: a level's light, 0..16384; one column where the three channels share it."""
    matrix: NDArray[np.float64]
    """(3, 4) float64: from the space's light to that of sRGB, in steps of 1/16384 that float32 can't sum exactly."""
    level: NDArray[np.uint8]
    """(262144,) uint8: the sRGB level of a light; the second half is for those below zero, which index from the end."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 in the space, to (H, W, 3) uint8 sRGB."""
        stored = np.ascontiguousarray(pixels).reshape(-1, 1, 3)
        converted = np.empty_like(stored)
        for start in range(0, len(stored), _BLOCK_PIXELS):
            block = slice(start, start + _BLOCK_PIXELS)
            light = cv2.transform(cv2.LUT(stored[block], self.light), self.matrix)
            converted[block] = self.level[light]
        return converted.reshape(pixels.shape)


def matrix_transform(
    icc_bytes: bytes, source: ImageCms.ImageCmsProfile, srgb: ImageCms.ImageCmsProfile
) -> MatrixTransform | None:
    """The transform for a profile of curves and a matrix; None for one that is more, less or malformed.

    Args:
        icc_bytes: the whole profile, version 2 or 4.
        source: the same, opened.
        srgb: what to convert to.
    """
    try:
        tags = _tags(icc_bytes)
        if icc_bytes[16:24] != b"RGB XYZ " or any(name.startswith(_TABLES_FIRST) for name in tags):
            return None
        with np.errstate(all="ignore"):
            curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")], axis=-1)
        matrix = np.linalg.solve(_primaries(srgb), _primaries(source))
    except (struct.error, KeyError, ValueError, TypeError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    steps = np.c_[np.rint(matrix * _ONE), np.full(3, 0.5)] / _ONE  # the last so that halves are rounded up
    if not np.abs(curves).max() * np.abs(steps).sum(axis=1).max() < _FURTHEST / _ONE - 1:  # not finite, or no photo's
        return None
    light = np.floor(curves * _ONE + 0.5).astype(np.int32)
    shared = bool((light == light[:, :1]).all())
    return MatrixTransform((light[:, :1] if shared else light).copy()[None], steps, _levels())


def _tags(icc_bytes: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc_bytes, _HEADER_BYTES)
    table = icc_bytes[_HEADER_BYTES + 4 : _HEADER_BYTES + 4 + 12 * min(count, 100)]  # LittleCMS reads no more than 100
    entries = struct.iter_unpack(">4sII", table)
    return {name: icc_bytes[start : start + size] for name, start, size in entries}


def _primaries(profile: ImageCms.ImageCmsProfile) -> NDArray[np.float64]:
    """(3, 3) float64: XYZ under D50, a column for each channel."""
    core = profile.profile
    colorants = (core.red_colorant, core.green_colorant, core.blue_colorant)
    return np.array([xyz for xyz, _ in (colorant for colorant in colorants if colorant)], np.float64).T


def _curve(tag: bytes) -> NDArray[np.float64]:
    """(256,) float64: the light, of 0..1, of each level by a `curv` or `para` tag (ICC.1:2022, 10.6 and 10.18)."""
    levels = np.linspace(0, 1, 256)
    if tag[:4] == b"para":
        return _parametric(tag, levels)
    if tag[:4] != b"curv":
        raise ValueError(f"no curve is of type {tag[:4]!r}")
    (count,) = struct.unpack_from(">I", tag, 8)
    points = np.array(struct.unpack_from(f">{count}H", tag, 12), np.float64)
    if count == 0:
        return levels
    if count == 1:
        return np.power(levels, float(points[0]) / 256)
    light: NDArray[np.float64] = np.rint(np.interp(levels, np.linspace(0, 1, count), points)) / 65535
    return light


def _parametric(tag: bytes, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(a x + b)^gamma + e` from the knee on, `c x + f` below it; the five kinds leave out one or the other."""
    (kind,) = struct.unpack_from(">H", tag, 8)
    given = [fixed / 65536 for fixed in struct.unpack_from(f">{(1, 3, 4, 5, 7)[min(kind, 4)]}i", tag, 12)]
    gamma, a, b, c, knee, e, f = given + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    if kind in (1, 2):
        c, knee, e, f = 0.0, -b / a, c, c
    power: NDArray[np.float64] = np.maximum(a * levels + b, 0) ** gamma + e
    return np.where(levels >= knee, power, c * levels + f)


def _levels() -> NDArray[np.uint8]:
    """The curve of sRGB (IEC 61966-2-1), from light to level."""
    light = np.roll(np.arange(-_FURTHEST, _FURTHEST), _FURTHEST).clip(0, _ONE) / _ONE
    level: NDArray[np.float64] = np.where(light <= 0.04045 / 12.92, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(level * 255).astype(np.uint8)
