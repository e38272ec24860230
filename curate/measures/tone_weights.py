"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.4277
"""Less the threshold: 0.45 % of the colour photos with M >= 20 lie above it, judged by weights without their source."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1519, 0.4522, +0.3520),
    "ratio_p70_levels": (2.3493, 0.7883, +0.3050),
    "ratio_p90_levels": (2.8740, 0.8397, +0.1371),
    "flat_p75_ab": (1.2031, 0.5944, +2.2636),
    "flat_p75_levels": (1.5630, 0.6862, -1.0690),
    "strength_levels": (3.2309, 0.6205, -1.6811),
    "all_bin_minor_ab": (0.7347, 0.5394, -2.9560),
    "all_major_ab": (1.9058, 0.6488, -0.8238),
    "all_chroma_ab": (2.5977, 0.6028, +1.0002),
    "all_curve_p90_ab": (1.7932, 0.7906, -2.9406),
    "all_smooth_p90_ab": (1.6517, 0.7460, +4.8957),
    "mid_bin_minor_ab": (0.6527, 0.4997, -4.2204),
    "mid_major_ab": (1.7440, 0.6865, -1.7206),
    "mid_smooth_rms_ab": (1.1777, 0.6821, -3.9021),
    "mid_smooth_p98_ab": (1.8026, 0.8632, +0.3706),
    "core_chroma_ab": (2.5733, 0.6754, +0.7456),
    "core_smooth_rms_ab": (1.0988, 0.6637, -2.5240),
    "core_across_p75_ab": (1.1149, 0.6805, +1.3286),
    "core_smooth_kept_minor_ab": (0.5294, 0.3971, +4.2028),
    "tile_minor_ab": (0.3509, 0.2720, -0.6927),
    "local_p50_ab": (1.1240, 0.5247, +1.1604),
    "block_p75_ab": (1.4168, 0.7155, -1.8548),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_major_ab", "tile_minor_ab"): -1.1219,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.4554,
    ("noise_ab", "all_curve_p90_ab"): -2.0964,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -2.5019,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.4615,
    ("core_chroma_ab", "core_chroma_ab"): -0.1667,
    ("noise_ab", "all_major_ab"): +1.6260,
    ("all_chroma_ab", "all_curve_p90_ab"): +0.8152,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -0.7841,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.8458,
    ("all_chroma_ab", "all_chroma_ab"): -0.4074,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): +0.5385,
    ("ratio_p90_levels", "all_curve_p90_ab"): -1.1942,
    ("mid_major_ab", "mid_smooth_p98_ab"): -1.1580,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.3724,
}
"""Weights of products of two standardised features."""
