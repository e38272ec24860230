"""Read what a file says about its origin: IPTC's digital source type, as XMP and C2PA hold it."""

from __future__ import annotations

import re

MACHINE_MADE = frozenset(
    {
        "algorithmicMedia",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "dataDrivenMedia",
        "digitalArt",
        "digitalCreation",
        "screenCapture",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    }
)
"""IPTC's digital source types of pictures that no camera recorded, or of which a program made a part."""
_URL = b"newscodes/digitalsourcetype/"
_TERM = re.compile(_URL + rb"([A-Za-z]{3,60})")
_COLORIZED = b"Colorized by machine. checkpoint sha256"
"""How the EXIF description of a picture of `train colorize` begins, which stays where XMP is removed."""
HEAD_BYTES, TAIL_BYTES = 1 << 18, 1 << 16
"""The metadata of photos is at their start, of WebP and HEIC at the end."""
DESCRIPTION_BYTES = 1 << 13
"""The EXIF description is in the first bytes."""
_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN = 0xDA


def read_source_type(data: bytes) -> str | None:
    """Return IPTC's digital source type of a file; None if it has none.

    Of several, the first is returned that says that a program made the picture or a part of it. XMP that is compressed,
    as PNG allows, is not read.

    Args:
        data: content of the file.

    Returns:
        The last part of its address in http://cv.iptc.org/newscodes/digitalsourcetype/, like `digitalCapture` or
        `trainedAlgorithmicMedia`. Pictures of `train colorize` are `compositeWithTrainedAlgorithmicMedia`.

    >>> read_source_type(b'<a DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/>')
    'digitalCapture'
    """
    end = len(data)
    parts = [(0, end)] if end <= HEAD_BYTES + TAIL_BYTES else [(0, HEAD_BYTES), (end - TAIL_BYTES, end)]
    if data.startswith(_JPEG):
        parts = [(0, _end_of_jpeg_header(data))]  # a search in all bytes would cost as much as their hash
    found = []
    for first, last in parts:
        if data.find(_URL, first, last) >= 0:
            found += [match[1].decode() for match in _TERM.finditer(data, first, last)]
    if not found and data.find(_COLORIZED, 0, DESCRIPTION_BYTES) >= 0:
        found.append("compositeWithTrainedAlgorithmicMedia")
    return next((term for term in found if term in MACHINE_MADE), found[0] if found else None)


def _end_of_jpeg_header(data: bytes) -> int:
    """Return the position of the first scan of a JPEG, or of the first byte that is no segment."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != _START_OF_SCAN:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return min(position, len(data))
