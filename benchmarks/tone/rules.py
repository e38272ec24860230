"""The three rules of the detector, on a whole table of measured pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from regression import Mask, Matrix

from curate.measures.tone.classify import (
    GRAY_CHROMA_MEAN,
    GRAY_CHROMA_P99,
    ONE_RATIO_BRIGHTNESS_SPREAD,
    ONE_RATIO_LEVELS,
    SEPIA_HUE_DEG,
)


def gray_rule(table: pd.DataFrame) -> Mask:
    """(n,) whether rule 1 says grayscale."""
    mean, high = table.all_chroma_ab, table.all_chroma_p99_ab
    return ((mean <= GRAY_CHROMA_MEAN) & (high <= GRAY_CHROMA_P99)).to_numpy()


def one_ratio_rule(table: pd.DataFrame) -> Mask:
    """(n,) whether all brightnesses have one ratio R : G : B."""
    even = table.ratio_p90_levels < ONE_RATIO_LEVELS
    return (even & (table.brightness_spread_levels >= ONE_RATIO_BRIGHTNESS_SPREAD)).to_numpy()


def verdicts(table: pd.DataFrame, scores: Matrix) -> NDArray[np.str_]:
    """(n,) verdicts of the whole rule for (n,) scores of a regression."""
    sepia = table.all_hue_deg.between(*SEPIA_HUE_DEG).to_numpy()
    toned = np.where(sepia, "sepia", "toned")
    return np.where(gray_rule(table), "grayscale", np.where((scores > 0) | one_ratio_rule(table), toned, "color"))
