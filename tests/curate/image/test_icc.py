"""ICC profiles: the matrix transform against LittleCMS, for profiles assembled here from published primaries."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curate.image.decode import decode_bytes
from curate.image.icc import MatrixTransform, _choose_transform, matrix_transform, srgb_transform
from curate.measures.colorfulness import colorfulness

Pixels = NDArray[np.uint8]
Colorants = tuple[tuple[float, float, float], ...]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03135, 0.00009, 0.82521))
"""XYZ of the primaries under D50. Sources: Apple's Display P3 profile, Adobe RGB (1998) 4.3.1, ISO 22028-2."""


def gamma(value: float) -> bytes:
    return struct.pack(">4s4xIH2x", b"curv", 1, round(value * 256))


def table(value: float, count: int) -> bytes:
    points = np.rint(np.linspace(0, 1, count) ** value * 65535).astype(">u2").tobytes()
    return struct.pack(">4s4xI", b"curv", count) + points + bytes(-len(points) % 4)


def parametric(kind: int, *values: float) -> bytes:
    return struct.pack(f">4s4xH2x{len(values)}i", b"para", kind, *(round(value * 65536) for value in values))


def profile(
    colorants: Colorants, *curves: bytes, version: int = 4, extra_tags: dict[bytes, bytes] | None = None
) -> bytes:
    """A display profile with these primaries, and one curve for all channels or one for each."""
    tags = {
        name: struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in xyz))
        for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
    }
    tags |= dict(zip((b"rTRC", b"gTRC", b"bTRC"), curves * (3 // len(curves)), strict=True))
    tags |= {b"desc": b"desc\0\0\0\0\0\0\0\5made\0" + bytes(81)} | (extra_tags or {})
    start = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        index += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(">I4xB3x12s12x4s28x12s48x", start + len(body), version, b"mntrRGB XYZ ", b"acsp", d50)
    return head + index + body


PROFILES = {
    "Display P3": profile(DISPLAY_P3, parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
    "Adobe RGB": profile(ADOBE_RGB, gamma(563 / 256), version=2),
    "ProPhoto": profile(PROPHOTO, gamma(1.8), version=2),
    "ProPhoto with its toe": profile(PROPHOTO, parametric(4, 1.8, 1, 0, 1 / 16, 1 / 32, 0, 0)),
    "a linear space": profile(DISPLAY_P3, struct.pack(">4s4xI", b"curv", 0), version=2),
    "a scanner's tables": profile(ADOBE_RGB, table(1.7, 1024), table(1.8, 4096), table(2.3, 17), version=2),
    "every kind of curve": profile(
        DISPLAY_P3, parametric(0, 2.1), parametric(1, 2.2, 1.1, -0.1), parametric(2, 1.9, 0.9, 0.05, 0.02)
    ),
}


def littlecms(pixels: Pixels, icc_bytes: bytes) -> Pixels:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes))
    transform = ImageCms.buildTransform(source, SRGB, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    converted = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    assert converted is not None
    return np.asarray(converted)


def matrix(icc_bytes: bytes) -> MatrixTransform:
    transform = matrix_transform(icc_bytes, ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes)), SRGB)
    assert transform is not None
    return transform


@pytest.fixture(scope="module")
def colours() -> Pixels:
    """All combinations of every third level, and all combinations of the 32 darkest levels."""
    cubes = [np.stack(np.meshgrid(*[levels] * 3), axis=-1) for levels in (np.arange(0, 256, 3), np.arange(32))]
    return np.concatenate([cube.reshape(-1, 3) for cube in cubes]).astype(np.uint8)[:, None]


@pytest.mark.parametrize("name", PROFILES)
def test_the_matrix_transform_is_within_one_level_of_littlecms_and_nearly_always_equal(
    name: str, colours: Pixels
) -> None:
    expected = littlecms(colours, PROFILES[name])
    difference = np.abs(matrix(PROFILES[name])(colours).astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 1e-5
    assert np.abs(expected.astype(int) - colours).max() > 10  # there was something to convert


@pytest.mark.parametrize("name", PROFILES)
def test_colorfulness_of_a_converted_photo_equals_that_by_littlecms(
    name: str, real_photo: Callable[[str], Pixels]
) -> None:
    pixels = real_photo("chelsea")
    _, transform = srgb_transform(PROFILES[name], "RGB")
    assert isinstance(transform, MatrixTransform)
    assert colorfulness(transform(pixels)) == pytest.approx(colorfulness(littlecms(pixels, PROFILES[name])), abs=0.01)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_decode_uses_the_matrix_transform(kind: str, vivid: Pixels, encoded: Callable[..., bytes]) -> None:
    plain = decode_bytes(encoded(vivid, kind)).pixels
    converted = decode_bytes(encoded(vivid, kind, icc_profile=PROFILES["Adobe RGB"])).pixels
    assert np.array_equal(converted, matrix(PROFILES["Adobe RGB"])(plain))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4097, 3), (97, 85, 3)])
def test_blocks_do_not_change_the_result(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mirrored = pixels[:, ::-1]
    convert = matrix(PROFILES["Display P3"])
    assert np.array_equal(convert(mirrored), convert(pixels)[:, ::-1])


def test_a_profile_with_lookup_tables_or_without_a_curve_is_left_to_littlecms() -> None:
    plain = PROFILES["Display P3"]
    opened = ImageCms.ImageCmsProfile(io.BytesIO(plain))
    tables = profile(DISPLAY_P3, gamma(2.2), extra_tags={b"A2B0": b"mft2" + bytes(60)})
    for icc_bytes in (tables, plain.replace(b"gTRC", b"none"), plain.replace(b"para", b"what"), plain[:200]):
        assert matrix_transform(icc_bytes, opened, SRGB) is None


def test_negative_light_is_converted_as_by_littlecms() -> None:
    icc_bytes = profile(DISPLAY_P3, parametric(4, 1, 1, 0, 0, 0, -0.3, 0))
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1) * np.array([1, 0, 1], np.uint8)
    assert np.array_equal(matrix(icc_bytes)(pixels), littlecms(pixels, icc_bytes))


def test_light_far_above_white_is_left_to_littlecms() -> None:
    icc_bytes = profile(DISPLAY_P3, parametric(4, 1, 9, 0, 0, 0, 0, 0))
    assert matrix_transform(icc_bytes, ImageCms.ImageCmsProfile(io.BytesIO(icc_bytes)), SRGB) is None


def test_littlecms_is_used_if_the_matrix_transform_differs() -> None:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(PROFILES["ProPhoto"]))
    transform = ImageCms.buildTransform(opened, SRGB, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert isinstance(_choose_transform(PROFILES["ProPhoto"], opened, transform), MatrixTransform)
    assert _choose_transform(PROFILES["ProPhoto with its toe"], opened, transform) is transform


@given(st.integers(128, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_profile_is_converted_within_one_level_or_left_to_littlecms(where: int, damage: bytes) -> None:
    whole = PROFILES["Display P3"]
    icc_bytes = whole[:where] + damage + whole[where + len(damage) :]
    _, transform = srgb_transform(icc_bytes, "RGB")
    if isinstance(transform, MatrixTransform):
        pixels = np.random.default_rng(where).integers(0, 256, (40, 40, 3), np.uint8)
        assert np.abs(transform(pixels).astype(int) - littlecms(pixels, icc_bytes)).max() <= 1
