"""Decode plain color JPEG, PNG and WebP files with decoders that are faster than Pillow's.

They give the same pixels as Pillow (docs/results/decoders.md). Files that are truncated or malformed, or that have
several pictures, are left to Pillow.
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
from curate.image.png import has_plain_chunks, without_profile

_JPEG_START_OF_SCAN = 0xDA
_JPEG_START_OF_FRAME = (0xC0, 0xC1, 0xC2)
_JPEG_PLAIN_MARKERS = frozenset([0xC4, 0xDB, 0xDD, 0xE0, 0xED, 0xEE, 0xFE])
"""Markers that change nothing about how the pixels are shown: tables (DHT, DQT, DRI), comments, APP13, and the JFIF and
Adobe headers, which libjpeg interprets itself."""
_PNG_8_BIT_RGB = b"\x08\x02"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_INFO_NOT_PLAIN = frozenset(["transparency", "loop"])  # loop: an animation, even of one frame


@dataclass(frozen=True, slots=True)
class PlainImage:
    """The picture of a file that contains nothing else."""

    format: str
    """JPEG or WEBP."""
    size: tuple[int, int]
    """Width and height in pixels, of the whole picture."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB; smaller than `size` if a JPEG was decoded at a fraction of its size."""


def decode_plain_file(
    data: bytes, max_pixels: int, min_side_px: Callable[[tuple[int, int]], int | None]
) -> PlainImage | None:
    """Decode a color JPEG or WebP without EXIF, profile or second picture, without opening it with Pillow.

    Most photos on the web are plain, and opening one with Pillow costs a tenth of decoding it.

    Args:
        data: the file's bytes.
        max_pixels: a larger picture is left to the Pillow reader, which raises the error.
        min_side_px: gives, for (width, height), the smallest short side at which a JPEG may be decoded; None for full
            size.

    Returns:
        The picture; None if the file is not plain, so that Pillow has to read it.

    Raises:
        OutOfMemory: there is not enough memory to decode it.
    """
    size = _plain_jpeg_size(data)
    if size is not None and size[0] * size[1] <= max_pixels:
        pixels = _decode_jpeg(size, data, min_side_px(size))
        return None if pixels is None else PlainImage("JPEG", size, pixels)
    size = _plain_webp_size(data)
    if size is not None and size[0] * size[1] <= max_pixels:
        pixels = _decode_with_opencv(size, data)
        return None if pixels is None else PlainImage("WEBP", size, pixels)
    return None


def decode_plain_image(image: Image.Image, data: bytes, short_side_px: int | None) -> NDArray[np.uint8] | None:
    """Decode an RGB or gray image that Pillow has opened, if a faster decoder gives the same pixels.

    Args:
        image: opened, not yet loaded.
        data: the file's bytes.
        short_side_px: see `curate.image.decode.decode_bytes`.

    Returns:
        (H, W, 3) uint8, in the image's own color space and as stored, not yet turned; None if Pillow has to decode it.

    Raises:
        OutOfMemory: there is not enough memory to decode it.
    """
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg and image.mode == "L" and "icc_profile" not in image.info:
        return _decode_jpeg(image.size, data, None)
    if image.mode != "RGB":
        return None
    if is_jpeg:
        return _decode_jpeg(image.size, data, short_side_px)
    plain_png = (
        image.format == "PNG"
        and data[24:26] == _PNG_8_BIT_RGB
        and data.endswith(_PNG_END)
        and not _PNG_INFO_NOT_PLAIN & image.info.keys()
        and has_plain_chunks(data)
    )
    return _decode_with_opencv(image.size, without_profile(data)) if plain_png else None


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a three-channel, 8-bit JPEG with plain markers only; None for any other file."""
    size, at = None, 2
    while data[at : at + 1] == b"\xff" and len(data) > at + 9:
        marker = data[at + 1]
        if marker == _JPEG_START_OF_SCAN:
            return size
        if marker in _JPEG_START_OF_FRAME and data[at + 4] == 8 and data[at + 9] == 3:
            size = int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        elif marker not in _JPEG_PLAIN_MARKERS:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _plain_webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a lossy WebP that holds one picture and is as long as it says; None for any other file.

    The length is checked because OpenCV decodes some truncated or patched files that Pillow refuses.
    """
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8 " or data[23:26] != b"\x9d\x01\x2a":
        return None
    file_bytes, picture_bytes = (int.from_bytes(data[at : at + 4], "little") for at in (4, 16))
    if not len(data) == file_bytes + 8 == picture_bytes + picture_bytes % 2 + 20:
        return None
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _decode_jpeg(size: tuple[int, int], data: bytes, short_side_px: int | None) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8, at a fraction of the size if `short_side_px` allows it; None if the file is malformed."""
    scaling = (
        {} if short_side_px is None else {"min_height": short_side_px, "min_width": short_side_px, "min_factor": 2}
    )
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True, **scaling)
    except ValueError:
        return None
    except MemoryError as exc:
        raise OutOfMemory(f"decoding {size[0]} x {size[1]} pixels needs more memory than is available") from exc
    return pixels if short_side_px is not None or pixels.shape[1::-1] == size else None


def _decode_with_opencv(size: tuple[int, int], data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 of the given width and height; None if OpenCV refuses the file or finds another size."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None or pixels.shape[1::-1] != size else np.asarray(pixels, np.uint8)
