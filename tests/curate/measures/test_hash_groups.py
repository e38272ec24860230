"""Grouping duplicates by content hash and by perceptual hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.measures.hash_groups import (
    NEAR_BITS,
    QUICK_BITS,
    group_exact_duplicates,
    group_near_duplicates,
    hamming_distances,
)
from curate.measures.perceptual_hash import MIRROR

Words = NDArray[np.uint64]


def make_fingerprints(rng: np.random.Generator) -> Words:
    """Random fingerprints; copies with 0 to 14 bits changed; mirrored copies; and 1,500 that are all close together."""
    random = rng.integers(0, 2**64, (200, 2), dtype=np.uint64)
    copies = [random]
    for changes in (0, 1, 5, 10, 11, 12, 14):
        changed = random.copy()
        for _ in range(changes):
            bits = rng.integers(0, 64, len(random)).astype(np.uint64)
            changed[np.arange(len(random)), rng.integers(0, 2, len(random))] ^= np.uint64(1) << bits
        copies.append(changed)
    mirrored = copies[2] ^ np.frombuffer(bytes.fromhex(MIRROR), ">u8").astype(np.uint64)
    crowd = rng.integers(0, 2**13, (1500, 2), dtype=np.uint64)
    return np.concatenate([*copies, mirrored, crowd])


def group_by_comparing_all_pairs(fingerprints: Words, best_first: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The grouping that the module's docstring describes, photo by photo."""
    leaders: list[int] = []
    group: dict[tuple[int, ...], int] = {}
    for row in best_first.tolist():
        key = tuple(fingerprints[row].tolist())
        if key in group:
            continue
        apart = hamming_distances(fingerprints[row], fingerprints[leaders])
        near = bool(leaders) and apart.min() <= bits
        group[key] = leaders[int(apart.argmin())] if near else row
        leaders += [] if near else [row]
    return np.array([group[tuple(key)] for key in fingerprints.tolist()])


@pytest.mark.parametrize("bits", [NEAR_BITS, QUICK_BITS])
def test_groups_equal_those_of_comparing_all_pairs(bits: int) -> None:
    rng = np.random.default_rng(bits)
    fingerprints = make_fingerprints(rng)
    best_first = rng.permutation(len(fingerprints))
    found = group_near_duplicates(fingerprints, best_first, bits)
    assert np.array_equal(found, group_by_comparing_all_pairs(fingerprints, best_first, bits))
    assert (hamming_distances(fingerprints, fingerprints[found]) <= bits).all()
    assert 200 < len(np.unique(found)) < 2500


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=40), st.data())
def test_of_equal_contents_the_highest_by_the_first_then_the_next_measure_is_kept(
    photos: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    hashes = np.array([[content % 2 << 63, content // 2] for content, _, _ in photos], np.uint64).reshape(-1, 2)
    best = [np.array([photo[k] for photo in photos], np.float32) for k in (1, 2)]
    rows = sorted(data.draw(st.sets(st.integers(0, len(photos) - 1)))) if photos else []
    found = group_exact_duplicates(hashes, np.array(rows, np.int64), best).tolist()
    for row, (content, *_) in enumerate(photos):
        alike = [other for other in rows if photos[other][0] == content]
        wanted = max(alike, key=lambda other: (*photos[other][1:], -other)) if row in alike else row
        assert found[row] == wanted


@pytest.mark.parametrize("count", [0, 1, 2])
def test_grouping_zero_one_or_two_photos(count: int) -> None:
    fingerprints = np.zeros((count, 2), np.uint64)
    assert group_near_duplicates(fingerprints, np.arange(count)).tolist() == [0] * count


def test_100000_equal_photos_form_one_group_without_others() -> None:
    rng = np.random.default_rng(0)
    many = np.concatenate([np.zeros((100_000, 2), np.uint64), rng.integers(0, 2**64, (500, 2), dtype=np.uint64)])
    groups = group_near_duplicates(many, np.arange(len(many)))
    assert set(groups[:100_000]) == {0}
    assert groups[100_000:].tolist() == list(range(100_000, 100_500))


def test_a_chain_of_similar_photos_is_not_one_group() -> None:
    ones = np.array([[0, (1 << bits) - 1] for bits in range(0, 60, 6)], np.uint64)
    groups = group_near_duplicates(ones, np.arange(len(ones)))
    assert groups.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]
