"""decode: each rule of docs/reference/formats.md, and malformed files."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from curate.errors import (
    BrokenPhoto,
    EmptyFile,
    NotAPhoto,
    NothingVisible,
    PhotoError,
    TooManyPixels,
    UnsupportedFormat,
)
from curate.image.decode import decode_bytes, over_white
from curate.image.formats import FORMATS, looks_like_photo
from curate.measures.colorfulness import colorfulness

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]
Mutate = Callable[..., Iterator[bytes]]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_what_pillow_shows(kind: str, vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, kind)
    photo = decode_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert (photo.header.format, photo.header.width, photo.header.height) == (kind, 64, 48)
    assert photo.visible is None
    assert looks_like_photo(data[:32])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_by_pillow(kind: str, orientation: int, vivid: Pixels, encoded: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(vivid[:31, :21], kind, exif=exif.tobytes())
    photo = decode_bytes(data)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(photo.pixels, upright)
    assert photo.header.orientation == orientation
    assert (photo.header.height, photo.header.width) == upright.shape[:2]


@pytest.mark.parametrize("invalid", [0, 9, 65535])
def test_an_invalid_orientation_counts_as_1(invalid: int, vivid: Pixels, encoded: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = invalid
    photo = decode_bytes(encoded(vivid, "PNG", exif=exif.tobytes()))
    assert photo.header.orientation == 1
    assert np.array_equal(photo.pixels, vivid)


def test_the_mask_is_turned_with_the_pixels(encoded: Encode) -> None:
    rgba = np.zeros((3, 5, 4), np.uint8)
    rgba[0, :, 3] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored top row is the right column
    photo = decode_bytes(encoded(rgba, "PNG", exif=exif.tobytes()))
    assert photo.visible is not None
    assert photo.visible.shape == photo.pixels.shape[:2] == (5, 3)
    assert photo.visible.tolist() == [[False, False, True]] * 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_opaque_images_of_every_mode_decode_as_by_pillow(mode: str, vivid: Pixels, encoded: Encode) -> None:
    image = Image.fromarray(vivid).convert(mode)
    photo = decode_bytes(encoded(image, "PNG"))
    assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert photo.visible is None
    assert photo.header.mode == mode


def test_cmyk_without_profile_is_inverted(encoded: Encode) -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    photo = decode_bytes(encoded(cyan, "TIFF"))
    assert (photo.header.mode, photo.pixels[0, 0].tolist()) == ("CMYK", [0, 255, 255])
    jpeg = decode_bytes(encoded(cyan, "JPEG", quality=100))
    assert np.abs(jpeg.pixels.astype(int) - (0, 255, 255)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_rounded_to_8_bits(kind: str, encoded: Encode) -> None:
    samples = np.array([[0, 128, 129, 257 * 77, 257 * 77 + 129, 65535 - 129, 65535]], np.uint16)
    photo = decode_bytes(encoded(Image.fromarray(samples), kind))
    assert photo.header.mode == "I;16"
    assert photo.pixels[0].tolist() == [[gray] * 3 for gray in (0, 0, 1, 77, 78, 254, 255)]


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG, assembled here; `rows` include their filter bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_colour_keeps_its_high_byte() -> None:
    photo = decode_bytes(png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0xC8FF, 0x10FF, 0x2000, 0, 65535, 0x00FF)))
    assert photo.pixels.tolist() == [[[0xC8, 0x10, 0x20], [0, 255, 0]]]


def test_float_samples_are_an_error(encoded: Encode) -> None:
    with pytest.raises(UnsupportedFormat, match="no defined range"):
        decode_bytes(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparent_pixels_are_not_measured(kind: str, encoded: Encode) -> None:
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[...] = (255, 0, 0, 255)
    rgba[:, 5:, 3] = 0
    photo = decode_bytes(encoded(rgba, kind))
    assert round(colorfulness(photo.pixels, photo.visible), 2) == 85.53
    assert photo.pixels[0, 9].tolist() == [255, 255, 255]
    assert photo.visible is not None
    assert int(photo.visible.sum()) == 50


@pytest.mark.parametrize(("alpha", "expected"), [(128, [255, 127, 127]), (1, [255, 254, 254]), (254, [255, 1, 1])])
def test_alpha_is_composited_on_white(alpha: int, expected: list[int], encoded: Encode) -> None:
    photo = decode_bytes(encoded(Image.new("RGBA", (3, 3), (255, 0, 0, alpha)), "PNG"))
    assert photo.pixels[1, 1].tolist() == expected
    assert photo.visible is None


def test_gray_with_alpha_is_composited_on_white(encoded: Encode) -> None:
    photo = decode_bytes(encoded(Image.new("LA", (2, 2), (0, 51)), "PNG"))
    assert photo.pixels[0, 0].tolist() == [204, 204, 204]


def test_a_transparent_palette_entry_is_invisible(encoded: Encode) -> None:
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((3, 1), 1)
    photo = decode_bytes(encoded(image, "PNG", transparency=0))
    assert photo.visible is not None
    assert np.argwhere(photo.visible).tolist() == [[1, 3]]
    assert photo.pixels[1, 3].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "clear"), [("RGB", (1, 2, 3), (1, 2, 3)), ("L", 7, 7), ("I;16", 2570, 2570)]
)
def test_a_colour_declared_transparent_is_invisible(
    mode: str, colour: int | tuple[int, ...], clear: int | tuple[int, ...], encoded: Encode
) -> None:
    image = Image.new(mode, (3, 1), colour)
    image.putpixel((0, 0), (200, 100, 50) if mode == "RGB" else 65535 if mode == "I;16" else 255)
    photo = decode_bytes(encoded(image, "PNG", transparency=clear))
    assert photo.visible is not None
    assert photo.visible.tolist() == [[True, False, False]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_fully_transparent_image_is_an_error(kind: str, encoded: Encode) -> None:
    with pytest.raises(NothingVisible, match="3 x 2"):
        decode_bytes(encoded(Image.new("RGBA", (3, 2), (255, 0, 0, 0)), kind))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_converted(kind: str, encoded: Encode, swapped_primaries: bytes) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    red = Image.new("RGB", (6, 6), (250, 20, 60))
    photo = decode_bytes(encoded(red, kind, icc_profile=swapped_primaries, **options))
    assert np.abs(photo.pixels.astype(int) - (60, 20, 250)).max() <= 2
    assert photo.header.icc_profile not in (None, "unreadable")


def test_profile_conversion_does_not_change_alpha(encoded: Encode, swapped_primaries: bytes) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., :] = (250, 20, 60, 255)
    rgba[0, :, 3] = 0
    photo = decode_bytes(encoded(rgba, "PNG", icc_profile=swapped_primaries))
    assert photo.visible is not None
    assert photo.visible.sum(axis=1).tolist() == [0, 4, 4, 4]
    assert np.abs(photo.pixels[3, 3].astype(int) - (60, 20, 250)).max() <= 2


def test_an_embedded_srgb_profile_changes_nothing(vivid: Pixels, encoded: Encode) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = decode_bytes(encoded(vivid, "PNG", icc_profile=srgb))
    assert np.array_equal(photo.pixels, vivid)
    assert photo.header.icc_profile is not None
    assert "sRGB" in photo.header.icc_profile


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 200])
def test_an_unreadable_profile_is_ignored(profile: bytes, vivid: Pixels, encoded: Encode) -> None:
    photo = decode_bytes(encoded(vivid, "PNG", icc_profile=profile))
    assert np.array_equal(photo.pixels, vivid)
    assert photo.header.icc_profile == "unreadable"


def test_a_profile_of_another_colour_space_is_ignored(encoded: Encode) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = decode_bytes(encoded(Image.new("L", (5, 5), 90), "PNG", icc_profile=srgb))
    assert (photo.pixels == 90).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error_and_never_padded(
    kind: str, share: float, real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    whole = encoded(real_photo("chelsea")[:120, :160], kind)
    with pytest.raises(BrokenPhoto):
        decode_bytes(whole[: int(len(whole) * share)])


def test_a_kind_of_bmp_that_is_not_decoded_is_unsupported(vivid: Pixels, encoded: Encode) -> None:
    data = bytearray(encoded(vivid, "BMP"))
    data[30] = 6  # BI_ALPHABITFIELDS
    with pytest.raises(UnsupportedFormat, match=r"Unsupported BMP compression.*convert it"):
        decode_bytes(bytes(data))


def test_an_empty_file_is_an_error() -> None:
    with pytest.raises(EmptyFile, match="zero bytes"):
        decode_bytes(b"")


@pytest.mark.parametrize("text", [b"hello", b"<html><body>404</body></html>", b"\0" * 500])
def test_text_and_other_data_are_not_a_photo(text: bytes) -> None:
    assert not looks_like_photo(text[:32])
    with pytest.raises(NotAPhoto):
        decode_bytes(text)


def test_jpeg_2000_is_an_unsupported_format() -> None:
    head = b"\0\0\0\x0cjP  \r\n\x87\n"
    assert looks_like_photo(head)
    with pytest.raises(UnsupportedFormat, match="JPEG 2000"):
        decode_bytes(head + b"\0" * 60)


def test_a_huge_size_in_the_header_is_refused_before_decoding() -> None:
    started = time.monotonic()
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        decode_bytes(png(60_000, 60_000, 8, 2, b"\0"))
    assert time.monotonic() - started < 0.5  # decoding it would take minutes, and 10 GB


def test_an_image_of_exactly_max_pixels_is_decoded(vivid: Pixels, encoded: Encode) -> None:
    data = encoded(vivid, "PNG")
    assert decode_bytes(data, max_pixels=64 * 48).header.width == 64
    with pytest.raises(TooManyPixels):
        decode_bytes(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_an_animation_is_decoded(kind: str, encoded: Encode) -> None:
    first, second = Image.new("RGB", (9, 7), (255, 0, 0)), Image.new("RGB", (9, 7), (0, 0, 255))
    options = {"lossless": True} if kind == "WEBP" else {}
    photo = decode_bytes(encoded(first, kind, save_all=True, append_images=[second], **options))
    assert photo.pixels[3, 4].tolist() == [255, 0, 0]


def test_the_first_picture_of_an_mpo_is_decoded(encoded: Encode) -> None:
    first, second = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
    photo = decode_bytes(encoded(first, "MPO", save_all=True, append_images=[second]))
    assert photo.header.format == "MPO"
    assert np.abs(photo.pixels.astype(int) - (255, 0, 0)).max() <= 2


def test_a_decompression_bomb_in_the_text_of_a_png_is_not_decompressed(vivid: Pixels, encoded: Encode) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    assert np.array_equal(decode_bytes(encoded(vivid, "PNG", pnginfo=notes)).pixels, vivid)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_malformed_files_raise_only_photo_errors(
    kind: str, mode: str, vivid: Pixels, encoded: Encode, swapped_primaries: bytes, mutated_copies: Mutate
) -> None:
    image = Image.fromarray(vivid[:12, :12]).convert("RGB" if kind == "JPEG" else mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    extras = {} if kind in ("GIF", "BMP") else {"exif": exif.tobytes(), "icc_profile": swapped_primaries}
    whole = encoded(image, kind, **extras)
    decoded = 0
    messages = set()
    for data in mutated_copies(whole, random.Random(f"{kind} {mode}"), 200 if kind == "AVIF" else 1000):  # noqa: S311
        try:
            photo = decode_bytes(data, max_pixels=100_000)
        except PhotoError as exc:
            messages.add(str(exc))
        else:
            assert photo.pixels.shape == (photo.header.height, photo.header.width, 3)
            decoded += 1
    assert decoded > 0
    assert messages
    assert not any("\n" in message for message in messages)


def test_a_jpeg_decoded_at_a_fraction_is_not_smaller_than_asked_and_its_header_has_the_full_size(
    encoded: Callable[..., bytes],
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(Image.effect_noise((1600, 1200), 40).convert("RGB"), "JPEG", exif=exif)
    for short_side, expected in ((150, (200, 150)), (151, (400, 300)), (601, (1600, 1200)), (2000, (1600, 1200))):
        photo = decode_bytes(data, short_side_px=short_side)
        assert photo.pixels.shape[:2] == expected
        assert (photo.header.width, photo.header.height) == (1200, 1600)


def test_a_jpeg_decoded_at_a_fraction_equals_the_shrunk_full_size(encoded: Callable[..., bytes]) -> None:
    x, y = np.meshgrid(np.linspace(0, 255, 800), np.linspace(0, 255, 640))
    data = encoded(Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)), "JPEG", quality=95)
    small = decode_bytes(data, short_side_px=80).pixels.astype(int)
    whole = decode_bytes(data).pixels.reshape(80, 8, 100, 8, 3).mean(axis=(1, 3))
    assert small.shape == (80, 100, 3)
    assert np.abs(small - whole).mean() < 1.5


def test_over_white_rounds_to_the_nearest_level_for_every_colour_and_alpha() -> None:
    colour, alpha = (np.ascontiguousarray(plane.astype(np.uint8)) for plane in np.mgrid[0:256, 0:256])
    opacity = alpha.astype(np.float64) / 255
    exact = colour * opacity + 255 * (1 - opacity)
    shown = over_white(np.stack([colour] * 3, axis=-1), alpha)
    assert np.array_equal(shown, np.stack([np.round(exact)] * 3, axis=-1))
