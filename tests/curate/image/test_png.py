"""png: what Pillow's reader leaves to do, and damaged chunks: those that the pixels do not need are ignored."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from curate.errors import BrokenPhoto, UnsupportedFormat
from curate.image.decode import decode_bytes
from curate.image.png import drop_damaged_chunks, has_plain_chunks, png_chunks

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]


def png(depth: int, color: int, rows: bytes, transparent: bytes) -> bytes:
    """A PNG of 4 x 1 pixels with a tRNS chunk, assembled here."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, color, 0, 0, 0)),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(b"\0" + rows)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_transparent_gray_of_every_depth(depth: int) -> None:
    samples = np.array([1, 0, 1, 0]) if depth == 1 else np.array([1, 2, 3, 1])
    packed = np.packbits((samples[:, None] >> np.arange(depth)[::-1] & 1).astype(np.uint8)).tobytes()
    photo = decode_bytes(png(depth, 0, packed, struct.pack(">H", 1)))
    assert photo.visible is not None
    assert photo.visible[0].tolist() == (samples != 1).tolist()


def test_one_transparent_color_of_16_bits() -> None:
    samples = (0xC8FF, 0x1034, 0x2080)
    rows = struct.pack(">12H", *samples, *[0] * 6, *samples)
    photo = decode_bytes(png(16, 2, rows, struct.pack(">3H", *samples)))
    assert photo.visible is not None
    assert photo.visible[0].tolist() == [False, True, True, False]


def test_chunks_end_at_the_first_that_is_cut_off() -> None:
    data = png(8, 0, bytes(4), b"\0\1")
    assert [name for name, _ in png_chunks(data)] == [b"IHDR", b"tRNS", b"IDAT", b"IEND"]
    assert [name for name, _ in png_chunks(data[:-5])] == [b"IHDR", b"tRNS", b"IDAT"]
    assert list(png_chunks(data[:10])) == []


def chunk_positions(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk."""
    at = 8
    while at < len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        yield data[at + 4 : at + 8], at, end
        at = end


def with_wrong_checksum(data: bytes, name: bytes) -> bytes:
    end = next(end for found, _, end in chunk_positions(data) if found == name)
    return data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.fixture(params=["RGB", "RGBA", "P"])
def annotated(request: pytest.FixtureRequest, vivid: Pixels, encoded: Encode) -> bytes:
    """A PNG with an ancillary chunk of each usual kind."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "plain")
    notes.add_text("Comment", "packed", zip=True)
    notes.add_itxt("Comment", "international")
    notes.add(b"tIME", bytes([7, 228, 1, 1, 0, 0, 0]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.fromarray(vivid)
    return encoded(
        image.quantize(8) if request.param == "P" else image.convert(request.param),
        "PNG",
        pnginfo=notes,
        dpi=(72, 72),
        exif=exif,
    )


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs"])
def test_a_damaged_annotation_is_ignored(name: bytes, annotated: bytes) -> None:
    photo, expected = decode_bytes(with_wrong_checksum(annotated, name)), decode_bytes(annotated)
    assert np.array_equal(photo.pixels, expected.pixels)
    assert photo.header == expected.header  # the orientation, too


def test_damaged_exif_is_ignored_with_its_orientation(annotated: bytes) -> None:
    photo = decode_bytes(with_wrong_checksum(annotated, b"eXIf"))
    assert photo.header.orientation == 1
    assert photo.pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT"])
def test_a_damaged_critical_chunk_is_an_error(name: bytes, annotated: bytes) -> None:
    with pytest.raises(BrokenPhoto):
        decode_bytes(with_wrong_checksum(annotated, name))


def test_a_damaged_palette_is_an_error(vivid: Pixels, encoded: Encode) -> None:
    with pytest.raises(BrokenPhoto):
        decode_bytes(with_wrong_checksum(encoded(Image.fromarray(vivid).quantize(8), "PNG"), b"PLTE"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_damaged_pixels_are_an_error(mode: str, vivid: Pixels, encoded: Encode) -> None:
    data = encoded(Image.fromarray(vivid).convert(mode), "PNG", compress_level=0)
    at = data.index(b"IDAT") + 400
    with pytest.raises(BrokenPhoto):
        decode_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


@pytest.mark.parametrize("body", [b"Comment\0\7packed", b"\0", b"Comment\0\0not deflated"])
def test_a_malformed_annotation_is_ignored(body: bytes, vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "PNG")
    assert np.array_equal(decode_bytes(data[:33] + chunk(b"zTXt", body) + data[33:]).pixels, vivid)


def test_the_chunks_that_decide_how_pixels_are_shown_are_kept(encoded: Encode) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "plain")
    clear_red = Image.new("RGB", (3, 1), (255, 0, 0))
    clear_red.putpixel((0, 0), (0, 0, 255))
    data = with_wrong_checksum(encoded(clear_red, "PNG", transparency=(255, 0, 0), pnginfo=notes), b"tEXt")
    visible = decode_bytes(data).visible
    assert visible is not None
    assert visible.tolist() == [[True, False, False]]
    kept = drop_damaged_chunks(data)
    assert kept is not None
    assert [name for name, _, _ in chunk_positions(kept)] == [b"IHDR", b"tRNS", b"IDAT", b"IEND"]


@pytest.mark.parametrize("body", [struct.pack(">II", 0, 0), struct.pack(">II", 3, 0), b""])
def test_a_malformed_animation_does_not_keep_the_picture_from_being_read(
    body: bytes, vivid: Pixels, encoded: Encode
) -> None:
    data = encoded(vivid, "PNG")
    frame = chunk(b"fcTL", struct.pack(">5I2H2B", 7, 64, 48, 0, 0, 1, 10, 0, 0))  # its sequence number should be 0
    assert np.array_equal(decode_bytes(data[:33] + chunk(b"acTL", body) + frame + data[33:]).pixels, vivid)


def test_apples_own_variant_is_unsupported(vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "PNG")
    pixels = data.index(b"IDAT") + 4
    apple = data[:8] + chunk(b"CgBI", bytes(4)) + data[8:pixels] + b"\0\0" + data[pixels + 2 :]  # no zlib header
    with pytest.raises(UnsupportedFormat, match="CgBI"):
        decode_bytes(apple)


def test_there_is_nothing_to_drop_from_other_files(vivid: Pixels, encoded: Encode) -> None:
    assert drop_damaged_chunks(encoded(vivid, "PNG")) is None
    assert drop_damaged_chunks(encoded(vivid, "JPEG")) is None


def test_a_chunk_that_claims_gigabytes_is_not_read_by_opencv() -> None:
    data = png(8, 2, bytes(12), struct.pack(">3H", 1, 2, 3))
    assert has_plain_chunks(data)
    claimed = data[:-12] + struct.pack(">I", 1 << 31) + b"teXt" + data[-12:]
    assert not has_plain_chunks(claimed)
