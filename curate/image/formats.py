"""Formats that Pillow reads by a plugin, each an extra: HEIC (it bundles x265) and JPEG XL (GPL-3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
JXL_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL ")


@dataclass(frozen=True, slots=True)
class PluginFormat:
    """A format and what reads it."""

    format: str
    """The plugin's name for it."""
    name: str
    """As people call it."""
    pip: str
    """The extra that brings the plugin."""


HEIF = PluginFormat("HEIF", "HEIC", "heic")
JXL = PluginFormat("JXL", "JPEG XL", "jxl")


def detect_plugin_format(head: bytes) -> PluginFormat | None:
    """What a file's first bytes ask for, if Pillow alone doesn't read them."""
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        return HEIF
    return JXL if head.startswith(JXL_SIGNATURES) else None


@cache
def is_installed(extra: PluginFormat) -> bool:
    """Whether the plugin is here; then Pillow knows the format from now on."""
    try:
        if extra is HEIF:
            import_module("pillow_heif").register_heif_opener()
        else:
            plugin: Any = import_module("pillow_jxl.JpegXLImagePlugin")
            plugin.DECODE_THREADS = 0  # a worker takes one core
    except ImportError:
        return False
    return True


def jxl_pixel_count(data: bytes) -> int | None:
    """How many pixels a JPEG XL claims, which its plugin would find out by decoding them; None if that can't be read.

    Source: ISO/IEC 18181-1, SizeHeader.
    """
    start = data.find(b"\xff\x0a", 0, 1 << 16)  # in a container the codestream is a box
    if start < 0:
        return None
    bits = int.from_bytes(data[start + 2 : start + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(eighths: int) -> int:
        return 8 * (take(5) + 1) if eighths else take((9, 13, 18, 30)[take(2)]) + 1

    eighths = take(1)
    height = side(eighths)
    ratio = take(3)
    if ratio == 0:
        return height * side(eighths)
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * (height * over // under)


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
"""Names that promise a photo: such a file gets a row even if it turns out to be none."""
RAW_SUFFIXES = frozenset(
    [
        ".3fr",
        ".arw",
        ".cr2",
        ".cr3",
        ".dng",
        ".erf",
        ".kdc",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".rw2",
        ".srw",
        ".x3f",
    ]
)
"""Camera raw: TIFF inside, but what Pillow would see is a thumbnail."""


SNIFF_BYTES = 32


_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF
    *JXL_SIGNATURES,
    b"\0\0\0\x0cjP  ",  # JPEG 2000
)


def looks_like_photo(head: bytes) -> bool:
    """Whether the first bytes (32 suffice) are those of a picture format that we know, decodable here or not."""
    return (
        head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", *HEIF_BRANDS))
    )
