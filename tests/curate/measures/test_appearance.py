"""Measures of appearance."""

from __future__ import annotations

import numpy as np
import pytest

from curate.measures.measure import measure


@pytest.mark.parametrize(
    ("color", "hue_deg"), [((255, 0, 0), 40.0), ((0, 255, 0), 136.0), ((0, 0, 255), 306.3), ((128, 128, 128), 0)]
)
def test_hue_peak_is_the_most_frequent_hue(color: tuple[int, int, int], hue_deg: float) -> None:
    pixels = np.full((60, 80, 3), color, np.uint8)
    pixels[:10] = (120, 200, 200)
    if hue_deg == 0:
        pixels[:] = color
    hue = measure(pixels).appearance.hue_peak_deg
    assert hue == pytest.approx(hue_deg, abs=6)  # CIELAB hues of the sRGB primaries (D65); bins are 10 degrees wide
