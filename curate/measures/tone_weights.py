"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.1217
"""Less the threshold: 0.48 % of the colour photos with M >= 20 lie above it, judged by weights without their source."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1737, 0.4664, +0.4309),
    "ratio_p70_levels": (2.3682, 0.7917, +0.3326),
    "ratio_p90_levels": (2.8958, 0.8442, +0.0998),
    "flat_p75_ab": (1.2259, 0.6102, +2.5721),
    "flat_p75_levels": (1.5891, 0.7028, -1.3940),
    "strength_levels": (3.2356, 0.6185, -2.0798),
    "all_bin_minor_ab": (0.7605, 0.5555, -3.2564),
    "all_major_ab": (1.9245, 0.6543, -0.9471),
    "all_chroma_ab": (2.5972, 0.6002, +1.4477),
    "all_curve_p90_ab": (1.8278, 0.8072, -2.9562),
    "all_smooth_p90_ab": (1.6835, 0.7617, +4.7514),
    "mid_bin_minor_ab": (0.6799, 0.5210, -3.8442),
    "mid_major_ab": (1.7681, 0.6955, -1.4814),
    "mid_smooth_rms_ab": (1.2099, 0.7006, -3.9282),
    "mid_smooth_p98_ab": (1.8412, 0.8825, -0.0945),
    "core_chroma_ab": (2.5770, 0.6719, +0.5999),
    "core_smooth_rms_ab": (1.1307, 0.6835, -2.1688),
    "core_across_p75_ab": (1.1394, 0.6931, +1.0717),
    "core_smooth_kept_minor_ab": (0.5502, 0.4145, +4.0269),
    "tile_minor_ab": (0.3631, 0.2834, -0.3561),
    "local_p50_ab": (1.1425, 0.5342, +1.0515),
    "block_p75_ab": (1.4467, 0.7291, -1.7176),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_major_ab", "tile_minor_ab"): -0.4972,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.8269,
    ("noise_ab", "all_curve_p90_ab"): -2.3816,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -2.7565,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.3557,
    ("core_chroma_ab", "core_chroma_ab"): -0.1396,
    ("noise_ab", "all_major_ab"): +1.7501,
    ("all_chroma_ab", "all_curve_p90_ab"): +0.6155,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -0.6698,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.8921,
    ("all_chroma_ab", "all_chroma_ab"): -0.3434,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): +0.3640,
    ("ratio_p90_levels", "all_curve_p90_ab"): -1.2054,
    ("mid_major_ab", "mid_smooth_p98_ab"): -1.3280,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.3169,
}
"""Weights of products of two standardised features."""
