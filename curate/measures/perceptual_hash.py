"""A perceptual hash, for finding near-duplicates.

Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), the DCT hash; here with
128 bits in place of 64, and signs in place of a median, so that the fingerprint of the mirrored photo is known too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 128

_DOWN, _ACROSS = np.array(
    sorted(((v, u) for v in range(16) for u in range(16) if u or v), key=lambda wave: (sum(wave), wave[0]))[:BITS]
).T
"""(BITS,) vertical and horizontal frequency of each bit, low frequencies first."""

MIRROR = np.packbits(_ACROSS % 2 == 1).tobytes().hex()
"""The bits that flip when a photo is mirrored left to right: waves of odd horizontal frequency change their sign."""


def compute_fingerprint(luma: NDArray[np.uint8]) -> str:
    """The 128-bit DCT hash of a photo's brightness, as 32 hex digits.

    Args:
        luma: (H, W) uint8 gray values of any size.

    Returns:
        Hex text: the signs of the lowest 128 frequencies but the mean's. Re-encoding and resizing flip few bits; the
        number of differing bits (0..128) is the distance. A flat image is all zeros.

    >>> compute_fingerprint(np.zeros((40, 40), np.uint8))
    '00000000000000000000000000000000'
    """
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.packbits(cv2.dct(small)[_DOWN, _ACROSS] > 1e-3).tobytes().hex()


def hamming_distance(one: str, other: str) -> int:
    """Bits that differ between two fingerprints, 0..128.

    >>> hamming_distance("00000000000000ff", "000000000000000f")
    4
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()
