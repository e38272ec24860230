"""Tests of curate/measures/measure.py: the small copy and the sample of pixels that measures use."""

from __future__ import annotations

import numpy as np
import pytest

from curate.measures.measure import (
    SAMPLE_PIXELS,
    make_small_copy,
    measure,
    measure_batch,
    sample_pixels,
    summarize_pixels,
)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (375, 500), (301, 1), (2, 700_000), (1001, 999)])
@pytest.mark.parametrize("masked", [False, True])
def test_one_pass_gives_the_same_small_copy_as_repeated_halving(shape: tuple[int, int], masked: bool) -> None:
    rng = np.random.default_rng(sum(shape))
    pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
    visible = np.ones(shape, np.bool_) if masked else None
    if visible is not None:
        visible[: shape[0] // 2] = False
    small, small_visible = make_small_copy(pixels, visible)
    summary = summarize_pixels(pixels, visible)
    assert np.array_equal(summary.small, small)
    assert (summary.visible is None) == (small_visible is None)
    assert small_visible is None or (summary.visible is not None and np.array_equal(summary.visible, small_visible))
    assert measure_batch([summary]) == [measure(pixels, visible)]


def test_a_sample_has_original_pixels_from_the_whole_photo() -> None:
    rows, columns = np.mgrid[0:600, 0:900]
    pixels = np.stack([rows // 4, columns // 4, rows % 2 * 255], axis=-1).astype(np.uint8)
    chosen = sample_pixels(pixels)
    assert 0.9 * SAMPLE_PIXELS < chosen.shape[0] * chosen.shape[1] <= SAMPLE_PIXELS
    assert set(np.unique(chosen[..., 2])) == {0, 255}  # an average would be 127
    assert np.abs(chosen.reshape(-1, 3).mean(axis=0) - pixels.reshape(-1, 3).mean(axis=0)).max() < 5


def test_a_sample_of_one_visible_pixel_is_that_pixel() -> None:
    pixels = np.zeros((600, 900, 3), np.uint8)
    pixels[3, 5] = (9, 8, 7)
    visible = pixels[..., 0] > 0
    assert sample_pixels(pixels, visible).tolist() == [[[9, 8, 7]]]
