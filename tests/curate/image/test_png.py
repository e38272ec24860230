"""png: what Pillow's reader leaves to do."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from curate.image.decode import decode
from curate.image.png import png_chunks


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
    photo = decode(png(depth, 0, packed, struct.pack(">H", 1)))
    assert photo.visible is not None
    assert photo.visible[0].tolist() == (samples != 1).tolist()


def test_one_transparent_color_of_16_bits() -> None:
    samples = (0xC8FF, 0x1034, 0x2080)
    rows = struct.pack(">12H", *samples, *[0] * 6, *samples)
    photo = decode(png(16, 2, rows, struct.pack(">3H", *samples)))
    assert photo.visible is not None
    assert photo.visible[0].tolist() == [False, True, True, False]


def test_chunks_end_at_the_first_that_is_cut_off() -> None:
    data = png(8, 0, bytes(4), b"\0\1")
    assert [name for name, _ in png_chunks(data)] == [b"IHDR", b"tRNS", b"IDAT", b"IEND"]
    assert [name for name, _ in png_chunks(data[:-5])] == [b"IHDR", b"tRNS", b"IDAT"]
    assert list(png_chunks(data[:10])) == []
