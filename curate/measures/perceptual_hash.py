"""Compute the perceptual hash of a photo, which finds near-duplicates.

Source: the DCT hash of C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010). Here it
has 128 bits instead of 64. A bit is the sign of a DCT coefficient instead of a comparison with the median, so that the
hash of the mirrored photo follows from that of the photo.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 128
"""Length of a fingerprint."""

_DOWN, _ACROSS = np.array(
    sorted(
        ((v, u) for v in range(16) for u in range(16) if u or v), key=lambda frequency: (sum(frequency), frequency[0])
    )[:BITS]
).T
"""(BITS,) vertical and horizontal frequency of each bit, low frequencies first."""

MIRROR = np.packbits(_ACROSS % 2 == 1).tobytes().hex()
"""The bits, as hex, that flip when a photo is mirrored left to right: those of odd horizontal frequency change sign."""


def compute_fingerprint(luma: NDArray[np.uint8]) -> str:
    """Compute the 128-bit DCT hash of a photo's brightness.

    Args:
        luma: (H, W) uint8 gray values of any size.

    Returns:
        32 hex digits: the signs of the 128 lowest DCT frequencies of a 32 x 32 copy, without the mean. Re-encoding and
        resizing change few bits. The fingerprint of a flat image is all zeros.

    >>> compute_fingerprint(np.zeros((40, 40), np.uint8))
    '00000000000000000000000000000000'
    """
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.packbits(cv2.dct(small)[_DOWN, _ACROSS] > 1e-3).tobytes().hex()


def hamming_distance(first: str, second: str) -> int:
    """Number of bits that differ between two fingerprints (32 hex digits each), 0..128.

    >>> hamming_distance("00000000000000ff", "000000000000000f")
    4
    """
    return (int(first, 16) ^ int(second, 16)).bit_count()
