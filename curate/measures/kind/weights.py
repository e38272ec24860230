"""Weights of the regression that tells clear photos and graphics, and the limits between it and the network.

Written from the output of benchmarks/kind/train_kind.py (data: docs/results/kind.md).
"""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.9873

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "color_share": (2.6014, 0.9208, -0.0525),
    "color_entropy_bits": (1.9798, 0.4546, -0.6557),
    "top_color_share": (2.2867, 1.1241, -0.1726),
    "top_4_color_share": (3.0052, 0.9358, -0.0486),
    "flat_share": (2.8226, 0.8811, +0.3255),
    "near_flat_share": (3.4545, 0.6136, +0.2661),
    "soft_share": (3.1876, 0.7471, -0.0261),
    "edge_share": (2.3077, 0.6830, -0.3890),
    "luma_step_mean": (2.4538, 0.5283, +0.5811),
    "flat_color_share": (2.2028, 1.2990, -0.4651),
    "top_luma_share": (1.8882, 1.2021, +0.7348),
    "luma_levels_share": (4.2048, 0.5589, -1.2985),
    "white_share": (0.7649, 1.2948, -0.2643),
    "black_share": (0.3788, 0.8631, -0.2051),
    "border_spread": (3.3414, 1.2237, -0.4243),
    "chroma_mean": (2.5675, 0.9088, +0.6559),
    "saturation_mean": (3.1759, 0.9983, -0.4136),
    "hue_entropy_bits": (1.2491, 0.4222, +0.4193),
    "neutral_share": (3.0615, 1.2060, -0.1450),
    "lightness_mean": (3.8960, 0.4682, +0.1512),
    "dark_clipped_share": (0.4134, 0.8897, +0.4729),
    "bright_clipped_share": (0.7880, 1.2991, +0.6055),
    "sharpness": (7.7369, 1.1487, +0.9111),
}
"""For each input: mean and standard deviation of its logarithm over the training pictures, and its weight."""

NETWORK_RANGE = (-0.3, 0.0, 4.8, 5.1)
"""Log odds of the regression at which the network's share begins, is 1, is still 1, and ends."""

LARGE_NETWORK_RANGE = (0.6, 0.8)
"""Log odds of the network at 96 px at which the share of those at 224 px begins, and is 1."""

SMALL_NETWORK_LINE = (-1.4, 2.0)
"""Intercept and slope of the line that predicts the log odds at 224 px from those at 96 px, where these are below
LARGE_NETWORK_RANGE: least squares on the held-out pictures."""

NETWORK_THRESHOLD = 3.1
"""Log odds of the network at 224 px above which a picture is a graphic."""
