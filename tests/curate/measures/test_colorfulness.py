"""colorfulness, against the paper's formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from curate.measures.colorfulness import colorfulness, colorfulness_level

Pixels = NDArray[np.uint8]

side = st.integers(1, 13)
photos = st.tuples(side, side, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape))


def paper_formula(pixels: Pixels, *, absolute: bool = False) -> float:
    """The formula as printed in the paper, over (..., 3) pixels, in float64."""
    red, green, blue = (pixels[..., channel].astype(np.float64).ravel() for channel in range(3))
    rg = red - green
    yb = (red + green) / 2 - blue
    if absolute:
        rg, yb = np.abs(rg), np.abs(yb)
    spread = math.sqrt(rg.var() + yb.var())
    return spread + 0.3 * math.sqrt(rg.mean() ** 2 + yb.mean() ** 2)


def flat(red: int, green: int, blue: int, shape: tuple[int, int] = (2, 2)) -> Pixels:
    return np.full((*shape, 3), (red, green, blue), np.uint8)


@pytest.mark.parametrize(
    ("colour", "m"),
    [
        ((255, 0, 0), 0.3 * math.hypot(255, 127.5)),
        ((0, 255, 0), 0.3 * math.hypot(255, 127.5)),
        ((0, 0, 255), 0.3 * 255),
        ((255, 255, 0), 0.3 * 255),
        ((77, 77, 77), 0.0),
    ],
)
def test_a_flat_colour_scores_0_3_times_its_distance_from_gray(colour: tuple[int, int, int], m: float) -> None:
    assert colorfulness(flat(*colour)) == pytest.approx(m, abs=1e-12)


def test_red_beside_cyan_has_spread_and_no_mean() -> None:
    pair = np.array([[[255, 0, 0], [0, 255, 255]]], np.uint8)  # rg = ±255, yb = ±127.5
    assert colorfulness(pair) == pytest.approx(math.hypot(255, 127.5), abs=1e-12)
    assert colorfulness(pair, variant="absolute") == pytest.approx(0.3 * math.hypot(255, 127.5), abs=1e-12)


@given(photos)
def test_agrees_with_the_formula(pixels: Pixels) -> None:
    assert colorfulness(pixels) == pytest.approx(paper_formula(pixels), abs=1e-9)


@given(photos)
def test_absolute_variant_agrees_with_its_own_formula(pixels: Pixels) -> None:
    assert colorfulness(pixels, variant="absolute") == pytest.approx(paper_formula(pixels, absolute=True), abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4099), (4099, 1), (31, 257), (513, 127)])
def test_agrees_with_the_formula_at_odd_shapes(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert colorfulness(pixels) == pytest.approx(paper_formula(pixels), abs=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_agrees_with_the_formula_on_real_photos(name: str, real_photo: Callable[[str], Pixels]) -> None:
    pixels = real_photo(name)
    assert colorfulness(pixels) == pytest.approx(paper_formula(pixels), abs=1e-9)


@given(st.tuples(side, side, st.just(1)).flatmap(lambda shape: arrays(np.uint8, shape)))
def test_gray_scores_exactly_0(gray: Pixels) -> None:
    assert colorfulness(np.repeat(gray, 3, axis=2)) == 0.0


@given(photos, st.integers(0, 2**32 - 1))
def test_the_order_of_pixels_does_not_matter(pixels: Pixels, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(pixels.shape[0] * pixels.shape[1])
    shuffled = pixels.reshape(-1, 3)[order].reshape(pixels.shape)
    assert colorfulness(shuffled) == colorfulness(pixels)


@given(photos)
@example(flat(0, 13, 13, (1, 1)))
def test_flips_turns_and_tiles_do_not_change_the_score(pixels: Pixels) -> None:
    m = colorfulness(pixels)
    assert colorfulness(pixels[::-1]) == m
    assert colorfulness(pixels[:, ::-1]) == m
    assert colorfulness(pixels.swapaxes(0, 1)) == m
    assert colorfulness(np.tile(pixels, (3, 2, 1))) == pytest.approx(m, abs=1e-9)


@given(photos, st.data())
def test_a_mask_equals_measuring_the_visible_pixels_alone(pixels: Pixels, data: st.DataObject) -> None:
    visible = data.draw(arrays(np.bool_, pixels.shape[:2]).filter(lambda mask: bool(mask.any())))
    alone = pixels[visible][None]
    assert colorfulness(pixels, visible) == colorfulness(alone)
    assert colorfulness(pixels, visible, "absolute") == colorfulness(alone, variant="absolute")


@pytest.mark.parametrize("variant", ["signed", "absolute"])
def test_without_visible_pixels_it_raises(variant: str) -> None:
    with pytest.raises(ValueError, match="no visible pixels"):
        colorfulness(flat(1, 2, 3), np.zeros((2, 2), np.bool_), "absolute" if variant == "absolute" else "signed")


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(1, 300), st.integers(1, 300))
@example((0, 13, 13), 3, 2)
def test_a_flat_photo_of_any_size_has_no_spread(colour: tuple[int, int, int], height: int, width: int) -> None:
    red, green, blue = colour
    mean = math.hypot(red - green, (red + green) / 2 - blue)
    assert colorfulness(flat(red, green, blue, (height, width))) == pytest.approx(0.3 * mean, abs=1e-9)


def test_a_large_flat_photo_is_exact() -> None:
    red = flat(255, 0, 0, (4000, 5000))
    assert colorfulness(red) == 0.3 * math.hypot(255, 127.5)


def test_a_large_photo_of_two_colours_is_exact_across_blocks() -> None:
    pixels = flat(255, 255, 255, (4000, 5000))
    pixels[:, :2500] = (255, 0, 0)
    assert colorfulness(pixels) == pytest.approx(paper_formula(np.array([[255, 0, 0], [255, 255, 255]], np.uint8)))


def test_one_different_pixel_in_twenty_million_is_measured() -> None:
    pixels = flat(255, 0, 0, (4000, 5000))
    pixels[3999, 4999] = (0, 0, 255)
    n = pixels.shape[0] * pixels.shape[1]
    spread = math.hypot(255, 382.5) * math.sqrt((1 / n) * (1 - 1 / n))
    mean = math.hypot(255 - 255 / n, 127.5 - 382.5 / n)
    assert colorfulness(pixels) == pytest.approx(spread + 0.3 * mean, abs=1e-6)


@pytest.mark.parametrize(
    ("lowest", "name", "below"),
    [
        (15, "slightly", "not"),
        (33, "moderately", "slightly"),
        (45, "averagely", "moderately"),
        (59, "quite", "averagely"),
        (82, "highly", "quite"),
        (109, "extremely", "highly"),
    ],
)
def test_a_level_begins_at_its_lower_bound(lowest: float, name: str, below: str) -> None:
    assert colorfulness_level(lowest) == name
    assert colorfulness_level(math.nextafter(lowest, 0)) == below


def test_levels_cover_all_scores() -> None:
    assert (colorfulness_level(0.0), colorfulness_level(300.0)) == ("not", "extremely")
