"""Borders: bands at the sides of a photo, the colorfulness inside of them; and backgrounds that are no bands."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate.image.orientation import apply_orientation, mirrored_axes
from curate.measures.borders import Borders, find_box
from curate.measures.colorfulness import colorfulness
from curate.measures.measure import make_small_copy, measure_pixels, summarize_pixels

Pixels = NDArray[np.uint8]
Read = Callable[[str], Pixels]


def pad(photo: Pixels, sides: tuple[int, int, int, int], color: tuple[int, int, int]) -> Pixels:
    """Add bands at the left, top, right and bottom, in pixels."""
    left, top, right, bottom = sides
    return np.asarray(cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT, value=color), np.uint8)


def as_jpeg(photo: Pixels, quality: int = 75) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (12, 60, 110)])
@pytest.mark.parametrize("sides", [(0, 53, 0, 53), (80, 0, 80, 0), (31, 30, 17, 41), (0, 0, 0, 20)])
def test_bands_of_one_color_are_found_to_a_pixel_of_the_small_copy(
    real_photo: Read, sides: tuple[int, int, int, int], color: tuple[int, int, int]
) -> None:
    photo = real_photo("chelsea")
    padded = as_jpeg(pad(photo, sides, color))
    borders = measure_pixels(padded).borders
    height, width = padded.shape[:2]
    found = (borders.border_left, borders.border_top, borders.border_right, borders.border_bottom)
    pixels = np.array(found) * (width, height, width, height)
    assert np.all((pixels >= sides) & (pixels <= np.array(sides) + 12))
    assert borders.border_share == pytest.approx(1 - (1 - found[0] - found[2]) * (1 - found[1] - found[3]))
    assert borders.inside_colorfulness == pytest.approx(colorfulness(photo), abs=2)


def test_a_photo_without_bands_has_its_own_colorfulness_inside(real_photo: Read) -> None:
    for name in ("astronaut", "chelsea", "coffee"):
        measures = measure_pixels(real_photo(name))
        assert measures.borders == Borders(0, 0, 0, 0, 0, measures.colorfulness)


def test_frames_inside_of_frames_and_bands_with_grain(real_photo: Read) -> None:
    rng = np.random.default_rng(0)
    framed = pad(pad(real_photo("coffee"), (20, 20, 20, 20), (10, 10, 10)), (40, 40, 40, 40), (240, 238, 230))
    grainy = np.clip(framed + rng.normal(0, 6, framed.shape), 0, 255).astype(np.uint8)
    assert find_box(make_small_copy(grainy)[0]) == (8, 8, 82, 57)  # an eighth of the size


def test_a_small_photo_on_a_page_has_bands_on_all_sides(real_photo: Read) -> None:
    photo = cv2.resize(real_photo("coffee"), (300, 200), interpolation=cv2.INTER_AREA)
    page = as_jpeg(pad(np.asarray(photo, np.uint8), (120, 80, 100, 140), (225, 120, 80)))
    borders = measure_pixels(page).borders
    assert borders.border_share == pytest.approx(1 - 300 * 200 / (520 * 420), abs=0.03)
    assert borders.inside_colorfulness == pytest.approx(colorfulness(np.asarray(photo, np.uint8)), abs=2)


@pytest.mark.parametrize("height", [1, 2, 5, 8, 9, 40])
def test_a_photo_of_one_color_of_any_height_has_no_bands(height: int) -> None:
    for width in (1, 3, 8, 64):
        assert measure_pixels(np.full((height, width, 3), 255, np.uint8)).borders.border_share == 0


def test_an_object_on_white_and_a_night_sky_are_no_bands() -> None:
    rng = np.random.default_rng(0)
    product = np.full((150, 120, 3), 255, np.uint8)
    cv2.ellipse(product, (60, 75), (40, 55), 0, 0, 360, (40, 80, 160), -1)
    night = np.zeros((120, 150, 3), np.uint8)
    for column in range(150):
        night[rng.integers(50, 90) :, column] = rng.integers(40, 255, 3)
    sky = np.repeat(np.linspace(200, 120, 120).astype(np.uint8)[:, None, None], 150, axis=1) * np.ones(3, np.uint8)
    for picture in (product, night, sky, np.full((90, 90, 3), 7, np.uint8)):
        assert find_box(picture) == (0, 0, picture.shape[1], picture.shape[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_turn_with_the_photo(real_photo: Read, orientation: int) -> None:
    stored = pad(real_photo("chelsea"), (31, 30, 0, 52), (0, 0, 0))
    upright = summarize_pixels(apply_orientation(stored, orientation)).borders
    as_stored = summarize_pixels(stored, None, mirrored_axes(orientation)).borders
    assert as_stored.turn(lambda sides: apply_orientation(sides, orientation)) == upright


def test_invisible_pixels_do_not_count_inside(real_photo: Read) -> None:
    padded = pad(real_photo("chelsea"), (40, 40, 40, 40), (255, 255, 255))
    visible = np.zeros(padded.shape[:2], np.bool_)
    visible[40:-40, 40:-40] = True
    assert measure_pixels(padded, visible).borders.inside_colorfulness == pytest.approx(
        colorfulness(real_photo("chelsea")), abs=1
    )
    assert measure_pixels(padded, ~visible).borders == Borders(0, 0, 0, 0, 0, 0)
