"""Weights of the tone regression, from benchmarks/tone/train_regression.py (data: docs/results/tone.md)."""

from __future__ import annotations

from collections.abc import Mapping

from curate.measures.names import NetworkSize

BIAS = -3.8011
"""Includes the threshold: by weights learned without their source, 0.45 % of color photos with M >= 20 exceed 0."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "all_bin_minor_ab": (0.9298, 0.6104, -2.4867),
    "all_chroma_ab": (2.6242, 0.5948, +0.0921),
    "all_curve_p90_ab": (2.0643, 0.8658, -2.7183),
    "all_major_ab": (2.0692, 0.6772, -1.7486),
    "all_smooth_p90_ab": (1.8918, 0.8078, +3.1098),
    "core_across_p75_ab": (1.3010, 0.7231, +1.3098),
    "core_chroma_ab": (2.6139, 0.6609, +0.4525),
    "core_smooth_kept_minor_ab": (0.6829, 0.4762, +3.1598),
    "core_smooth_rms_ab": (1.3440, 0.7541, -2.0399),
    "mid_bin_minor_ab": (0.8615, 0.5975, -3.8561),
    "mid_major_ab": (1.9447, 0.7315, -0.6009),
    "mid_smooth_p98_ab": (2.1114, 0.9473, -2.6652),
    "mid_smooth_rms_ab": (1.4308, 0.7678, -1.3152),
    "noise_ab": (1.3008, 0.4991, +1.2041),
    "ratio_p70_levels": (2.5261, 0.7925, +0.3634),
    "ratio_p90_levels": (3.0824, 0.8468, +0.2543),
}
"""For each feature: mean and standard deviation of log(1 + feature) over the training photos, and its weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"): +3.9281,
    ("noise_ab", "all_curve_p90_ab"): -1.5938,
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"): -2.7013,
    ("all_bin_minor_ab", "all_bin_minor_ab"): +1.8491,
    ("core_chroma_ab", "core_chroma_ab"): -0.2306,
    ("noise_ab", "all_major_ab"): +1.6575,
    ("all_chroma_ab", "all_curve_p90_ab"): +0.8386,
    ("ratio_p90_levels", "mid_smooth_p98_ab"): -0.5408,
    ("ratio_p90_levels", "ratio_p90_levels"): +0.6193,
    ("all_chroma_ab", "all_chroma_ab"): -0.3507,
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"): +0.0022,
    ("ratio_p90_levels", "all_curve_p90_ab"): -0.7956,
    ("mid_major_ab", "mid_smooth_p98_ab"): -2.1999,
    ("ratio_p70_levels", "core_across_p75_ab"): +0.3112,
}
"""Weights of products of two standardised features."""

NETWORK_RANGES: Mapping[NetworkSize, tuple[float, float, float, float]] = {
    "small": (-5.5, -4.0, 2.0, 5.0),
    "large": (-7.0, -5.5, 2.0, 5.0),
}
"""Log odds of the regression: between the middle two, the regression is in doubt and the networks' log odds are added.
Towards the outer two, their share falls linearly to 0."""

NETWORK_WEIGHT = 0.4
"""Factor of the small network's log odds; those of the pretrained network have the factor 1."""
