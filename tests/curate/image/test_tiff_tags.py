"""Tags of TIFFs that are built here as TIFF 6.0, section 2, and the BigTIFF design describe them."""

from __future__ import annotations

import struct

import pytest

from curate.image.tiff_tags import TiffHeader

WIDTH, DOTS_PER_INCH, SUB_IFDS = 256, 282, 330


def build(order: str, *, is_big: bool) -> bytes:
    """A page with a width of 300, a resolution of 72 / 1 and three offsets of other pages, then no further page."""
    pointer, count, entry = ("Q", "Q", "HHQ") if is_big else ("I", "H", "HHI")
    mark, head_bytes, entry_bytes = (b"II" if order == "<" else b"MM"), *((16, 20) if is_big else (8, 12))
    head = mark + struct.pack(order + "HHHQ" if is_big else order + "HI", *((43, 8, 0, 16) if is_big else (42, 8)))
    values_at = head_bytes + struct.calcsize(order + count) + 3 * entry_bytes + struct.calcsize(order + pointer)
    fraction, offsets = struct.pack(order + "II", 72, 1), struct.pack(order + "III", 7, 8, 9)
    stored = fraction if is_big else struct.pack(order + "I", values_at)
    entries = struct.pack(order + entry, WIDTH, 3, 1) + struct.pack(order + "H", 300).ljust(8 if is_big else 4, b"\0")
    entries += struct.pack(order + entry, DOTS_PER_INCH, 5, 1) + stored
    entries += struct.pack(order + entry, SUB_IFDS, 4, 3) + struct.pack(order + pointer, values_at + len(fraction))
    return head + struct.pack(order + count, 3) + entries + struct.pack(order + pointer, 0) + fraction + offsets


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_and_fractions_of_every_byte_order(order: str, is_big: bool) -> None:
    data = build(order, is_big=is_big)
    header = TiffHeader.read(data)
    assert header == TiffHeader(order, is_big)
    tags, next_page = header.read_page(data, header.first_page(data))
    assert {tag: value.tolist() for tag, value in tags.items()} == {
        WIDTH: [300],
        DOTS_PER_INCH: [[72, 1]],
        SUB_IFDS: [7, 8, 9],
    }
    assert next_page == 0


def test_only_the_wanted_tags_and_numbers_are_read() -> None:
    data = build("<", is_big=False)
    tags, _ = TiffHeader("<", is_big=False).read_page(data, 8, {SUB_IFDS}, max_values=2)
    assert {tag: value.tolist() for tag, value in tags.items()} == {SUB_IFDS: [7, 8]}


def test_pages_and_values_outside_the_file_are_errors() -> None:
    data, header = build("<", is_big=False), TiffHeader("<", is_big=False)
    for cut, offset in ((data, len(data)), (data[:-1], 8), (data[:20], 8)):
        with pytest.raises(ValueError, match=r"outside the file|buffer"):
            header.read_page(cut, offset)
    assert TiffHeader.read(b"\x89PNG") is None
    assert header.first_page(data[:6]) == 0
