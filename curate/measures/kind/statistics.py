"""Count colors, flat areas and strong edges, in which drawings, maps and screenshots differ from most photos.

They describe a picture beside its kind; the class comes from the networks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

COLOR_LEVELS_BITS = 5
"""Bits of each channel by which colors are counted: 32 levels."""
STRONG_EDGE_LEVELS = 32
"""Neighboring pixels of the small copy that differ by at least this in luma are at a strong edge."""


def measure_color_share(sample: NDArray[np.uint8]) -> float:
    """Return the number of occupied cells of a 32 × 32 × 32 grid of R, G and B per pixel of the sample, 0..1.

    Args:
        sample: (h, w, 3) uint8 sRGB: pixels of the full-size picture, in any order.
    """
    levels = (sample.reshape(-1, 3) >> (8 - COLOR_LEVELS_BITS)).astype(np.int32)
    cells = (levels[:, 0] << 2 * COLOR_LEVELS_BITS) | (levels[:, 1] << COLOR_LEVELS_BITS) | levels[:, 2]
    return int(np.count_nonzero(np.bincount(cells))) / len(cells)


def measure_edge_shares(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the shares of neighboring pixels with equal luma, and with a strong edge between them, both 0..1.

    Args:
        luma: (h, w) uint8: gray values of the small copy. Of one pixel, both shares are 0.
    """
    counts = np.zeros(256)
    for first, second in ((luma[:, 1:], luma[:, :-1]), (luma[1:], luma[:-1])):
        if first.size:
            counts += cv2.calcHist([cv2.absdiff(first, second)], [0], None, [256], [0, 256]).ravel()
    total = max(1.0, float(counts.sum()))
    return float(counts[0]) / total, float(counts[STRONG_EDGE_LEVELS:].sum()) / total
