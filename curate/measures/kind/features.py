"""Compute statistics of colors and edges in which drawings, maps and screenshots differ from most photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

COLOR_LEVELS_BITS = 5
"""Bits of each channel by which colors are counted: 32 levels."""
STRONG_EDGE_LEVELS = 32
"""Neighboring pixels of the small copy that differ by at least this in luma are at a strong edge."""


def compute_statistics(
    samples: Sequence[NDArray[np.uint8]], smalls: Sequence[NDArray[np.uint8]], lumas: Sequence[NDArray[np.uint8]]
) -> dict[str, FloatArray]:
    """Compute the statistics of several pictures. The pictures do not influence each other's numbers.

    Args:
        samples: one array per picture, (h, w, 3) uint8 sRGB: pixels of the full-size picture, in any order.
        smalls: one array per picture, (H, W, 3) uint8 sRGB: its small copy.
        lumas: one array per picture, (H, W) uint8: gray values of the small copy.

    Returns:
        (n,) float64 by name:

        - color_share: occupied cells of a 32 × 32 × 32 grid of R, G and B, per pixel of the sample, 0..1
        - color_entropy_bits: entropy of the sample over these cells, 0 to 12
        - top_color_share: share of the sample in the fullest cell, 0..1; top_4_color_share: in the fullest four
        - flat_share: share of neighboring pixels of the small copy with equal luma, 0..1
        - near_flat_share: with a difference of at most 1; soft_share: of 2 to 7; edge_share: of at least 32
        - luma_step_mean: mean difference, 0..255
        - flat_color_share: share of horizontally neighboring pixels that are equal in all channels, 0..1
        - top_luma_share: share of the most frequent gray value, 0..1; luma_levels_share: gray values that more than
          1 in 2,000 pixels have, of 256
        - white_share: pixels of the small copy with all channels at least 250; black_share: at most 5
        - border_spread: mean of the channels' standard deviations in the outermost pixels, 0..128
    """
    columns = [
        {**_count_colors(sample), **_measure_edges(luma), **_measure_levels(small, luma)}
        for sample, small, luma in zip(samples, smalls, lumas, strict=True)
    ]
    return {name: np.array([column[name] for column in columns]) for name in (columns[0] if columns else ())}


def _count_colors(sample: NDArray[np.uint8]) -> Mapping[str, float]:
    levels = (sample.reshape(-1, 3) >> (8 - COLOR_LEVELS_BITS)).astype(np.int32)
    cells = (levels[:, 0] << 2 * COLOR_LEVELS_BITS) | (levels[:, 1] << COLOR_LEVELS_BITS) | levels[:, 2]
    cells.sort()  # and runs of equal cells: faster than 32,768 counters for 4,000 pixels
    ends = np.concatenate([[-1], np.flatnonzero(cells[1:] != cells[:-1]), [len(cells) - 1]])
    counts = ends[1:] - ends[:-1]
    counts.sort()
    shares = counts / len(cells)
    return {
        "color_share": len(counts) / len(cells),
        "color_entropy_bits": float(abs((shares * np.log2(shares)).sum())),
        "top_color_share": float(shares[-1]),
        "top_4_color_share": float(shares[-4:].sum()),
    }


def _measure_edges(luma: NDArray[np.uint8]) -> Mapping[str, float]:
    pairs = ((luma[:, 1:], luma[:, :-1]), (luma[1:], luma[:-1]))
    counts = np.zeros(256)
    for first, second in pairs:
        if first.size:
            counts += _count_levels(np.asarray(cv2.absdiff(first, second), np.uint8))
    total = max(1.0, float(counts.sum()))
    return {
        "flat_share": float(counts[0]) / total,
        "near_flat_share": float(counts[:2].sum()) / total,
        "soft_share": float(counts[2:8].sum()) / total,
        "edge_share": float(counts[STRONG_EDGE_LEVELS:].sum()) / total,
        "luma_step_mean": float(counts @ _LEVELS) / total,
    }


def _measure_levels(small: NDArray[np.uint8], luma: NDArray[np.uint8]) -> Mapping[str, float]:
    levels = _count_levels(luma) / luma.size
    planes = cv2.split(small)
    same_share = 0.0
    if small.shape[1] > 1:
        red, green, blue = (cv2.absdiff(plane[:, 1:], plane[:, :-1]) for plane in planes)
        same_share = 1 - cv2.countNonZero(cv2.max(cv2.max(red, green), blue)) / red.size
    low, high = (choose(choose(planes[0], planes[1]), planes[2]) for choose in (cv2.min, cv2.max))
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    return {
        "flat_color_share": same_share,
        "top_luma_share": float(levels.max()),
        "luma_levels_share": float((levels > 0.0005).mean()),
        "white_share": cv2.countNonZero((low >= 250).view(np.uint8)) / low.size,
        "black_share": cv2.countNonZero((high <= 5).view(np.uint8)) / high.size,
        "border_spread": float(cv2.meanStdDev(border[None])[1].mean()),
    }


def _count_levels(plane: NDArray[np.uint8]) -> FloatArray:
    """(256,) how often each level occurs; exact, because OpenCV's float32 counts are exact up to 16 million."""
    return np.asarray(cv2.calcHist([plane], [0], None, [256], [0, 256]), np.float64).ravel()


_LEVELS = np.arange(256.0)
