"""A subset spread over hues and colourfulness: docs/decisions/0020-balance-by-strata.md tells why so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.filtering.options import LEVEL_STARTS

HUES = 12
"""Strata of 30 degrees each, times the paper's levels of colourfulness."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Balance:
    """Which photos stay, and how full each stratum was."""

    stays: NDArray[np.bool_]
    """(n,)"""
    stratum: NDArray[np.uint8]
    """(n,) see `stratum_of`."""
    found: Numbers
    """Photos a stratum."""
    quota: Numbers
    """Of which so many stay."""


def balance(
    hue_deg: NDArray[np.floating], colorfulness: NDArray[np.floating], draw: NDArray[np.uint64], keep: int
) -> Balance:
    """Choose `keep` photos, as many from each stratum as from any other as far as it has them.

    Args:
        hue_deg: (n,) 0..360.
        colorfulness: (n,) M.
        draw: (n,) lots, the lowest of each stratum stay; content hashes make the choice the same in any order.
        keep: how many; all if there are no more.
    """
    stratum = stratum_of(hue_deg, colorfulness)
    found = np.bincount(stratum, minlength=HUES * len(LEVEL_STARTS))
    quota = water_fill(found, keep)
    stays = np.zeros(len(stratum), np.bool_)
    for number in np.flatnonzero(quota):  # one after the other: sorting all at once takes five times the memory
        here = np.flatnonzero(stratum == number)
        stays[here[np.argsort(draw[here], kind="stable")[: quota[number]]]] = True
    return Balance(stays, stratum, found, quota)


def stratum_of(hue_deg: NDArray[np.floating], colorfulness: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(n,) uint8, level of colourfulness times HUES plus the sector of hue."""
    sector = (np.nan_to_num(hue_deg) / (360 / HUES)).astype(np.int16) % HUES
    level = np.searchsorted(LEVEL_STARTS[1:], colorfulness, side="right").astype(np.int16)
    return np.asarray(level * HUES + sector, np.uint8)


def water_fill(found: Numbers, keep: int) -> Numbers:
    """How many of each stratum stay: the same number of each, or all it has, `keep` together.

    >>> water_fill(np.array([2, 100, 0, 30]), 40).tolist()
    [2, 19, 0, 19]
    """
    if keep >= found.sum():
        return found
    levels = np.arange(found.max() + 1)
    ordered = np.sort(found)
    sums = np.concatenate([[0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, levels, side="right")
    filled = sums[below] + levels * (len(found) - below)
    level = int(np.searchsorted(filled, keep, side="right")) - 1
    quota = np.minimum(found, level)
    rest = np.flatnonzero(found > level)[: keep - int(quota.sum())]
    quota[rest] += 1
    return quota


def stratum_label(stratum: int) -> str:
    """In words.

    >>> stratum_label(14)
    'hue 60 to 90, colorfulness 15 to 33'
    """
    level, sector = divmod(stratum, HUES)
    width = 360 // HUES
    top = (
        f"{LEVEL_STARTS[level]} to {LEVEL_STARTS[level + 1]}"
        if level + 1 < len(LEVEL_STARTS)
        else f"{LEVEL_STARTS[level]} and more"
    )
    return f"hue {sector * width} to {(sector + 1) * width}, colorfulness {top}"
