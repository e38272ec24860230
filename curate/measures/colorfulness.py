"""Hasler and Süsstrunk's colourfulness, metric M3, from exact integer moments.

Source: D. Hasler, S. Süsstrunk, "Measuring colourfulness in natural images", Proc. SPIE 5007 (2003).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Variant = Literal["signed", "absolute"]

LEVELS: tuple[tuple[float, str], ...] = (
    (0.0, "not"),
    (15.0, "slightly"),
    (33.0, "moderately"),
    (45.0, "averagely"),
    (59.0, "quite"),
    (82.0, "highly"),
    (109.0, "extremely"),
)
"""The paper's table 2: the lowest M of each level, and its name."""

BLOCK_PIXELS = 1 << 18
"""Planes of so many pixels stay in a core's own cache, and their sums far below 2**53: exact in float64."""


@dataclass(slots=True)
class Moments:
    """Sums over pixels from which M follows; integers, so exact for a photo of any size."""

    pixels: int = 0
    rg: int = 0
    """Sum of R - G."""
    rg_squared: int = 0
    yb_doubled: int = 0
    """Sum of 2yb = R + G - 2B."""
    yb_doubled_squared: int = 0
    """Sum of (2yb)², which is 2(R - B)² + 2(G - B)² - (R - G)²."""

    def add(self, planes: NDArray[np.uint8], pixels: int) -> None:
        """Add some pixels: few passes of OpenCV, which cost a tenth of the formula in float64.

        Args:
            planes: (3, h, w) contiguous red, blue and green; 0 where a pixel doesn't count.
            pixels: how many count.
        """
        width = planes.shape[2]
        red, blue, green = (round(cv2.sumElems(plane)[0]) for plane in planes)
        rg = round(cv2.norm(planes[0], planes[2], cv2.NORM_L2SQR))
        rb_and_gb = round(cv2.norm(planes[:2].reshape(-1, width), planes[1:].reshape(-1, width), cv2.NORM_L2SQR))
        self.pixels += pixels
        self.rg += red - green
        self.rg_squared += rg
        self.yb_doubled += red + green - 2 * blue
        self.yb_doubled_squared += 2 * rb_and_gb - rg

    def colorfulness(self) -> float:
        """M.

        Raises:
            ValueError: nothing was added.
        """
        n = self.pixels
        if n == 0:
            raise ValueError("no visible pixels to measure")
        spread = 4 * (n * self.rg_squared - self.rg**2) + n * self.yb_doubled_squared - self.yb_doubled**2
        return math.sqrt(spread) / (2 * n) + 0.3 * math.hypot(self.rg / n, self.yb_doubled / (2 * n))


def colorfulness(
    pixels: NDArray[np.uint8],
    visible: NDArray[np.bool_] | None = None,
    variant: Variant = "signed",
) -> float:
    """M = √(σ²rg + σ²yb) + 0.3·√(μ²rg + μ²yb), with rg = R − G and yb = ½(R + G) − B.

    Args:
        pixels: (H, W, 3) uint8, sRGB, red first.
        visible: (H, W) bool; pixels where it is False do not count. None counts all.
        variant: `signed` is the paper's. `absolute` takes |rg| and |yb| first, as a snippet that is copied around
            and several papers' evaluation code do; it is another number (3.3 lower on average) and serves only
            for comparing with those papers.

    Returns:
        M in 0..297.7 (red and cyan, 64 to 36); 0 for gray. Population variance, as in the paper. NaN-free: an image
        without visible pixels raises ValueError.

    >>> red = np.zeros((2, 2, 3), np.uint8); red[..., 0] = 255
    >>> round(colorfulness(red), 2)      # 0.3 * hypot(255, 127.5)
    85.53
    """
    if variant == "absolute":
        return _absolute(pixels, visible)
    moments = Moments()
    for rows, planes in blocks(pixels):
        moments.add(*counted(planes, rows, visible))
    return moments.colorfulness()


def blocks(pixels: NDArray[np.uint8], multiple: int = 1) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """(H, W, 3) as (3, h, w) planes of some rows at a time, red, blue and green; the next overwrite them.

    Args:
        pixels: of a photo.
        multiple: of which h is one; rows beyond the photo's last are 0.
    """
    height, width = pixels.shape[:2]
    rows = max(1, min(-(-height // multiple), BLOCK_PIXELS // width // multiple)) * multiple
    planes = np.empty((3, rows, width), np.uint8)
    for top in range(0, height, rows):
        block = pixels[top : top + rows]
        if len(block) < rows:  # the last
            planes = np.empty((3, -(-len(block) // multiple) * multiple, width), np.uint8)
            planes[:, len(block) :] = 0
        red, blue, green = planes[:, : len(block)]
        cv2.split(block, [red, green, blue])
        yield slice(top, top + len(block)), planes


def counted(planes: NDArray[np.uint8], rows: slice, visible: NDArray[np.bool_] | None) -> tuple[NDArray[np.uint8], int]:
    """What `Moments.add` takes of a block, where some pixels are invisible perhaps."""
    if visible is None:
        return planes, (rows.stop - rows.start) * planes.shape[2]
    seen = visible[rows]
    return planes[:, : len(seen)] * seen, int(np.count_nonzero(seen))


def colorfulness_level(m: float) -> str:
    """The paper's word for a colourfulness, from `not` to `extremely`.

    >>> colorfulness_level(14.9), colorfulness_level(15.0), colorfulness_level(200)
    ('not', 'slightly', 'extremely')
    """
    return next(name for lowest, name in reversed(LEVELS) if m >= lowest or lowest == 0.0)


def _absolute(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> float:
    chosen = (pixels.reshape(-1, 3) if visible is None else pixels[visible]).astype(np.float64)
    if not len(chosen):
        raise ValueError("no visible pixels to measure")
    red, green, blue = chosen.T
    rg, yb = np.abs(red - green), np.abs((red + green) / 2 - blue)
    return math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
