"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -0.3780
"""Less the threshold: 0.45 % of the colour photos with M >= 20 lie above it, judged by weights without their source."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1573, 0.4480, +0.4671),
    "ratio_p70_levels": (2.3193, 0.8059, +0.7545),
    "ratio_p90_levels": (2.8308, 0.8611, -0.5018),
    "all_bin_minor_ab": (0.7654, 0.5456, -3.3283),
    "all_major_ab": (1.9127, 0.6562, -1.5353),
    "all_chroma_ab": (2.5207, 0.5806, -0.3099),
    "all_curve_p90_ab": (1.8199, 0.7999, -3.0329),
    "all_smooth_p90_ab": (1.6861, 0.7564, +5.6831),
    "mid_bin_minor_ab": (0.6714, 0.5061, -3.9256),
    "mid_major_ab": (1.7316, 0.6991, -1.9774),
    "mid_smooth_rms_ab": (1.1917, 0.6990, -2.8073),
    "mid_smooth_p98_ab": (1.8176, 0.8861, -0.6110),
    "core_chroma_ab": (2.4912, 0.6622, +0.8118),
    "core_smooth_rms_ab": (1.1095, 0.6804, -2.7159),
    "core_across_p75_ab": (1.1332, 0.6972, +1.6147),
    "core_smooth_kept_minor_ab": (0.5406, 0.4049, +4.0580),
    "tile_minor_ab": (0.3614, 0.2747, -0.8303),
    "local_p50_ab": (1.1218, 0.5238, +1.6416),
    "block_p75_ab": (1.4536, 0.7273, -1.6722),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_major_ab", "tile_minor_ab"): -1.3618,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +4.2895,
    ("noise_ab", "all_curve_p90_ab"): -2.1745,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -2.7015,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.8641,
    ("core_chroma_ab", "core_chroma_ab"): -0.1231,
    ("noise_ab", "all_major_ab"): +1.6545,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.2573,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -1.0376,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.9452,
    ("all_chroma_ab", "all_chroma_ab"): -0.6488,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): +0.2788,
    ("ratio_p90_levels", "all_curve_p90_ab"): -1.1834,
    ("mid_major_ab", "mid_smooth_p98_ab"): -1.8912,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.4684,
}
"""Weights of products of two standardised features."""
