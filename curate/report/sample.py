"""Which photos the page shows: some of every kind, most of them near the line, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from curate.measures.hash_groups import NEAR_BITS, QUICK_BITS, group_exact_duplicates, group_near_duplicates
from curate.measures.tone.classify import TONES
from curate.report.counts import BINS_PER_M, ManifestCounts

MAX_PHOTOS = 1200
MAX_GROUPS = 24
MAX_OF_A_GROUP = 6
MAX_NEAR, MAX_QUICK = 200_000, 1_000_000
"""With more photos only the nearest copies are grouped, then only equal ones: the page is to be quick."""
_SEED = 0

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """Groups of photos that show the same picture."""

    groups: int
    photos: int
    """In all groups together."""
    shown: tuple[Indices, ...]
    """The first rows of the largest groups."""
    sizes: tuple[int, ...]
    """How many photos each of those groups has."""
    bits: int
    """In how many bits of their fingerprints photos of a group may differ."""


def duplicate_groups(rows: ManifestCounts) -> DuplicateGroups:
    """Group photos that look alike by their fingerprints; where there is none, those of the same content."""
    keys = np.where(rows.fingerprints.any(axis=1, keepdims=True), rows.fingerprints, rows.contents)
    measured = np.flatnonzero((rows.bins >= 0) & keys.any(axis=1))
    bits = NEAR_BITS if len(measured) <= MAX_NEAR else QUICK_BITS if len(measured) <= MAX_QUICK else 0
    numbers = np.arange(len(measured))
    leaders = (
        group_near_duplicates(keys[measured], numbers, bits)
        if bits
        else group_exact_duplicates(keys[measured], numbers)
    )
    order = np.argsort(leaders, kind="stable")
    starts = np.flatnonzero(np.diff(leaders[order], prepend=-1))
    order = measured[order]
    sizes = np.diff(starts, append=len(order))
    several = sizes > 1
    largest = np.argsort(-sizes, kind="stable")[: min(MAX_GROUPS, int(several.sum()))]
    shown = tuple(order[starts[i] : starts[i] + min(sizes[i], MAX_OF_A_GROUP)] for i in largest)
    return DuplicateGroups(int(several.sum()), int(sizes[several].sum()), shown, tuple(sizes[largest].tolist()), bits)


def choose(rows: ManifestCounts, line_bin: int, keep_tones: frozenset[str], groups: DuplicateGroups) -> Indices:
    """Rows to show, the most wanted first: every stratum has its turn, so a cut at any place leaves some of each.

    Args:
        rows: of the whole manifest.
        line_bin: the bin of the threshold; photos beside it are wanted most.
        keep_tones: the tones whose photos the line decides.
        groups: near-duplicates, which are shown together.

    Returns:
        At most 1,200 row numbers, each once; the same for the same manifest.
    """
    if len(rows) <= MAX_PHOTOS // 2:
        return np.arange(len(rows))
    strata = list(_strata(rows, line_bin, keep_tones, groups))
    turns = [index for turn in zip_longest(*strata, fillvalue=-1) for index in turn if index >= 0]
    return np.array(list(dict.fromkeys(turns))[:MAX_PHOTOS], np.int64)


def _strata(
    rows: ManifestCounts, line_bin: int, keep_tones: frozenset[str], groups: DuplicateGroups
) -> Iterator[Indices]:
    """Row numbers of each stratum, the most wanted first."""
    shuffled = np.random.default_rng(_SEED).permutation(len(rows))
    kept = np.array([*(tone in keep_tones for tone in TONES), True])[rows.tones] & ~rows.blocked & (rows.bins >= 0)
    decided = shuffled[kept[shuffled]]
    by_distance = decided[np.argsort(np.abs(rows.bins[decided] - line_bin + 0.5), kind="stable")]
    for side in (rows.bins[by_distance] < line_bin, rows.bins[by_distance] >= line_bin):
        yield by_distance[side][:60]
    yield from groups.shown
    yield from _first_of_each(np.where(kept, rows.bins // (2 * BINS_PER_M), -1), shuffled, 6)
    yield from _first_of_each(np.where(kept & (rows.bins >= line_bin), rows.sectors, -1), shuffled, 8)
    yield from _first_of_each(np.where(kept, -1, rows.bins // (20 * BINS_PER_M)), shuffled, 12)
    yield from _first_of_each(rows.tones, np.argsort(rows.confidences, kind="stable"), 36)
    yield from _first_of_each(rows.tones, shuffled, 36)
    yield from _first_of_each(rows.errors, shuffled, 24)
    for bit in range(len(rows.reason_names)):
        has_it = rows.reasons[shuffled] >> np.uint64(bit) & np.uint64(1)
        yield shuffled[has_it == 1][:36]


def _first_of_each(codes: NDArray[np.integer], order: Sequence[int] | Indices, most: int) -> Iterator[Indices]:
    """For each code from 0 up, the first rows in some order."""
    ordered = np.asarray(order)[codes[order] >= 0]
    by_code = ordered[np.argsort(codes[ordered], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[by_code], prepend=-1))
    for rows_of_one in np.split(by_code, starts[1:]):
        yield rows_of_one[:most]
