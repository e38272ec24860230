"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -1.5995
"""Less the threshold, above which 0.45 % of the colour photos with M >= 20 lie, judged out of fold."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1800, 0.4629, +0.6636),
    "detail_p50_ab": (0.7724, 0.4490, +2.1957),
    "ratio_p70_levels": (2.3580, 0.8401, +0.7565),
    "ratio_p90_levels": (2.8809, 0.9110, -0.2850),
    "all_smooth_kept_minor_ab": (0.6788, 0.4654, +1.3304),
    "all_bin_minor_ab": (0.8178, 0.5898, -4.4865),
    "all_major_ab": (1.9497, 0.6888, -1.7813),
    "all_chroma_ab": (2.5384, 0.6063, -0.4172),
    "all_curve_p90_ab": (1.8483, 0.8858, -3.8350),
    "all_smooth_kept_rms_ab": (1.1312, 0.6505, +2.3763),
    "all_smooth_p90_ab": (1.7046, 0.8248, +1.7226),
    "mid_smooth_kept_minor_ab": (0.6390, 0.4713, +0.8163),
    "mid_bin_minor_ab": (0.7516, 0.5664, -3.3013),
    "mid_major_ab": (1.8303, 0.7290, -1.1520),
    "mid_smooth_rms_ab": (1.2720, 0.7606, -3.7289),
    "mid_smooth_p98_ab": (1.9121, 0.9528, -0.5557),
    "core_smooth_kept_minor_ab": (0.6007, 0.4494, +2.0611),
    "core_chroma_ab": (2.5246, 0.6660, +0.8011),
    "core_smooth_rms_ab": (1.1946, 0.7397, -1.8951),
    "core_across_p75_ab": (1.2084, 0.7339, +1.5644),
    "tile_minor_ab": (0.3915, 0.3063, -2.1740),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_major_ab", "tile_minor_ab"): -0.8864,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.6393,
    ("noise_ab", "all_curve_p90_ab"): -2.3797,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -3.3706,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +2.3427,
    ("core_chroma_ab", "core_chroma_ab"): -0.1769,
    ("noise_ab", "all_major_ab"): +1.3289,
    ("mid_smooth_kept_minor_ab", "core_smooth_kept_minor_ab"): +2.2750,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.3834,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -0.7963,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.8476,
    ("all_chroma_ab", "all_chroma_ab"): -0.7214,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): -2.7926,
    ("ratio_p90_levels", "all_curve_p90_ab"): -1.5732,
    ("mid_major_ab", "mid_smooth_p98_ab"): -1.0715,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.5514,
}
"""Weights of products of two standardised features."""
