"""Measures of appearance, compared with CIELAB computed from its definition."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import curate
from curate.measures.appearance import HUE_BINS
from curate.measures.measure import measure_pixels, sample_pixels

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

LINEAR_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""IEC 61966-2-1, to seven digits; the rows sum to the white point D65, so that a gray has no chroma."""


def exact_lab(rgb: Pixels) -> Floats:
    """(..., 3) L*, a*, b* of (..., 3) uint8 sRGB, in float64: IEC 61966-2-1, then CIE 15:2004, section 8.2.1."""
    level = rgb / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    ratio = linear @ LINEAR_SRGB_TO_XYZ.T / LINEAR_SRGB_TO_XYZ.sum(axis=1)
    x, y, z = np.moveaxis(np.where(ratio > (24 / 116) ** 3, np.cbrt(ratio), 841 / 108 * ratio + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def exact_hue_shares(lab: Floats) -> Floats:
    """(HUE_BINS,) the share of the chroma in each hue bin, by the definition in docs/reference/measures.md."""
    a, b = lab[..., 1].ravel(), lab[..., 2].ravel()
    bins = (np.degrees(np.arctan2(b, a)) % 360 // (360 / HUE_BINS)).astype(int)
    chroma: Floats = np.bincount(bins, np.hypot(a, b), HUE_BINS) / np.hypot(a, b).sum()
    return chroma


def jpeg_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.mark.parametrize(
    ("color", "hue_deg"), [((255, 0, 0), 40.0), ((0, 255, 0), 136.0), ((0, 0, 255), 306.3), ((128, 128, 128), 0)]
)
def test_hue_peak_is_the_most_frequent_hue(color: tuple[int, int, int], hue_deg: float) -> None:
    pixels = np.full((60, 80, 3), color, np.uint8)
    pixels[:10] = (120, 200, 200)
    if hue_deg == 0:
        pixels[:] = color
    hue = measure_pixels(pixels).appearance.hue_peak_deg
    assert hue == pytest.approx(hue_deg, abs=6)  # CIELAB hues of the sRGB primaries (D65); bins are 10 degrees wide


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_measures_of_a_photo_agree_with_exact_cielab(name: str, real_photo: Callable[[str], Pixels]) -> None:
    pixels = real_photo(name)
    lab = exact_lab(sample_pixels(pixels))
    shares = exact_hue_shares(lab)
    appearance = measure_pixels(pixels).appearance
    assert appearance.chroma_mean == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), abs=0.2)
    assert appearance.lightness_mean == pytest.approx(lab[..., 0].mean(), abs=0.2)
    assert appearance.neutral_share == pytest.approx((np.hypot(lab[..., 1], lab[..., 2]) < 5).mean(), abs=0.01)
    assert appearance.hue_entropy_bits == pytest.approx(-(shares * np.log2(shares + 1e-12)).sum(), abs=0.02)
    smooth = np.roll(shares, 1) + 2 * shares + np.roll(shares, -1)
    assert appearance.hue_peak_deg == (smooth.argmax() + 0.5) * 360 / HUE_BINS


def test_a_photo_of_grays_has_no_chroma_and_no_hue() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(8, axis=0).repeat(8, axis=1)
    assert np.hypot(*exact_lab(np.dstack([ramp] * 3))[..., 1:].transpose(2, 0, 1)).max() < 1e-9
    luma = Image.fromarray(ramp)
    for photo in (jpeg_of(luma), jpeg_of(luma.convert("RGB")), luma):
        measures = curate.measure(photo)
        appearance = measures.appearance
        assert measures.colorfulness == 0
        assert (appearance.chroma_mean, appearance.hue_peak_deg, appearance.hue_entropy_bits) == (0, 0, 0)
        assert measures.tone.tone_hue_deg == 0


def test_every_other_color_has_a_hue_even_if_it_is_one_level_from_gray() -> None:
    for color in ((128, 128, 129), (254, 255, 255), (1, 0, 0), (28, 28, 27)):
        pixels = np.full((20, 20, 3), 28, np.uint8)
        pixels[3, 4] = color
        shares = exact_hue_shares(exact_lab(np.array([[color]], np.uint8)))
        appearance = measure_pixels(pixels).appearance
        assert appearance.chroma_mean > 0
        assert appearance.hue_entropy_bits == 0
        # OpenCV's float CIELAB is up to 13 degrees off for colors one level from gray
        assert appearance.hue_peak_deg == pytest.approx((shares.argmax() + 0.5) * 360 / HUE_BINS, abs=10)
