"""measure: whole photos of each tone, shape and mask; the small copy and the sample of pixels that measures use."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.measures.measure import (
    SAMPLE_PIXELS,
    make_small_copy,
    measure_batch,
    measure_color,
    measure_pixels,
    sample_pixels,
    summarize_pixels,
)

Pixels = NDArray[np.uint8]
SEPIA_MATRIX = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]


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
    assert measure_batch([summary]) == [measure_pixels(pixels, visible)]


@pytest.mark.parametrize("mirrored", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 170), (3, 1000), (303, 322), (321, 645), (643, 1283)])
def test_a_mirrored_photo_has_the_numbers_of_the_upright_one(
    shape: tuple[int, int], mirrored: tuple[bool, bool]
) -> None:
    upright = np.random.default_rng(shape).integers(0, 256, (*shape, 3), np.uint8)
    axes = tuple(axis for axis, mirror in enumerate(mirrored) if mirror)
    expected, given = summarize_pixels(upright), summarize_pixels(np.flip(upright, axes).copy(), None, mirrored)
    assert given.colorfulness == expected.colorfulness
    assert np.array_equal(np.flip(given.small, axes), expected.small)
    assert np.array_equal(np.flip(given.sample, axes), expected.sample)


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


def recoloured(pixels: Pixels, matrix: list[list[float]]) -> Pixels:
    mixed: NDArray[np.float64] = pixels @ np.array(matrix).T
    return mixed.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_measure_classifies_a_photo_and_its_monochrome_copies(name: str, real_photo: Callable[[str], Pixels]) -> None:
    pixels = real_photo(name)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    gray = np.repeat(luma[..., None], 3, axis=2).astype(np.uint8)
    dark, bright = np.array([8.0, 30.0, 85.0]), np.array([225.0, 238.0, 250.0])
    cyanotype = (dark + (bright - dark) * (luma / 255)[..., None]).astype(np.uint8)
    copies = {"color": pixels, "grayscale": gray, "sepia": recoloured(pixels, SEPIA_MATRIX), "toned": cyanotype}
    assert {tone: measure_pixels(copy).tone.tone for tone, copy in copies.items()} == {tone: tone for tone in copies}


def test_gray_noise_stored_as_rgb_is_grayscale() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 1), dtype=np.uint8)
    assert measure_pixels(np.repeat(noise, 3, axis=2)).tone.tone == "grayscale"


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (161, 3)])
def test_photos_of_any_shape_are_measured(shape: tuple[int, int]) -> None:
    measures = measure_pixels(np.full((*shape, 3), (200, 30, 30), np.uint8))
    assert measures.colorfulness == pytest.approx(0.3 * math.hypot(170, 85))  # rg and yb of the colour
    assert all(math.isfinite(value) for value in (measures.tone.tone_residual, measures.appearance.sharpness))


def test_an_invisible_half_does_not_change_the_measures(vivid: Pixels) -> None:
    wide = np.concatenate([vivid, np.full_like(vivid, 255)], axis=1)
    visible = np.zeros(wide.shape[:2], np.bool_)
    visible[:, : vivid.shape[1]] = True
    alone, masked = measure_pixels(vivid), measure_pixels(wide, visible)
    assert masked.colorfulness == alone.colorfulness
    # the mask changes which pixels are sampled
    assert masked.appearance.chroma_mean == pytest.approx(alone.appearance.chroma_mean, rel=0.03)
    assert masked.tone.tone == alone.tone.tone == "color"


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_colors_alone_are_those_of_all_measures(name: str, real_photo: Callable[[str], Pixels]) -> None:
    pixels = real_photo(name)
    measured = measure_pixels(pixels)
    assert measure_color(pixels) == (measured.colorfulness, measured.tone)
