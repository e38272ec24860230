"""Find out from the markers of a JPEG whether its data are complete, and whether libjpeg decodes its kind at all.

libjpeg fills what is missing with gray and only warns. Pillow ignores the warnings, so a photo whose data end early is
recognized here. Source of the markers and their layout: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import simplejpeg

from curate.errors import BrokenPhoto, UnsupportedFormat

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8\xff", b"\xff\xd9"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; F7 is JPEG-LS."""
_BASELINE_OR_PROGRESSIVE = frozenset([0xC0, 0xC1, 0xC2])
_ARITHMETIC = frozenset([0xC9, 0xCA])
_STANDALONE = frozenset([0x01, *range(0xD0, 0xD9)])
"""Markers without a length: TEM, RST0 to RST7, SOI."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The marker that ends a scan: not a stuffed byte, a restart marker or a fill byte."""
_COLORSPACES = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_COEFFICIENTS = 64
_UNREAD = -1
_MISSING_DATA = ("premature end of data segment", "found marker 0xd9 instead of RST")
"""Parts of libjpeg's warnings when it fills in missing data."""


@dataclass(slots=True)
class _Markers:
    """What the markers of the first image in a JPEG file say."""

    frame: int = 0
    """Marker of the frame header, which is the coding process; 0 without one."""
    precision: int = 0
    """Bits per sample."""
    pixels: int = 0
    """Width times height."""
    has_end: bool = False
    """Whether there is an end marker after the first scan."""
    low_bits: dict[int, list[int]] = field(default_factory=dict)
    """Of each component, by its id: for each coefficient, how many of its low bits no scan has had so far."""

    @property
    def has_all_scans(self) -> bool:
        """Whether the scans contain all bits of all coefficients."""
        return bool(self.low_bits) and not any(any(bits) for bits in self.low_bits.values())


def check_jpeg_kind(data: bytes) -> None:
    """Check that libjpeg decodes this kind of JPEG; does nothing for files of other formats.

    Raises:
        UnsupportedFormat: it has 12 or 16 bits per sample, or is lossless, hierarchical or JPEG-LS.
    """
    if not data.startswith(START_OF_IMAGE):
        return
    markers = _read_markers(data)
    if not markers.frame:
        return
    advice = "convert it to a JPEG with 8 bits, or to PNG"
    if markers.frame not in _BASELINE_OR_PROGRESSIVE | _ARITHMETIC:
        kind = {0xC3: "a lossless JPEG", 0xF7: "JPEG-LS"}.get(markers.frame, "a hierarchical or lossless JPEG")
        raise UnsupportedFormat(f"{kind} isn't decoded: {advice}")
    if markers.precision != 8:
        raise UnsupportedFormat(f"a JPEG with {markers.precision} bits per sample isn't decoded: {advice}")
    if len(markers.low_bits) not in _COLORSPACES:
        raise UnsupportedFormat(f"a JPEG with {len(markers.low_bits)} color components isn't decoded: {advice}")


def check_complete(data: bytes) -> None:
    """Check that a JPEG has an end marker and that no data before it are missing.

    Costs as much as decoding it.

    Raises:
        BrokenPhoto: it has no end marker, or data are missing.
    """
    markers = _read_markers(data)
    if not markers.has_end:
        raise BrokenPhoto("the file is truncated: its end marker is missing")
    if warning := _decoding_warning(data, markers):
        check_warning(warning)


def check_warning(warning: str) -> None:
    """Raise BrokenPhoto if a warning of libjpeg says that data are missing."""
    if any(text in warning for text in _MISSING_DATA):
        raise BrokenPhoto("the file is truncated or damaged: image data are missing")


def add_end_marker(data: bytes, max_pixels: int) -> bytes | None:
    """Add the end marker to a JPEG that lacks nothing else, so that decoders accept it.

    Whether something else is missing is decided by libjpeg, which warns if it needs more data, and by the headers of
    the scans, because a progressive JPEG can end between two scans. Zeros at the end are the rest of a download that
    was not complete; libjpeg can decode them.

    Args:
        data: a file's bytes.
        max_pixels: a larger picture is not decoded.

    Returns:
        The data with an end marker; None if more than the end marker is missing, if it has one, or if the coding does
        not show what is missing (arithmetic coding).
    """
    if not data.startswith(START_OF_IMAGE) or _ends_with_zeros(data):
        return None
    markers = _read_markers(data)
    if markers.has_end or markers.frame not in _BASELINE_OR_PROGRESSIVE or markers.pixels > max_pixels:
        return None
    if not markers.has_all_scans:
        return None
    complete = data + END_OF_IMAGE
    return None if _decoding_warning(complete, markers) else complete


def _ends_with_zeros(data: bytes) -> bool:
    """Whether the last byte is a zero that does not belong to a stuffed FF. A scan is padded with one bits."""
    return data.endswith(b"\0") and not data.endswith(b"\xff\0")


def _decoding_warning(data: bytes, markers: _Markers) -> str:
    """What libjpeg reports when it decodes a JPEG; empty if nothing."""
    try:
        simplejpeg.decode_jpeg(data, _COLORSPACES.get(len(markers.low_bits), "RGB"), strict=True)
    except ValueError as exc:
        return str(exc)
    return ""


def _read_markers(data: bytes) -> _Markers:
    """Read the markers of the first image, up to its end, the end of the data or the first malformed one."""
    markers, at, has_scan = _Markers(), 0, False
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        marker, start = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker in _STANDALONE:
            at = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        segment = data[start + 2 : start + length]
        if length < 2 or len(segment) < length - 2:
            break
        if marker in _FRAMES and not markers.frame and len(segment) >= 6:
            markers.frame, markers.precision = marker, segment[0]
            markers.pixels = int.from_bytes(segment[1:3], "big") * int.from_bytes(segment[3:5], "big")
            markers.low_bits = {component: [_UNREAD] * _COEFFICIENTS for component in segment[6::3]}
        elif marker == _START_OF_SCAN:
            if not has_scan:
                markers.has_end = data.find(END_OF_IMAGE, start + length) >= 0
            has_scan = True
            _add_scan(markers, segment)
        at = start + length
    return markers


def _add_scan(markers: _Markers, header: bytes) -> None:
    """Note which bits of which coefficients a scan has."""
    count = header[0] if header else 0
    if len(header) != 2 * count + 4:
        return
    first, last, approximation = header[-3:]
    if markers.frame != 0xC2:  # only progressive scans are partial
        first, last, approximation = 0, _COEFFICIENTS - 1, 0
    for component in header[1 : 1 + 2 * count : 2]:
        bits = markers.low_bits.get(component)
        if bits is not None and last < _COEFFICIENTS:
            bits[first : last + 1] = [approximation & 15] * (last + 1 - first)
