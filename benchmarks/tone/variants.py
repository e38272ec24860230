"""Gray pictures in several encodings, and colour photos changed by cameras, screens and age."""

from __future__ import annotations

import io
from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image
from toning import Change, Rgb, from_lab, gray, hue, jpeg, rotate_hue, rounded, some_jpeg, to_lab

from curate.image.decode import decode_bytes


def gray_l(rgb: Rgb, _: np.random.Generator) -> Rgb:
    """A PNG of one channel."""
    return _png(Image.fromarray(gray(rgb)))


def gray_la(rgb: Rgb, _: np.random.Generator) -> Rgb:
    """A PNG of one channel and alpha."""
    return _png(Image.fromarray(gray(rgb)).convert("LA"))


def gray_rgb(rgb: Rgb, _: np.random.Generator) -> Rgb:
    """Three equal channels."""
    return np.dstack([gray(rgb)] * 3)


def gray_jpeg75(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Three equal channels in a JPEG of quality 75."""
    return _jpeg75(np.dstack([gray(rgb)] * 3), rng)


def gray_noisy75(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Independent noise in R, G and B (2 to 8 levels), then a JPEG of quality 75."""
    noise = rng.normal(0, rng.uniform(2, 8), rgb.shape)
    return _jpeg75(rounded(np.dstack([gray(rgb)] * 3) + noise), rng)


def gray_cast75(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A faint even cast (chroma 0.5 to 2), then a JPEG of quality 75."""
    lab = to_lab(np.dstack([gray(rgb)] * 3))
    lab[..., 1:] += hue(rng.uniform(0, 360)) * rng.uniform(0.5, 2)
    return _jpeg75(from_lab(lab), rng)


def c_jpeg(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Saved again as a JPEG of quality 60 to 95."""
    return some_jpeg(rgb, rng)


def c_resized(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Scaled to 40 to 80 %, then a JPEG of quality 90."""
    scale = rng.uniform(0.4, 0.8)
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return jpeg(np.asarray(small, np.uint8), 90, 2)


def c_tungsten(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Under lamps, with the camera set to daylight."""
    linear = (rgb / 255.0) ** 2.2 * np.array([1.25, 1, rng.uniform(0.35, 0.7)])
    return some_jpeg(rounded(np.clip(linear / 1.1, 0, 1) ** (1 / 2.2) * 255), rng, 75)


def c_pale(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Half the saturation."""
    luma = gray(rgb)[..., None].astype(np.float32)
    return some_jpeg(rounded(luma + 0.5 * (rgb - luma)), rng, 75)


def c_faded(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A faded colour print: 50 to 80 % of the saturation, lifted blacks, a yellow or magenta cast."""
    luma = gray(rgb)[..., None].astype(np.float32)
    paled = luma + rng.uniform(0.5, 0.8) * (rgb - luma)
    cast = np.array([[245, 225, 185], [240, 215, 225]][rng.integers(2)]) / 245
    return some_jpeg(rounded((30 + paled * 0.8) * cast), rng, 75)


def c_huerot(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """All hues turned by 30 to 330 degrees, so that no absolute hue can be learned."""
    return some_jpeg(rotate_hue(rgb, rng.uniform(30, 330)), rng, 75)


GRAY: Mapping[str, Change] = {
    change.__name__: change for change in (gray_l, gray_la, gray_rgb, gray_jpeg75, gray_noisy75, gray_cast75)
}
COLOUR: Mapping[str, Change] = {
    change.__name__: change for change in (c_jpeg, c_resized, c_tungsten, c_pale, c_faded, c_huerot)
}


def _png(image: Image.Image) -> Rgb:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return decode_bytes(file.getvalue()).pixels


def _jpeg75(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return jpeg(rgb, 75, int(rng.choice([0, 2])))
