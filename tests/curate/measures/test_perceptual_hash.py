"""Perceptual hashes: near for copies of a photo, far for other photos."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate.measures.hash_groups import NEAR_BITS
from curate.measures.measure import measure_pixels
from curate.measures.perceptual_hash import MIRROR, compute_fingerprint, hamming_distance


def reencode(image: Image.Image, **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket", "motorcycle_left"])
def test_copies_of_a_real_photo_are_near_and_other_photos_are_not(
    name: str, real_photo: Callable[[str], NDArray[np.uint8]]
) -> None:
    original = Image.fromarray(real_photo("astronaut" if name == "rocket" else name))
    own = measure_pixels(np.asarray(original)).fingerprint
    small = original.resize((original.width * 2 // 3, original.height * 2 // 3))
    for copy in (reencode(original, quality=50), reencode(small, quality=80)):
        assert hamming_distance(own, measure_pixels(np.asarray(copy)).fingerprint) <= NEAR_BITS
    mirrored = int(
        measure_pixels(np.asarray(reencode(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))).fingerprint, 16
    )
    assert hamming_distance(own, f"{mirrored ^ int(MIRROR, 16):032x}") <= NEAR_BITS
    other = measure_pixels(real_photo("coffee" if name != "coffee" else "chelsea")).fingerprint
    assert hamming_distance(own, other) > 2 * NEAR_BITS


def test_mirroring_a_photo_flips_the_bits_of_mirror() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (64, 96)).astype(np.uint8)
    flipped = int(compute_fingerprint(np.ascontiguousarray(cv2.flip(luma, 1))), 16)
    assert hamming_distance(compute_fingerprint(luma), f"{flipped ^ int(MIRROR, 16):032x}") <= 1
