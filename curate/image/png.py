"""Chunks of PNG files.

Pillow refuses a PNG for a wrong checksum in a text. libpng, and with it most programs, ignores such a chunk and warns.
The PNG specification (third edition, sections 5.4 and 13.2) allows that: chunks whose names begin with a small letter
are ancillary.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import Image

from curate.errors import BrokenPhoto, UnsupportedFormat

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset([b"tRNS", b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"])
"""Ancillary chunks that decide how the pixels of the first frame are shown."""
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


def has_plain_chunks(data: bytes) -> bool:
    """Whether OpenCV may read the file: its chunks are complete, and those behind the pixels don't turn the picture.

    OpenCV allocates memory for as many bytes as a chunk claims to have. Pillow reads EXIF and XMP before the pixels
    when it opens the file, and those behind them later.
    """
    pixels_seen, name = False, b""
    for name, body in png_chunks(data):
        pixels_seen |= name == b"IDAT"
        if pixels_seen and (name == b"eXIf" or body.startswith(_ORIENTED_TEXTS)):
            return False
    return name == b"IEND"


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


def check_pixel_data(data: bytes) -> None:
    """Check the checksums of the chunks with the pixels, which Pillow does not do.

    Args:
        data: the bytes of a PNG.

    Raises:
        BrokenPhoto: a checksum is wrong.
    """
    for name, start, end in _read_chunks(data):
        if name == b"IDAT" and end <= len(data) and not _is_intact(data[start + 4 : end]):
            raise BrokenPhoto("the checksum of the image data is wrong: the file was damaged")


def check_png_kind(data: bytes) -> None:
    """Raise UnsupportedFormat for a PNG in Apple's own variant, which only Apple's programs read."""
    if data.startswith(_SIGNATURE) and data[12:16] == b"CgBI":
        raise UnsupportedFormat("a PNG optimized for iPhones (CgBI) isn't decoded: convert it to a PNG on a Mac")


def drop_damaged_chunks(data: bytes) -> bytes | None:
    """Remove the chunks that do not change the picture, and those that would but are damaged.

    Args:
        data: the bytes of a file that could not be decoded.

    Returns:
        A PNG with its critical chunks as they are, and with the intact ones of those ancillary chunks that decide how
        the pixels are shown; None if there is nothing to remove, or if the file is not a PNG.
    """
    if not data.startswith(_SIGNATURE):
        return None
    pieces = [data[start:end] for name, start, end in _read_chunks(data) if _is_needed(name, data[start + 4 : end])]
    kept = b"".join([_SIGNATURE, *pieces])
    return kept if len(kept) < len(data) else None


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk; the last may end after the data."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end


def _is_needed(name: bytes, chunk: bytes) -> bool:
    """Whether to keep a chunk, given from its name to its checksum."""
    is_critical = not name[:1].islower()
    is_kept = name in _KEPT or chunk.startswith(_ORIENTED_TEXTS, 4)
    return is_critical or (is_kept and _is_intact(chunk))


def _is_intact(chunk: bytes) -> bool:
    return zlib.crc32(memoryview(chunk)[:-4]).to_bytes(4, "big") == chunk[-4:]
