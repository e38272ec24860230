"""The lowest and highest values of measures, as arguments of `filter_manifest` and `explain_photo`."""

from __future__ import annotations

from typing import TypedDict


class Bounds(TypedDict, total=False):
    """Photos with a lower value than `min_...`, or a higher one than `max_...`, of this column are rejected.

    None keeps the preset's value; without a preset's value, that rule is off.
    """

    min_colorfulness: float | None
    max_colorfulness: float | None
    min_chroma_mean: float | None
    max_chroma_mean: float | None
    min_saturation_mean: float | None
    max_saturation_mean: float | None
    min_hue_entropy_bits: float | None
    max_hue_entropy_bits: float | None
    min_neutral_share: float | None
    max_neutral_share: float | None
    min_lightness_mean: float | None
    max_lightness_mean: float | None
    min_dark_clipped_share: float | None
    max_dark_clipped_share: float | None
    min_bright_clipped_share: float | None
    max_bright_clipped_share: float | None
    min_sharpness: float | None
    max_sharpness: float | None
    min_tone_score: float | None
    max_tone_score: float | None
    min_kind_score: float | None
    max_kind_score: float | None
    min_border_share: float | None
    max_border_share: float | None
    min_inside_colorfulness: float | None
    max_inside_colorfulness: float | None
    min_selective_color: float | None
    max_selective_color: float | None
    min_saturation_clipped_share: float | None
    max_saturation_clipped_share: float | None
    min_divider_count: float | None
    max_divider_count: float | None
    min_seam_share: float | None
    max_seam_share: float | None
    min_stroke_density: float | None
    max_stroke_density: float | None
    min_chroma_detail: float | None
    max_chroma_detail: float | None
