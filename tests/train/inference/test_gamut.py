"""CIELAB to sRGB: agreement with scikit-image, and colors outside sRGB."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from train.inference.gamut import largest_chroma, lightness, to_srgb

GRID = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(18 * 18, 18, 3)


def lab_of(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(rgb2lab(rgb), np.float32)


def test_lightness_agrees_with_skimage() -> None:
    assert np.abs(lightness(GRID) - rgb2lab(GRID)[..., 0]).max() < 0.01


def test_a_round_trip_gives_the_same_pixels() -> None:
    lab = lab_of(GRID)
    assert np.abs(to_srgb(lab[..., 0], lab[..., 1:]).astype(int) - GRID).max() <= 1


def test_the_largest_chroma_agrees_with_the_primaries() -> None:
    # Chroma of pure blue, red and green in CIELAB under D65; their lightness and hue as skimage has them.
    for color, chroma in (((0, 0, 255), 133.81), ((255, 0, 0), 104.55), ((0, 255, 0), 119.78)):
        light, a, b = rgb2lab(np.array([[color]], np.uint8))[0, 0]
        found = largest_chroma()[round(light * 2), round(np.degrees(np.arctan2(b, a)) % 360 * 2)]
        assert abs(found - chroma) < 2
    assert largest_chroma()[[0, -1]].max() < 0.1, "black and white have no color"


@given(arrays(np.float32, (6, 7, 2), elements=st.floats(-150, 150, width=32)), st.floats(0, 100, width=32))
def test_colors_outside_srgb_keep_lightness_and_hue(ab: NDArray[np.float32], light: float) -> None:
    whole = np.full(ab.shape[:2], light, np.float32)
    result = rgb2lab(to_srgb(whole, ab))
    assert np.abs(result[..., 0] - light).max() < 1.0
    chroma, before = np.hypot(result[..., 1], result[..., 2]), np.hypot(ab[..., 0], ab[..., 1])
    assert (chroma <= before + 2).all()
    turned = np.degrees(np.arctan2(result[..., 2], result[..., 1]) - np.arctan2(ab[..., 1], ab[..., 0]))
    distance = np.abs((turned + 180) % 360 - 180) * chroma / 57.3  # degrees as a distance in CIELAB
    assert distance.max() < 3


def test_lightness_changes_less_than_by_clipping() -> None:
    lab = lab_of(GRID) * np.array([1, 1.6, 1.6], np.float32)
    ours, clipped = rgb2lab(to_srgb(lab[..., 0], lab[..., 1:])), rgb2lab(np.clip(lab2rgb(lab.astype(float)), 0, 1))
    assert np.abs(ours[..., 0] - lab[..., 0]).mean() < 0.2 * np.abs(clipped[..., 0] - lab[..., 0]).mean()
