"""Pictures made of photos: graphics (captions, frames, collages, gradients), and photos with a small line of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Rng = np.random.Generator
Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

LONG_SIDE_PX = 320
ASPECTS = (4 / 3, 3 / 4, 3 / 2, 2 / 3, 1.0, 16 / 9, 9 / 16)
GRIDS = ((1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (1, 3), (3, 3), (3, 4), (4, 4), (1, 4))
TEXT = (
    "summer sale new collection the of and best welcome to our story learn more contact about us 2024 history museum "
    "art travel guide open every day free entry concert live tonight music festival delicious fresh food menu home "
    "garden quality since 1985 call www example com happy birthday love family join team school days left city lights"
)
WORDS = TEXT.split()
PLAIN: Sequence[Color] = ((255, 255, 255), (0, 0, 0), (245, 245, 245), (240, 236, 225), (20, 20, 24))
MIN_PHOTO_SIDE_PX = 60
"""Photos with a shorter side are too small to make pictures of."""
MIN_CHANGE, MIN_CAPTION_SHARE = 20, 0.07
"""A caption (text and the band behind it) changes at least this share of the pixels by at least this many levels."""
MIN_CONTRAST = 80
"""Least difference, in levels of 255, between the mean of a text's color and that of the picture behind it."""


def make_captioned(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    """A photo with one to five lines of text, often on a band, on at least 7 % of it. Some are tinted as a whole."""
    while True:
        photo = _crop(_pick(photos, rng), _draw_size(rng), rng)
        has_band = rng.random() < 0.45
        if not has_band and rng.random() < 0.35:
            tint = Image.new("RGB", photo.shape[1::-1], _color(rng))
            photo = np.array(Image.blend(Image.fromarray(photo), tint, rng.uniform(0.2, 0.5)))
        captioned = _write_caption(photo, has_band, rng)
        changed = np.abs(captioned.astype(np.int16) - photo).max(axis=2) >= MIN_CHANGE
        if changed.mean() >= MIN_CAPTION_SHARE:
            return captioned


def _write_caption(photo: Pixels, has_band: bool, rng: Rng) -> Pixels:
    picture, (height, width) = Image.fromarray(photo), photo.shape[:2]
    band = int(height * rng.uniform(0.12, 0.5))
    top = int(rng.choice([0, height - band, int(rng.integers(0, height - band + 1))]))
    if has_band:
        behind = picture.crop((0, top, width, top + band))
        picture.paste(Image.blend(behind, Image.new("RGB", behind.size, _color(rng)), rng.uniform(0.35, 1)), (0, top))
    margin = width * rng.uniform(0.03, 0.15)
    lines = int(rng.integers(1, 4 if band < height / 4 else 6))
    _draw_text(picture, (margin, top + band * 0.08, width - margin, top + band * 0.95), lines, rng)
    return np.array(picture)


def make_framed(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    """A photo on about 20 to 70 % of a plain, graded or grainy ground; some are round or have lines, shadow or text."""
    height, width = _draw_size(rng)
    picture, area = _draw_ground((height, width), rng), rng.uniform(0.2, 0.72)
    scale = np.sqrt(area)
    rows = max(20, int(height * min(1, scale * rng.uniform(0.85, 1.15))))
    columns = max(20, int(width * min(1, scale * rng.uniform(0.85, 1.15))))
    if rng.random() < 0.3:  # bands at two sides
        rows, columns = (int(height * area), width) if rng.random() < 0.5 else (height, int(width * area))
    top, left = (height - rows) // 2, (width - columns) // 2
    if rng.random() < 0.4:
        top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    if rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 4))):
            gap, thickness = int(rng.integers(2, 14)), int(rng.integers(1, 10))
            corners = (left - gap, top - gap), (left + columns + gap, top + rows + gap)
            cv2.rectangle(picture, *corners, _color(rng, 0.3), thickness)
    if rng.random() < 0.3:
        shadow = np.zeros((height, width), np.float32)
        shadow[min(height - 1, top + 6) : top + rows + 6, min(width - 1, left + 6) : left + columns + 6] = 0.5
        picture = (picture * (1 - cv2.GaussianBlur(shadow, (0, 0), 6)[..., None])).astype(np.uint8)
    inside = _crop(_pick(photos, rng), (rows, columns), rng)
    share = _draw_shape((rows, columns), rng)[..., None]
    ground = picture[top : top + rows, left : left + columns]
    picture[top : top + rows, left : left + columns] = inside * share + ground * (1 - share)
    below = height - top - rows
    if below > 24 and rng.random() < 0.5:
        made = Image.fromarray(picture)
        _draw_text(made, (width * 0.08, top + rows + 4, width * 0.92, height - 4), max(1, min(3, below // 22)), rng)
        picture = np.array(made)
    return picture


def make_collage(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    """Two to sixteen photos in a grid, with or without gaps; a quarter repeat one photo with other brightness."""
    height, width = _draw_size(rng)
    picture, gap = _draw_ground((height, width), rng), int(rng.integers(0, 12)) if rng.random() < 0.7 else 0
    rows, columns = GRIDS[rng.integers(len(GRIDS))]
    ys, xs = np.linspace(0, height, rows + 1), np.linspace(0, width, columns + 1)
    if rng.random() < 0.3:  # cells of different sizes
        ys[1:-1] += rng.uniform(-0.25, 0.25, rows - 1) * height / rows
        xs[1:-1] += rng.uniform(-0.25, 0.25, columns - 1) * width / columns
    only = _pick(photos, rng) if rng.random() < 0.25 else None
    for row in range(rows):
        for column in range(columns):
            top, bottom = int(ys[row]) + gap // 2, int(ys[row + 1]) - (gap + 1) // 2
            left, right = int(xs[column]) + gap // 2, int(xs[column + 1]) - (gap + 1) // 2
            if min(bottom - top, right - left) < 8:
                continue
            cell = _crop(_pick(photos, rng) if only is None else only, (bottom - top, right - left), rng)
            if only is not None:
                brighter = cv2.convertScaleAbs(cell, alpha=rng.uniform(0.6, 1.3), beta=rng.uniform(-40, 40))
                cell = np.asarray(brighter, np.uint8)
            picture[top:bottom, left:right] = cell
    return picture


def make_gradient(_photos: Sequence[Pixels], rng: Rng) -> Pixels:
    """A gradient between two or four colors, with up to five shapes, sharp or blurred."""
    height, width = _draw_size(rng)
    picture = _grade((height, width), rng)
    for _ in range(int(rng.integers(0, 6))):
        points = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(3)]
        shape = rng.random()
        if shape < 0.4:
            cv2.circle(picture, points[0], int(rng.integers(10, 130)), _color(rng, 0.1), -1, cv2.LINE_AA)
        elif shape < 0.7:
            cv2.rectangle(picture, points[0], points[1], _color(rng, 0.1), -1)
        else:
            cv2.fillPoly(picture, [np.array(points, np.int32)], _color(rng, 0.1), cv2.LINE_AA)
        if rng.random() < 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 30)), np.uint8)
    return picture


def make_watermarked(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    """A photo with a line of text on at most 4 % of it: still a photo."""
    height, width = _draw_size(rng)
    picture = Image.fromarray(_crop(_pick(photos, rng), (height, width), rng))
    wide, high = width * rng.uniform(0.15, 0.45), height * rng.uniform(0.03, 0.07)
    left, top = rng.choice([width * 0.03, width * 0.97 - wide]), rng.choice([height * 0.03, height * 0.97 - high])
    _draw_text(picture, (left, top, left + wide, top + high), 1, rng)
    return np.array(picture)


MAKERS: Mapping[str, Callable[[Sequence[Pixels], Rng], Pixels]] = {
    "caption": make_captioned,
    "frame": make_framed,
    "collage": make_collage,
    "gradient": make_gradient,
    "watermark": make_watermarked,
}
"""By kind; all but `watermark` are graphics."""


def _draw_size(rng: Rng) -> tuple[int, int]:
    aspect = ASPECTS[rng.integers(len(ASPECTS))]
    return (int(LONG_SIDE_PX / aspect), LONG_SIDE_PX) if aspect >= 1 else (LONG_SIDE_PX, int(LONG_SIDE_PX * aspect))


def _pick(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    return photos[int(rng.integers(len(photos)))]


def _crop(photo: Pixels, size: tuple[int, int], rng: Rng) -> Pixels:
    """A part of a photo in the shape (height, width), resized to that size."""
    scale = min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    rows, columns = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    top, left = rng.integers(0, photo.shape[0] - rows + 1), rng.integers(0, photo.shape[1] - columns + 1)
    part = photo[top : top + rows, left : left + columns]
    interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    return np.array(cv2.resize(part, size[::-1], interpolation=interpolation), np.uint8)


def _color(rng: Rng, plain_share: float = 0.5) -> Color:
    if rng.random() < plain_share:
        return PLAIN[int(rng.integers(len(PLAIN)))]
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _grade(size: tuple[int, int], rng: Rng) -> Pixels:
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.5:
        corners[1] = corners[0]
    return cv2.resize(corners, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _draw_ground(size: tuple[int, int], rng: Rng) -> Pixels:
    """Plain, graded, or with grain that may be stretched as that of wood."""
    kind = rng.random()
    if 0.55 <= kind < 0.8:
        return _grade(size, rng)
    ground = np.empty((*size, 3), np.float32)
    ground[:] = _color(rng)
    if kind >= 0.8:
        noise = rng.standard_normal(size).astype(np.float32)
        grain = cv2.GaussianBlur(noise, (0, 0), sigmaX=rng.uniform(0.1, 12), sigmaY=rng.uniform(0.1, 3))
        ground += (grain * (rng.uniform(3, 18) / max(1e-6, float(grain.std()))))[..., None]
    return np.clip(ground, 0, 255).astype(np.uint8)


def _draw_shape(size: tuple[int, int], rng: Rng) -> NDArray[np.float32]:
    """(height, width) 0..1: a rectangle, or an ellipse, or a rectangle with round corners."""
    kind = rng.random()
    if kind >= 0.4:
        return np.ones(size, np.float32)
    mask, outline = Image.new("L", size[::-1], 0), (0, 0, size[1] - 1, size[0] - 1)
    radius = int(min(size) * rng.uniform(0.04, 0.2))
    if kind < 0.2:
        ImageDraw.Draw(mask).ellipse(outline, fill=255)
    else:
        ImageDraw.Draw(mask).rounded_rectangle(outline, radius, fill=255)
    return np.asarray(mask, np.float32) / np.float32(255)


def _draw_text(picture: Image.Image, box: Box, lines: int, rng: Rng) -> None:
    """Write lines of words into a box of the picture, in one color that differs from what is behind it."""
    left, top, right, bottom = box
    height = (bottom - top) / lines
    font = ImageFont.load_default(max(9, int(height * rng.uniform(0.55, 0.9))))
    behind = float(np.asarray(picture.crop((int(left), int(top), int(right), int(bottom)))).mean())
    color = _color(rng, 0.7)
    if abs(sum(color) / 3 - behind) < MIN_CONTRAST:
        color = (255, 255, 255) if behind < 128 else (0, 0, 0)
    stroke = 2 if rng.random() < 0.3 else 0
    pen, centered, upper = ImageDraw.Draw(picture), rng.random() < 0.5, rng.random() < 0.4
    for line in range(lines):
        text = ""
        while pen.textlength(longer := f"{text} {WORDS[rng.integers(len(WORDS))]}".strip(), font) <= right - left:
            text = longer
            if rng.random() < 0.12:
                break
        text = text.upper() if upper else text.capitalize()
        start = left + max(0.0, (right - left - pen.textlength(text, font)) / 2) * centered
        outline = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
        pen.text((start, top + line * height), text, color, font, stroke_width=stroke, stroke_fill=outline)
