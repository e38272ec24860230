"""Decode a photo that a Python caller gives as a path, bytes, a PIL image or an array."""

from __future__ import annotations

import os
import stat

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.errors import NotAFile, PhotoError, UsageError
from curate.image.decode import MAX_PIXELS, Header, Photo, decode_bytes, decode_image
from curate.image.formats import SNIFF_BYTES, check_raw_name
from curate.locations import is_url
from curate.sources.entry import as_photo_error
from curate.sources.reader import read_bytes
from curate.unicode import find_path

PhotoInput = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]


def load_photo(photo: PhotoInput, *, max_pixels: int = MAX_PIXELS, on_white: bool = True) -> Photo:
    """Decode a photo from a path, bytes, a PIL image or an array.

    Args:
        photo: a path or URL; the bytes of a file; a PIL image, whose EXIF orientation and color profile are applied;
            or an (H, W, 3) uint8 array, sRGB, red first, upright.
        max_pixels: largest width times height. A larger photo is an error and is not decoded; arrays are not limited.
        on_white: composite transparent pixels on white; False returns their stored colors, and the alpha channel.

    Returns:
        The photo, as from `curate.image.decode.decode_bytes`. For an array, the header has only the size.

    Raises:
        PhotoError: the photo cannot be read or decoded; the subclass says why, and the text begins with the path.
        TypeError: `photo` has another type.
        UsageError: an array has another shape or dtype.
    """
    if isinstance(photo, np.ndarray):
        height, width = _checked_shape(photo)
        return Photo(Header(width, height, format="", mode="RGB", orientation=1, icc_profile=None), photo, None)
    if isinstance(photo, Image.Image):
        return decode_image(photo, max_pixels=max_pixels, on_white=on_white)
    if isinstance(photo, bytes | bytearray | memoryview):
        return decode_bytes(bytes(photo), max_pixels=max_pixels, on_white=on_white)
    if not isinstance(photo, str | os.PathLike):
        raise TypeError(f"a photo is a path, bytes, a PIL image or an array, not {type(photo).__name__}")
    path = os.fspath(photo)
    try:
        return decode_bytes(_read(path), max_pixels=max_pixels, on_white=on_white)
    except PhotoError as exc:
        raise type(exc)(f"{path}: {exc.args[0]}") from exc


def _checked_shape(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of an array of pixels; raises UsageError for another shape or dtype."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"an array of pixels is (H, W, 3) uint8, sRGB, red first; this one is {pixels.shape} {pixels.dtype}"
        )
    return pixels.shape[0], pixels.shape[1]


def _read(path: str) -> bytes:
    """The bytes of a file or URL; a folder, pipe or device is an error, because reading one can block."""
    if not is_url(path) and "\0" not in path:
        try:
            kind = os.stat(find_path(path)).st_mode
        except OSError as exc:
            raise as_photo_error(exc, "the file can't be read") from exc
        if not stat.S_ISREG(kind):
            raise NotAFile("a folder, pipe, socket or device is not a photo")
    data = read_bytes(path)
    check_raw_name(path, data[:SNIFF_BYTES])
    return data
