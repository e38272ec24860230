"""Tests of curate/measures/hue_spread.py."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.measures.hue_spread import HUE_RANGES, HueSpread, hue_histogram, hue_spread


def lab(hue: float, chroma: float) -> NDArray[np.float64]:
    """a and b of 4 × 4 pixels of one color, (2, 4, 4)."""
    angle = math.radians(hue)
    values: NDArray[np.float64] = np.ones((2, 4, 4)) * [[[chroma * math.cos(angle)]], [[chroma * math.sin(angle)]]]
    return values


@pytest.mark.parametrize("hue", [0.5, 9.5, 90.5, 179.5, 180.5, 355])
def test_one_color_is_one_bin(hue: float) -> None:
    histogram = hue_histogram(lab(hue, 20))
    assert np.flatnonzero(histogram).tolist() == [int(hue // 10)]
    assert histogram.sum() == pytest.approx(16 * 20, rel=1e-6)
    assert hue_spread(histogram).entropy_bits == 0


def test_two_colors_alike_have_one_bit_and_a_stronger_one_counts_for_more() -> None:
    orange, sky = lab(65, 30), lab(255, 30)
    both = hue_spread(hue_histogram(orange) + hue_histogram(sky))
    assert both.entropy_bits == pytest.approx(1)
    assert (both.warm, both.blue) == pytest.approx((0.5, 0.5))
    pale = hue_spread(hue_histogram(orange) + hue_histogram(sky / 3))
    assert pale.warm == pytest.approx(0.75)
    assert pale.entropy_bits == pytest.approx(-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))


def test_the_ranges_cover_all_hues_once() -> None:
    spread = hue_spread(np.arange(1.0, 37))
    assert spread.warm + spread.green + spread.blue + spread.magenta == pytest.approx(1)
    for name, (first, end) in HUE_RANGES.items():
        for hue in (first + 1, (end - 1) % 360):
            assert getattr(hue_spread(hue_histogram(lab(hue, 50))), name) == 1


def test_gray_has_no_hue() -> None:
    assert hue_spread(hue_histogram(lab(70, 0.9))) == HueSpread(0, 0, 0, 0, 0)
    assert hue_spread(np.zeros(36)) == HueSpread(0, 0, 0, 0, 0)


def test_a_batch_is_the_sum_of_its_pictures_and_large_pictures_are_sampled() -> None:
    pictures = np.random.default_rng(0).normal(0, 20, (3, 2, 16, 16))
    np.testing.assert_allclose(hue_histogram(pictures), sum(map(hue_histogram, pictures)), rtol=1e-6)
    large = np.random.default_rng(0).normal([[[0]], [[20]]], 20, (2, 500, 300))
    assert hue_histogram(large).sum() == pytest.approx(np.hypot(*large[:, ::4, ::4]).sum(), rel=0.01)


def test_pixels_that_are_not_finite_are_left_out() -> None:
    ab = lab(70, 20)
    ab[0, 0, 0], ab[1, 0, 1] = math.nan, math.inf
    assert hue_histogram(ab).sum() == pytest.approx(14 * 20, rel=1e-6)
