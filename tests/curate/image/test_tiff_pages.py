"""Which page of a TIFF is the photo: previews and camera raw are known by their tags, as tifffile writes them."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from curate.errors import PhotoError, UnsupportedFormat
from curate.image.decode import decode_bytes
from curate.image.formats import check_raw_name
from curate.image.tiff_pages import select_page

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]
REDUCED = 1
"""Value of NewSubfileType for a smaller copy of another image (TIFF 6.0)."""
DNG_VERSION = (50706, "B", 4, (1, 4, 0, 0), True)
CFA, LINEAR_RAW = 32803, 34892
"""Photometric interpretations of DNG."""


def tiff(*pages: tuple[Pixels, dict[str, Any]], **options: Any) -> bytes:
    """A TIFF of several pages, each with its options for tifffile; a page with `subifds` contains the next ones."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for pixels, page_options in pages:
            gray = {"photometric": "minisblack"} if pixels.ndim == 2 else {"photometric": "rgb"}
            writer.write(pixels, metadata=None, **(gray | page_options))
    return file.getvalue()


@pytest.fixture(scope="module")
def large(vivid: Pixels) -> Pixels:
    return vivid.repeat(4, axis=0).repeat(4, axis=1)


def preview_of(large: Pixels) -> Pixels:
    """A small picture of the same shape with other colors, so that the test sees which page was decoded."""
    return 255 - large[::4, ::4]


@pytest.mark.parametrize("photometric", [CFA, LINEAR_RAW])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
def test_a_raw_file_is_unsupported_whatever_its_name(photometric: int, options: dict[str, Any], large: Pixels) -> None:
    sensor = (large[..., 0] if photometric == CFA else large, {"photometric": photometric})
    data = tiff((preview_of(large), {"subfiletype": REDUCED, "subifds": 1}), sensor, **options)
    with pytest.raises(UnsupportedFormat, match="camera raw isn't decoded"):
        decode_bytes(data)


def test_a_dng_with_a_full_size_preview_is_camera_raw(large: Pixels) -> None:
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        decode_bytes(tiff((large, {"extratags": [DNG_VERSION]})))


@pytest.mark.parametrize("mark", [b"CR\2\0", b"IIII"])
def test_raw_files_whose_first_page_is_a_usual_picture_are_known_by_the_mark_of_the_maker(
    mark: bytes, large: Pixels
) -> None:
    data = tiff((large, {}))
    (first_page,) = struct.unpack_from("<I", data, 4)
    moved = len(data) + len(data) % 2
    copy = bytearray(data.ljust(moved, b"\0") + data[first_page : first_page + 200])
    copy[4:12] = struct.pack("<I", moved) + mark  # the first page is moved to the end, as the mark needs its place
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        decode_bytes(bytes(copy))


def test_a_makers_compression_is_camera_raw(large: Pixels) -> None:
    data = tiff((preview_of(large), {"subifds": 1}), (large[..., 0], {}))
    nikon = data.replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 34713))
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        decode_bytes(nikon)


def test_a_sensors_pattern_is_camera_raw_but_not_in_a_developed_picture(large: Pixels) -> None:
    pattern = {"extratags": [(33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True)]}
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        decode_bytes(tiff((large[..., 0], pattern)))
    assert np.array_equal(decode_bytes(tiff((large, pattern))).pixels, large)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize("is_sub_page", [True, False])
def test_the_full_size_page_is_the_photo_if_the_first_is_a_reduced_copy(
    is_sub_page: bool, options: dict[str, Any], large: Pixels
) -> None:
    first = {"subfiletype": REDUCED} | ({"subifds": 1} if is_sub_page else {})
    data = tiff((preview_of(large), first), (large, {}), **options)
    with Image.open(io.BytesIO(select_page(data))) as image:
        assert np.array_equal(np.asarray(image), large)


def test_a_larger_sub_page_is_the_photo_although_the_first_page_does_not_say_that_it_is_reduced(large: Pixels) -> None:
    assert np.array_equal(decode_bytes(tiff((preview_of(large), {"subifds": 1}), (large, {}))).pixels, large)


def test_a_later_page_of_the_same_shape_and_four_times_the_size_is_the_photo(large: Pixels) -> None:
    assert np.array_equal(decode_bytes(tiff((preview_of(large), {}), (large, {}))).pixels, large)
    rounded_up = large[1:]  # the preview of a height that 4 does not divide
    assert np.array_equal(decode_bytes(tiff((rounded_up[::4, ::4], {}), (rounded_up, {}))).pixels, rounded_up)


def test_pages_of_a_document_are_no_previews_of_each_other(large: Pixels) -> None:
    first = preview_of(large)
    for second in (large[: 3 * len(first)], large[::2, ::2], first):
        data = tiff((first, {}), (second, {}))
        assert select_page(data) is data


def test_a_pyramid_is_decoded_at_full_size(large: Pixels) -> None:
    levels = [(large[::2, ::2], {"subfiletype": REDUCED}), (large[::4, ::4], {"subfiletype": REDUCED})]
    in_chain = tiff((large, {}), *levels)
    in_sub_pages = tiff((large, {"subifds": 2}), *levels)
    for data in (in_chain, in_sub_pages):
        assert select_page(data) is data
        assert np.array_equal(decode_bytes(data).pixels, large)


def test_a_reduced_picture_alone_in_its_file_is_the_photo(vivid: Pixels) -> None:
    assert np.array_equal(decode_bytes(tiff((vivid, {"subfiletype": REDUCED}))).pixels, vivid)


def test_a_file_with_previews_only_is_unsupported(large: Pixels) -> None:
    data = tiff((preview_of(large), {"subfiletype": REDUCED}), (large, {"subfiletype": REDUCED}))
    with pytest.raises(UnsupportedFormat, match="previews only"):
        decode_bytes(data)


def test_files_of_other_formats_are_left_as_they_are(vivid: Pixels, encoded: Encode) -> None:
    for kind in ("PNG", "JPEG"):
        data = encoded(vivid, kind)
        assert select_page(data) is data


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}])
def test_a_truncated_or_circular_tiff_raises_only_photo_errors(options: dict[str, Any], vivid: Pixels) -> None:
    data = tiff((vivid, {"subifds": 1}), (vivid, {}), (vivid, {}), **options)
    for end in range(0, len(data), 37):
        with contextlib.suppress(PhotoError):
            select_page(data[:end])
    start = 8 if options else 4
    first = data[start : start * 2]
    for at in range(start, len(data), 101):  # pages that refer to the first page or to their own data
        select_page(data[:at] + first + data[at + len(first) :])


@pytest.mark.parametrize("name", ["a/b.NEF", "x.gpr", "x.fff", "x.iiq"])
def test_a_tiff_with_the_name_of_camera_raw_is_camera_raw(name: str, vivid: Pixels, encoded: Encode) -> None:
    with pytest.raises(UnsupportedFormat, match="camera raw"):
        check_raw_name(name, encoded(vivid, "TIFF"))
    check_raw_name(name, encoded(vivid, "JPEG"))
    check_raw_name("photo.tif", encoded(vivid, "TIFF"))
