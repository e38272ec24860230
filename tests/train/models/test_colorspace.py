"""Conversion between sRGB and the network's lightness and ab, against scikit-image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor

from train.models.colorspace import gray_lightness, join_lab, split_lab


def random_rgb(seed: int = 5) -> Tensor:
    chance = np.random.default_rng(seed)
    return torch.from_numpy(chance.integers(0, 256, (2, 24, 30, 3), np.uint8))


def photo(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB").resize((96, 96)))


def test_a_round_trip_is_within_one_level() -> None:
    rgb = random_rgb()
    back = join_lab(*split_lab(rgb))
    assert back.dtype == torch.uint8
    assert back.shape == rgb.shape
    assert int((back.int() - rgb.int()).abs().max()) <= 1


@pytest.mark.parametrize("rgb", [random_rgb()[0].numpy(), photo("astronaut.png")], ids=["random", "astronaut"])
def test_it_agrees_with_scikit_image(rgb: NDArray[np.uint8]) -> None:
    lightness, ab = split_lab(torch.from_numpy(rgb.copy())[None])
    ours = np.concatenate([(lightness[0].numpy() + 1) * 50, ab[0].numpy() * 50]).transpose(1, 2, 0)
    assert np.abs(ours - rgb2lab(rgb)).max() < 0.05


def test_shapes_types_and_ranges() -> None:
    lightness, ab = split_lab(random_rgb())
    assert lightness.shape == (2, 1, 24, 30)
    assert ab.shape == (2, 2, 24, 30)
    assert lightness.dtype == ab.dtype == torch.float32
    assert -1 <= float(lightness.min()) < float(lightness.max()) <= 1 + 1e-5
    assert float(ab.abs().max()) < 134 / 50


def test_gray_has_ab_of_zero() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    lightness, ab = split_lab(ramp)
    assert float(ab.abs().max()) * 50 < 0.02
    assert torch.equal(join_lab(lightness, torch.zeros_like(ab)), ramp)


def test_autocast_changes_nothing() -> None:
    rgb = random_rgb()
    lightness, ab = split_lab(rgb)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = split_lab(rgb)
        back = join_lab(lightness, ab)
    assert [part.dtype for part in inside] == [torch.float32, torch.float32]
    assert torch.equal(inside[0], lightness)
    assert torch.equal(inside[1], ab)
    assert torch.equal(back, join_lab(lightness, ab))


def test_half_precision_predictions_are_joined_in_float32(picture: Callable[..., NDArray[np.uint8]]) -> None:
    rgb = torch.from_numpy(picture())[None]
    lightness, ab = split_lab(rgb)
    assert int((join_lab(lightness, ab.half()).int() - rgb.int()).abs().max()) <= 1


def test_impossible_colours_are_clipped_not_wrapped() -> None:
    lightness = torch.zeros(1, 1, 2, 2)
    rgb = join_lab(lightness, torch.tensor([4.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2))
    assert rgb[0, 0, 0, 0] == 255
    assert rgb[0, 0, 0, 1] == 0


def test_the_lightness_of_gray_pixels_is_that_of_the_same_pixels_in_rgb() -> None:
    gray = torch.arange(256, dtype=torch.uint8).reshape(2, 16, 8)
    lightness, _ = split_lab(gray[..., None].expand(2, 16, 8, 3))
    assert torch.equal(gray_lightness(gray), lightness)
