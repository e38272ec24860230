"""How much losses vary from step to step, and what can be told in spite of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.findings import WINDOW_STEPS

SURE = 3.8
"""Standard errors between a run that falls as little as that and one that doesn't fall."""
MOST_BLOCKS = 20
"""A pace is read from the means of so many blocks."""


def mean_ratio(ratios: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of those that are numbers; NaN if none is."""
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    return sum(known) / len(known) if known else math.nan


def window_means(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of whole windows, the last one ending at the last step: what their losses cost over what gray costs there.

    Dividing by the windows' own neutral loss takes out that some photos are harder than others: with batches of 16
    photos of all kinds, one step's loss varies by a third, and by an eighth when divided so.
    """
    count = len(ratios) // WINDOW_STEPS
    rest = len(ratios) - count * WINDOW_STEPS
    losses, grays = (values[rest:].reshape(count, WINDOW_STEPS).sum(axis=1) for values in (ratios, neutrals))
    means: NDArray[np.float64] = losses / np.maximum(grays, 1e-12)
    return means


def step_noise(ratios: NDArray[np.float64], neutrals: NDArray[np.float64], piece: int) -> tuple[float, float]:
    """Standard deviation of one step's loss around the level of its piece, over the mean, and how losses follow.

    The second is the share of a deviation that the next step's has, 0 to 0.99: losses that somebody smoothed before
    logging them follow each other. The first is what it was before that, as means are as uncertain as ever.
    """
    piece = min(piece, len(ratios))
    losses, grays = (values[len(values) % piece :].reshape(-1, piece) for values in (ratios, neutrals))
    left = losses - losses.sum(axis=1, keepdims=True) / np.maximum(grays.sum(axis=1, keepdims=True), 1e-12) * grays
    follows = float((left[:, 1:] * left[:, :-1]).sum()) / max(1e-24, float((left**2).sum()))
    follows = min(max(0.0, follows + (1 + 3 * follows) / piece), 0.99)  # short pieces show too little of it
    fresh = (left[:, 1:] - follows * left[:, :-1]) / (1 - follows)
    return float(np.sqrt((fresh**2).mean())) / max(1e-12, abs(float(losses.mean()))), follows


def steps_to_tell(noise: float, fall_per_step: float) -> int:
    """So many that such a fall is `SURE` standard errors of a straight line's slope."""
    steps: float = (SURE * math.sqrt(12) * noise / fall_per_step) ** (2 / 3)
    return math.ceil(steps)


def pace(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of a stretch, and by which part of it the loss falls along the stretch."""
    size = len(ratios) // MOST_BLOCKS
    losses, grays = (values[-size * MOST_BLOCKS :].reshape(-1, size).sum(axis=1) for values in (ratios, neutrals))
    means = losses / np.maximum(grays, 1e-12)
    slope = float(np.polyfit(np.arange(MOST_BLOCKS), means, 1, w=np.sqrt(grays))[0])
    level = float(losses.sum() / max(1e-12, grays.sum()))
    return level, -slope * MOST_BLOCKS / max(1e-12, abs(level))
