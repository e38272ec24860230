"""TIFF: every layout of the tags gives the pixels that were stored, or a named error."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate.errors import BrokenPhoto, PhotoError, TooManyPixels, UnsupportedFormat
from curate.image.decode import decode_bytes

Pixels = NDArray[np.uint8]
GRAY_INVERTED, GRAY, RGB, CMYK, YCBCR, LAB, ICC_LAB = 0, 1, 2, 5, 6, 8, 9


def tiff(
    size: tuple[int, int], strips: list[bytes], *, order: str = "<", big: bool = False, tiled: bool = False, **tags: Any
) -> bytes:
    """A TIFF, assembled here (TIFF 6.0, section 2); `tags` are named t256 and so on, and are numbers or tuples."""
    offsets, data, at = [], b"", 16
    for strip in strips:
        offsets.append(at + len(data))
        data += strip + b"\0" * (len(strip) % 2)
    values = {int(name[1:]): value if isinstance(value, tuple) else (value,) for name, value in tags.items()}
    values |= {256: (size[0],), 257: (size[1],)} | {(324 if tiled else 273): tuple(offsets)}
    values[325 if tiled else 279] = tuple(len(strip) for strip in strips)
    start = at + len(data)
    number, entry, inline = ("Q", "HHQ", 8) if big else ("I", "HHI", 4)
    extra_at = start + (8 if big else 2) + (20 if big else 12) * len(values) + inline
    entries, extra = b"", b""
    for tag, value in sorted(values.items()):
        kind, code = (4, "I") if tag in (256, 257, 273, 279, 324, 325) else (3, "H")
        stored = struct.pack(f"{order}{len(value)}{code}", *value)
        entries += struct.pack(order + entry, tag, kind, len(value))
        if len(stored) > inline:
            entries += struct.pack(order + number, extra_at + len(extra))
            extra += stored
        else:
            entries += stored.ljust(inline, b"\0")
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HIQ", 42, start, 0)
    )
    count = struct.pack(order + ("Q" if big else "H"), len(values))
    return head + data + count + entries + bytes(inline) + extra


def photo_tiff(samples: NDArray[np.generic], *, planar: bool = False, deflate: bool = False, **options: Any) -> bytes:
    """A TIFF of (H, W, N) samples with rows in strips of 5; N strips more if it is planar."""
    height, width, count = samples.shape
    order = options.get("order", "<")
    planes = [samples[..., [index]] for index in range(count)] if planar else [samples]
    strips = [
        plane[top : top + 5].astype(samples.dtype.newbyteorder(order)).tobytes()
        for plane in planes
        for top in range(0, height, 5)
    ]
    bits = (8 * samples.dtype.itemsize,) * count
    tags: dict[str, Any] = {"t258": bits, "t259": 8 if deflate else 1, "t277": count, "t278": 5, "t284": 1 + planar}
    return tiff((width, height), [zlib.compress(strip) if deflate else strip for strip in strips], **tags | options)


def wide(samples: Pixels) -> NDArray[np.uint16]:
    """16-bit samples whose high byte is the sample."""
    return samples.astype(np.uint16) * 257


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_rgb_of_every_byte_order_and_plane_order(
    bits: int, planar: bool, order: str, big: bool, deflate: bool, vivid: Pixels
) -> None:
    samples = vivid if bits == 8 else wide(vivid)
    photo = decode_bytes(photo_tiff(samples, planar=planar, order=order, big=big, deflate=deflate, t262=RGB))
    assert np.array_equal(photo.pixels, vivid)
    assert (photo.header.format, photo.header.mode, photo.header.orientation) == ("TIFF", "RGB", 1)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiles_with_a_predictor_and_an_orientation(planar: bool, orientation: int, vivid: Pixels) -> None:
    padded = np.zeros((64, 64, 3), np.uint16)
    padded[:48] = wide(vivid)
    planes = [padded[..., [index]] for index in range(3)] if planar else [padded]
    tiles = []
    for plane in planes:
        for top, left in ((0, 0), (0, 32), (32, 0), (32, 32)):
            tile = plane[top : top + 32, left : left + 32].astype(np.uint16)
            tile[:, 1:] -= tile[:, :-1].copy()  # predictor 2: differences within rows, TIFF 6.0, section 14
            tiles.append(zlib.compress(tile.tobytes()))
    tags: dict[str, Any] = {"t258": (16, 16, 16), "t259": 8, "t262": RGB, "t277": 3, "t284": 1 + planar, "t317": 2}
    data = tiff((64, 48), tiles, tiled=True, t322=32, t323=32, t274=orientation, **tags)
    photo = decode_bytes(data)
    assert np.array_equal(photo.pixels, vivid if orientation == 1 else np.rot90(vivid, -1))
    assert photo.header.orientation == orientation


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("photometric", [GRAY_INVERTED, GRAY, RGB])
def test_samples_of_every_depth(bits: int, photometric: int) -> None:
    count, largest = 3 if photometric == RGB else 1, (1 << bits) - 1
    samples = np.random.default_rng(bits).integers(0, largest + 1, (4, 9, count))
    packed = np.packbits((samples[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(4, -1), axis=1)
    data = tiff((9, 4), [packed.tobytes()], t258=(bits,) * count, t259=1, t262=photometric, t277=count, t278=4)
    expected = samples >> (bits - 8) if photometric == RGB and bits > 8 else np.floor(samples * 255 / largest + 0.5)
    if photometric == GRAY_INVERTED:
        expected = 255 - expected
    assert np.array_equal(decode_bytes(data).pixels, np.broadcast_to(expected, (4, 9, 3)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_gray_whose_white_is_zero(order: str) -> None:
    samples = np.array([0, 257 * 100, 65535], np.uint16).reshape(1, 3, 1)
    photo = decode_bytes(photo_tiff(samples, order=order, t262=GRAY_INVERTED))
    assert photo.pixels[0, :, 0].tolist() == [255, 155, 0]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("extra", "position"), [((2,), 0), ((0, 2), 1), ((2, 0), 0)])
@pytest.mark.parametrize("photometric", [GRAY, RGB, CMYK])
def test_alpha_among_extra_samples(
    photometric: int, extra: tuple[int, ...], position: int, bits: int, planar: bool, vivid: Pixels
) -> None:
    alpha = np.full(vivid.shape[:2], 255, np.uint8)
    alpha[:7], alpha[7:9] = 0, 128
    colors = {GRAY: vivid[..., :1], RGB: vivid, CMYK: np.dstack([255 - vivid, np.zeros_like(alpha)])}[photometric]
    others = [np.full_like(alpha, 9)] * len(extra)
    others[position] = alpha
    samples = np.dstack([colors, *others])
    data = photo_tiff(samples if bits == 8 else wide(samples), planar=planar, t262=photometric, t338=extra)
    photo = decode_bytes(data, on_white=False)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    assert np.array_equal(photo.pixels, np.broadcast_to(vivid[..., :1], vivid.shape) if photometric == GRAY else vivid)


@pytest.mark.parametrize("planar", [False, True])
def test_colors_multiplied_by_alpha_are_divided_by_it(planar: bool) -> None:
    samples = np.array([[[100, 50, 0, 128], [0, 0, 0, 0], [200, 20, 7, 255]]], np.uint8)
    photo = decode_bytes(photo_tiff(wide(samples), planar=planar, t262=RGB, t338=1), on_white=False)
    expected = np.array([[199, 100, 0], [200, 20, 7]])  # 100 * 255 / 128 = 199.2; Pillow rounds down, we do not
    assert np.abs(photo.pixels[0, [0, 2]].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [LAB, ICC_LAB])
def test_lab_of_both_kinds(photometric: int, bits: int) -> None:
    # CIELAB of sRGB red under D50, in 8 bits: L* 54.3 of 100 is 138, a* 80.8 and b* 69.9 (brucelindbloom.com)
    offset = 128 if photometric == ICC_LAB else 0
    lab = np.array([[[138, (81 + offset) % 256, (70 + offset) % 256]]], np.uint8)
    photo = decode_bytes(photo_tiff(lab if bits == 8 else lab.astype(np.uint16) << 8, t262=photometric))
    assert np.abs(photo.pixels[0, 0].astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("block", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_uncompressed_ycbcr(block: tuple[int, int]) -> None:
    across, down = block
    stored = [*range(60, 60 + across * down), 90, 240]  # luma of one block, then one Cb and one Cr
    data = tiff((across, down), [bytes(stored)], t258=(8, 8, 8), t259=1, t262=YCBCR, t277=3, t278=down, t530=block)
    pixels = decode_bytes(data).pixels
    ycbcr = np.full((down, across, 3), (0, 90, 240), np.uint8)
    ycbcr[..., 0] = np.arange(60, 60 + across * down).reshape(down, across)
    expected = np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB")).astype(int)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_or_16_bit_colors(scale: int) -> None:
    palette = np.zeros((3, 256), int)
    palette[:, 7] = 200, 100, 50
    colors = tuple((palette * scale).ravel().tolist())
    data = tiff((2, 1), [b"\7\0"], t258=8, t259=1, t262=3, t277=1, t278=1, t320=colors)
    assert decode_bytes(data).pixels.tolist() == [[[200, 100, 50], [0, 0, 0]]]


def test_a_second_sample_without_a_meaning_is_ignored(vivid: Pixels) -> None:
    photo = decode_bytes(photo_tiff(vivid[..., :2], t262=GRAY))
    assert np.array_equal(photo.pixels, np.repeat(vivid[..., :1], 3, axis=-1))


def test_filled_from_the_lowest_bit(vivid: Pixels) -> None:
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    height, width, _ = vivid.shape
    tags: dict[str, Any] = {"t258": (8, 8, 8), "t259": 1, "t262": RGB, "t277": 3, "t278": height, "t266": 2}
    data = tiff((width, height), [vivid.tobytes().translate(reverse)], **tags)
    assert np.array_equal(decode_bytes(data).pixels, vivid)


def test_a_profile_is_kept_with_a_rewritten_layout(vivid: Pixels, swapped_primaries: bytes) -> None:
    profile = tuple(struct.unpack(f"<{len(swapped_primaries) // 2}H", swapped_primaries))
    photo = decode_bytes(photo_tiff(wide(vivid), planar=True, t262=RGB, t34675=profile))
    assert np.abs(photo.pixels.astype(int) - vivid[..., ::-1]).mean() < 2
    assert photo.header.icc_profile not in (None, "unreadable")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"t339": (3, 3, 3)}, "float samples have no defined range"),
        ({"t339": (2, 2, 2)}, "signed samples have no defined range"),
        ({"t258": (5, 6, 5)}, "samples of 5, 6, 5 bits"),
        ({"t258": (32, 32, 32)}, "samples of 32, 32, 32 bits"),
        ({"t262": 10}, "photometric interpretation 10"),
        ({"t262": 32845}, "photometric interpretation 32845"),
        ({"t259": 50001}, "TIFF compression 50001"),
        ({"t262": CMYK, "t277": 4, "t258": (8, 8, 8, 8), "t332": 2}, "inks that are not CMYK"),
        ({"t258": (12, 12, 12), "t259": 7}, "12-bit JPEG"),
    ],
)
def test_what_is_not_decoded_is_named(tags: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"t258": (8, 8, 8), "t259": 1, "t262": RGB, "t277": 3, "t278": 2} | tags
    with pytest.raises(UnsupportedFormat, match=message):
        decode_bytes(tiff((2, 2), [bytes(48)], **options))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("deflate", [False, True])
def test_truncated_planes_are_an_error(share: float, deflate: bool, vivid: Pixels) -> None:
    data = photo_tiff(wide(vivid), planar=True, deflate=deflate, t262=RGB)
    first, *_ = struct.unpack_from("<I", data, 4)
    with pytest.raises(BrokenPhoto):
        decode_bytes(data[:16] + bytes(int((first - 16) * share)) + data[first:])


def test_missing_strips_are_an_error(vivid: Pixels) -> None:
    with pytest.raises(BrokenPhoto, match="strips or tiles are missing"):
        decode_bytes(photo_tiff(vivid, t262=RGB, t278=3))  # rows for strips of 5


@pytest.mark.parametrize(("width", "tags"), [(0, {}), (2, {"t278": 0}), (2, {"tiled": True, "t322": 0, "t323": 16})])
def test_sizes_of_zero_are_an_error(width: int, tags: dict[str, Any]) -> None:
    options: dict[str, Any] = {"t258": (16, 16, 16), "t259": 1, "t262": RGB, "t277": 3} | tags
    with pytest.raises(BrokenPhoto, match="have no pixels"):
        decode_bytes(tiff((width, 2), [bytes(48)], **options))


def test_sizes_are_checked_before_anything_is_decoded() -> None:
    tags: dict[str, Any] = {"t258": (16, 16, 16), "t259": 1, "t262": RGB, "t277": 3, "t284": 2}
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        decode_bytes(tiff((60_000, 60_000), [bytes(9)] * 3, t278=60_000, **tags))
    with pytest.raises(TooManyPixels):
        decode_bytes(tiff((9, 9), [bytes(9)] * 3, tiled=True, t322=60_000, t323=60_000, **tags))


def test_malformed_tags_raise_only_photo_errors(vivid: Pixels, mutated_copies: Callable[..., Iterator[bytes]]) -> None:
    small = wide(vivid[:12, :12])
    alpha = np.dstack([small, small[..., :1]])
    files = [
        photo_tiff(small, planar=True, order=">", big=True, deflate=True, t262=RGB),
        photo_tiff(alpha, t262=RGB, t338=1, t317=2),
        tiff((4, 4), [bytes(24)], t258=(8, 8, 8), t259=1, t262=YCBCR, t277=3, t278=4, t530=(2, 2)),
    ]
    decoded = 0
    for index, whole in enumerate(files):
        for data in mutated_copies(whole, random.Random(index), 500):  # noqa: S311
            try:
                photo = decode_bytes(data, max_pixels=100_000)
            except PhotoError:
                continue
            assert photo.pixels.shape == (photo.header.height, photo.header.width, 3)
            decoded += 1
    assert decoded > 0
