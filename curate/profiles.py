"""From whatever colour space a picture is stored in to 8-bit sRGB."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curate.matrixprofile import MatrixTransform, matrix_transform

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
    flat = converted(plain.convert(base) if base != plain.mode else plain, transform)
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
        return converted(image, _lab_transform())
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGBA" if image.mode == "LA" else "RGB")


def converted(image: Image.Image, transform: Transform) -> Image.Image:
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


def converted_pixels(pixels: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
    """The same for (H, W, 3) uint8 pixels."""
    if isinstance(transform, MatrixTransform):
        return transform(pixels)
    return np.asarray(converted(Image.fromarray(pixels), transform))


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
    if _furthest(converted_pixels(even, transform), even) <= 1:
        return None
    quick = matrix_transform(icc_bytes, profile, _srgb())
    if quick is None:
        return transform
    dense_in_darks = _grid(np.rint(255 * np.linspace(0, 1, 17) ** 2).astype(np.uint8))
    grays = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    colours = np.concatenate([dense_in_darks, grays], axis=1)
    return quick if _furthest(converted_pixels(colours, transform), quick(colours)) <= 1 else transform


def _grid(steps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(1, N ** 3, 3) uint8: every colour of these N levels."""
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)


def _furthest(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())
