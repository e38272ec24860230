"""Groups of photos that look alike, found without comparing all pairs.

Photos are taken best first. One that lies within NEAR_BITS of a better photo that leads a group joins the nearest such
group; any other leads a group of its own. So every photo of a group is near its leader, and likeness isn't handed on
from photo to photo until everything hangs together.

Of BANDS bands of bits, one at least differs in at most one bit if two fingerprints differ in at most NEAR_BITS: leaders
are looked up by each band, as it is and with each bit flipped. Only leaders are looked up, and they lie apart from each
other, so that 100,000 photos of a flat sky make one entry and not 100,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.measures.perceptual_hash import BITS, MIRROR

NEAR_BITS = 11
"""Fingerprints that differ in no more bits are of one photo: docs/results/duplicates.md has the curve."""
BANDS = 6
QUICK_BITS = BANDS - 1
"""Of fingerprints that differ in no more bits, one band at least is the same: no bit need be flipped to find them."""

_BLOCK = 1024
"""Photos that are looked up together, and compared with each other one by one."""
_CANDIDATES = 1 << 22
"""Pairs that are compared at once, at most, to bound memory."""
_PART_BITS = 4
"""Equal hashes are looked for in so many parts: 2 ** _PART_BITS."""
_BAND_BITS = BITS // BANDS
_NONE = np.iinfo(np.int64).max
_MIRROR = np.frombuffer(bytes.fromhex(MIRROR), ">u8").astype(np.uint64)

Words = NDArray[np.uint64]
"""(n, 2) uint64, a fingerprint a row."""
Bands = NDArray[np.uint32]
"""(n, BANDS) uint32, the first _BAND_BITS bits of each band of a fingerprint."""
Numbers = NDArray[np.int64]


def group_near_duplicates(fingerprints: Words, best_first: Numbers, bits: int = NEAR_BITS) -> Numbers:
    """Group photos that look alike, mirrored ones too.

    Args:
        fingerprints: (n, 2) uint64.
        best_first: (n,) every row number once.
        bits: in how many those of a group may differ from their leader; at most QUICK_BITS take a third of the time.

    Returns:
        (n,) int64: the row that leads each row's group; its own number where it leads.
    """
    heads, group = _same(fingerprints[best_first])
    led_by = _led_by(fingerprints[best_first[heads]], bits)
    leaders = np.empty_like(best_first)
    leaders[best_first] = best_first[heads[led_by[group]]]
    return leaders


def group_exact_duplicates(hashes: Words, rows: Numbers, best: Sequence[NDArray[Any]] = ()) -> Numbers:
    """Group photos of the same content, those of one beginning of the hash at a time, to bound memory.

    Args:
        hashes: (n, 2) uint64.
        rows: the row numbers that are grouped, ascending.
        best: (n,) each: what a group is led by, the highest; of those the highest by the next; then the first row.

    Returns:
        (n,) int64: as of `group_near_duplicates`.
    """
    leaders = np.arange(len(hashes))
    beginning = (hashes[rows, 0] >> np.uint64(64 - _PART_BITS)).astype(np.uint8)
    for part in range(1 << _PART_BITS):
        here = _repeated(hashes, rows[beginning == part])
        worst_last = (-each[here].astype(np.float64) for each in reversed(best))
        here = here[np.lexsort((*worst_last, hashes[here, 1], hashes[here, 0]))]
        starts = _starts(hashes[here])
        leaders[here] = here[starts][np.cumsum(starts) - 1]
    return leaders


def _repeated(hashes: Words, rows: Numbers) -> Numbers:
    """The rows whose first 64 bits another of them has, too: all copies, and hardly anything else."""
    ordered = np.sort(hashes[rows, 0])
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return rows[np.isin(hashes[rows, 0], twice)]


def hamming_distances(one: Words, other: Words) -> NDArray[np.uint8]:
    """Bits in which fingerprints differ, as they are or mirrored, whichever is less; shapes are broadcast."""
    flipped = one ^ _MIRROR
    plain, mirrored = (
        _ones(each[..., 0] ^ other[..., 0]) + _ones(each[..., 1] ^ other[..., 1]) for each in (one, flipped)
    )
    return np.asarray(np.minimum(plain, mirrored))


def is_mirrored(one: Words, other: Words) -> NDArray[np.bool_]:
    """(n,) bool: whether two fingerprints are nearer when one is mirrored."""
    plain = _ones(one[:, 0] ^ other[:, 0]) + _ones(one[:, 1] ^ other[:, 1])
    return np.asarray(hamming_distances(one, other) < plain)


def _ones(words: Words) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_count(words), np.uint8)


def _same(fingerprints: Words) -> tuple[Numbers, Numbers]:
    """The first row of each fingerprint, in order, and for every row the number of its fingerprint among those."""
    order = np.lexsort((fingerprints[:, 1], fingerprints[:, 0]))
    ordered = fingerprints[order]
    starts = _starts(ordered)
    firsts = order[starts]
    rank = np.empty_like(firsts)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    group = np.empty_like(order)
    group[order] = rank[np.cumsum(starts) - 1]
    return np.sort(firsts), group


def _starts(ordered: Words) -> NDArray[np.bool_]:
    """Where another fingerprint begins."""
    return np.concatenate([[True], np.any(ordered[1:] != ordered[:-1], axis=1)])[: len(ordered)]


def _led_by(fingerprints: Words, bits: int) -> Numbers:
    """(n,) the leader of each of these fingerprints, all different and the best first."""
    leaders, bands = _Leaders(bits), _bands(fingerprints)
    led_by = np.arange(len(fingerprints))
    for start in range(0, len(fingerprints), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(fingerprints)))
        best = leaders.nearest(fingerprints[block], bands[block])
        inside = hamming_distances(fingerprints[block][:, None], fingerprints[block])
        leading = _leading(best == _NONE, np.tril(inside <= bits, -1))
        best = np.minimum(best, _nearest_inside(inside, leading, start, bits))
        joins = ~leading
        led_by[block[joins]] = best[joins] & 0xFFFFFFFF
        leaders.add(fingerprints[block[leading]], bands[block[leading]], block[leading])
    return led_by


def _leading(free: NDArray[np.bool_], near_before: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of a block lead: those that are free of earlier leaders, and not near one of the block before them."""
    leading = free.copy()
    for row in np.flatnonzero(free & near_before.any(axis=1)):
        leading[row] = not (near_before[row] & leading).any()
    return leading


def _nearest_inside(inside: NDArray[np.uint8], leading: NDArray[np.bool_], start: int, bits: int) -> Numbers:
    """The nearest leader of the same block that comes before each row, as `distance << 32 | number`."""
    near = np.tril(inside <= bits, -1) & leading
    row, leader = np.nonzero(near)
    best = np.full(len(inside), _NONE)
    np.minimum.at(best, row, _scored(inside[row, leader], leader + start))
    return best


def _scored(distance: NDArray[np.uint8], number: Numbers) -> Numbers:
    """The less, the nearer; of equally near ones, the better."""
    return np.asarray(distance.astype(np.int64) << 32 | number)


def _bands(fingerprints: Words) -> Bands:
    """Bits dealt out one by one, so that each band gets some of every frequency."""
    return np.concatenate(
        [_bands_of_some(fingerprints[start : start + 65536]) for start in range(0, len(fingerprints) or 1, 65536)]
    )


def _bands_of_some(fingerprints: Words) -> Bands:
    bits = np.unpackbits(fingerprints.astype(">u8").view(np.uint8).reshape(-1, BITS // 8), axis=1)
    dealt = np.zeros((len(bits), BANDS, 32), np.uint8)
    for band in range(BANDS):
        dealt[:, band, 32 - _BAND_BITS :] = bits[:, band::BANDS][:, :_BAND_BITS]
    return np.packbits(dealt, axis=2).view(">u4")[..., 0].astype(np.uint32)


_MIRROR_BANDS = _bands_of_some(_MIRROR[None])


class _Leaders:
    """Leaders, in tables of growing size: a table is made anew when as many came as it holds."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._tables: list[_Table] = []

    def add(self, words: Words, bands: Bands, numbers: Numbers) -> None:
        while self._tables and len(self._tables[-1].numbers) <= len(numbers):
            last = self._tables.pop()
            words, bands = np.concatenate([last.words, words]), np.concatenate([last.bands, bands])
            numbers = np.concatenate([last.numbers, numbers])
        self._tables.append(_Table(words, bands, numbers))

    def nearest(self, words: Words, bands: Bands) -> Numbers:
        """The nearest leader of each fingerprint as `distance << 32 | number`, _NONE if none is near."""
        both = np.concatenate([words, words ^ _MIRROR])
        both_bands = np.concatenate([bands, bands ^ _MIRROR_BANDS])
        best = np.full(len(both), _NONE)
        for table in self._tables:
            for query, place, distance in table.near(both, both_bands, self._bits):
                np.minimum.at(best, query, _scored(distance, table.numbers[place]))
        return np.asarray(np.minimum(best[: len(words)], best[len(words) :]))


class _Table:
    """Some leaders, sorted by each band."""

    def __init__(self, words: Words, bands: Bands, numbers: Numbers) -> None:
        self.words, self.bands, self.numbers = words, bands, numbers
        self._bits = min(max(len(numbers).bit_length(), 8), _BAND_BITS)
        keys = bands >> np.uint32(_BAND_BITS - self._bits)
        self._places = [np.argsort(keys[:, band], kind="stable").astype(np.int32) for band in range(BANDS)]
        counts = [np.bincount(keys[:, band], minlength=1 << self._bits) for band in range(BANDS)]
        self._ends = [np.concatenate([[0], np.cumsum(count)]).astype(np.int32) for count in counts]

    def near(self, words: Words, bands: Bands, bits: int) -> Iterator[tuple[Numbers, Numbers, NDArray[np.uint8]]]:
        """Pairs of a query and a place in the table that are near each other, and how near; some more than once."""
        flips = np.concatenate([[0], 1 << np.arange(self._bits if bits > QUICK_BITS else 0)]).astype(np.uint32)
        for band in range(BANDS):
            keys = ((bands[:, band] >> np.uint32(_BAND_BITS - self._bits))[:, None] ^ flips).ravel()
            starts = self._ends[band][keys]
            counts = self._ends[band][keys + np.uint32(1)] - starts
            for hits in _parts(counts):
                query = np.repeat(hits // len(flips), counts[hits])
                before = np.cumsum(counts[hits]) - counts[hits]
                place = self._places[band][np.arange(len(query)) + np.repeat(starts[hits] - before, counts[hits])]
                apart = _ones(words[query, 0] ^ self.words[place, 0]) + _ones(words[query, 1] ^ self.words[place, 1])
                near = np.flatnonzero(apart <= bits)
                yield query[near], place[near], apart[near]


def _parts(counts: NDArray[np.int32]) -> Iterator[Numbers]:
    """The numbers of the counts that aren't 0, in parts that each sum to about _CANDIDATES at most."""
    hits = np.flatnonzero(counts)
    which = np.cumsum(counts[hits], dtype=np.int64) // _CANDIDATES
    yield from np.split(hits, np.flatnonzero(np.diff(which)) + 1) if len(hits) else ()
