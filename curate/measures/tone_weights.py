"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.3355
THRESHOLD = 2.1534
"""Log odds at which 0.35 % of the colourful colour photos that were learned from lie above."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1704, 0.4615, +0.8395),
    "ratio_p70_levels": (2.3580, 0.8401, +0.8076),
    "ratio_p90_levels": (2.8809, 0.9110, -0.2982),
    "detail_l": (3.0394, 0.3795, +0.6959),
    "all_chroma_ab": (2.5384, 0.6063, -0.6613),
    "all_curve_p90_ab": (1.8483, 0.8858, -3.1988),
    "all_major_ab": (1.9497, 0.6888, -1.6892),
    "all_bin_minor_ab": (0.8178, 0.5898, -1.9160),
    "all_smooth_kept_minor_ab": (0.6788, 0.4654, +1.4213),
    "all_smooth_kept_rms_ab": (1.1312, 0.6505, +3.5403),
    "all_smooth_p90_ab": (1.7046, 0.8248, +1.0655),
    "mid_major_ab": (1.8303, 0.7290, -0.8347),
    "mid_bin_minor_ab": (0.7516, 0.5664, -4.0499),
    "mid_smooth_kept_minor_ab": (0.6390, 0.4713, +0.0565),
    "mid_smooth_rms_ab": (1.2720, 0.7606, -1.5616),
    "mid_smooth_p98_ab": (1.9121, 0.9528, -2.4069),
    "core_chroma_ab": (2.5246, 0.6660, +1.3016),
    "core_across_p75_ab": (1.2084, 0.7339, +1.2502),
    "core_smooth_kept_minor_ab": (0.6007, 0.4494, +0.7487),
    "core_smooth_rms_ab": (1.1946, 0.7397, -0.9350),
    "tile_minor_ab": (0.3915, 0.3063, -1.2436),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_chroma_ab", "all_chroma_ab"): -0.6642,
    ("mid_smooth_p98_ab", "tile_minor_ab"): -2.2830,
    ("mid_smooth_p98_ab", "mid_smooth_p98_ab"): +1.8606,
    ("core_smooth_kept_minor_ab", "tile_minor_ab"): +2.0302,
    ("noise_ab", "all_curve_p90_ab"): -1.6151,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.1292,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -1.4865,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.6912,
}
"""Weights of products of two standardised features."""
