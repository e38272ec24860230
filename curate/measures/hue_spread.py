"""How widely the colors of a set of pictures are spread over the hues: sums of chroma by hue, entropy, and shares.

Loss and colorfulness don't show that a colorizer predicts only brown: brown has the lowest squared error, and it is
colorful. Its hues show it, beside those of the originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.measures.appearance import HUE_BINS

MIN_CHROMA = 1.0
"""Pixels with a smaller chroma are left out: their hue is noise of rounding to 8 bits."""
MAX_SIDE_PX = 128
"""Of larger pictures only every second, third, ... row and column is used, so that at most this many remain."""
HUE_RANGES = {"warm": (20, 110), "green": (110, 180), "blue": (180, 290), "magenta": (290, 20)}
"""Name and limits in degrees (the upper one excluded) of the ranges that `HueSpread` has shares of.

In CIELAB, skin, wood, earth, orange and yellow lie in `warm`, leaves in `green`, cyan, sky and water in `blue`, violet,
pink and bluish red in `magenta`. sRGB's red is at 40 degrees, yellow at 103, green at 136, cyan at 196, blue at 306 and
magenta at 328.
"""

Histogram = NDArray[np.float64]
"""(36,) float64: sum of the chroma of all pixels by hue, in bins of 10 degrees."""


@dataclass(frozen=True, slots=True)
class HueSpread:
    """How widely the colors of a set of pictures are spread over the hues. Without any color, all values are 0."""

    entropy_bits: float
    """Entropy of the chroma by hue, in bins of 10 degrees: 0 (one hue) to 5.17 (all hues alike)."""
    warm: float
    """Share of the chroma at hues of 20 to 110 degrees, 0 to 1: skin, wood, earth, brown, orange, yellow."""
    green: float
    """Share of the chroma at 110 to 180 degrees: leaves."""
    blue: float
    """Share of the chroma at 180 to 290 degrees: cyan, sky, water."""
    magenta: float
    """Share of the chroma at 290 to 20 degrees: violet, pink, bluish red."""


def hue_histogram(ab: NDArray[Any]) -> Histogram:
    """Sum the chroma of pixels by hue.

    Args:
        ab: (2, H, W) CIELAB a* and b* of one picture, or (N, 2, H, W) of several; any float dtype. Pixels with a NaN
            or an infinite value are left out.

    Returns:
        (36,) float64: sums of the chroma hypot(a*, b*) by hue atan2(b*, a*), in bins of 10 degrees. Histograms of
        several pictures can be added. Of pictures larger than 128 px, every second, third, ... row and column is used.

    >>> np.flatnonzero(hue_histogram(np.array([[[0.0, 30.0]], [[20.0, 0.5]]]))).tolist()  # yellow, red
    [0, 9]
    """
    step = -(-max(ab.shape[-2:]) // MAX_SIDE_PX)
    a, b = np.moveaxis(ab[..., ::step, ::step], -3, 0).astype(np.float32)
    chroma = np.hypot(a, b)
    counts = (chroma >= MIN_CHROMA) & np.isfinite(chroma)
    chroma = chroma[counts]
    bins = np.floor(np.arctan2(b[counts], a[counts]) * np.float32(HUE_BINS / (2 * np.pi))).astype(np.int64) % HUE_BINS
    return np.bincount(bins, weights=chroma, minlength=HUE_BINS).astype(np.float64)


def hue_spread(histogram: Histogram) -> HueSpread:
    """Return the hue spread of a set of pictures.

    Args:
        histogram: of `hue_histogram`, or the sum of several; colorful pictures then count for more.

    >>> hue_spread(np.eye(36)[3] + np.eye(36)[25])  # as much orange as sky
    HueSpread(entropy_bits=1.0, warm=0.5, green=0.0, blue=0.5, magenta=0.0)
    """
    chroma = float(histogram.sum())
    if not chroma:
        return HueSpread(0.0, 0.0, 0.0, 0.0, 0.0)
    shares = histogram / chroma
    present = shares[shares > 0]
    entropy = float(-(present * np.log2(present)).sum())
    return HueSpread(max(0.0, entropy), **{name: _share(shares, *limits) for name, limits in HUE_RANGES.items()})


def _share(shares: Histogram, first: int, end: int) -> float:
    """Sum of the shares from one hue to another, in degrees."""
    width = 360 // HUE_BINS
    bins = np.arange(first // width, (end if end > first else end + 360) // width) % HUE_BINS
    return float(shares[bins].sum())
