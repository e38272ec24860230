"""From whatever colour space a picture is stored in to 8-bit sRGB."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

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


PILLOW_RAISES = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on malformed files, as found by fuzzing; caught only around calls into Pillow."""

Transform = ImageCms.ImageCmsTransform | MatrixTransform
_WITHOUT_ALPHA = {"LA": "L", "La": "L", "RGBA": "RGB", "RGBa": "RGB", "P": "RGB", "PA": "RGB", "1": "L"}


def srgb_transform(icc_bytes: bytes | None, mode: str) -> tuple[str | None, Transform | None]:
    """A profile's description, and the way from it to sRGB.

    Args:
        icc_bytes: the embedded profile, if any.
        mode: Pillow's mode of the picture.

    Returns:
        No description without a profile, `unreadable` for one that can't be used; no transform where the pixels are
        sRGB as they are, or must be taken for it.
    """
    if not icc_bytes:
        return None, None
    base = "L" if mode.startswith("I") else _WITHOUT_ALPHA.get(mode, mode)
    return _transform(icc_bytes, base)


def to_srgb(image: Image.Image, transform: Transform | None) -> Image.Image:
    """A loaded picture as 8-bit sRGB: mode RGB, or RGBA where it has transparency.

    Raises:
        ValueError: its samples have no stated range.
    """
    plain = _eight_bit(image)
    if transform is None:
        return _as_rgb(plain)
    alpha = plain.getchannel("A") if plain.mode in ("LA", "RGBA") else None
    base = _WITHOUT_ALPHA.get(plain.mode, plain.mode)
    flat = convert_image(plain.convert(base) if base != plain.mode else plain, transform)
    if alpha is not None:
        flat.putalpha(alpha)
    return flat


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any Pillow mode to one of L, LA, RGB, RGBA, CMYK or LAB, without changing the colour space."""
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        samples = np.asarray(image).astype(np.int64)
        if samples.size and (samples.min() < 0 or samples.max() > 65535):
            raise ValueError("32-bit samples outside 0..65535 have no stated range")
        transparent = image.info.get("transparency")
        gray = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
        if isinstance(transparent, int):
            gray.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
        return gray
    if mode.startswith("F"):
        raise ValueError("float samples have no stated range")
    if mode in ("RGBA", "LA", "CMYK", "LAB"):
        return image
    if mode in ("RGBa", "La", "PA") or image.has_transparency_data:
        return image.convert("LA" if mode == "La" else "RGBA")
    if mode in ("L", "1"):
        return image.convert("L")
    return image.convert("RGB")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        return convert_image(image, _lab_transform())
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGBA" if image.mode == "LA" else "RGB")


def convert_image(image: Image.Image, transform: Transform) -> Image.Image:
    """A picture as 8-bit sRGB by a transform for its mode.

    Raises:
        ValueError: it can't be applied.
    """
    if isinstance(transform, MatrixTransform):
        return Image.fromarray(transform(np.asarray(image)))
    flat = ImageCms.applyTransform(image, transform)
    if flat is None:
        raise ValueError("the profile could not be applied")
    return flat


def convert_pixels(pixels: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """The same for (H, W, 3) uint8 pixels."""
    if isinstance(transform, MatrixTransform):
        return transform(pixels)
    return np.asarray(convert_image(Image.fromarray(pixels), transform))


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_transform() -> Transform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)


@lru_cache(maxsize=64)
def _transform(icc_bytes: bytes, mode: str) -> tuple[str, Transform | None]:
    """The profile's name and the way from it to sRGB, None where there is nothing to convert.

    Whether a profile is sRGB is decided by what it does to colours (at most one level of 255 over a grid), not by name.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes))
        name = (ImageCms.getProfileDescription(profile) or "").strip() or "unnamed"
        transform = ImageCms.buildTransform(profile, _srgb(), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
        return name, transform if mode != "RGB" else _quickest(icc_bytes, profile, transform)
    except (ImageCms.PyCMSError, *PILLOW_RAISES):
        return "unreadable", None


def _quickest(icc_bytes: bytes, profile: ImageCms.ImageCmsProfile, transform: Transform) -> Transform | None:
    """None for sRGB; the matrix where it is within a level of LittleCMS on a grid and all grays; or LittleCMS."""
    even = _grid(np.linspace(0, 255, 9).astype(np.uint8))
    if _furthest(convert_pixels(even, transform), even) <= 1:
        return None
    quick = matrix_transform(icc_bytes, profile, _srgb())
    if quick is None:
        return transform
    dense_in_darks = _grid(np.rint(255 * np.linspace(0, 1, 17) ** 2).astype(np.uint8))
    grays = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    colours = np.concatenate([dense_in_darks, grays], axis=1)
    return quick if _furthest(convert_pixels(colours, transform), quick(colours)) <= 1 else transform


def _grid(steps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(1, N ** 3, 3) uint8: every colour of these N levels."""
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)


def _furthest(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())
