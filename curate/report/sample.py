"""Choose the photos that the report shows: some of every kind, and most of them near the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from curate.measures.hash_groups import NEAR_BITS, QUICK_BITS, group_exact_duplicates, group_near_duplicates
from curate.measures.names import KINDS, TONES
from curate.report.counts import BINS_PER_M, ManifestCounts

MAX_PHOTOS = 1200
MAX_GROUPS = 24
MAX_GROUP_PHOTOS = 6
MAX_NEAR, MAX_QUICK = 200_000, 1_000_000
"""Up to `MAX_NEAR` photos, groups are found as the filter finds them; up to `MAX_QUICK`, only by a smaller distance;
with more photos, only by equal hashes. So a report of a large manifest stays fast."""
_SEED = 0

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """Groups of photos that look the same."""

    groups: int
    photos: int
    """Number of photos in all groups."""
    shown: tuple[Indices, ...]
    """The first rows of the largest groups."""
    sizes: tuple[int, ...]
    """Number of photos in each of these groups."""
    bits: int
    """Number of bits in which the fingerprints of a group may differ."""


def duplicate_groups(rows: ManifestCounts) -> DuplicateGroups:
    """Group photos with similar fingerprints; photos without a fingerprint, by equal content."""
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
    shown = tuple(order[starts[i] : starts[i] + min(sizes[i], MAX_GROUP_PHOTOS)] for i in largest)
    return DuplicateGroups(int(several.sum()), int(sizes[several].sum()), shown, tuple(sizes[largest].tolist()), bits)


def choose_photos(
    rows: ManifestCounts,
    threshold_bin: int,
    keep_tones: frozenset[str],
    keep_kinds: frozenset[str],
    groups: DuplicateGroups,
) -> Indices:
    """Choose the rows to show, the most useful first.

    Rows are taken from all strata in turn, so that any first part of the result has some of each.

    Args:
        rows: all rows of the manifest.
        threshold_bin: the bin of the threshold; photos near it come first.
        keep_tones: the tones that are kept.
        keep_kinds: the kinds that are kept.
        groups: duplicates, which are shown together.

    Returns:
        At most 1,200 different row numbers; always the same for the same manifest.
    """
    if len(rows) <= MAX_PHOTOS // 2:
        return np.arange(len(rows))
    strata = list(_strata(rows, threshold_bin, keep_tones, keep_kinds, groups))
    turns = [index for turn in zip_longest(*strata, fillvalue=-1) for index in turn if index >= 0]
    return np.array(list(dict.fromkeys(turns))[:MAX_PHOTOS], np.int64)


def _strata(
    rows: ManifestCounts,
    threshold_bin: int,
    keep_tones: frozenset[str],
    keep_kinds: frozenset[str],
    groups: DuplicateGroups,
) -> Iterator[Indices]:
    """Row numbers of each stratum, the most useful first."""
    shuffled = np.random.default_rng(_SEED).permutation(len(rows))
    decided = (rows.bins >= 0) & ~rows.blocked & ~rows.listed
    kept = np.array([*(tone in keep_tones for tone in TONES), True])[rows.tones] & decided
    kept &= np.array([*(kind in keep_kinds for kind in KINDS), True])[rows.kinds]
    candidates = shuffled[kept[shuffled]]
    by_distance = candidates[np.argsort(np.abs(rows.bins[candidates] - threshold_bin + 0.5), kind="stable")]
    for side in (rows.bins[by_distance] < threshold_bin, rows.bins[by_distance] >= threshold_bin):
        yield by_distance[side][:60]
    yield from groups.shown
    yield from _first_per_code(np.where(kept, rows.bins // (2 * BINS_PER_M), -1), shuffled, 6)
    yield from _first_per_code(np.where(kept & (rows.bins >= threshold_bin), rows.sectors, -1), shuffled, 8)
    yield from _first_per_code(np.where(kept, -1, rows.bins // (20 * BINS_PER_M)), shuffled, 12)
    yield from _first_per_code(rows.tones, np.argsort(rows.confidences, kind="stable"), 36)
    yield from _first_per_code(rows.tones, shuffled, 36)
    yield from _first_per_code(rows.kinds, np.argsort(np.abs(rows.kind_scores), kind="stable"), 36)
    yield from _first_per_code(rows.kinds, shuffled, 36)
    yield from _first_per_code(rows.errors, shuffled, 24)
    yield shuffled[rows.listed[shuffled]][:36]
    for bit in range(len(rows.reason_names)):
        has_it = rows.reasons[shuffled] >> np.uint64(bit) & np.uint64(1)
        yield shuffled[has_it == 1][:36]


def _first_per_code(codes: NDArray[np.integer], order: Sequence[int] | Indices, most: int) -> Iterator[Indices]:
    """For each code >= 0: its first `most` rows in the given order."""
    ordered = np.asarray(order)[codes[order] >= 0]
    by_code = ordered[np.argsort(codes[ordered], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[by_code], prepend=-1))
    for code_rows in np.split(by_code, starts[1:]):
        yield code_rows[:most]
