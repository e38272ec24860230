"""Orientation: wherever a file may say it, and which of two sayings counts."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from curate.image.decode import decode_bytes

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def exif(orientation: int | None) -> bytes:
    block = Image.Exif()
    block[ExifTags.Base.Make] = "camera"
    if orientation is not None:
        block[ExifTags.Base.Orientation] = orientation
    return block.tobytes()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("behind", [False, True])
def test_exif_before_or_behind_the_pixels_of_a_png(behind: bool, mode: str, vivid: Pixels, encoded: Encode) -> None:
    data = encoded(Image.fromarray(vivid).convert(mode), "PNG")
    at = len(data) - 12 if behind else data.index(b"IDAT") - 4
    turned = decode_bytes(data[:at] + chunk(b"eXIf", exif(6)[6:]) + data[at:])
    assert np.array_equal(turned.pixels, np.rot90(decode_bytes(data).pixels, -1))
    assert (turned.header.orientation, turned.header.width, turned.header.height) == (6, 48, 64)


def test_a_text_behind_the_pixels_of_a_png(vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "PNG")
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    photo = decode_bytes(data[:-12] + text + data[-12:])
    assert np.array_equal(photo.pixels, np.rot90(vivid))


@pytest.mark.parametrize("position", ["first", "last", "after another application's"])
def test_exif_anywhere_before_the_pixels_of_a_jpeg(position: str, vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "JPEG", quality=95)
    block = exif(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    other = b"\xff\xe1" + struct.pack(">H", 40) + b"http://ns.example.com/ext/1.0/\0".ljust(38, b"\0")
    at = {"first": 2, "last": data.index(b"\xff\xda"), "after another application's": 20}[position]
    photo = decode_bytes(data[:at] + (other if at == 20 else b"") + segment + data[at:])
    assert np.array_equal(photo.pixels, np.rot90(decode_bytes(data).pixels, -1))


def test_the_first_of_two_exif_segments_of_a_jpeg_counts(vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "JPEG", quality=95, exif=exif(6))
    second = exif(3)
    segment = b"\xff\xe1" + struct.pack(">H", len(second) + 2) + second
    at = data.index(b"\xff\xdb")
    assert decode_bytes(data[:at] + segment + data[at:]).header.orientation == 6


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_xmp_counts_if_exif_says_nothing(kind: str, vivid: Pixels, encoded: Encode) -> None:
    assert decode_bytes(encoded(vivid, kind, xmp=XMP)).header.orientation == 8
    assert decode_bytes(encoded(vivid, kind, xmp=XMP, exif=exif(None))).header.orientation == 8
    assert decode_bytes(encoded(vivid, kind, xmp=XMP, exif=exif(6))).header.orientation == 6


def test_only_its_container_turns_an_avif(vivid: Pixels, encoded: Encode) -> None:
    # Pillow writes the orientation of EXIF to the boxes irot and imir; without them EXIF and XMP are not used
    assert decode_bytes(encoded(vivid, "AVIF", exif=exif(6))).header.orientation == 6
    assert decode_bytes(encoded(vivid, "AVIF", xmp=XMP)).header.orientation == 1
    block = Image.Exif()
    block[ExifTags.Base.SamplesPerPixel] = 6
    plain = encoded(vivid, "AVIF", exif=block.tobytes(), xmp=XMP)
    entry = struct.pack(">HHIHH", ExifTags.Base.SamplesPerPixel, 3, 1, 6, 0)
    patched = plain.replace(entry, struct.pack(">HHIHH", ExifTags.Base.Orientation, 3, 1, 6, 0))
    assert patched != plain
    assert decode_bytes(patched).header.orientation == 1


def test_only_its_container_turns_a_heic(vivid: Pixels) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(vivid)).save(file, quality=90, exif=exif(6), xmp=XMP)
    photo = decode_bytes(file.getvalue())
    assert photo.header.orientation == 1
    assert photo.pixels.shape in {(48, 64, 3), (64, 48, 3)}
