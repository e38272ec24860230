"""Black-and-white photographs of a scene as old film, paper and scanners show it, for the training option `film`.

Only what the network sees comes from here; the colors that it learns stay those of the photo.
docs/results/film.md shows examples.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
"""(H, W) uint8, sRGB-encoded gray."""
Print = NDArray[np.float32]
"""(H, W) float32, sRGB-encoded gray: black is 0, white is 1."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Shares of linear sRGB red, green and blue in luminance: the response of the eye, and of L* in CIELAB."""
CLEAN_SHARE = 0.4
"""Share of the samples that the network sees as in validation: the photo's own lightness."""
DAMAGED_SHARE = 0.25
"""Share of the other samples that are also damaged: blurred, faded, with grain, dust or JPEG artifacts."""
RESPONSE_CONCENTRATION = 0.7
"""Of the Dirichlet distribution of the shares of red, green and blue: below 1, one color often dominates, as on films
that see blue only (until about 1880), orthochromatic films (green and blue), and behind red and yellow filters."""
EXPOSURE_STOPS = 0.2
"""Standard deviation of the exposure."""
MAX_LOG_GAMMA = 0.35
"""The contrast of a print is e^−0.35 to e^0.35 (0.70 to 1.42) as the exponent of its gray values."""
SOFT_SHARE, COARSE_SHARE, FADED_SHARE, UNEVEN_SHARE, GRAIN_SHARE, DUST_SHARE, JPEG_SHARE = (
    0.3,
    0.05,
    0.4,
    0.2,
    0.3,
    0.15,
    0.25,
)
"""How often a damaged sample is blurred, lacks detail, is faded, is faded unevenly, has grain, dust, JPEG artifacts."""
_LINEAR = np.where(
    np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
"""Linear light of each sRGB value."""


def photograph_on_film(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Gray:
    """Return a black-and-white photograph of a scene, with random film, print, age and scan.

    With a share of `CLEAN_SHARE` it is the scene's own lightness instead, as in validation.

    Args:
        rgb: (H, W, 3) uint8 sRGB, contiguous; at least 8 px wide and high.
        rng: decides everything that is random.

    >>> red = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    >>> photograph_on_film(red, np.random.default_rng(1)).shape
    (8, 8)
    """
    linear = np.asarray(cv2.LUT(rgb, _LINEAR), np.float32)
    luminance = _expose(linear, LUMINANCE)
    if rng.random() < CLEAN_SHARE:
        return _to_gray(_encode(luminance))
    exposure = _expose(linear, draw_response(rng))
    exposure = _adjust_exposure(exposure, float(luminance.mean()), rng)
    damaged = rng.random() < DAMAGED_SHARE
    if damaged:
        exposure = _lose_detail(exposure, rng)  # in linear light, as a lens does
    print_ = _encode(exposure) ** np.float32(np.exp(rng.uniform(-MAX_LOG_GAMMA, MAX_LOG_GAMMA)))
    if not damaged:
        return _to_gray(print_)
    print_ = _add_grain(_fade(print_, rng), rng)
    return _compress(_to_gray(_add_dust(print_, rng)), rng)


def draw_response(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the shares of linear red, green and blue in the exposure of a random film; their sum is 1."""
    return rng.dirichlet([RESPONSE_CONCENTRATION] * 3)


def _expose(linear: NDArray[np.float32], response: NDArray[np.float64] | tuple[float, ...]) -> Print:
    return np.asarray(cv2.transform(linear, np.asarray(response, np.float32)[None]), np.float32)


def _adjust_exposure(exposure: Print, mean_luminance: float, rng: np.random.Generator) -> Print:
    """Return the exposure as a photographer sets it: mostly independent of the colors of the scene."""
    correction = rng.uniform(0.5, 1) * np.log(max(mean_luminance, 1e-3) / max(float(exposure.mean()), 1e-3))
    return exposure * np.float32(np.exp(correction + np.log(2) * EXPOSURE_STOPS * rng.standard_normal()))


def _encode(linear: Print) -> Print:
    """Return sRGB-encoded gray; light beyond white is white."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * cv2.pow(clipped, 1 / 2.4) - 0.055)


def _lose_detail(image: Print, rng: np.random.Generator) -> Print:
    """Return it blurred as by a lens, or without the detail of a small print; sizes are those of a reduced picture."""
    height, width = image.shape
    if rng.random() < SOFT_SHARE:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.1, 1) * width / 200), np.float32)
    if rng.random() < COARSE_SHARE:
        factor = rng.uniform(1.3, 1.8)
        small = cv2.resize(image, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return image


def _fade(image: Print, rng: np.random.Generator) -> Print:
    """Return it with grayer blacks and whites, and lighter or darker in places."""
    if rng.random() < FADED_SHARE:
        black, white = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
        image = np.float32(black) + np.float32(white - black) * image
    if rng.random() < UNEVEN_SHARE:
        field = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
        smooth = np.asarray(cv2.resize(field, image.shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
        image = image * (1 + np.float32(rng.uniform(0.03, 0.12)) * smooth)
    return image


def _add_grain(image: Print, rng: np.random.Generator) -> Print:
    """Return it with noise, strongest in middle grays, of grains up to about two pixels wide."""
    if rng.random() >= GRAIN_SHARE:
        return image
    noise = rng.standard_normal(image.shape, np.float32)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.3, 0.8)), np.float32)
    clipped = np.clip(image, 0, 1)
    strength = rng.uniform(0.004, 0.02) / max(1e-6, float(noise.std()))
    return image + np.float32(strength) * noise * (0.4 + 2.4 * clipped * (1 - clipped))


def _add_dust(image: Print, rng: np.random.Generator) -> Print:
    """Return it with a few dark or light specks and scratches."""
    if rng.random() >= DUST_SHARE:
        return image
    height, width = image.shape
    mask = np.zeros(image.shape, np.uint8)
    thickness = max(1, width // 200)
    for _ in range(rng.poisson(4)):
        center = int(rng.integers(width)), int(rng.integers(height))
        axes = tuple(int(axis) for axis in rng.integers(0, max(2, width // 80), 2))
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(60, 256)), -1, cv2.LINE_AA)
    for _ in range(rng.poisson(0.7)):
        left, right = rng.integers(width, size=2)
        start, end = (int(left), 0), (int(left + (right - left) // 8), height - 1)
        cv2.line(mask, start, end, int(rng.integers(60, 200)), thickness, cv2.LINE_AA)
    tone = np.float32(rng.choice([0.05, 0.95], p=[0.3, 0.7]))
    opacity = np.float32(rng.uniform(0.3, 0.9) / 255) * mask.astype(np.float32)
    return image + opacity * (tone - image)


def _to_gray(image: Print) -> Gray:
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _compress(gray: Gray, rng: np.random.Generator) -> Gray:
    """Return it as after JPEG compression."""
    if rng.random() >= JPEG_SHARE:
        return gray
    _, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
