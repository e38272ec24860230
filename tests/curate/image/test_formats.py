"""HEIC and JPEG XL, with and without their plugins."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from curate.errors import BrokenPhoto, PhotoError, TooManyPixels, UnsupportedFormat
from curate.image import formats
from curate.image.decode import decode_bytes
from curate.image.formats import (
    HEIF,
    JXL,
    PluginFormat,
    detect_plugin_format,
    is_installed,
    jxl_pixel_count,
    looks_like_photo,
)

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]

LOSSLESS = {"HEIF": {"quality": -1, "chroma": 444, "matrix_coefficients": 0}, "JXL": {"lossless": True, "effort": 1}}


@pytest.fixture
def without_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if neither plugin were installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_jxl.JpegXLImagePlugin", None)
    formats.is_installed.cache_clear()
    yield
    formats.is_installed.cache_clear()


@pytest.mark.parametrize("extra", [HEIF, JXL])
def test_lossless_files_decode_to_the_saved_pixels(extra: PluginFormat, vivid: Pixels, encoded: Encode) -> None:
    assert is_installed(extra)
    data = encoded(vivid, extra.format, **LOSSLESS[extra.format])
    photo = decode_bytes(data)
    assert np.array_equal(photo.pixels, vivid)
    assert (photo.header.format, photo.header.width, photo.header.height) == (extra.format, 64, 48)
    assert looks_like_photo(data[:32])


@pytest.mark.parametrize("extra", [HEIF, JXL])
def test_transparent_pixels_are_marked_invisible(extra: PluginFormat, encoded: Encode) -> None:
    assert is_installed(extra)
    rgba = np.full((16, 16, 4), (255, 0, 0, 255), np.uint8)
    rgba[:, 8:, 3] = 0
    photo = decode_bytes(encoded(rgba, extra.format, **LOSSLESS[extra.format]))
    assert photo.visible is not None
    assert int(photo.visible.sum()) == 128


def test_the_orientation_of_heic_is_applied_once(vivid: Pixels, encoded: Encode) -> None:
    assert is_installed(HEIF)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = decode_bytes(encoded(vivid, "HEIF", exif=exif.tobytes(), **LOSSLESS["HEIF"]))
    assert np.array_equal(photo.pixels, np.rot90(vivid, -1))


def test_jpeg_xl_uses_the_orientation_of_its_codestream_only(vivid: Pixels, encoded: Encode) -> None:
    assert is_installed(JXL)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = decode_bytes(encoded(vivid, "JXL", exif=exif.tobytes(), **LOSSLESS["JXL"]))
    assert np.array_equal(photo.pixels, vivid)


def test_a_jpeg_recompressed_as_jpeg_xl_uses_its_exif_orientation(
    tmp_path: Path, vivid: Pixels, encoded: Encode
) -> None:
    assert is_installed(JXL)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    jpeg = tmp_path / "turned.jpg"
    jpeg.write_bytes(encoded(vivid, "JPEG", exif=exif.tobytes()))
    with Image.open(jpeg) as image:  # the plugin recompresses the JPEG losslessly if the image has a file
        photo = decode_bytes(encoded(image, "JXL", lossless_jpeg=True))
    assert np.array_equal(photo.pixels, decode_bytes(jpeg.read_bytes()).pixels)
    assert photo.header.orientation == 6


@pytest.mark.parametrize("size", [(64, 48), (512, 512), (800, 600), (5000, 3), (333, 77), (1, 1)])
def test_the_pixel_count_of_jpeg_xl_is_checked_before_decoding(size: tuple[int, int], encoded: Encode) -> None:
    assert is_installed(JXL)
    data = encoded(Image.new("RGB", size), "JXL", effort=1)
    assert jxl_pixel_count(data) == size[0] * size[1]
    with pytest.raises(TooManyPixels, match="--max-pixels"):
        decode_bytes(data, max_pixels=size[0] * size[1] - 1)


def test_a_huge_size_in_a_jpeg_xl_header_is_refused() -> None:
    fields = [(0, 1), (2, 2), (59_999, 18), (1, 3)]  # not in eighths, a height of 18 bits, ratio 1:1
    bits = at = 0
    for value, count in fields:
        bits, at = bits | value << at, at + count
    with pytest.raises(TooManyPixels):
        decode_bytes(b"\xff\x0a" + bits.to_bytes(12, "little"))


@pytest.mark.usefixtures("without_plugins")
@pytest.mark.parametrize(
    ("head", "extra"),
    [
        (b"\0\0\0\x18ftypheic", "vividset[heic]"),
        (b"\xff\x0a\xfa\x7f", "vividset[jxl]"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "vividset[jxl]"),
    ],
)
def test_without_its_plugin_the_error_names_the_extra_to_install(head: bytes, extra: str) -> None:
    assert detect_plugin_format(head)
    with pytest.raises(UnsupportedFormat) as raised:
        decode_bytes(head + b"\0" * 60)
    assert extra in str(raised.value)
    assert "--retry-errors" in str(raised.value)


@pytest.mark.parametrize("extra", [HEIF, JXL])
def test_malformed_files_raise_only_photo_errors(extra: PluginFormat, vivid: Pixels, encoded: Encode) -> None:
    assert is_installed(extra)
    rng = random.Random(extra.name)  # noqa: S311
    whole = encoded(vivid, extra.format)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(min(len(data), 200))] = rng.randrange(256)
        try:
            decode_bytes(bytes(data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data), max_pixels=100_000)
        except PhotoError:
            refused += 1
    assert refused
    with pytest.raises(BrokenPhoto):
        decode_bytes(whole[: len(whole) // 2])
