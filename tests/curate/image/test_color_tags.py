"""Color spaces named without an ICC profile: nclx of AVIF and HEIC, cICP, gAMA and cHRM of PNG.

Display P3 (234, 51, 35) is sRGB red: CSS Color 4, section 10.3, gives color(display-p3 0.9175 0.2003 0.1386).
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curate.errors import PhotoError
from curate.image.decode import decode_bytes, decode_image

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]

P3_RED, SRGB_RED = (234, 51, 35), (255, 0, 0)
BT709_NUMBERS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_NUMBERS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
LINEAR = (b"gAMA", struct.pack(">I", 100_000))
SRGB_GAMMA = (b"gAMA", struct.pack(">I", 45_455))
P3_PRIMARIES = (b"cHRM", struct.pack(">8I", *P3_NUMBERS))
SRGB_PRIMARIES = (b"cHRM", struct.pack(">8I", *BT709_NUMBERS))
P3_CODES = (b"cICP", bytes([12, 13, 0, 1]))
SRGB_CODES = (b"cICP", bytes([1, 13, 0, 1]))
SRGB = (b"sRGB", b"\0")


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks added behind its header."""
    added = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return data[:33] + added + data[33:]


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF of Pillow with other code points in its nclx box."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def shown(data: bytes) -> NDArray[np.int64]:
    """The color of the middle pixel."""
    pixels = decode_bytes(data).pixels
    color: NDArray[np.int64] = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(np.int64)
    return color


def color_png(encoded: Encode, color: tuple[int, ...] | int, *chunks: tuple[bytes, bytes], **options: Any) -> bytes:
    return with_chunks(
        encoded(Image.new("L" if isinstance(color, int) else "RGB", (4, 4), color), "PNG", **options), *chunks
    )


@pytest.mark.parametrize("chunks", [(P3_CODES,), (P3_PRIMARIES,)])
def test_p3_in_a_png_becomes_srgb(chunks: tuple[tuple[bytes, bytes], ...], encoded: Encode) -> None:
    assert np.abs(shown(color_png(encoded, P3_RED, *chunks)) - SRGB_RED).max() <= 1


@pytest.mark.parametrize(
    "chunks",
    [(SRGB,), (SRGB_GAMMA,), (SRGB_GAMMA, SRGB_PRIMARIES), (SRGB_CODES,), ((b"gAMA", struct.pack(">I", 47_000)),)],
)
def test_chunks_that_say_srgb_change_nothing(
    chunks: tuple[tuple[bytes, bytes], ...], vivid: Pixels, encoded: Encode
) -> None:
    assert np.array_equal(decode_bytes(with_chunks(encoded(vivid, "PNG"), *chunks)).pixels, vivid)


@pytest.mark.parametrize(("gamma", "expected"), [(100_000, 188), (55_556, 146), (250_000, 226), (16, 0)])
def test_gamma_of_a_png(gamma: int, expected: int, encoded: Encode) -> None:
    # light (128 / 255) ** (1 / gamma), by the curve of IEC 61966-2-1: 0.5020, 0.2892, 0.7591 and 0
    chunk = (b"gAMA", struct.pack(">I", gamma))
    assert shown(color_png(encoded, 128, chunk)).tolist() == [expected] * 3
    assert shown(color_png(encoded, (128, 128, 128), chunk)).tolist() == [expected] * 3


def test_a_gamma_of_2_2_is_taken_literally_with_other_primaries(encoded: Encode) -> None:
    adobe_rgb = (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
    gray = shown(color_png(encoded, (30, 30, 30), SRGB_GAMMA, adobe_rgb))
    assert gray.tolist() == [24] * 3  # (30 / 255) ** 2.2 = 0.0090, by the curve of IEC 61966-2-1


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((P3_CODES, LINEAR, SRGB_PRIMARIES), SRGB_RED),
        ((SRGB_CODES, LINEAR, P3_PRIMARIES), P3_RED),
        ((SRGB, LINEAR, P3_PRIMARIES), P3_RED),
        ((P3_CODES, SRGB), SRGB_RED),
    ],
)
def test_the_newest_chunk_takes_precedence(
    chunks: tuple[tuple[bytes, bytes], ...], expected: tuple[int, ...], encoded: Encode
) -> None:
    assert np.abs(shown(color_png(encoded, P3_RED, *chunks)) - expected).max() <= 1


def test_an_icc_profile_ranks_between_cicp_and_the_older_chunks(encoded: Encode, swapped_primaries: bytes) -> None:
    older = color_png(encoded, P3_RED, LINEAR, P3_PRIMARIES, icc_profile=swapped_primaries)
    assert np.abs(shown(older) - P3_RED[::-1]).max() <= 2
    newer = color_png(encoded, P3_RED, P3_CODES, icc_profile=swapped_primaries)
    assert np.abs(shown(newer) - SRGB_RED).max() <= 1


@pytest.mark.parametrize(
    "chunk",
    [
        (b"gAMA", struct.pack(">I", 0)),
        (b"gAMA", struct.pack(">I", 700_000_000)),
        (b"cHRM", struct.pack(">8I", 31270, 0, *P3_NUMBERS[2:])),
        (b"cHRM", struct.pack(">8I", *P3_NUMBERS[:2], *[30000] * 6)),
        (b"cHRM", bytes(32)),
        (b"cICP", bytes([12, 13, 5, 1])),
        (b"cICP", bytes([12, 13, 0])),
        (b"cICP", bytes([2, 2, 0, 1])),
    ],
)
def test_impossible_values_are_ignored(chunk: tuple[bytes, bytes], vivid: Pixels, encoded: Encode) -> None:
    assert np.array_equal(decode_bytes(with_chunks(encoded(vivid, "PNG"), chunk)).pixels, vivid)


def test_palettes_and_alpha_are_converted(encoded: Encode) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, *P3_RED])
    assert np.abs(shown(with_chunks(encoded(image, "PNG"), P3_CODES)) - SRGB_RED).max() <= 1
    clear = with_chunks(encoded(Image.new("RGBA", (4, 4), (*P3_RED, 128)), "PNG"), P3_CODES)
    photo = decode_bytes(clear, on_white=False)
    assert photo.alpha is not None
    assert int(photo.alpha[0, 0]) == 128
    assert np.abs(photo.pixels[0, 0].astype(int) - SRGB_RED).max() <= 1


def test_an_image_of_pillow_has_gamma_and_primaries(encoded: Encode) -> None:
    with Image.open(io.BytesIO(color_png(encoded, P3_RED, P3_PRIMARIES))) as image:
        assert np.abs(decode_image(image).pixels[0, 0].astype(int) - SRGB_RED).max() <= 1


@pytest.mark.parametrize(
    ("transfer", "level", "expected"),
    [
        (1, 128, 128),
        (6, 128, 128),
        (13, 128, 128),
        (4, 128, 128),  # (128 / 255) ** 2.2 = 0.2195
        (5, 128, 106),  # (128 / 255) ** 2.8 = 0.1452
        (8, 128, 188),  # 0.5020
        (7, 128, 141),  # ((0.5020 + 0.1115) / 1.1115) ** (1 / 0.45) = 0.2669, SMPTE 240M
        (16, 148, 255),  # ITU-R BT.2408: diffuse white has 58 % in PQ, and 75 % in HLG
        (16, 200, 255),
        (18, 191, 254),
        (16, 0, 0),
        (18, 0, 0),
    ],
)
def test_transfer_curves(transfer: int, level: int, expected: int, encoded: Encode) -> None:
    gray = shown(color_png(encoded, (level,) * 3, (b"cICP", bytes([1, transfer, 0, 1]))))
    assert np.abs(gray - expected).max() <= 1


@pytest.mark.parametrize("primaries", [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22])
def test_white_stays_white_with_every_primaries(primaries: int, encoded: Encode) -> None:
    assert shown(color_png(encoded, (255,) * 3, (b"cICP", bytes([primaries, 8, 0, 1])))).min() >= 254


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("primaries", [4, 6, 8, 9, 10, 11, 12])
def test_gray_stays_gray(primaries: int, mode: str, encoded: Encode) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
    pixels = decode_bytes(with_chunks(encoded(ramp, "PNG"), (b"cICP", bytes([primaries, 8, 0, 1])))).pixels
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize(("transfer", "name"), [(13, None), (16, "pq"), (18, "hlg")])
def test_hdr_curves_are_flagged(transfer: int, name: str | None, vivid: Pixels, encoded: Encode) -> None:
    assert decode_bytes(with_nclx(encoded(vivid, "AVIF", quality=90), 9, transfer)).header.hdr_transfer == name
    cicp = (b"cICP", bytes([9, transfer, 0, 1]))
    assert decode_bytes(with_chunks(encoded(vivid, "PNG"), cicp)).header.hdr_transfer == name


def test_hdr_code_points_in_a_profile_are_flagged(vivid: Pixels, encoded: Encode) -> None:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", plain, 128)
    shift = 12  # a tag of version 4.4 with the code points, as libjxl and Android write it
    entries = [struct.unpack_from(">4sII", plain, 132 + 12 * index) for index in range(count)]
    table = b"".join(struct.pack(">4sII", name, start + shift, size) for name, start, size in entries)
    body = plain[132 + 12 * count :]
    table += struct.pack(">4sII", b"cicp", len(plain) + shift, 12)
    tag = b"cicp" + bytes(4) + bytes([9, 16, 0, 1])
    profile = (
        struct.pack(">I", len(plain) + shift + 12) + plain[4:128] + struct.pack(">I", count + 1) + table + body + tag
    )
    photo = decode_bytes(encoded(vivid, "JPEG", icc_profile=profile))
    assert photo.header.hdr_transfer == "pq"
    assert photo.header.icc_profile not in (None, "unreadable")


def test_nclx_of_an_avif(encoded: Encode) -> None:
    data = encoded(Image.new("RGB", (16, 16), P3_RED), "AVIF", quality=100, subsampling="4:4:4")
    assert np.abs(shown(data) - P3_RED).max() <= 2
    assert np.abs(shown(with_nclx(data, 12, 13)) - SRGB_RED).max() <= 3
    assert np.abs(shown(with_nclx(data, 2, 2)) - P3_RED).max() <= 2


def test_an_icc_profile_takes_precedence_over_nclx(encoded: Encode, swapped_primaries: bytes) -> None:
    image = Image.new("RGB", (16, 16), (250, 20, 60))
    data = encoded(image, "AVIF", quality=100, subsampling="4:4:4", icc_profile=swapped_primaries)
    if b"colrnclx" in data:
        data = with_nclx(data, 9, 8)
    assert np.abs(shown(data) - (60, 20, 250)).max() <= 4


def test_nclx_of_a_heic() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    picture = pillow_heif.from_pillow(Image.new("RGB", (32, 32), P3_RED))
    picture.save(file, quality=100, chroma=444, color_primaries=12, transfer_characteristics=13, matrix_coefficients=1)
    assert np.abs(shown(file.getvalue()) - SRGB_RED).max() <= 3


def test_malformed_boxes_raise_only_photo_errors(
    vivid: Pixels, encoded: Encode, mutated_copies: Callable[..., Iterator[bytes]]
) -> None:
    whole = with_nclx(encoded(vivid[:12, :12], "AVIF"), 9, 16)
    head = whole[: whole.index(b"mdat")]
    for data in mutated_copies(head, random.Random(5), 300):  # noqa: S311
        try:
            decode_bytes(data + whole[len(head) :], max_pixels=100_000)
        except PhotoError:
            continue


def bmp_with_profile(pixels: Pixels, profile: bytes, shift: int = 0) -> bytes:
    """A BMP of version 5 (BITMAPV5HEADER), assembled here."""
    height, width, _ = pixels.shape
    rows = pixels[::-1, :, ::-1].tobytes()  # widths here are multiples of 4, so no row needs padding
    sizes = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    header = sizes + bytes(16) + b"DEBM" + bytes(48) + struct.pack("<4I", 4, 124 + len(rows) + shift, len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(profile), 0, 0, 138) + header + rows + profile


def test_the_profile_of_a_bmp_is_converted(swapped_primaries: bytes, vivid: Pixels) -> None:
    color = np.full((4, 4, 3), (250, 20, 60), np.uint8)
    assert np.abs(shown(bmp_with_profile(color, swapped_primaries)) - (60, 20, 250)).max() <= 2
    broken = decode_bytes(bmp_with_profile(vivid, swapped_primaries, shift=1_000_000))
    assert np.array_equal(broken.pixels, vivid)
