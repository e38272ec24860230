"""Describe a file that no decoder accepts: what it is, by its first bytes, and what to do about it.

Sources of the byte patterns: the magic numbers of file(1) and ExifTool, and the specifications of the formats.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from curate.errors import BrokenPhoto, NotAPhoto, PhotoError, UnsupportedFormat
from curate.image.tiff_pages import RAW_ADVICE

_CONVERT = "convert it to JPEG or PNG"
_UNPACK = "unpack it and scan the photos in it"
_DOWNLOAD = "a server may have sent it instead of the photo, so download the photo again"
_COPY = "copy it again, in binary mode"
_START_BYTES = 4096
"""How much of a file is looked at to tell kinds of text apart."""
_QUOTED_CHARACTERS = 40


class Signature(NamedTuple):
    """What the first bytes of a file say that it is."""

    offset: int
    magic: bytes
    name: str
    advice: str = ""


RAW_SIGNATURES = tuple(
    Signature(offset, magic, f"camera raw ({name})", RAW_ADVICE)
    for offset, magic, name in (
        (0, b"IIU\0", "Panasonic or Leica"),
        (0, b"IIRO", "Olympus"),
        (0, b"IIRS", "Olympus"),
        (0, b"MMOR", "Olympus"),
        (0, b"FUJIFILMCCD-RAW", "Fujifilm"),
        (0, b"FOVb", "Sigma"),
        (0, b"\0MRM", "Minolta"),
        (0, b"\0MRI", "Minolta"),
        (6, b"HEAPCCDR", "Canon CRW"),
        (4, b"ftypcrx ", "Canon CR3"),
        (0, b"ARRI", "ARRI"),
    )
)
"""Camera raw files that are no TIFFs; for those that are, see `curate.image.tiff_pages`."""

_UNSUPPORTED = (
    *RAW_SIGNATURES,
    Signature(0, b"\0\0\0\x0cjP  ", "JPEG 2000", _CONVERT),
    Signature(0, b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    Signature(0, b"II\xbc\x01", "JPEG XR", _CONVERT),
    Signature(0, b"8BPS", "a Photoshop document (PSD)", _CONVERT),
    Signature(0, b"gimp xcf", "a GIMP document (XCF)", _CONVERT),
    Signature(0, b"\x76\x2f\x31\x01", "OpenEXR", _CONVERT),
    Signature(0, b"#?RADIANCE", "Radiance HDR", _CONVERT),
    Signature(0, b"#?RGBE", "Radiance HDR", _CONVERT),
    Signature(0, b"DDS ", "a DirectDraw texture (DDS)", _CONVERT),
    Signature(0, b"icns", "an icon (ICNS)", _CONVERT),
    Signature(0, b"\x01\xda", "an SGI image", _CONVERT),
    Signature(0, b"\x0a\x05\x01\x08", "PCX", _CONVERT),
    Signature(0, b"\x59\xa6\x6a\x95", "a Sun raster image", _CONVERT),
    Signature(0, b"SIMPLE  =", "FITS", _CONVERT),
    Signature(0, b"SDPX", "DPX", _CONVERT),
    Signature(0, b"XPDS", "DPX", _CONVERT),
    Signature(0, b"qoif", "QOI", _CONVERT),
    Signature(0, b"FLIF", "FLIF", _CONVERT),
    Signature(0, b"BPG\xfb", "BPG", _CONVERT),
    Signature(0, b"\x8aMNG", "MNG", _CONVERT),
    Signature(0, b"\x8bJNG", "JNG", _CONVERT),
    Signature(0, b"AT&TFORM", "DjVu", _CONVERT),
    Signature(128, b"DICM", "DICOM", _CONVERT),
    Signature(0, b"%!PS", "PostScript or EPS", _CONVERT),
    Signature(0, b"\xc5\xd0\xd3\xc6", "EPS", _CONVERT),
)

_NO_PHOTO = (
    Signature(0, b"\0\5\x16\7", "AppleDouble data of macOS, not the photo itself", "delete it; the photo has no `._`"),
    Signature(0, b"\0\5\x16\0", "AppleSingle data of macOS", "unpack the photo on a Mac"),
    Signature(0, b"bplist00", "a property list of macOS or a placeholder of iCloud", "download the photo from iCloud"),
    Signature(0, b"%PDF", "a PDF document", "extract its pictures"),
    Signature(0, b"PK\3\4", "a ZIP archive or an office document", _UNPACK),
    Signature(0, b"PK\5\6", "an empty ZIP archive"),
    Signature(0, b"\x1f\x8b", "gzip data", _UNPACK),
    Signature(0, b"BZh", "bzip2 data", _UNPACK),
    Signature(0, b"\xfd7zXZ\0", "xz data", _UNPACK),
    Signature(0, b"\x28\xb5\x2f\xfd", "zstd data", _UNPACK),
    Signature(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    Signature(0, b"Rar!\x1a\7", "a RAR archive", _UNPACK),
    Signature(257, b"ustar", "a tar", "name it .tar, and it is scanned"),
    Signature(0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)"),
    Signature(8, b"AVI ", "a video (AVI)"),
    Signature(8, b"WAVE", "sound (WAV)"),
    Signature(0, b"FLV\1", "a video (Flash)"),
    Signature(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (Windows Media)"),
    Signature(0, b"\0\0\1\xba", "a video (MPEG)"),
    Signature(0, b"\0\0\1\xb3", "a video (MPEG)"),
    Signature(4, b"moov", "a video (QuickTime)"),
    Signature(4, b"mdat", "a video (QuickTime)"),
    Signature(4, b"wide", "a video (QuickTime)"),
    Signature(4, b"ftyp", "a video or sound (MP4, MOV, 3GP or M4A)"),
    Signature(0, b"OggS", "sound or video (Ogg)"),
    Signature(0, b"ID3", "sound (MP3)"),
    Signature(0, b"\xff\xfb", "sound (MP3)"),
    Signature(0, b"\xff\xf3", "sound (MP3)"),
    Signature(0, b"\xff\xf1", "sound (AAC)"),
    Signature(0, b"\xff\xf9", "sound (AAC)"),
    Signature(0, b"fLaC", "sound (FLAC)"),
    Signature(0, b"\x7fELF", "a program (ELF)"),
    Signature(0, b"MZ", "a program (Windows)"),
    Signature(0, b"\xca\xfe\xba\xbe", "a program (Java or macOS)"),
    Signature(0, b"\xcf\xfa\xed\xfe", "a program (macOS)"),
    Signature(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document or Thumbs.db"),
    Signature(0, b"SQLite format 3", "an SQLite database"),
    Signature(0, b"PAR1", "a Parquet file"),
    Signature(0, b"\x89HDF\r\n", "an HDF5 file"),
    Signature(0, b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    Signature(0, b"\x80\x04\x95", "a Python pickle", "save its pictures as PNG"),
)

_UNSUPPORTED_PATTERNS = (
    (rb"\0\0[\1\2]\0[^\0]\0", "an icon (ICO)", _CONVERT),
    (rb"P[1-7]\s+(#|\d|WIDTH)|P[Ff]\s+\d", "a Netpbm image (PBM, PGM, PPM, PFM)", _CONVERT),
    (rb".{4}ftyp(avc[is]|hev[msx]|heif|jpeg|j2ki|vvic|1pic)", "this kind of HEIF", _CONVERT),
)
"""Patterns of the beginning, with name and advice."""

_DAMAGED_PATTERNS = (
    (rb"\x89PNG(\n\x1a|\r\r|\r\n\n|\n\n)|\x09PNG\r\n", "a PNG that was changed by a transfer in text mode", _COPY),
    (rb"(\xef\xbf\xbd){2}", "binary data that was converted to text", _COPY),
)

_TEXT_PATTERNS = (
    (
        rb"version https://(git-lfs|hawser)\.github\.com/",
        "a Git LFS pointer, not the photo itself",
        "run `git lfs pull`",
    ),
    (rb"/annex/objects/|(\.\./)*\.git/annex/", "a git-annex pointer, not the photo itself", "run `git annex get`"),
    (rb"(<\?xml|<!--|<!doctype).*<svg[\s:>]|<svg[\s>]", "an SVG drawing", "render it to PNG"),
    (
        rb"<!doctype html|<(html|head|body|script|style|title|meta|link|h1|p|div|center)\b|(<\?xml|<!--).*<html\b",
        "an HTML page",
        _DOWNLOAD,
    ),
    (rb"<\?x|<[a-z:]+ xmlns|<error>", "XML", _DOWNLOAD),
    (rb"\{\s*[\"}]|\[\s*[{\[\"\]]", "JSON", _DOWNLOAD),
    (rb"/9j/|iVBORw0KGgo|R0lGOD|data:image/", "an image as base64 text", "decode it from base64"),
    (rb"#!", "a script", ""),
)
_ERROR_CODE = re.compile(rb"<error>.*<code>\s*([a-z0-9_.]+)", re.IGNORECASE | re.DOTALL)
"""The reason in the XML with which an object store answers."""


def describe_content(data: bytes) -> PhotoError:
    """The error for a file that is no image of a decoded format: what it is, and what to do.

    Args:
        data: the file's bytes, or at least its first `SNIFF_BYTES` (see `curate.image.formats`).

    Returns:
        UnsupportedFormat for an image or camera raw file that is not decoded; NotAPhoto for anything else.

    >>> print(describe_content(b"8BPS"))
    UnsupportedFormat: a Photoshop document (PSD) isn't decoded: convert it to JPEG or PNG
    >>> print(describe_content(b"version https://git-lfs.github.com/spec/v1"))
    NotAPhoto: it is a Git LFS pointer, not the photo itself: run `git lfs pull`
    """
    start = data[:_START_BYTES]
    if found := _find_signature(data, _UNSUPPORTED) or _find_pattern(start, _UNSUPPORTED_PATTERNS):
        return UnsupportedFormat(f"{found[0]} isn't decoded: {found[1]}")
    if found := _find_pattern(start, _DAMAGED_PATTERNS):
        return BrokenPhoto(_sentence(*found))
    if not start.strip(b"\0"):
        return NotAPhoto("it holds zeros instead of a photo: the download or copy was not complete, so copy it again")
    if found := _find_signature(data, _NO_PHOTO) or _describe_text(start):
        return NotAPhoto(_sentence(*found))
    return NotAPhoto("the content is not an image of a known format")


def is_camera_raw(head: bytes) -> bool:
    """Whether a file's first bytes are those of a camera raw file that is no TIFF."""
    return _find_signature(head, RAW_SIGNATURES) is not None


def _find_signature(data: bytes, signatures: tuple[Signature, ...]) -> tuple[str, str] | None:
    """Name and advice of the first signature that the data has."""
    return next(((name, advice) for offset, magic, name, advice in signatures if data.startswith(magic, offset)), None)


def _find_pattern(start: bytes, patterns: tuple[tuple[bytes, str, str], ...]) -> tuple[str, str] | None:
    """Name and advice of the first pattern that the data begins with."""
    return next(
        ((name, advice) for pattern, name, advice in patterns if re.match(pattern, start, re.IGNORECASE | re.DOTALL)),
        None,
    )


def _sentence(name: str, advice: str) -> str:
    return f"it is {name}: {advice}" if advice else f"it is {name}"


def _describe_text(start: bytes) -> tuple[str, str] | None:
    """Name and advice for a text, from its first bytes; None for binary data."""
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = start.decode(encoding, "ignore").strip()
    if found := _find_pattern(text.encode(), _TEXT_PATTERNS):
        code = _ERROR_CODE.search(start)
        return (f"XML with the error {code[1].decode()}", _DOWNLOAD) if code and found[0] == "XML" else found
    is_whole = len(start.decode(encoding, "replace").rstrip("\ufffd")) <= len(start.decode(encoding, "ignore"))
    if not (is_whole and text and all(c.isprintable() or c.isspace() for c in text)):
        return None
    return f"text, which begins with {' '.join(text.split())[:_QUOTED_CHARACTERS]!r}", ""
