"""Weights of the tone regression, written by benchmarks/tone/train.py (data: docs/results/tone.md)."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -0.6466
"""Includes the threshold: by weights learned without their source, 0.45 % of color photos with M >= 20 exceed 0."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1857, 0.4733, +0.2649),
    "ratio_p70_levels": (2.3803, 0.7928, +0.5310),
    "ratio_p90_levels": (2.9100, 0.8459, +0.0038),
    "flat_p75_ab": (1.2396, 0.6178, +2.5392),
    "flat_p75_levels": (1.6050, 0.7111, -1.3826),
    "strength_levels": (3.2407, 0.6165, -2.0110),
    "all_bin_minor_ab": (0.7753, 0.5650, -3.0433),
    "all_major_ab": (1.9364, 0.6564, -1.3076),
    "all_chroma_ab": (2.5998, 0.5979, +1.4580),
    "all_curve_p90_ab": (1.8476, 0.8155, -3.1164),
    "all_smooth_p90_ab": (1.7015, 0.7689, +4.6559),
    "mid_bin_minor_ab": (0.6952, 0.5330, -3.7574),
    "mid_major_ab": (1.7823, 0.6996, -1.0429),
    "mid_smooth_rms_ab": (1.2280, 0.7100, -3.4347),
    "mid_smooth_p98_ab": (1.8631, 0.8924, -0.3291),
    "core_chroma_ab": (2.5806, 0.6692, +0.3605),
    "core_smooth_rms_ab": (1.1484, 0.6933, -2.2195),
    "core_across_p75_ab": (1.1529, 0.6988, +1.0499),
    "core_smooth_kept_minor_ab": (0.5615, 0.4237, +3.9793),
    "tile_minor_ab": (0.3705, 0.2896, -0.6136),
    "local_p50_ab": (1.1531, 0.5383, +1.2061),
    "block_p75_ab": (1.4637, 0.7356, -1.5949),
}
"""For each feature: mean and standard deviation of log(1 + feature) over the training photos, and its weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("all_major_ab", "tile_minor_ab"): -0.4987,
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.7035,
    ("noise_ab", "all_curve_p90_ab"): -2.2810,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -2.6614,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.4959,
    ("core_chroma_ab", "core_chroma_ab"): -0.1261,
    ("noise_ab", "all_major_ab"): +1.7951,
    ("all_chroma_ab", "all_curve_p90_ab"): +0.5941,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -0.8624,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.8832,
    ("all_chroma_ab", "all_chroma_ab"): -0.3447,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): +0.3652,
    ("ratio_p90_levels", "all_curve_p90_ab"): -1.0580,
    ("mid_major_ab", "mid_smooth_p98_ab"): -1.2502,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.2643,
}
"""Weights of products of two standardised features."""

NETWORK_RANGE = (-5.0, -3.5, 2.5, 4.0)
"""Log odds of the regression: between the middle two, the regression is in doubt and the score is the combined one.
Towards the outer two, the score changes linearly to that of the regression alone."""

COMBINED_WEIGHTS = (-0.5419, 0.7791, 0.3322)
"""The combined score is the first number, plus the second times the regression's log odds, plus the third times the
network's."""
