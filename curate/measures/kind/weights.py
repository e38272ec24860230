"""Weights of the regression that tells clear photos and graphics, and the limits between it and the network.

Written from the output of benchmarks/kind/train_kind.py (data: docs/results/kind.md).
"""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 1.1158

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "color_share": (2.6483, 0.8547, +0.3275),
    "color_entropy_bits": (2.0024, 0.4207, -0.6157),
    "top_color_share": (2.2632, 1.1073, -0.1416),
    "top_4_color_share": (2.9825, 0.9269, +0.1762),
    "flat_share": (2.7951, 0.8772, +0.2590),
    "near_flat_share": (3.4352, 0.6166, +0.3170),
    "soft_share": (3.2270, 0.7030, -0.1468),
    "edge_share": (2.2869, 0.6889, -0.0289),
    "luma_step_mean": (2.4451, 0.5292, +0.3960),
    "flat_color_share": (2.1508, 1.2972, -0.4573),
    "top_luma_share": (1.8591, 1.1663, +0.3826),
    "luma_levels_share": (4.2164, 0.5217, -1.3225),
    "white_share": (0.7919, 1.3132, -0.1366),
    "black_share": (0.3699, 0.8375, -0.3337),
    "border_spread": (3.3347, 1.1831, -0.2262),
    "chroma_mean": (2.6436, 0.8141, +0.4483),
    "saturation_mean": (3.2614, 0.8761, -0.2068),
    "hue_entropy_bits": (1.2669, 0.3816, +0.4833),
    "neutral_share": (2.9546, 1.2231, -0.1116),
    "lightness_mean": (3.9057, 0.4465, -0.0692),
    "dark_clipped_share": (0.3941, 0.8420, +0.6541),
    "bright_clipped_share": (0.8028, 1.3086, +0.5752),
    "sharpness": (7.7274, 1.1591, +0.6328),
}
"""For each input: mean and standard deviation of its logarithm over the training pictures, and its weight."""

NETWORK_RANGE = (0.5, 0.8, 4.8, 5.1)
"""Log odds of the regression at which the network's share begins, is 1, is still 1, and ends."""

NETWORK_THRESHOLD = 4.6
"""Log odds of the network above which a picture is a graphic: 0.3 % of the photos that were held out exceed it."""
