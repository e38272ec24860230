"""Tests of curate/image/fast_paths.py: damaged files decode to the same pixels as with Pillow, or are errors."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from curate.errors import PhotoError
from curate.image.decode import decode_bytes

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]


def damage(whole: bytes, rng: random.Random) -> bytes:
    """A copy with one bit flipped, a piece removed or repeated, or two pieces exchanged."""
    data = bytearray(whole)
    at, other = sorted(rng.randrange(len(data)) for _ in range(2))
    length = rng.randint(1, 40)
    match rng.randrange(4):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[other : other + length]
        case _:
            data[at : at + length], data[other : other + length] = (
                data[other : other + length],
                data[at : at + length],
            )
    return bytes(data)


def decode_with_pillow(data: bytes) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_damaged_files_decode_as_with_pillow_or_not_at_all(
    kind: str, options: dict[str, bool], real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    rng = random.Random(f"{kind} {options}")  # noqa: S311
    whole = encoded(real_photo("chelsea")[:40, :60], kind, **options)
    compared = 0
    for data in [whole, *(damage(whole, rng) for _ in range(250))]:
        try:
            photo = decode_bytes(data, max_pixels=100_000)
        except PhotoError:
            continue
        if photo.header.orientation == 1 and photo.header.mode == "RGB" and photo.header.icc_profile is None:
            expected = decode_with_pillow(data)
            assert expected is not None
            assert np.array_equal(photo.pixels, expected)
            compared += 1
    assert compared  # at least the undamaged file; a PNG has checksums, so damaged ones don't decode


def test_a_png_with_a_profile_is_read_by_opencv_without_warnings(
    real_photo: Callable[[str], Pixels],
    encoded: Encode,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = real_photo("chelsea")[:40, :60]
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[64:68] = b"\0\0\0\x09"  # a rendering intent that libpng warns about
    data = encoded(pixels, "PNG", icc_profile=bytes(profile))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _image: pytest.fail("read by Pillow"))
    assert np.array_equal(decode_bytes(data).pixels, pixels)
    assert capfd.readouterr().err == ""
