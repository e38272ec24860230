"""Chunks of PNG files."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

_DEPTH_AT = 24
"""Position of the bits per sample in a file."""
_ORIENTED_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of texts with EXIF or XMP."""


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk of a PNG but IDAT, whose body is left out; ends at the first that is cut off."""
    at = 8
    while len(data) >= at + 12:
        length = int.from_bytes(data[at : at + 4])
        name = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            return
        yield name, b"" if name == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length


def has_late_orientation(data: bytes) -> bool:
    """Whether chunks behind the pixels may say how the picture is to be turned; Pillow reads these with the pixels."""
    pixels_seen = False
    for name, body in png_chunks(data):
        pixels_seen |= name == b"IDAT"
        if pixels_seen and (name == b"eXIf" or body.startswith(_ORIENTED_TEXTS)):
            return True
    return False


def without_profile(data: bytes) -> bytes:
    """The same PNG without its ICC profile, about which libpng may print warnings."""
    at = 8
    for name, body in png_chunks(data):
        if name == b"iCCP":
            return data[:at] + data[at + 12 + len(body) :]
        if name == b"IDAT":
            break
        at += 12 + len(body)
    return data


def correct_transparency(image: Image.Image, data: bytes) -> None:
    """Scale the transparent gray or color of a PNG to 8 bits, as Pillow does with the pixels that it compares with it.

    Args:
        image: opened by Pillow; its `info` is changed if Pillow has not scaled the number.
        data: the file's bytes.
    """
    depth, transparent = data[_DEPTH_AT], image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int) and depth in (2, 4):
        image.info["transparency"] = transparent * 255 // ((1 << depth) - 1)
    elif image.mode == "RGB" and isinstance(transparent, tuple) and depth == 16:
        image.info["transparency"] = tuple(sample >> 8 for sample in transparent)
