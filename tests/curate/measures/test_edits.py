"""Traces of editing: selective color, clipped saturation, dividers of collages, blurred chroma."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from curate.measures.edits import Edits, _spaced_lines, count_dividers, measure_seams, measure_strokes
from curate.measures.measure import measure_pixels, summarize_pixels

Pixels = NDArray[np.uint8]
Read = Callable[[str], Pixels]
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def as_jpeg(photo: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def edits(photo: Pixels) -> Edits:
    return measure_pixels(as_jpeg(photo)).edits


@pytest.mark.parametrize("name", PHOTOS[:3])
def test_a_photo_has_no_traces(real_photo: Read, name: str) -> None:
    found = edits(real_photo(name))
    assert found.selective_color < 0.5
    assert found.saturation_clipped_share < 0.01
    assert found.divider_count == 0
    assert found.chroma_detail > 0.25


def test_a_gray_photo_with_one_strong_color(real_photo: Read) -> None:
    photo = real_photo("astronaut").copy()
    kept = (photo[..., 0].astype(int) - photo[..., 2] > 90)[..., None]
    gray = np.asarray(cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    assert edits(np.where(kept, photo, gray)).selective_color > 0.8
    assert edits(gray).selective_color == 0
    on_even_gray = np.full_like(photo, 120)
    on_even_gray[100:200, 100:200] = (200, 30, 30)
    assert edits(on_even_gray).selective_color == 0


def test_colors_far_outside_of_srgb_are_clipped(real_photo: Read) -> None:
    photo = real_photo("chelsea").astype(np.float64)
    mean = photo.mean(axis=2, keepdims=True)
    clipped = np.clip(mean + 6 * (photo - mean), 0, 255).astype(np.uint8)
    assert measure_pixels(clipped).edits.saturation_clipped_share > 0.05


@pytest.mark.parametrize("color", [0, 255])
def test_lines_between_photos_are_counted(real_photo: Read, color: int) -> None:
    tiles = [cv2.resize(real_photo(name), (240, 200), interpolation=cv2.INTER_AREA) for name in ("chelsea", "coffee")]
    gap = np.full((200, 17, 3), color, np.uint8)
    row = np.hstack([tiles[0], gap, tiles[1], gap, tiles[0]])
    assert edits(row).divider_count == 2
    assert edits(np.ascontiguousarray(row.transpose(1, 0, 2))).divider_count == 2
    framed = cv2.copyMakeBorder(row, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(color,) * 3)
    assert edits(np.asarray(framed, np.uint8)).divider_count == 2


def test_a_horizon_and_an_object_on_white_are_no_dividers() -> None:
    sea = np.full((100, 150, 3), 240, np.uint8)
    sea[50:] = np.random.default_rng(0).integers(20, 90, (50, 150, 3))
    product = np.full((120, 120, 3), 255, np.uint8)
    product[20:50, 30:90] = product[70:100, 40:80] = (30, 60, 90)
    assert count_dividers(sea) == count_dividers(product) == 0


def test_blurred_chroma_has_little_detail(real_photo: Read) -> None:
    for name in PHOTOS[:3]:
        photo = real_photo(name)
        lab = cv2.cvtColor((photo / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
        lab[..., 1:] = cv2.GaussianBlur(lab[..., 1:], (0, 0), 12)
        blurred = (np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255).astype(np.uint8)
        assert edits(blurred).chroma_detail < 0.9 * edits(photo).chroma_detail
    assert edits(np.full((90, 90, 3), 80, np.uint8)).chroma_detail == 1


def test_seams_of_a_collage_are_found_in_any_orientation(real_photo: Read) -> None:
    tiles = [cv2.resize(real_photo(name), (200, 260), interpolation=cv2.INTER_AREA) for name in ("chelsea", "coffee")]
    pair = as_jpeg(np.hstack(tiles))
    assert measure_pixels(pair).edits.seam_share > 0.5
    for name in PHOTOS[:3]:
        assert edits(real_photo(name)).seam_share < 0.35
    for turned in (pair[::-1], pair[:, ::-1], pair.transpose(1, 0, 2)):
        assert measure_seams(np.ascontiguousarray(turned)) == measure_seams(pair)
    banded = cv2.copyMakeBorder(real_photo("chelsea"), 60, 60, 0, 0, cv2.BORDER_CONSTANT)
    assert measure_pixels(np.asarray(banded, np.uint8)).edits.seam_share < 0.35
    assert measure_seams(pair[:40]) == 0


@given(st.integers(1, 2000))
def test_spaced_lines_are_the_same_from_both_ends(side: int) -> None:
    lines = np.arange(side)[_spaced_lines(side, 32)]
    assert len(lines)
    assert np.array_equal(lines, side - 1 - lines[::-1])


def test_captions_have_many_strokes_in_a_row(real_photo: Read) -> None:
    for name in PHOTOS[:3]:
        photo = real_photo(name)
        assert edits(photo).stroke_density < 3
        written = Image.fromarray(photo)
        size = photo.shape[1] // 14
        draw, font = ImageDraw.Draw(written), ImageFont.load_default(size)
        draw.text(
            (20, photo.shape[0] - 2 * size), "The caption of a photo", "white", font, stroke_width=2, stroke_fill=0
        )
        captioned = as_jpeg(np.asarray(written))
        assert edits(captioned).stroke_density > 4.8
        turned = np.ascontiguousarray(captioned.transpose(1, 0, 2))
        upright = summarize_pixels(captioned)
        assert summarize_pixels(turned, transposed=True).stroke_density == upright.stroke_density
        assert measure_strokes(np.ascontiguousarray(captioned[::-1, ::-1])) == upright.stroke_density
