"""Color spaces that files name without an ICC profile, by code points or numbers.

AVIF and HEIC have an nclx box and PNG a cICP chunk, with code points of ITU-T H.273 for primaries and transfer curve.
PNG also has the older chunks gAMA and cHRM. All are converted to sRGB like an ICC profile of a matrix and curves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.image.icc import MatrixTransform, build_matrix_transform, changes_no_color, read_icc_tags
from curate.image.png import png_chunks

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of red, green, blue and white."""

_D65 = (0.3127, 0.3290)
_ILLUMINANT_C = (0.310, 0.316)
_BT709: Chromaticities = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
_PRIMARIES: dict[int, Chromaticities] = {
    1: _BT709,
    4: (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, *_ILLUMINANT_C),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_ILLUMINANT_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
"""H.273, table 2: by code point. 9 is BT.2020, 12 Display P3. Others are unspecified and count as sRGB."""

_PQ, _HLG = 16, 18
HDR_TRANSFERS = {_PQ: "pq", _HLG: "hlg"}
_REFERENCE_WHITE = 203 / 10_000
"""PQ light of diffuse white, relative to 10,000 cd/m² (ITU-R BT.2408)."""
_HLG_REFERENCE_WHITE = 0.265
"""HLG scene light of diffuse white, whose signal is 75 % (ITU-R BT.2408)."""
_BRIGHTEST = 3.0
"""Light above this multiple of diffuse white is clipped before the matrix; all above 1 is clipped after it."""

_SRGB_GAMMA = 0.45455
_SAME_GAMMA = 0.05
"""libpng takes gammas within this share of each other for the same one; 0.45455 is what programs write for sRGB. With
other primaries than those of sRGB, this gamma is taken literally."""
_GAMMA_RANGE = (0.00016, 6250.0)
"""libpng ignores gAMA chunks outside this range."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_MATRIX_ONE = 1 << 14
"""Entries of a matrix are multiples of 1 / _MATRIX_ONE, as in `MatrixTransform`."""
_MAX_PROPERTIES = 4096
_LEVELS: NDArray[np.float64] = np.linspace(0, 1, 256)


@dataclass(frozen=True, slots=True)
class ColorTags:
    """The color space that a file names."""

    transform: MatrixTransform | None
    """To sRGB; None if the pixels are sRGB already."""
    hdr_transfer: str | None
    """`pq` or `hlg`; None for a curve of standard range."""
    over_profile: bool
    """Whether these tags take precedence over an ICC profile in the same file."""


def read_color_tags(image: Image.Image, data: bytes | None) -> ColorTags | None:
    """The color space that a file names beside or instead of an ICC profile.

    Args:
        image: opened by Pillow.
        data: the file's bytes; None for an image whose file is not known: nclx and cICP are then not found.

    Returns:
        None if it names none.
    """
    if image.format == "PNG":
        return _read_png_tags(image, data)
    profile = image.info.get("icc_profile")
    code_points = _find_nclx(data) if data is not None and image.format in ("AVIF", "HEIF") else None
    if profile and (in_profile := _profile_code_points(profile)):
        hdr_transfer = HDR_TRANSFERS.get(in_profile[1])
        return ColorTags(None, hdr_transfer, over_profile=False) if hdr_transfer else None
    return None if code_points is None else _from_code_points(*code_points, over_profile=False)


def _read_png_tags(image: Image.Image, data: bytes | None) -> ColorTags | None:
    """Of cICP, else sRGB, else gAMA and cHRM (PNG, third edition, section 4.3)."""
    for name, body in png_chunks(data or b""):
        if name == b"IDAT":
            break
        if name == b"cICP" and len(body) == 4 and body[2] == 0 and body[3] == 1:
            return _from_code_points(body[0], body[1], over_profile=True)
    profile = image.info.get("icc_profile")
    if profile:
        in_profile = _profile_code_points(profile)
        hdr_transfer = HDR_TRANSFERS.get(in_profile[1]) if in_profile else None
        return ColorTags(None, hdr_transfer, over_profile=False) if hdr_transfer else None
    if "srgb" in image.info:
        return None
    gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
    if not isinstance(gamma, float) or not _GAMMA_RANGE[0] <= gamma <= _GAMMA_RANGE[1]:
        gamma = None
    if gamma is None and chromaticities is None:
        return None
    primaries: Chromaticities = _BT709
    if chromaticities is not None:
        white, *others = zip(chromaticities[::2], chromaticities[1::2], strict=True)
        red, green, blue = others
        primaries = (*red, *green, *blue, *white)
    transform = _make_transform(primaries, tuple(_decode_transfer(13)))
    if gamma is not None and (transform or abs(gamma / _SRGB_GAMMA - 1) > _SAME_GAMMA):
        transform = _make_transform(primaries, tuple(_LEVELS ** (1 / gamma)))
    return ColorTags(transform, None, over_profile=False)


def read_bmp_profile(data: bytes) -> bytes | None:
    """The ICC profile in a BMP with a header of version 5; None without one. Pillow doesn't read it."""
    if len(data) < 138 or data[:2] != b"BM" or data[70:74] != b"DEBM":
        return None
    offset, size = struct.unpack_from("<II", data, 126)
    return data[14 + offset : 14 + offset + size]


def _from_code_points(primaries: int, transfer: int, *, over_profile: bool) -> ColorTags:
    light = tuple(_decode_transfer(transfer).clip(0, _BRIGHTEST))
    transform = _make_transform(_PRIMARIES.get(primaries, _BT709), light)
    return ColorTags(transform, HDR_TRANSFERS.get(transfer), over_profile)


def _profile_code_points(icc_bytes: bytes) -> tuple[int, int] | None:
    """Primaries and transfer of the `cicp` tag of an ICC profile of version 4.4."""
    try:
        tag = read_icc_tags(icc_bytes).get(b"cicp", b"")
    except struct.error:
        return None
    return (tag[8], tag[9]) if len(tag) >= 12 and tag[:4] == b"cicp" else None


def _decode_transfer(transfer: int) -> NDArray[np.float64]:
    """(256,) float64: light of each level relative to diffuse white, by code point of H.273, table 3.

    Browsers show the curves of video cameras (1, 6, 14, 15) as sRGB, whose camera curve they resemble; so do we.
    """
    levels = _LEVELS
    match transfer:
        case 4 | 5:
            return levels ** (2.2 if transfer == 4 else 2.8)
        case 7:
            return np.where(levels < 0.0913, levels / 4, ((levels + 0.1115) / 1.1115) ** (1 / 0.45))
        case 8:
            return levels
        case 9 | 10:
            return np.where(levels > 0, 10 ** ((2 if transfer == 9 else 2.5) * (levels - 1)), 0)
        case 16:
            power = levels ** (32 / 2523)
            light = np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)
            return light ** (8192 / 1305) / _REFERENCE_WHITE
        case 17:
            return levels**2.6 * 52.37 / 48
        case 18:
            bright = (np.exp((levels - 0.55991073) / 0.17883277) + 0.28466892) / 12
            return np.where(levels <= 0.5, levels**2 / 3, bright) / _HLG_REFERENCE_WHITE
        case _:
            return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=64)
def _make_transform(primaries: Chromaticities, light: tuple[float, ...]) -> MatrixTransform | None:
    """The transform to sRGB; None if it changes nothing, or if the primaries are impossible."""
    try:
        with np.errstate(all="raise"):
            to_xyz, to_srgb_xyz = _rgb_to_xyz(primaries), _rgb_to_xyz(_BT709)
            white, d65 = (_BRADFORD @ xyz.sum(axis=1) for xyz in (to_xyz, to_srgb_xyz))
            adaptation = np.linalg.solve(_BRADFORD, np.diag(d65 / white) @ _BRADFORD)
            matrix = np.linalg.solve(to_srgb_xyz, adaptation @ to_xyz)
    except (np.linalg.LinAlgError, FloatingPointError):
        return None
    matrix = np.rint(matrix * _MATRIX_ONE) / _MATRIX_ONE
    matrix += np.diag(1 - matrix.sum(axis=1))  # gray stays exactly gray
    transform = build_matrix_transform(np.array(light)[:, None], matrix)
    return None if transform is None or changes_no_color(transform) else transform


def _rgb_to_xyz(primaries: Chromaticities) -> NDArray[np.float64]:
    """(3, 3) float64: XYZ of red, green and blue light, one column each; their sum has Y = 1."""
    x, y = np.array(primaries).reshape(4, 2).T
    xyz = np.stack([x, y, 1 - x - y])
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3] / y[3])


def _find_nclx(data: bytes) -> tuple[int, int] | None:
    """Primaries and transfer from the nclx box of an AVIF or HEIC (ISO/IEC 14496-12, 12.1.5).

    The box of the primary item, else the first one: tiles of a grid may carry it. None if there is none, or if the
    boxes before it are malformed.
    """
    try:
        meta = dict(_boxes(memoryview(data)))[b"meta"]
        inside = dict(_boxes(meta[4:]))
        properties = list(_boxes(dict(_boxes(inside[b"iprp"]))[b"ipco"]))[:_MAX_PROPERTIES]
        primary = int.from_bytes(inside[b"pitm"][4 : 8 if inside[b"pitm"][0] else 6])
        associated = [
            number
            for name, body in _boxes(inside[b"iprp"])
            if name == b"ipma"
            for item, number in _associations(body)
            if item == primary
        ]
    except (KeyError, IndexError):
        return None
    own = [properties[number - 1] for number in associated if 0 < number <= len(properties)]
    for name, body in (*own, *properties):
        if name == b"colr" and bytes(body[:4]) == b"nclx" and len(body) >= 8:
            return int.from_bytes(body[4:6]), int.from_bytes(body[6:8])
    return None


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Type and body of each box; ends at the first that is malformed."""
    at = 0
    while at + 8 <= len(data):
        size, name, head = int.from_bytes(data[at : at + 4]), bytes(data[at + 4 : at + 8]), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            return
        yield name, data[at + head : at + size]
        at += size


def _associations(ipma: memoryview) -> Iterator[tuple[int, int]]:
    """Item and property number, from 1, of each association of an ipma box (ISO/IEC 23008-12, 9.3)."""
    id_bytes, number_bytes = 4 if ipma[0] else 2, 2 if ipma[3] & 1 else 1
    at = 8
    for _ in range(int.from_bytes(ipma[4:8])):
        item = int.from_bytes(ipma[at : at + id_bytes])
        at += id_bytes + 1
        for _ in range(ipma[at - 1]):
            yield item, int.from_bytes(ipma[at : at + number_bytes]) & (0x7FFF if number_bytes == 2 else 0x7F)
            at += number_bytes
