"""Listings are sorted in memory and on disk with the same result."""

from __future__ import annotations

import random

import pytest

from curate.sources.entry import ListedPhoto
from curate.sources.listing.sorting import sort_photos


@pytest.mark.parametrize("seed", range(10))
def test_in_memory_and_on_disk_the_same(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    names = [f"{stem}{end}" for stem in ("a", "a.b", "b", "b-", "c") for end in (".jpg", ".left.jpg", ".txt", ".json")]
    names += ["metadata.csv", "metadata.jsonl", "d", "d.txt", "a~2.jpg"]
    photos = [
        ListedPhoto("/in", f"x.zip/{rng.choice(['', 'f/'])}{rng.choice(names)}", rng.randrange(9), 1, None, offset)
        for offset in range(40)
    ]
    photos += rng.sample(photos, 3)
    photos += [ListedPhoto("/in/f", f"{number}.jpg", 1, 1) for number in (2, 1)] if seed % 2 else []
    in_memory = list(sort_photos(photos))
    assert list(sort_photos(photos, 1)) == in_memory
    assert any(photo.sidecars for photo in in_memory)
