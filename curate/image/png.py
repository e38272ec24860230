"""Chunks of PNG files."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

_DEPTH_AT = 24
"""Position of the bits per sample in a file."""


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
