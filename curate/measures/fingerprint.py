"""A perceptual hash, for finding near-duplicates.

Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), the DCT hash.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def fingerprint(luma: NDArray[np.uint8]) -> str:
    """The 64-bit DCT hash of a photo's brightness, as 16 hex digits.

    Args:
        luma: (H, W) uint8 gray values of any size.

    Returns:
        Hex text. Re-encoding and resizing flip few bits; the number of differing bits (0..64) is the distance.
        A flat image is all zeros.

    >>> fingerprint(np.zeros((40, 40), np.uint8))
    '0000000000000000'
    """
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[1:9, 1:9].ravel()
    low[np.abs(low) < 1e-3] = 0
    middle = np.sort(low)[31:33].mean()
    bits = low > middle
    return np.packbits(bits).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Bits that differ between two fingerprints, 0..64.

    >>> distance("00000000000000ff", "000000000000000f")
    4
    """
    return (int(one, 16) ^ int(other, 16)).bit_count()
