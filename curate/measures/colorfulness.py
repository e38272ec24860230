"""Hasler and Süsstrunk's colourfulness, metric M3, from exact integer moments.

Source: D. Hasler, S. Süsstrunk, "Measuring colourfulness in natural images", Proc. SPIE 5007 (2003).
"""

from __future__ import annotations

import math
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

_MAX_PIXELS_A_BLOCK = 1 << 24
"""Keeps every partial sum of squares below 2**53, where a float64 still counts in ones."""


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
        M in 0..about 226; 0 for gray. Population variance, as in the paper. NaN-free: an image without visible
        pixels raises ValueError.

    >>> red = np.zeros((2, 2, 3), np.uint8); red[..., 0] = 255
    >>> round(colorfulness(red), 2)      # 0.3 * hypot(255, 127.5)
    85.53
    """
    if variant == "absolute":
        return _absolute(pixels, visible)
    total = np.zeros((4, 4))
    rows = max(1, _MAX_PIXELS_A_BLOCK // max(1, pixels.shape[1]))
    for top in range(0, pixels.shape[0], rows):
        total += _moments(pixels[top : top + rows], None if visible is None else visible[top : top + rows])
    return _from_moments(total)


def level(m: float) -> str:
    """The paper's word for a colourfulness, from `not` to `extremely`.

    >>> level(14.9), level(15.0), level(200)
    ('not', 'slightly', 'extremely')
    """
    return next(name for lowest, name in reversed(LEVELS) if m >= lowest or lowest == 0.0)


def _moments(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """(4, 4) sums over visible pixels of the products of (R, G, B, 1).

    The mixed sums come from squared distances, Σxy = ½(Σx² + Σy² − Σ(x − y)²), which OpenCV adds up
    over the uint8 planes to well within a half: exact once rounded, and ten times cheaper than the formula in float64.
    """
    planes = cv2.split(pixels)
    mask = None if visible is None else visible.astype(np.uint8)
    count = float(pixels.shape[0] * pixels.shape[1] if mask is None else cv2.countNonZero(mask))
    squares = [round(cv2.norm(plane, cv2.NORM_L2SQR, mask)) for plane in planes]
    products = np.zeros((4, 4))
    for i, plane in enumerate(planes):
        products[i, i] = squares[i]
        area = plane if mask is None else cv2.bitwise_and(plane, plane, mask=mask)
        products[i, 3] = products[3, i] = cv2.sumElems(area)[0]
        for j in range(i):
            distance = round(cv2.norm(plane, planes[j], cv2.NORM_L2SQR, mask))
            products[i, j] = products[j, i] = (squares[i] + squares[j] - distance) / 2
    products[3, 3] = count
    return products


def _from_moments(sums: NDArray[np.float64]) -> float:
    count = sums[3, 3]
    if count == 0:
        raise ValueError("no visible pixels to measure")
    axes = np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    means = axes @ sums[3, :3] / count
    second = np.einsum("ij,jk,ik->i", axes, sums[:3, :3], axes) / count
    variance = max(0.0, float((second - means**2).sum()))
    return math.sqrt(variance) + 0.3 * math.hypot(*means)


def _absolute(pixels: NDArray[np.uint8], visible: NDArray[np.bool_] | None) -> float:
    chosen = (pixels.reshape(-1, 3) if visible is None else pixels[visible]).astype(np.float64)
    if not len(chosen):
        raise ValueError("no visible pixels to measure")
    red, green, blue = chosen.T
    rg, yb = np.abs(red - green), np.abs((red + green) / 2 - blue)
    return math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
