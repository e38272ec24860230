"""Upsampling of colors: edges are followed, the network's colors kept, strips equal the whole."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.inference.upsample import fit_coefficients, upsample_rows

HEIGHT, WIDTH = 240, 320
LIGHT = np.full((HEIGHT, WIDTH), 30, np.float32)
LIGHT[:, 147:] = 75
"""An edge between two pixels of the small copy."""
AB = np.where(LIGHT[..., None] < 50, (40, -30), (-20, 50)).astype(np.float32)


def shrink(values: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, (WIDTH // by, HEIGHT // by), interpolation=cv2.INTER_AREA), np.float32)


def test_color_follows_an_edge_that_the_small_copy_blurs() -> None:
    small = shrink(AB, 16)
    ours = upsample_rows(fit_coefficients(shrink(LIGHT, 16), small), 0, LIGHT, HEIGHT)
    plain = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours - AB).mean() < 0.35 * np.abs(plain - AB).mean()


def test_flat_lightness_keeps_the_networks_colors() -> None:
    ramp = np.linspace(-40, 40, 20, dtype=np.float32)[None, :, None].repeat(15, 0).repeat(2, 2)
    ours = upsample_rows(
        fit_coefficients(np.full((15, 20), 50, np.float32), ramp), 0, np.full((15, 20), 50, np.float32), 15
    )
    assert np.allclose(ours, ramp, atol=1e-3)


def test_strips_equal_the_whole() -> None:
    small = fit_coefficients(shrink(LIGHT, 16), shrink(AB, 16))
    whole = upsample_rows(small, 0, LIGHT, HEIGHT)
    parts = [upsample_rows(small, top, LIGHT[top : top + 37], HEIGHT) for top in range(0, HEIGHT, 37)]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-4)


def test_a_photo_of_one_pixel_works() -> None:
    one = np.full((1, 1), 50, np.float32)
    assert np.allclose(upsample_rows(fit_coefficients(one, one[..., None].repeat(2, 2)), 0, one, 1), 50)
