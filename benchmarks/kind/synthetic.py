"""Make graphics out of photos: collages, photos in frames, text over photos; and gradients with shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Rng = np.random.Generator
GRIDS = ((1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (1, 3), (3, 3))
FONTS = (0, 2, 3, 4, 6, 7)
ENLARGED = 4
"""Text is drawn on an enlarged picture, so that it has soft edges after shrinking."""


def make_graphics(photos: Sequence[Pixels], count: int, rng: Rng) -> list[Pixels]:
    """Make `count` graphics of 160 x 120 or 120 x 160 px; see the makers below.

    Args:
        photos: small copies, (h, w, 3) uint8, at least 60 px on the short side.
        count: number of graphics, the four kinds in turn.
        rng: source of randomness.
    """
    makers: tuple[Callable[[Sequence[Pixels], tuple[int, int], Rng], Pixels], ...]
    makers = (make_collage, make_framed, make_captioned, make_gradient)
    sizes = [(120, 160) if rng.random() < 0.6 else (160, 120) for _ in range(count)]
    return [makers[number % 4](photos, size, rng) for number, size in enumerate(sizes)]


def make_collage(photos: Sequence[Pixels], size: tuple[int, int], rng: Rng) -> Pixels:
    """Photos in a grid of two to nine cells, with gaps of 0 to 5 px."""
    height, width = size
    gap = int(rng.integers(0, 6))
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3) if rng.random() < 0.4 else rng.choice([0, 255])
    rows, columns = GRIDS[rng.integers(len(GRIDS))]
    for row in range(rows):
        for column in range(columns):
            top, bottom = row * height // rows + gap // 2, (row + 1) * height // rows - (gap + 1) // 2
            left, right = column * width // columns + gap // 2, (column + 1) * width // columns - (gap + 1) // 2
            picture[top:bottom, left:right] = crop_to(_pick(photos, rng), (bottom - top, right - left))
    return picture


def make_framed(photos: Sequence[Pixels], size: tuple[int, int], rng: Rng) -> Pixels:
    """A photo that fills 25 to 70 % of a plain picture, sometimes with text."""
    height, width = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3) if rng.random() < 0.5 else rng.choice([0, 255, 250, 240])
    area = rng.uniform(0.25, 0.7)
    inner_height = int(height * min(1, np.sqrt(area) * rng.uniform(0.85, 1.1)))
    inner_width = int(width * min(1, np.sqrt(area) * rng.uniform(0.85, 1.1)))
    if (layout := rng.random()) < 0.3:
        inner_height, inner_width = int(height * area), width
    elif layout < 0.6:
        inner_height, inner_width = height, int(width * area)
    top, left = int(rng.integers(0, height - inner_height + 1)), int(rng.integers(0, width - inner_width + 1))
    if rng.random() < 0.6:
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
    inside = crop_to(_pick(photos, rng), (inner_height, inner_width))
    picture[top : top + inner_height, left : left + inner_width] = inside
    return _draw_words(picture, 2, rng) if rng.random() < 0.3 else picture


def make_captioned(photos: Sequence[Pixels], size: tuple[int, int], rng: Rng) -> Pixels:
    """A photo with two to six lines of large text, sometimes on a band."""
    picture = crop_to(_pick(photos, rng), size)
    if rng.random() < 0.4:
        top, band = int(rng.integers(0, size[0] * 3 // 4)), size[0] // 4
        dimmed = picture[top : top + band] * rng.uniform(0, 0.5) + rng.integers(0, 256, 3) * 0.5
        picture[top : top + band] = dimmed.astype(np.uint8)
    return _draw_words(picture, int(rng.integers(2, 7)), rng)


def make_gradient(_photos: Sequence[Pixels], size: tuple[int, int], rng: Rng) -> Pixels:
    """A gradient between two or four colors, with up to three shapes, sharp or blurred."""
    height, width = size
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.5:
        corners[1] = corners[0]
    picture = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        color = _color(rng)
        points = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
        if rng.random() < 0.5:
            cv2.circle(picture, points[0], int(rng.integers(8, 60)), color, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, *points, color, -1)
        if rng.random() < 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 15)), np.uint8)
    return picture


def crop_to(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a photo in the shape (height, width), resized to that size."""
    height, width = photo.shape[:2]
    scale = min(height / size[0], width / size[1])
    inner_height, inner_width = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    middle = photo[top : top + inner_height, left : left + inner_width]
    return np.array(cv2.resize(middle, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _draw_words(picture: Pixels, lines: int, rng: Rng) -> Pixels:
    height, width = picture.shape[:2]
    large = cv2.resize(picture, (width * ENLARGED, height * ENLARGED), interpolation=cv2.INTER_CUBIC)
    color = (255, 255, 255) if rng.random() < 0.5 else _color(rng)
    for line in range(lines):
        words = ["".join(chr(rng.integers(97, 123)) for _ in range(rng.integers(2, 9))) for _ in range(3)]
        text = " ".join(words[: rng.integers(1, 4)])
        place = (int(rng.integers(0, width)), int(height * ENLARGED * (0.15 + 0.13 * line)))
        font, scale, weight = int(rng.choice(FONTS)), rng.uniform(1.2, 4), int(rng.integers(2, 9))
        cv2.putText(large, text.upper() if rng.random() < 0.5 else text, place, font, scale, color, weight, cv2.LINE_AA)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _pick(photos: Sequence[Pixels], rng: Rng) -> Pixels:
    return photos[rng.integers(len(photos))]


def _color(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue
