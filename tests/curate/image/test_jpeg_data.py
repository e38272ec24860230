"""JPEGs that end early are errors, and those that lack only their end marker are photos."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate.errors import BrokenPhoto, PhotoError, UnsupportedFormat
from curate.image.decode import decode_bytes
from curate.image.jpeg_data import END_OF_IMAGE, add_end_marker

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "restart": ("RGB", {"restart_marker_blocks": 1}),
    "progressive restart": ("RGB", {"progressive": True, "restart_marker_rows": 1}),
    "gray": ("L", {}),
    "gray progressive": ("L", {"progressive": True}),
    "cmyk": ("CMYK", {}),
    "cmyk progressive": ("CMYK", {"progressive": True}),
    "exif": ("RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
}


@pytest.fixture(params=VARIANTS)
def whole(request: pytest.FixtureRequest, vivid: Pixels, encoded: Encode) -> bytes:
    mode, options = VARIANTS[request.param]
    noise = np.random.default_rng(1).integers(-20, 20, vivid.shape)  # detail, so that each scan has bits
    picture = Image.fromarray((vivid + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    return encoded(picture, "JPEG", quality=90, **options)


def test_a_file_cut_at_any_byte_near_its_end_has_all_pixels_or_is_an_error(whole: bytes) -> None:
    expected = decode_bytes(whole).pixels
    decoded = []
    for missing in range(1, 250):
        try:
            photo = decode_bytes(whole[:-missing])
        except BrokenPhoto:
            continue
        assert np.array_equal(photo.pixels, expected)
        decoded.append(missing)
    assert decoded == [1, 2]  # the end marker has two bytes


def test_a_file_cut_anywhere_is_an_error_also_with_an_end_marker(whole: bytes) -> None:
    expected = decode_bytes(whole).pixels
    for end in [*range(len(whole) - 60, len(whole) - 2), *range(20, len(whole) - 60, 97)]:
        for tail in (b"", bytes(2), bytes(50), bytes(len(whole) - end), END_OF_IMAGE):
            if tail == END_OF_IMAGE and b"\xff" in whole[end - 1 : end + 1]:
                continue  # between two scans: a valid file with fewer scans
            try:
                pixels = decode_bytes(whole[:end] + tail).pixels
            except PhotoError:
                continue
            assert np.array_equal(pixels, expected), (end, tail)


def test_a_progressive_file_cut_between_two_scans_is_an_error(vivid: Pixels, encoded: Encode) -> None:
    whole = encoded(vivid, "JPEG", progressive=True)
    scan_starts = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    tables = [whole.rfind(b"\xff\xc4", 0, at) for at in scan_starts]
    assert len(scan_starts) > 5
    for cut in [*scan_starts[1:], *tables[1:]]:
        with pytest.raises(BrokenPhoto, match="end marker is missing"):
            decode_bytes(whole[:cut])


def test_bytes_after_the_picture_are_ignored(vivid: Pixels, encoded: Encode) -> None:
    whole = encoded(vivid, "JPEG")
    for tail in (b"\0" * 100, b"\xff" * 7, b"Samsung\0trailer", b"\r\n"):
        assert np.array_equal(decode_bytes(whole + tail).pixels, decode_bytes(whole).pixels)


def patched_frame(whole: bytes, marker: int = 0xC0, precision: int = 8, components: int = 3) -> bytes:
    """A baseline JPEG whose frame header says something else."""
    at = whole.index(b"\xff\xc0")
    data = bytearray(whole)
    data[at + 1], data[at + 4], data[at + 9] = marker, precision, components
    return bytes(data)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"precision": 12}, "12 bits per sample"),
        ({"marker": 0xC1, "precision": 12}, "12 bits per sample"),
        ({"marker": 0xC3}, "a lossless JPEG"),
        ({"marker": 0xC5}, "a hierarchical"),
        ({"marker": 0xF7}, "JPEG-LS"),
    ],
)
def test_a_kind_of_jpeg_that_is_not_decoded_is_unsupported(
    frame: dict[str, int], words: str, vivid: Pixels, encoded: Encode
) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{words}.*convert it"):
        decode_bytes(patched_frame(encoded(vivid, "JPEG"), **frame))


def test_the_end_marker_is_added_only_to_complete_jpegs_of_the_allowed_size(vivid: Pixels, encoded: Encode) -> None:
    whole = encoded(vivid, "JPEG")
    assert add_end_marker(whole[:-2], 64 * 48) == whole
    assert add_end_marker(whole[:-2], 64 * 48 - 1) is None
    assert add_end_marker(whole, 10**6) is None
    assert add_end_marker(whole[:-3], 10**6) is None
    assert add_end_marker(b"\xff\xd8\xff", 10**6) is None
    assert add_end_marker(encoded(vivid, "PNG"), 10**6) is None


def test_gray_jpegs_decode_to_what_pillow_shows(vivid: Pixels, encoded: Encode) -> None:
    data = encoded(Image.fromarray(vivid).convert("L"), "JPEG")
    photo = decode_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert photo.header.mode == "L"
