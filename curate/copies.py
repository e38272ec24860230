"""Which photos duplicate a better one, and what draws the split of photos that belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import columns, duplicates
from curate.columns import Columns, Photos
from curate.gates import Flagged, repeated

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Copies:
    """Photos of which a better one stays, and which."""

    rows: Numbers
    """(copies,) ascending."""
    kept: Numbers
    """(copies,)"""
    how: Callable[[Numbers, Numbers], pa.Array]
    """In what way some rows are copies of others, as text."""

    @classmethod
    def among(cls, kept: Numbers, how: Callable[[Numbers, Numbers], pa.Array]) -> Copies:
        """From the row that stays for each row, its own number where it stays itself."""
        rows = np.flatnonzero(kept != np.arange(len(kept)))
        return cls(rows, kept[rows], how)

    def flagged(self, photos: Photos) -> Flagged:
        """`duplicate of PATH (distance 3)` for each."""
        named = np.unique(self.kept)
        paths = columns.paths(photos, named)

        def reasons(some: slice) -> pa.Array:
            path = paths.take(pa.array(np.searchsorted(named, self.kept[some])))
            how = self.how(self.rows[some], self.kept[some])
            return pc.binary_join_element_wise("duplicate of ", path, " (", how, ")", "")

        return Flagged("duplicate", self.rows, reasons)


def exact(known: Columns) -> Copies:
    """Photos of the same content as a better one."""
    best = (known.passes, known.pixels, known.colorfulness)
    kept = duplicates.exact_groups(known.sha256, np.flatnonzero(known.usable), best)
    return Copies.among(kept, lambda rows, _: repeated("same content", len(rows)))


def near(known: Columns) -> tuple[Copies, NDArray[np.uint32]]:
    """Photos that look like a better one, and the bits that draw each photo's split."""
    rows = np.flatnonzero(known.usable)
    best_first = np.lexsort((-known.colorfulness[rows], -known.pixels[rows].astype(np.int64)))
    leader = rows[duplicates.near_groups(known.looks[rows], best_first)]
    stays = _keepers(known.passes, rows[best_first], leader[best_first])
    kept = np.arange(len(known.usable))
    kept[rows] = stays[leader]
    return Copies.among(kept, partial(_how, known)), _drawn_together(known, rows, leader)


def _keepers(passes: NDArray[np.bool_], rows: Numbers, leader: Numbers) -> Numbers:
    """By leader, the row that stays: the best that passes, or the leader; `rows` come best first."""
    keeper = np.arange(len(passes))
    worst_first = np.flatnonzero(passes[rows])[::-1]
    keeper[leader[worst_first]] = rows[worst_first]
    return keeper


def _drawn_together(known: Columns, rows: Numbers, leader: Numbers) -> NDArray[np.uint32]:
    """What draws each photo's split: the first 32 bits of its content hash, or bits 96 to 128 of its group's smallest.

    The first bits of the smallest of several hashes are small: they would put most groups into train.
    """
    bits = (known.sha256[:, 0] >> np.uint64(32)).astype(np.uint32)
    hashes = known.sha256[rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0], leader))
    starts = np.diff(leader[order], prepend=-1) != 0
    group = np.cumsum(starts) - 1
    smallest = hashes[order[starts]]
    mixed = np.bincount(group, np.any(hashes[order] != smallest[group], axis=1)) > 0
    together = mixed[group]
    bits[rows[order[together]]] = smallest[group[together], 1].astype(np.uint32)
    return bits


def _how(known: Columns, copies: Numbers, kept: Numbers) -> pa.Array:
    """`same content`, `distance 3` or `distance 5, mirrored` for each copy."""
    same = np.all(known.sha256[copies] == known.sha256[kept], axis=1)
    one, other = known.looks[copies], known.looks[kept]
    apart = pa.array(duplicates.distances(one, other)).cast(pa.string())
    side = pa.array(duplicates.is_mirrored(one, other))
    near = pc.binary_join_element_wise("distance ", apart, pc.if_else(side, ", mirrored", ""), "")
    return pc.if_else(pa.array(same), "same content", near)
