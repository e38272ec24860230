"""Weights of the regression that tells clear photos and graphics, and the limits between it and the network.

Written from the output of benchmarks/kind/train_network.py (data: docs/results/kind.md).
"""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -0.5827

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "color_share": (2.6066, 0.8781, +0.1709),
    "color_entropy_bits": (2.0255, 0.4089, -0.6125),
    "top_color_share": (2.1452, 1.0036, -0.2794),
    "top_4_color_share": (2.9193, 0.8362, +0.1358),
    "flat_share": (2.6900, 0.8093, +0.3068),
    "near_flat_share": (3.3836, 0.5777, +0.0460),
    "soft_share": (3.2977, 0.6876, -0.4063),
    "edge_share": (2.2865, 0.6489, +0.1008),
    "luma_step_mean": (2.4482, 0.5078, +0.2253),
    "flat_color_share": (2.0315, 1.1891, -0.3847),
    "top_luma_share": (1.6761, 1.0678, +0.7278),
    "luma_levels_share": (4.2399, 0.5456, -1.4117),
    "white_share": (0.6211, 1.1361, -0.3650),
    "black_share": (0.3221, 0.7685, -0.1548),
    "border_spread": (3.4682, 1.1117, -0.2451),
    "chroma_mean": (2.5282, 0.8657, +0.4200),
    "saturation_mean": (3.1504, 0.9566, -0.3343),
    "hue_entropy_bits": (1.2537, 0.4124, +0.0303),
    "neutral_share": (3.0364, 1.1868, -0.0901),
    "lightness_mean": (3.9081, 0.3925, +0.2590),
    "dark_clipped_share": (0.3213, 0.7703, +0.2496),
    "bright_clipped_share": (0.6085, 1.1254, +0.5316),
    "sharpness": (7.6840, 1.0866, +0.4433),
}
"""For each input: mean and standard deviation of its logarithm over the training pictures, and its weight."""

NETWORK_RANGE = (-1.15, -0.85, 3.35, 3.65)
"""Log odds of the regression at which the network's share begins, is 1, is still 1, and ends."""

NETWORK_THRESHOLD = 4.1
"""Log odds of the network above which a picture is a graphic: 1 % of the photos of held-out repositories exceed it."""
