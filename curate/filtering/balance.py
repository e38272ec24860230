"""Choose a subset that is spread over hues and colorfulness; see docs/decisions/0020-balance-by-strata.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.measures.names import LEVEL_STARTS

HUE_SECTORS = 12
"""Sectors of 30 degrees. A stratum is one sector combined with one of the paper's levels of colorfulness."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BalancedSubset:
    """Which photos are kept, and how many each stratum had."""

    kept: NDArray[np.bool_]
    """(n,)"""
    stratum: NDArray[np.uint8]
    """(n,) see `assign_strata`."""
    available: IntArray
    """(strata,) photos of each stratum."""
    quota: IntArray
    """(strata,) kept photos of each stratum."""


def choose_balanced(
    hue_deg: NDArray[np.floating], colorfulness: NDArray[np.floating], draw: NDArray[np.uint64], keep: int
) -> BalancedSubset:
    """Choose `keep` photos: the same number from each stratum, or all photos of a stratum that has fewer.

    Args:
        hue_deg: (n,) 0..360.
        colorfulness: (n,) M.
        draw: (n,) the lowest values of each stratum are kept. With content hashes, the choice doesn't depend on the
            order of the photos.
        keep: how many; if there are not more photos, all are kept.
    """
    stratum = assign_strata(hue_deg, colorfulness)
    available = np.bincount(stratum, minlength=HUE_SECTORS * len(LEVEL_STARTS))
    quota = water_fill(available, keep)
    kept = np.zeros(len(stratum), np.bool_)
    for number in np.flatnonzero(quota):  # one by one, because sorting all at once takes five times the memory
        members = np.flatnonzero(stratum == number)
        kept[members[np.argsort(draw[members], kind="stable")[: quota[number]]]] = True
    return BalancedSubset(kept, stratum, available, quota)


def assign_strata(hue_deg: NDArray[np.floating], colorfulness: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return each photo's stratum, (n,) uint8: level of colorfulness times HUE_SECTORS plus the sector of hue."""
    sector = (np.nan_to_num(hue_deg) / (360 / HUE_SECTORS)).astype(np.int16) % HUE_SECTORS
    level = np.searchsorted(LEVEL_STARTS[1:], colorfulness, side="right").astype(np.int16)
    return np.asarray(level * HUE_SECTORS + sector, np.uint8)


def water_fill(available: IntArray, keep: int) -> IntArray:
    """Return how many of each stratum to keep: the same number of each, or all it has, `keep` in total.

    >>> water_fill(np.array([2, 100, 0, 30]), 40).tolist()
    [2, 19, 0, 19]
    """
    if keep >= available.sum():
        return available
    # totals[n]: photos kept in total if each stratum gives at most n
    limits = np.arange(available.max() + 1)
    ordered = np.sort(available)
    sums = np.concatenate([[0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, limits, side="right")
    totals = sums[below] + limits * (len(available) - below)
    limit = int(np.searchsorted(totals, keep, side="right")) - 1
    quota = np.minimum(available, limit)
    rest = np.flatnonzero(available > limit)[: keep - int(quota.sum())]
    quota[rest] += 1
    return quota


def stratum_label(stratum: int) -> str:
    """Return a stratum in words.

    >>> stratum_label(14)
    'hue 60 to 90, colorfulness 15 to 33'
    """
    level, sector = divmod(stratum, HUE_SECTORS)
    width = 360 // HUE_SECTORS
    if level + 1 < len(LEVEL_STARTS):
        colorfulness = f"{LEVEL_STARTS[level]} to {LEVEL_STARTS[level + 1]}"
    else:
        colorfulness = f"{LEVEL_STARTS[level]} and more"
    return f"hue {sector * width} to {(sector + 1) * width}, colorfulness {colorfulness}"
