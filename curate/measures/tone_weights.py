"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = 0.3331
THRESHOLD = 2.1136
"""Log odds at which 0.35 % of the colourful colour photos that were learned from lie above."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1699, 0.4609, +0.8357),
    "detail_l": (3.0388, 0.3796, +0.6950),
    "ratio_p70_levels": (2.3572, 0.8398, +0.8121),
    "ratio_p90_levels": (2.8801, 0.9105, -0.3115),
    "all_smooth_kept_minor_ab": (0.6783, 0.4650, +1.3725),
    "all_chroma_ab": (2.5381, 0.6060, -0.6843),
    "all_curve_p90_ab": (1.8477, 0.8857, -3.1129),
    "all_major_ab": (1.9490, 0.6886, -1.6670),
    "all_bin_minor_ab": (0.8172, 0.5894, -1.9051),
    "all_smooth_kept_rms_ab": (1.1308, 0.6503, +3.5607),
    "all_smooth_p90_ab": (1.7040, 0.8246, +0.9641),
    "mid_smooth_kept_minor_ab": (0.6386, 0.4710, +0.0970),
    "mid_major_ab": (1.8297, 0.7288, -0.8284),
    "mid_bin_minor_ab": (0.7510, 0.5660, -4.0678),
    "mid_smooth_rms_ab": (1.2716, 0.7603, -1.6126),
    "mid_smooth_p98_ab": (1.9115, 0.9526, -2.3465),
    "core_smooth_kept_minor_ab": (0.6003, 0.4490, +0.7755),
    "core_chroma_ab": (2.5244, 0.6656, +1.3108),
    "core_across_p75_ab": (1.2077, 0.7337, +1.2294),
    "core_smooth_rms_ab": (1.1941, 0.7394, -0.9191),
    "tile_minor_ab": (0.3910, 0.3057, -1.2224),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_chroma_ab", "all_chroma_ab"): -0.6522,
    ("mid_smooth_p98_ab", "tile_minor_ab"): -2.2417,
    ("mid_smooth_p98_ab", "mid_smooth_p98_ab"): +1.8613,
    ("core_smooth_kept_minor_ab", "tile_minor_ab"): +1.9962,
    ("noise_ab", "all_curve_p90_ab"): -1.6117,
    ("all_chroma_ab", "all_curve_p90_ab"): +1.0985,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -1.4754,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.6856,
}
"""Weights of products of two standardised features."""
