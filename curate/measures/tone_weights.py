"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -2.5055
"""Less the threshold, above which 0.45 % of the colour photos with M >= 20 lie, judged out of fold."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1704, 0.4615, +0.8464),
    "detail_p50_ab": (0.7724, 0.4490, +2.7287),
    "ratio_p70_levels": (2.3580, 0.8401, +0.7377),
    "ratio_p90_levels": (2.8809, 0.9110, -0.7367),
    "all_smooth_kept_minor_ab": (0.6788, 0.4654, +1.5564),
    "all_bin_minor_ab": (0.8178, 0.5898, -3.7964),
    "all_major_ab": (1.9497, 0.6888, -1.7203),
    "all_chroma_ab": (2.5384, 0.6063, -0.2665),
    "all_curve_p90_ab": (1.8483, 0.8858, -3.9071),
    "all_smooth_kept_rms_ab": (1.1312, 0.6505, +2.9127),
    "all_smooth_p90_ab": (1.7046, 0.8248, +1.3440),
    "mid_smooth_kept_minor_ab": (0.6390, 0.4713, +0.0226),
    "mid_bin_minor_ab": (0.7516, 0.5664, -3.2065),
    "mid_major_ab": (1.8303, 0.7290, -0.8273),
    "mid_smooth_rms_ab": (1.2720, 0.7606, -4.0982),
    "mid_smooth_p98_ab": (1.9121, 0.9528, -0.8187),
    "core_smooth_kept_minor_ab": (0.6007, 0.4494, +2.3515),
    "core_chroma_ab": (2.5246, 0.6660, +0.8096),
    "core_smooth_rms_ab": (1.1946, 0.7397, -2.1290),
    "core_across_p75_ab": (1.2084, 0.7339, +1.6849),
    "tile_minor_ab": (0.3915, 0.3063, -2.8761),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_chroma_ab", "all_chroma_ab"): -0.9636,
    ("mid_smooth_p98_ab", "tile_minor_ab"): -0.9427,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.9886,
    ("ratio_p90_levels", "all_smooth_p90_ab"): -1.3723,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.8147,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.8585,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -3.1091,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.6509,
    ("noise_ab", "all_curve_p90_ab"): -1.9750,
    ("detail_p50_ab", "core_chroma_ab"): -1.5996,
    ("all_chroma_ab", "tile_minor_ab"): +1.2574,
    ("ratio_p70_levels", "all_curve_p90_ab"): -0.7826,
    ("noise_ab", "all_major_ab"): +1.3996,
    ("noise_ab", "mid_smooth_rms_ab"): -2.0373,
    ("ratio_p70_levels", "core_chroma_ab"): +0.5067,
    ("noise_ab", "core_smooth_kept_minor_ab"): +1.4295,
}
"""Weights of products of two standardised features."""
