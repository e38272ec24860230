"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.4132
THRESHOLD = 1.8661
"""Log odds at which 0.4 % of the colourful colour photos that were learned from lie above."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1699, 0.4609, +0.8253),
    "ratio_p70_levels": (2.3788, 0.8400, +0.7691),
    "ratio_p90_levels": (2.9092, 0.9006, -0.3040),
    "detail_l": (3.0388, 0.3796, +0.7308),
    "all_chroma_ab": (2.5381, 0.6060, -0.6244),
    "all_curve_p90_ab": (1.8477, 0.8857, -3.1472),
    "all_major_ab": (1.9490, 0.6886, -1.6635),
    "all_bin_minor_ab": (0.8172, 0.5894, -1.7855),
    "all_smooth_kept_minor_ab": (0.6783, 0.4650, +1.3109),
    "all_smooth_kept_rms_ab": (1.1308, 0.6503, +3.4772),
    "all_smooth_p90_ab": (1.7040, 0.8246, +1.0872),
    "mid_major_ab": (1.8297, 0.7288, -0.8057),
    "mid_bin_minor_ab": (0.7510, 0.5660, -4.0537),
    "mid_smooth_kept_minor_ab": (0.6386, 0.4710, +0.1847),
    "mid_smooth_rms_ab": (1.2716, 0.7603, -1.5787),
    "mid_smooth_p98_ab": (1.9115, 0.9526, -2.4712),
    "core_chroma_ab": (2.5244, 0.6656, +1.2849),
    "core_across_p75_ab": (1.2077, 0.7337, +1.2181),
    "core_smooth_kept_minor_ab": (0.6003, 0.4490, +0.7425),
    "core_smooth_rms_ab": (1.1941, 0.7394, -0.9066),
    "tile_minor_ab": (0.3910, 0.3057, -1.3079),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_chroma_ab", "all_chroma_ab"): -0.6588,
    ("mid_smooth_p98_ab", "tile_minor_ab"): -2.4071,
    ("mid_smooth_p98_ab", "mid_smooth_p98_ab"): +1.8665,
    ("core_smooth_kept_minor_ab", "tile_minor_ab"): +2.0541,
    ("noise_ab", "all_curve_p90_ab"): -1.5703,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.1196,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -1.4066,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.6100,
}
"""Weights of products of two standardised features."""
