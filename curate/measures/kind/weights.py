"""Weights of the regression that tells clear photos and graphics, and the limits between it and the network.

Written from the output of benchmarks/kind/train_kind.py (data: docs/results/kind.md).
"""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.9439

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "color_share": (2.6067, 0.9187, -0.0520),
    "color_entropy_bits": (1.9823, 0.4532, -0.6685),
    "top_color_share": (2.2796, 1.1224, -0.2018),
    "top_4_color_share": (2.9996, 0.9345, -0.0292),
    "flat_share": (2.8190, 0.8789, +0.3186),
    "near_flat_share": (3.4528, 0.6122, +0.2655),
    "soft_share": (3.1913, 0.7445, -0.0534),
    "edge_share": (2.3078, 0.6815, -0.3912),
    "luma_step_mean": (2.4540, 0.5269, +0.5808),
    "flat_color_share": (2.1956, 1.2933, -0.4750),
    "top_luma_share": (1.8801, 1.1997, +0.7286),
    "luma_levels_share": (4.2068, 0.5566, -1.3067),
    "white_share": (0.9570, 1.4819, -0.0737),
    "black_share": (0.3773, 0.8582, -0.2361),
    "border_spread": (3.3598, 1.2228, -0.4080),
    "chroma_mean": (2.5704, 0.9058, +0.6488),
    "saturation_mean": (3.1801, 0.9949, -0.4124),
    "hue_entropy_bits": (1.2508, 0.4208, +0.4116),
    "neutral_share": (3.0589, 1.2040, -0.1477),
    "lightness_mean": (3.8948, 0.4673, +0.1369),
    "dark_clipped_share": (0.4116, 0.8871, +0.4874),
    "bright_clipped_share": (0.7825, 1.2944, +0.4126),
    "sharpness": (7.7359, 1.1450, +0.9116),
}
"""For each input: mean and standard deviation of its logarithm over the training pictures, and its weight."""

NETWORK_RANGE = (-0.3, 0.0, 4.8, 5.1)
"""Log odds of the regression at which the network's share begins, is 1, is still 1, and ends."""

LARGE_NETWORK_RANGE = (0.7, 1.1)
"""Log odds of the network at 96 px at which the share of those at 224 px begins, and is 1."""

NETWORK_THRESHOLD = 2.5
"""Log odds of the network at 224 px above which a picture is a graphic."""
