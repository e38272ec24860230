"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = -1.7846
"""Less the threshold, above which 0.45 % of the colour photos with M >= 20 lie, judged out of fold."""

FEATURES: Mapping[str, tuple[float, float, float]] = {
    "noise_ab": (1.1800, 0.4629, +0.8240),
    "ratio_p70_levels": (2.3580, 0.8401, +0.3042),
    "ratio_p90_levels": (2.8809, 0.9110, -0.5773),
    "local5_minor_p25_ab": (0.3164, 0.2218, -1.4615),
    "local5_minor_p50_ab": (0.4322, 0.2717, -2.1243),
    "local5_minor_p75_ab": (0.5613, 0.3426, -1.1598),
    "local5_minor_p90_ab": (0.6916, 0.4241, -1.6755),
    "local5_total_p50_ab": (0.9096, 0.4982, -0.0968),
    "mid_local5_minor_p25_ab": (0.3801, 0.2605, +1.1961),
    "mid_local5_minor_p50_ab": (0.4853, 0.3173, +1.7701),
    "local9_minor_p25_ab": (0.4407, 0.2887, +0.3515),
    "local9_minor_p50_ab": (0.5642, 0.3580, -1.1806),
    "local9_minor_p90_ab": (0.8394, 0.5352, -0.0515),
    "across_p75_ab": (1.3261, 0.7576, -0.9498),
    "minor_ab": (1.0432, 0.6316, +2.6100),
    "curve_rms_ab": (1.5427, 0.8209, -4.5481),
    "chroma_ab": (2.5384, 0.6063, -0.7583),
    "chroma_p99_ab": (3.2350, 0.6316, +0.6487),
    "curve_p50_ab": (1.1869, 0.7199, +1.0701),
    "curve_p75_ab": (1.5209, 0.8116, +1.0320),
    "curve_p90_ab": (1.8210, 0.8865, -1.9728),
    "smooth_minor_ab": (0.8009, 0.5614, -4.8589),
    "smooth_kept_minor_ab": (0.6214, 0.4333, +1.3290),
    "smooth_block_major_ab": (1.0902, 0.7276, +1.2518),
    "smooth_p90_ab": (1.6667, 0.8294, +1.1104),
    "smooth_block_p50_ab": (0.7426, 0.5510, -0.6915),
    "detail_all_minor_ab": (0.7444, 0.4699, +1.3585),
    "detail_p50_ab": (0.7723, 0.4490, +4.3399),
    "detail_p90_ab": (1.4282, 0.6876, -0.5113),
    "mid_across_p75_ab": (1.2385, 0.7562, +1.6197),
    "mid_major_ab": (1.8036, 0.7367, -1.5995),
    "mid_curve_minor_ab": (0.7712, 0.5731, -4.6862),
    "mid_curve_rms_ab": (1.3697, 0.8333, -3.0910),
    "mid_chroma_p50_ab": (2.4599, 0.7163, +1.0852),
    "mid_smooth_minor_ab": (0.7175, 0.5262, -1.1898),
    "mid_smooth_kept_minor_ab": (0.5928, 0.4386, +2.9174),
    "mid_smooth_block_major_ab": (0.8782, 0.7009, +3.8443),
    "mid_smooth_p97_ab": (1.8713, 0.9683, +0.0570),
    "mid_smooth_major_ab": (1.1966, 0.7574, -5.8143),
}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {
    ("local5_minor_p75_ab", "smooth_block_major_ab"): -1.6912,
    ("smooth_minor_ab", "smooth_block_major_ab"): +1.3496,
    ("detail_all_minor_ab", "mid_chroma_p50_ab"): -1.8371,
    ("mid_smooth_p97_ab", "mid_smooth_p97_ab"): +1.5451,
    ("chroma_ab", "smooth_minor_ab"): +2.4322,
    ("noise_ab", "smooth_p90_ab"): -1.5827,
    ("local5_minor_p25_ab", "mid_local5_minor_p25_ab"): +1.3482,
    ("chroma_ab", "chroma_ab"): -0.7571,
    ("ratio_p90_levels", "chroma_ab"): +0.9432,
    ("mid_local5_minor_p50_ab", "mid_smooth_major_ab"): -2.0026,
    ("minor_ab", "mid_across_p75_ab"): -0.9897,
    ("across_p75_ab", "smooth_block_p50_ab"): +0.6512,
    ("curve_p75_ab", "detail_p90_ab"): -3.4395,
    ("curve_rms_ab", "curve_rms_ab"): +2.6158,
    ("smooth_p90_ab", "smooth_block_p50_ab"): +3.3655,
    ("curve_rms_ab", "smooth_block_p50_ab"): -2.6771,
}
"""Weights of products of two standardised features."""
