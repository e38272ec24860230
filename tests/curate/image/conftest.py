"""Profiles and malformed files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from PIL import ImageCms


@pytest.fixture(scope="session")
def swapped_primaries() -> bytes:
    """The profile of sRGB with its red and blue primaries exchanged, so that conversion exchanges R and B."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")


@pytest.fixture(scope="session")
def mutated_copies() -> Callable[[bytes, random.Random, int], Iterator[bytes]]:
    """Copies of a file with some bytes changed, removed, repeated or cut off, mostly near the head."""

    def mutate(whole: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
        for _ in range(count):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                limit = len(data) if rng.random() < 0.5 else min(len(data), 120)
                at = rng.randrange(max(1, limit))
                match rng.randrange(5):
                    case 0 | 1:
                        data[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
                    case 2:
                        del data[at : at + rng.randint(1, 8)]
                    case 3:
                        data[at:at] = data[at : at + rng.randint(1, 8)]
                    case _:
                        data[at : at + 4] = rng.randbytes(4)
            yield bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.1 else data)

    return mutate
