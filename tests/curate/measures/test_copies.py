"""The larger copy of a photo, and the squares that networks read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.measures.measure import summarize_pixels
from curate.measures.onnx import square_input


@pytest.mark.parametrize("side", [64, 224])
def test_inputs_are_squares_around_0(side: int) -> None:
    picture = np.zeros((6, 10, 3), np.uint8)
    picture[:3] = (255, 127, 0)
    made = square_input(picture, side)
    assert made.shape == (3, side, side)
    assert made[:, 0, -1].tolist() == [1, 0, -127 / 128]
    assert made[:, -1, 0].tolist() == [-127 / 128] * 3


@pytest.mark.parametrize("mirrored", [(True, False), (False, True), (True, True)])
def test_the_larger_copy_of_a_stored_photo_is_that_of_the_upright_one(mirrored: tuple[bool, bool]) -> None:
    upright = np.random.default_rng(1).integers(0, 256, (701, 523, 3), dtype=np.uint8)
    expected = summarize_pixels(upright).large
    axes = tuple(axis for axis, mirror in enumerate(mirrored) if mirror)
    stored = summarize_pixels(np.flip(upright, axes).copy(), None, mirrored).large
    assert expected.shape == (701 // 8 * 2, 523 // 8 * 2, 3)
    assert np.array_equal(np.flip(stored, axes), expected)


@pytest.mark.parametrize(
    ("height", "width"), [(160, 90), (161, 90), (320, 200), (321, 199), (700, 3), (1, 900), (2500, 1700)]
)
def test_the_larger_copy_is_twice_the_small_one_or_the_same(height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    summary = summarize_pixels(pixels)
    small, large = summary.small, summary.large
    factor = 1 if max(height, width) <= 160 or min(height, width) < 2 else 2
    assert large.shape == (factor * small.shape[0], factor * small.shape[1], 3)
    assert (large is small) == (factor == 1)
    halved = [cv2.resize(plane, small.shape[1::-1], interpolation=cv2.INTER_AREA) for plane in cv2.split(large)]
    assert np.array_equal(cv2.merge(halved), small)


def test_invisible_pixels_of_the_larger_copy_have_the_mean_color_of_the_visible_ones() -> None:
    pixels, visible = np.full((400, 400, 3), 255, np.uint8), np.zeros((400, 400), bool)
    pixels[:, :200], visible[:, :200] = (200, 100, 50), True
    assert (summarize_pixels(pixels, visible).large == (200, 100, 50)).all()
