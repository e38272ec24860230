"""Plain colour by quicker readers than Pillow's.

They give the same pixels (docs/results/decoders.md) and refuse what is truncated or malformed: that is left to Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from curate.errors import OutOfMemory

_START_OF_SCAN = 0xDA
_START_OF_FRAME = (0xC0, 0xC1, 0xC2)
_TELLS_NOTHING = frozenset([0xC4, 0xDB, 0xDD, 0xE0, 0xED, 0xEE, 0xFE])
"""JPEG's tables (DHT, DQT, DRI), JFIF and Adobe headers (libjpeg heeds them), comments."""
_PNG_8_BIT_RGB = b"\x08\x02"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_MATTERS_IN_PNG = frozenset(["icc_profile", "transparency", "loop"])  # loop: it is animated, of one frame even


@dataclass(frozen=True, slots=True)
class PlainImage:
    """What is in a file that holds a picture and nothing else."""

    format: str
    """JPEG or WEBP."""
    size: tuple[int, int]
    """Width and height in px, of the whole picture."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB."""


def decode_plain_file(
    data: bytes, max_pixels: int, least_side_px: Callable[[tuple[int, int]], int | None]
) -> PlainImage | None:
    """A JPEG or WebP without EXIF, profile or second picture; None where only Pillow may judge it.

    Most photos on the web are such, and opening one with Pillow costs a tenth of decoding it.

    Args:
        data: the file's bytes.
        max_pixels: larger ones are left to Pillow's reader, which says so.
        least_side_px: of a size, the least short side that a JPEG may be decoded at; None for all of it.

    Raises:
        OutOfMemory: there isn't enough for it.
    """
    size = _bare_jpeg_size(data)
    if size is not None and size[0] * size[1] <= max_pixels:
        pixels = _plain_jpeg(size, data, least_side_px(size))
        return None if pixels is None else PlainImage("JPEG", size, pixels)
    size = _bare_webp_size(data)
    if size is not None and size[0] * size[1] <= max_pixels:
        pixels = _by_opencv(size, data)
        return None if pixels is None else PlainImage("WEBP", size, pixels)
    return None


def decode_plain_image(image: Image.Image, data: bytes, short_side_px: int | None) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 sRGB of plain colour that Pillow has opened; None where only Pillow may judge it.

    Args:
        image: as opened, not yet loaded.
        data: the file's bytes.
        short_side_px: see `curate.decode.decode`.

    Raises:
        OutOfMemory: there isn't enough for it.
    """
    if image.mode != "RGB":
        return None
    if image.format in ("JPEG", "MPO"):
        return _plain_jpeg(image.size, data, short_side_px)
    if image.format == "PNG" and _is_plain_png(image, data):
        return _by_opencv(image.size, data)
    return None


def _bare_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a colour JPEG that has nothing but a picture."""
    size, at = None, 2
    while data[at : at + 1] == b"\xff" and len(data) > at + 9:
        marker = data[at + 1]
        if marker == _START_OF_SCAN:
            return size
        if marker in _START_OF_FRAME and data[at + 4] == 8 and data[at + 9] == 3:
            size = int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        elif marker not in _TELLS_NOTHING:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _bare_webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a lossy WebP that has nothing but a picture, and as many bytes as it says.

    Of those that are cut or patched OpenCV shows some that Pillow refuses.
    """
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8 " or data[23:26] != b"\x9d\x01\x2a":
        return None
    whole, picture = (int.from_bytes(data[at : at + 4], "little") for at in (4, 16))
    if not len(data) == whole + 8 == picture + picture % 2 + 20:
        return None
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _plain_jpeg(size: tuple[int, int], data: bytes, short_side_px: int | None) -> NDArray[np.uint8] | None:
    try:
        least = (
            {} if short_side_px is None else {"min_height": short_side_px, "min_width": short_side_px, "min_factor": 2}
        )
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True, **least)
    except ValueError:
        return None
    except MemoryError as exc:
        raise OutOfMemory(f"decoding {size[0]} x {size[1]} pixels wanted more memory than there is") from exc
    whole = pixels.shape[1::-1] == size
    return pixels if whole or short_side_px is not None else None


def _is_plain_png(image: Image.Image, data: bytes) -> bool:
    """Whether samples are 8-bit RGB with nothing declared transparent; libpng grumbles on stderr about profiles."""
    return data[24:26] == _PNG_8_BIT_RGB and data.endswith(_PNG_END) and not _MATTERS_IN_PNG & image.info.keys()


def _by_opencv(size: tuple[int, int], data: bytes) -> NDArray[np.uint8] | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[1::-1] != size:
        return None
    return np.asarray(pixels, np.uint8)
