"""Degraded black-and-white copies: physics of the response, range, and how often the network sees a clean photo."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from train.data import film
from train.data.film import CLEAN_SHARE, DAMAGED_SHARE, draw_response, photograph_on_film
from train.models.colorspace import gray_lightness, split_lab

Pictures = Callable[..., NDArray[np.uint8]]


def patches(*colors: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One square of 16 px for each color, side by side."""
    return np.repeat(np.repeat(np.array(colors, np.uint8)[None], 16, axis=1), 16, axis=0)


@pytest.fixture
def no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only response, exposure and contrast: no clean copies and no damage."""
    monkeypatch.setattr(film, "CLEAN_SHARE", 0.0)
    monkeypatch.setattr(film, "DAMAGED_SHARE", 0.0)


def test_responses_are_shares_and_often_one_color_dominates() -> None:
    rng = np.random.default_rng(0)
    responses = np.array([draw_response(rng) for _ in range(600)])
    assert responses.sum(axis=1) == pytest.approx(1)
    assert responses.min() >= 0
    assert np.bincount(responses.argmax(axis=1)) == pytest.approx(200, abs=40)  # none of the colors is preferred
    assert (responses.max(axis=1) > 0.8).mean() == pytest.approx(0.21, abs=0.06)  # films that see hardly anything else


def test_a_share_of_the_copies_has_the_lightness_of_the_photo(picture: Pictures) -> None:
    rgb = picture(3)
    lightness, _ = split_lab(torch.from_numpy(rgb)[None])
    draws = (photograph_on_film(rgb, np.random.default_rng(seed)) for seed in range(120))
    differences = [float((gray_lightness(torch.from_numpy(gray)[None]) - lightness).abs().max()) for gray in draws]
    clean = sum(difference < 0.012 for difference in differences)  # half a gray value
    assert clean == pytest.approx(120 * CLEAN_SHARE, abs=15)


@pytest.mark.usefixtures("no_damage")
def test_a_film_that_sees_only_blue_shows_red_darker_than_blue(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = patches((200, 40, 40), (90, 120, 210))
    monkeypatch.setattr(film, "draw_response", lambda rng: np.array([0.01, 0.09, 0.90]))
    gray = photograph_on_film(scene, np.random.default_rng(0))
    assert gray[:, 8].max() + 60.0 < gray[:, 24].min()
    monkeypatch.setattr(film, "draw_response", lambda rng: np.array([0.85, 0.13, 0.02]))
    gray = photograph_on_film(scene, np.random.default_rng(0))
    assert gray[:, 24].max() < gray[:, 8].min()


@pytest.mark.usefixtures("no_damage")
def test_gray_patches_keep_their_order_on_every_film() -> None:
    ramp = patches(*((level, level, level) for level in range(20, 240, 20)))
    for seed in range(40):
        levels = photograph_on_film(ramp, np.random.default_rng(seed))[8, 8::16].astype(int)
        assert (np.diff(levels) >= 0).all()
        assert levels[-1] > levels[0] + 60


@pytest.mark.parametrize("size", [32, 256])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_photos_are_valid_too(level: int, size: int) -> None:
    flat = np.full((size, size, 3), level, np.uint8)
    for seed in range(15):
        gray = photograph_on_film(flat, np.random.default_rng(seed))
        assert gray.shape == (size, size)
        assert abs(float(gray.mean()) - level) < 90


def test_a_share_of_the_other_copies_is_damaged(picture: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, fade = picture(3, 32, 32), Mock(side_effect=lambda image, rng: image)
    monkeypatch.setattr(film, "CLEAN_SHARE", 0.0)
    monkeypatch.setattr(film, "_fade", fade)
    for seed in range(200):
        photograph_on_film(rgb, np.random.default_rng(seed))
    assert fade.call_count == pytest.approx(200 * DAMAGED_SHARE, abs=20)


def test_every_kind_of_damage_changes_the_copy(picture: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{name}_SHARE" for name in ("CLEAN", "SOFT", "COARSE", "FADED", "UNEVEN", "GRAIN", "DUST", "JPEG")]
    monkeypatch.setattr(film, "DAMAGED_SHARE", 1.0)
    copies = []
    for damage in names:
        for name in names[1:]:
            monkeypatch.setattr(film, name, float(name == damage))
        monkeypatch.setattr(film, "CLEAN_SHARE", 0.0)
        copies.append(photograph_on_film(picture(3, 64, 64), np.random.default_rng(2)).tobytes())
    assert len(set(copies)) == len(names)
