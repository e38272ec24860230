"""Supported image formats, and how they are recognized from a file's first bytes or its name.

HEIC and JPEG XL need a Pillow plugin. Each is an extra, because of licences: the HEIC plugin bundles x265 (GPL-2), the
JPEG XL plugin is GPL-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePath
from typing import Any

from curate.errors import UnsupportedFormat
from curate.image.signatures import is_camera_raw
from curate.image.tiff_pages import RAW_NOT_DECODED
from curate.image.tiff_tags import TIFF_MAGIC

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
PHOTO_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
        ".dib",
        ".avif",
        ".heic",
        ".heif",
        ".jxl",
        ".jp2",
    ]
)
"""File name endings of photos: such a file gets a row in a manifest even if its content is not a photo."""
RAW_SUFFIXES = frozenset(
    [
        ".3fr",
        ".arw",
        ".cap",
        ".cr2",
        ".cr3",
        ".crw",
        ".dcr",
        ".dcs",
        ".dng",
        ".erf",
        ".fff",
        ".gpr",
        ".iiq",
        ".k25",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".rw2",
        ".rwl",
        ".sr2",
        ".srf",
        ".srw",
        ".x3f",
    ]
)
"""File name endings of camera raw files. A TIFF with such a name is camera raw."""
SNIFF_BYTES = 512
"""Number of first bytes that suffice to recognize a format."""
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
JXL_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    *TIFF_MAGIC,
    *JXL_SIGNATURES,
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),  # JPEG 2000
)


@dataclass(frozen=True, slots=True)
class PluginFormat:
    """A format that Pillow reads with a plugin only."""

    format: str
    """Pillow's name of the format."""
    name: str
    """The usual name of the format, for messages."""
    extra: str
    """The extra of vividset that installs the plugin."""


HEIF = PluginFormat("HEIF", "HEIC", "heic")
JXL = PluginFormat("JXL", "JPEG XL", "jxl")


def looks_like_photo(head: bytes) -> bool:
    """Whether a file's first bytes (SNIFF_BYTES suffice) are those of a known image format, supported or not.

    >>> looks_like_photo(b"GIF89a"), looks_like_photo(b"<html>")
    (True, False)
    """
    return (
        head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", *HEIF_BRANDS))
        or is_camera_raw(head)
    )


def has_raw_name(path: str) -> bool:
    """Whether a name ends like that of a camera raw file, in upper or lower case."""
    return PurePath(path).suffix.lower() in RAW_SUFFIXES


def check_raw_name(path: str, head: bytes) -> None:
    """Check that a file is not camera raw by its name, so that large raw files need not be read.

    Args:
        path: of the file.
        head: its first bytes.

    Raises:
        UnsupportedFormat: it is a TIFF with the name of a camera raw file.
    """
    if has_raw_name(path) and head.startswith(TIFF_MAGIC):
        raise UnsupportedFormat(RAW_NOT_DECODED)


def detect_plugin_format(head: bytes) -> PluginFormat | None:
    """The format of a file that needs a plugin, from its first bytes; None for any other file."""
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return HEIF
    return JXL if head.startswith(JXL_SIGNATURES) else None


@cache
def is_installed(plugin_format: PluginFormat) -> bool:
    """Whether the plugin is installed; if so, register it with Pillow."""
    try:
        if plugin_format is HEIF:
            import_module("pillow_heif").register_heif_opener()
        else:
            plugin: Any = import_module("pillow_jxl.JpegXLImagePlugin")
            plugin.DECODE_THREADS = 0  # no threads of its own: each worker process uses one core
    except ImportError:
        return False
    return True


def jxl_pixel_count(data: bytes) -> int | None:
    """Width times height from the header of a JPEG XL file; None if the header cannot be read.

    The plugin decodes all pixels before it gives the size, so the limit has to be checked here.

    Args:
        data: the file's bytes, a bare codestream or a container.

    Source: ISO/IEC 18181-1, SizeHeader.
    """
    start = data.find(b"\xff\x0a", 0, 1 << 16)  # a container holds the codestream in a box
    if start < 0:
        return None
    bits = int.from_bytes(data[start + 2 : start + 14], "little")

    def take_bits(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def read_side(eighths: int) -> int:
        return 8 * (take_bits(5) + 1) if eighths else take_bits((9, 13, 18, 30)[take_bits(2)]) + 1

    eighths = take_bits(1)
    height = read_side(eighths)
    ratio = take_bits(3)
    if ratio == 0:
        return height * read_side(eighths)
    numerator, denominator = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * (height * numerator // denominator)
