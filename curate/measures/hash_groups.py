"""Group photos with equal content, or with near fingerprints, without comparing all pairs.

Photos are visited in order, the best first. A photo within NEAR_BITS of a better photo that leads a group joins the
nearest such group; any other photo leads a new group. So every photo of a group is near its leader, and a chain of
photos, each near the next, does not become one group.

Leaders are found by lookup: a fingerprint is divided into BANDS bands of bits. If two fingerprints differ in at most
NEAR_BITS, at least one band differs in at most one bit. So leaders are looked up by each band, as it is and with each
of its bits flipped. Only leaders are in the tables, and they are far from each other: 100,000 photos of a flat sky make
one entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.measures.perceptual_hash import BITS, MIRROR

NEAR_BITS = 11
"""Photos whose fingerprints differ in at most this many bits count as near-duplicates (docs/results/duplicates.md)."""
BANDS = 6
QUICK_BITS = BANDS - 1
"""If fingerprints differ in at most this many bits, at least one band is equal, and no bit has to be flipped."""

_BLOCK = 1024
"""Photos that are looked up together; within a block all pairs are compared."""
_MAX_PAIRS = 1 << 22
"""Most pairs that are compared at once, to bound memory."""
_PART_BITS = 4
"""Equal hashes are searched in 2 ** _PART_BITS parts, to bound memory."""
_BAND_BITS = BITS // BANDS
_NOT_FOUND = np.iinfo(np.int64).max
_MIRROR = np.frombuffer(bytes.fromhex(MIRROR), ">u8").astype(np.uint64)

Words = NDArray[np.uint64]
"""(n, 2) uint64: fingerprints or hashes, one per row."""
Bands = NDArray[np.uint32]
"""(n, BANDS) uint32: the first _BAND_BITS bits of each band of a fingerprint."""
Rows = NDArray[np.int64]
"""(n,) int64: row numbers."""


def group_near_duplicates(fingerprints: Words, best_first: Rows, bits: int = NEAR_BITS) -> Rows:
    """Group photos that look alike, mirrored photos included.

    Args:
        fingerprints: (n, 2) uint64.
        best_first: (n,) int64, a permutation of the row numbers, the best photo first.
        bits: most bits in which a photo may differ from the leader of its group. A value of at most QUICK_BITS takes a
            third of the time.

    Returns:
        (n,) int64: for each row, the row that leads its group; its own number if it leads.
    """
    firsts, group = _unique_fingerprints(fingerprints[best_first])
    leader_of_unique = _find_leaders(fingerprints[best_first[firsts]], bits)
    leaders = np.empty_like(best_first)
    leaders[best_first] = best_first[firsts[leader_of_unique[group]]]
    return leaders


def group_exact_duplicates(hashes: Words, rows: Rows, best: Sequence[NDArray[Any]] = ()) -> Rows:
    """Group photos with equal hashes of their content.

    Args:
        hashes: (n, 2) uint64.
        rows: the row numbers to group, ascending; all others stay alone.
        best: (n,) arrays: the photo with the highest value of the first array leads its group; ties are decided by the
            next array, and then by the lowest row number.

    Returns:
        (n,) int64: for each row, the row that leads its group; its own number if it leads.
    """
    leaders = np.arange(len(hashes))
    part_of_row = (hashes[rows, 0] >> np.uint64(64 - _PART_BITS)).astype(np.uint8)
    for part in range(1 << _PART_BITS):
        members = _rows_with_copies(hashes, rows[part_of_row == part])
        sort_keys = (-values[members].astype(np.float64) for values in reversed(best))
        members = members[np.lexsort((*sort_keys, hashes[members, 1], hashes[members, 0]))]
        starts = _group_starts(hashes[members])
        leaders[members] = members[starts][np.cumsum(starts) - 1]
    return leaders


def hamming_distances(first: Words, second: Words) -> NDArray[np.uint8]:
    """Number of bits in which fingerprints differ, as they are or with one mirrored, whichever is less.

    Args:
        first: (..., 2) uint64.
        second: (..., 2) uint64; the shapes are broadcast.

    Returns:
        (...) uint8, 0..128.
    """
    return np.asarray(np.minimum(_count_differing(first, second), _count_differing(first ^ _MIRROR, second)))


def is_mirrored(first: Words, second: Words) -> NDArray[np.bool_]:
    """(n,) bool: whether two fingerprints, (n, 2) each, are nearer if one is mirrored."""
    return np.asarray(hamming_distances(first, second) < _count_differing(first, second))


def _count_differing(first: Words, second: Words) -> NDArray[np.uint8]:
    """(...) uint8: number of bits in which two (..., 2) fingerprints differ."""
    high, low = (np.bitwise_count(first[..., word] ^ second[..., word]) for word in (0, 1))
    return np.asarray(high + low, np.uint8)


def _rows_with_copies(hashes: Words, rows: Rows) -> Rows:
    """The rows whose first 64 bits another of these rows has, too: all copies, and hardly any others."""
    ordered = np.sort(hashes[rows, 0])
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return rows[np.isin(hashes[rows, 0], repeated)]


def _unique_fingerprints(fingerprints: Words) -> tuple[Rows, Rows]:
    """The first row of each distinct fingerprint, ascending; and for every row, its index in that array."""
    order = np.lexsort((fingerprints[:, 1], fingerprints[:, 0]))
    starts = _group_starts(fingerprints[order])
    firsts = order[starts]
    rank = np.empty_like(firsts)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    group = np.empty_like(order)
    group[order] = rank[np.cumsum(starts) - 1]
    return np.sort(firsts), group


def _group_starts(ordered: Words) -> NDArray[np.bool_]:
    """(n,) bool: where a new value begins in sorted words."""
    return np.concatenate([[True], np.any(ordered[1:] != ordered[:-1], axis=1)])[: len(ordered)]


def _find_leaders(fingerprints: Words, bits: int) -> Rows:
    """(n,) int64: the leader of each fingerprint. The fingerprints are distinct, the best first."""
    index, bands = _LeaderIndex(bits), _split_into_bands(fingerprints)
    leader_of = np.arange(len(fingerprints))
    for start in range(0, len(fingerprints), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(fingerprints)))
        nearest = index.nearest(fingerprints[block], bands[block])
        distances = hamming_distances(fingerprints[block][:, None], fingerprints[block])
        near_earlier = np.tril(distances <= bits, -1)
        leads = _select_leaders(nearest == _NOT_FOUND, near_earlier)
        nearest = np.minimum(nearest, _nearest_in_block(distances, near_earlier & leads, start))
        leader_of[block[~leads]] = nearest[~leads] & 0xFFFFFFFF
        index.add(fingerprints[block[leads]], bands[block[leads]], block[leads])
    return leader_of


def _select_leaders(free: NDArray[np.bool_], near_earlier: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(b,) bool: which photos of a block lead a group.

    Args:
        free: (b,) whether no leader of an earlier block is near.
        near_earlier: (b, b) whether the photo of the row is near the photo of the column, which comes before it.
    """
    leads = free.copy()
    for row in np.flatnonzero(free & near_earlier.any(axis=1)):
        leads[row] = not (near_earlier[row] & leads).any()
    return leads


def _nearest_in_block(distances: NDArray[np.uint8], near_leaders: NDArray[np.bool_], start: int) -> Rows:
    """(b,) int64: the nearest leader of the same block, see `_encode_nearest`; _NOT_FOUND if none is near.

    Args:
        distances: (b, b).
        near_leaders: (b, b) whether the column is a leader near the row, and comes before it.
        start: number of the block's first photo.
    """
    row, leader = np.nonzero(near_leaders)
    nearest = np.full(len(distances), _NOT_FOUND)
    np.minimum.at(nearest, row, _encode_nearest(distances[row, leader], leader + start))
    return nearest


def _encode_nearest(distance: NDArray[np.uint8], number: Rows) -> Rows:
    """`distance << 32 | number`: the least is the nearest leader, and of equally near ones the best."""
    return np.asarray(distance.astype(np.int64) << 32 | number)


def _split_into_bands(fingerprints: Words) -> Bands:
    """Divide the bits of fingerprints into bands, in parts, to bound memory."""
    starts = range(0, len(fingerprints) or 1, 65536)
    return np.concatenate([_split_part_into_bands(fingerprints[start : start + 65536]) for start in starts])


def _split_part_into_bands(fingerprints: Words) -> Bands:
    """Give bit i to band i modulo BANDS, so that each band has low and high frequencies."""
    bits = np.unpackbits(fingerprints.astype(">u8").view(np.uint8).reshape(-1, BITS // 8), axis=1)
    bands = np.zeros((len(bits), BANDS, 32), np.uint8)
    for band in range(BANDS):
        bands[:, band, 32 - _BAND_BITS :] = bits[:, band::BANDS][:, :_BAND_BITS]
    return np.packbits(bands, axis=2).view(">u4")[..., 0].astype(np.uint32)


_MIRROR_BANDS = _split_part_into_bands(_MIRROR[None])


class _LeaderIndex:
    """All leaders so far, in tables of decreasing size.

    A new table is merged with those that are no larger, as in a log-structured merge tree, so that a leader is sorted
    again only a logarithmic number of times.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._tables: list[_BandTable] = []

    def add(self, words: Words, bands: Bands, numbers: Rows) -> None:
        """Add leaders: their fingerprints, the bands of these, and their numbers."""
        while self._tables and len(self._tables[-1].numbers) <= len(numbers):
            last = self._tables.pop()
            words, bands = np.concatenate([last.words, words]), np.concatenate([last.bands, bands])
            numbers = np.concatenate([last.numbers, numbers])
        self._tables.append(_BandTable(words, bands, numbers))

    def nearest(self, words: Words, bands: Bands) -> Rows:
        """(n,) int64: the nearest leader of each fingerprint, see `_encode_nearest`; _NOT_FOUND if none is near."""
        queries = np.concatenate([words, words ^ _MIRROR])
        query_bands = np.concatenate([bands, bands ^ _MIRROR_BANDS])
        nearest = np.full(len(queries), _NOT_FOUND)
        for table in self._tables:
            for query, entry, distance in table.find_near(queries, query_bands, self._bits):
                np.minimum.at(nearest, query, _encode_nearest(distance, table.numbers[entry]))
        return np.asarray(np.minimum(nearest[: len(words)], nearest[len(words) :]))


class _BandTable:
    """Leaders, sorted by the first bits of each band."""

    def __init__(self, words: Words, bands: Bands, numbers: Rows) -> None:
        self.words, self.bands, self.numbers = words, bands, numbers
        self._key_bits = min(max(len(numbers).bit_length(), 8), _BAND_BITS)
        keys = bands >> np.uint32(_BAND_BITS - self._key_bits)
        self._order = [np.argsort(keys[:, band], kind="stable").astype(np.int32) for band in range(BANDS)]
        counts = [np.bincount(keys[:, band], minlength=1 << self._key_bits) for band in range(BANDS)]
        self._starts = [np.concatenate([[0], np.cumsum(count)]).astype(np.int32) for count in counts]

    def find_near(self, words: Words, bands: Bands, bits: int) -> Iterator[tuple[Rows, Rows, NDArray[np.uint8]]]:
        """Find pairs of a query and a leader that differ in at most `bits` bits.

        Yields:
            Query numbers, entries of this table, and their distances. A pair can come more than once.
        """
        flips = np.concatenate([[0], 1 << np.arange(self._key_bits if bits > QUICK_BITS else 0)]).astype(np.uint32)
        for band in range(BANDS):
            keys = ((bands[:, band] >> np.uint32(_BAND_BITS - self._key_bits))[:, None] ^ flips).ravel()
            starts = self._starts[band][keys]
            counts = self._starts[band][keys + np.uint32(1)] - starts
            for lookups in _split_by_pairs(counts):
                query = np.repeat(lookups // len(flips), counts[lookups])
                pairs_before = np.cumsum(counts[lookups]) - counts[lookups]
                positions = np.arange(len(query)) + np.repeat(starts[lookups] - pairs_before, counts[lookups])
                entry = self._order[band][positions]
                high, low = (  # one word at a time needs half the memory
                    np.bitwise_count(words[query, word] ^ self.words[entry, word]) for word in (0, 1)
                )
                distance = np.asarray(high + low, np.uint8)
                near = np.flatnonzero(distance <= bits)
                yield query[near], entry[near], distance[near]


def _split_by_pairs(counts: NDArray[np.int32]) -> Iterator[Rows]:
    """The indices of the counts that are not 0, in parts whose counts each sum to about _MAX_PAIRS at most."""
    lookups = np.flatnonzero(counts)
    part = np.cumsum(counts[lookups], dtype=np.int64) // _MAX_PAIRS
    yield from np.split(lookups, np.flatnonzero(np.diff(part)) + 1) if len(lookups) else ()
