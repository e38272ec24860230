"""Convert images from the color space that they are stored in to 8-bit sRGB.

Conversion is relative colorimetric. LittleCMS, which Pillow brings, defines the result. A profile that consists of
three curves and a matrix is converted by `MatrixTransform`, which gives the same result faster.
"""

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

from curate.errors import UnsupportedFormat

PILLOW_ERRORS = (
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
"""What Pillow raises on malformed files, as found by fuzzing. Caught only around calls into Pillow."""

_WITHOUT_ALPHA = {"LA": "L", "La": "L", "RGBA": "RGB", "RGBa": "RGB", "P": "RGB", "PA": "RGB", "1": "L"}
"""Pillow's modes, and the mode of the same colors without transparency or palette."""

_LIGHT_ONE = 1 << 14
"""Linear light is an integer here; this is 1.0, white."""
_MAX_LIGHT = 1 << 17
"""The table from light to sRGB levels covers -_MAX_LIGHT to _MAX_LIGHT - 1."""
_BLOCK_PIXELS = 4096
"""Number of pixels that fit into a core's cache together with their table indices."""
_HEADER_BYTES = 128
_LUT_TAGS = (b"A2B", b"D2B", b"B2A", b"B2D")
"""Tags with lookup tables, which take precedence over curves and a matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixTransform:
    """The conversion from an RGB space of curves and a matrix to sRGB, relative colorimetric."""

    light: NDArray[np.int32]
    """(1, 256, 1 or 3) int32: linear light, 0..16384, of each stored level; one column if all channels share it."""
    matrix: NDArray[np.float64]
    """(3, 4) float64: from linear light in the space to that of sRGB. Entries are multiples of 1/16384, which
    float32 could not sum exactly; the last column makes OpenCV round halves up."""
    level: NDArray[np.uint8]
    """(262144,) uint8: sRGB level of each light. The second half is for negative light, which indexes from the end."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert (H, W, 3) uint8 in the space to (H, W, 3) uint8 sRGB."""
        stored = np.ascontiguousarray(pixels).reshape(-1, 1, 3)
        result = np.empty_like(stored)
        for start in range(0, len(stored), _BLOCK_PIXELS):
            block = slice(start, start + _BLOCK_PIXELS)
            light = cv2.transform(cv2.LUT(stored[block], self.light), self.matrix)
            result[block] = self.level[light]
        return result.reshape(pixels.shape)


Transform = ImageCms.ImageCmsTransform | MatrixTransform


def srgb_transform(icc_bytes: bytes | None, mode: str) -> tuple[str | None, Transform | None]:
    """Read an embedded profile.

    Args:
        icc_bytes: the embedded profile; None without one.
        mode: Pillow's mode of the image.

    Returns:
        The profile's description: None without a profile, `unreadable` if it cannot be used. And the transform to sRGB:
        None if the pixels are sRGB already, or have to be treated as sRGB.
    """
    if not icc_bytes:
        return None, None
    base = "L" if mode.startswith("I") else _WITHOUT_ALPHA.get(mode, mode)
    return _read_profile(icc_bytes, base)


def to_srgb(image: Image.Image, transform: Transform | None) -> Image.Image:
    """Convert a loaded image to 8-bit sRGB.

    Args:
        image: in any of Pillow's modes.
        transform: of its profile, from `srgb_transform`.

    Returns:
        An image of mode RGB, or RGBA if it has transparency.

    Raises:
        UnsupportedFormat: the samples have no defined range.
        ValueError: the transform cannot be applied.
    """
    plain = _to_eight_bit(image)
    if transform is None and plain.mode == "LAB":
        return convert_image(plain, _lab_transform())
    if transform is None:
        return plain if plain.mode in ("RGB", "RGBA") else plain.convert("RGBA" if plain.mode == "LA" else "RGB")
    alpha = plain.getchannel("A") if plain.mode in ("LA", "RGBA") else None
    base = "RGB" if isinstance(transform, MatrixTransform) else _WITHOUT_ALPHA.get(plain.mode, plain.mode)
    flat = convert_image(plain.convert(base) if base != plain.mode else plain, transform)
    if alpha is not None:
        flat.putalpha(alpha)
    return flat


def convert_image(image: Image.Image, transform: Transform) -> Image.Image:
    """Convert an image without alpha to mode RGB, 8-bit sRGB.

    Args:
        image: of the mode that the transform was made for.
        transform: to sRGB.

    Raises:
        ValueError: the transform cannot be applied.
    """
    if isinstance(transform, MatrixTransform):
        return Image.fromarray(transform(np.asarray(image)))
    flat = ImageCms.applyTransform(image, transform)
    if flat is None:
        raise ValueError("the profile could not be applied")
    return flat


def convert_pixels(pixels: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """Convert (H, W, 3) uint8 to (H, W, 3) uint8 sRGB; see `convert_image`."""
    if isinstance(transform, MatrixTransform):
        return transform(pixels)
    return np.asarray(convert_image(Image.fromarray(pixels), transform))


def matrix_transform(
    icc_bytes: bytes, source: ImageCms.ImageCmsProfile, srgb: ImageCms.ImageCmsProfile
) -> MatrixTransform | None:
    """The transform of a profile that consists of three curves and a matrix.

    Args:
        icc_bytes: the whole profile, version 2 or 4.
        source: the same profile, opened.
        srgb: the profile to convert to.

    Returns:
        None if the profile has lookup tables, lacks a curve or a primary, is malformed, or gives light far outside the
        range of photos.
    """
    try:
        tags = read_icc_tags(icc_bytes)
        if icc_bytes[16:24] != b"RGB XYZ " or any(name.startswith(_LUT_TAGS) for name in tags):
            return None
        with np.errstate(all="ignore"):
            curves = np.stack([_read_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")], axis=-1)
        matrix = np.linalg.solve(_primaries(srgb), _primaries(source))
    except (struct.error, KeyError, ValueError, TypeError, ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return build_matrix_transform(curves, matrix)


def build_matrix_transform(curves: NDArray[np.floating], matrix: NDArray[np.floating]) -> MatrixTransform | None:
    """The transform to sRGB from an RGB space of curves and a matrix.

    Args:
        curves: (256, 1 or 3) float64: linear light of each level, 1 for white.
        matrix: (3, 3) float64: from linear light in the space to that of sRGB.

    Returns:
        None if the light is far outside the range of photos.
    """
    rounded = np.c_[np.rint(matrix * _LIGHT_ONE), np.full(3, 0.5)] / _LIGHT_ONE  # the last column rounds halves up
    max_light = np.abs(curves).max() * np.abs(rounded).sum(axis=1).max()
    if not max_light < _MAX_LIGHT / _LIGHT_ONE - 1:  # also if it is not finite
        return None
    light = np.floor(curves * _LIGHT_ONE + 0.5).astype(np.int32)
    shared = bool((light == light[:, :1]).all())
    return MatrixTransform((light[:, :1] if shared else light).copy()[None], rounded, _srgb_levels())


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Convert an image to mode L, LA, RGB, RGBA, CMYK or LAB, without changing its color space."""
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        samples = np.asarray(image).astype(np.int64)
        if samples.size and (samples.min() < 0 or samples.max() > 65535):
            raise UnsupportedFormat("32-bit samples outside 0..65535 have no defined range: convert it to 16 bits")
        transparent = image.info.get("transparency")
        gray = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
        if isinstance(transparent, int):
            gray.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
        return gray
    if mode.startswith("F"):
        raise UnsupportedFormat("float samples have no defined range: convert it to 8 or 16 bits per sample")
    if mode in ("RGBA", "LA", "CMYK", "LAB"):
        return image
    if mode in ("RGBa", "La", "PA") or image.has_transparency_data:
        return image.convert("LA" if mode == "La" else "RGBA")
    if mode in ("L", "1"):
        return image.convert("L")
    return image.convert("RGB")


@lru_cache(maxsize=1)
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_transform() -> Transform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.buildTransform(lab, _srgb_profile(), "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)


@lru_cache(maxsize=64)
def _read_profile(icc_bytes: bytes, mode: str) -> tuple[str, Transform | None]:
    """The profile's description and its transform to sRGB; None if there is nothing to convert."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes))
        name = (ImageCms.getProfileDescription(profile) or "").strip() or "unnamed"
        transform = ImageCms.buildTransform(
            profile, _srgb_profile(), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        return name, transform if mode != "RGB" else _choose_transform(icc_bytes, profile, transform)
    except (ImageCms.PyCMSError, *PILLOW_ERRORS):
        return "unreadable", None


def changes_no_color(transform: Transform) -> bool:
    """Whether a transform changes no color of an even 9 x 9 x 9 grid by more than one level of 255."""
    even = _color_grid(np.linspace(0, 255, 9).astype(np.uint8))
    return _max_difference(convert_pixels(even, transform), even) <= 1


def _choose_transform(
    icc_bytes: bytes, profile: ImageCms.ImageCmsProfile, transform: ImageCms.ImageCmsTransform
) -> Transform | None:
    """The transform to use for a profile, by what LittleCMS's transform does to sample colors.

    None if it changes no color: then the profile is sRGB, whatever its name. The matrix transform if it differs by at
    most one level on a grid and on all grays. Otherwise LittleCMS's.
    """
    if changes_no_color(transform):
        return None
    matrix = matrix_transform(icc_bytes, profile, _srgb_profile())
    if matrix is None:
        return transform
    dense_in_darks = _color_grid(np.rint(255 * np.linspace(0, 1, 17) ** 2).astype(np.uint8))
    grays = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    colors = np.concatenate([dense_in_darks, grays], axis=1)
    return matrix if _max_difference(convert_pixels(colors, transform), matrix(colors)) <= 1 else transform


def _color_grid(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(1, N ** 3, 3) uint8: every color with these N levels in each channel."""
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)


def _max_difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    return int(np.abs(first.astype(np.int16) - second).max())


def read_icc_tags(icc_bytes: bytes) -> dict[bytes, bytes]:
    """The content of each tag of a profile, by name.

    Raises:
        struct.error: the profile is malformed.
    """
    (count,) = struct.unpack_from(">I", icc_bytes, _HEADER_BYTES)
    table = icc_bytes[_HEADER_BYTES + 4 : _HEADER_BYTES + 4 + 12 * min(count, 100)]  # LittleCMS reads no more than 100
    entries = struct.iter_unpack(">4sII", table)
    return {name: icc_bytes[start : start + size] for name, start, size in entries}


def _primaries(profile: ImageCms.ImageCmsProfile) -> NDArray[np.float64]:
    """(3, 3) float64: XYZ of the red, green and blue primaries under D50, one column each."""
    core = profile.profile
    colorants = (core.red_colorant, core.green_colorant, core.blue_colorant)
    return np.array([xyz for xyz, _ in (colorant for colorant in colorants if colorant)], np.float64).T


def _read_curve(tag: bytes) -> NDArray[np.float64]:
    """(256,) float64: the light, 0..1, of each level, from a `curv` or `para` tag (ICC.1:2022, 10.6 and 10.18)."""
    levels = np.linspace(0, 1, 256)
    if tag[:4] == b"para":
        return _evaluate_parametric(tag, levels)
    if tag[:4] != b"curv":
        raise ValueError(f"unknown curve type {tag[:4]!r}")
    (count,) = struct.unpack_from(">I", tag, 8)
    points = np.array(struct.unpack_from(f">{count}H", tag, 12), np.float64)
    if count == 0:
        return levels
    if count == 1:
        return np.power(levels, float(points[0]) / 256)
    light: NDArray[np.float64] = np.rint(np.interp(levels, np.linspace(0, 1, count), points)) / 65535
    return light


def _evaluate_parametric(tag: bytes, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(256,) float64: `(a x + b)^gamma + e` from the knee on, `c x + f` below it.

    The five kinds of the standard store 1, 3, 4, 5 or 7 of these parameters.
    """
    (kind,) = struct.unpack_from(">H", tag, 8)
    stored = [fixed / 65536 for fixed in struct.unpack_from(f">{(1, 3, 4, 5, 7)[min(kind, 4)]}i", tag, 12)]
    gamma, a, b, c, knee, e, f = stored + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(stored) :]
    if kind in (1, 2):
        c, knee, e, f = 0.0, -b / a, c, c
    power: NDArray[np.float64] = np.maximum(a * levels + b, 0) ** gamma + e
    return np.where(levels >= knee, power, c * levels + f)


def _srgb_levels() -> NDArray[np.uint8]:
    """(262144,) uint8: sRGB level (IEC 61966-2-1) of each light; see `MatrixTransform.level`."""
    light = np.roll(np.arange(-_MAX_LIGHT, _MAX_LIGHT), _MAX_LIGHT).clip(0, _LIGHT_ONE) / _LIGHT_ONE
    level: NDArray[np.float64] = np.where(light <= 0.04045 / 12.92, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(level * 255).astype(np.uint8)
