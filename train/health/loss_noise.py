"""How much losses vary from step to step, and which changes of a loss curve exceed that noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.health.findings import WINDOW_STEPS

Floats = NDArray[np.float64]

WAVE_WINDOWS_STEPS = (100, 70, 50, 35, 140, 200, 280, 400)
"""Window lengths to search waves with: a wave is found if its half period is within a factor of 1.2 of one."""
MIN_MOVE = 0.12
"""Smallest change from one window's mean to the next, relative to the mean of all."""
MIN_LEVEL_GAP_SE = 6.5
"""Smallest gap between high and low windows, in standard errors of a window's mean."""
MIN_MOVE_SE = 4.0
"""Smallest change from one window to the next, in standard errors of a window's mean."""
MAX_AUTOCORRELATION = 0.5
"""Losses that follow each other more were smoothed before logging: windows under 100 steps are not trusted then."""
TREND_BLOCKS = 20
"""A trend is fitted to the means of this many blocks, which suffices for a line and costs little."""


def nonfinite_stretches(ratios: Sequence[float] | Floats) -> list[tuple[int, int]]:
    """Return (first, count) of each stretch of successive losses that are NaN or infinite; losses count from 1.

    >>> nonfinite_stretches([0.9, math.nan, math.inf, 0.8, math.nan])
    [(2, 2), (5, 1)]
    """
    nonfinite = np.concatenate([[False], ~np.isfinite(np.asarray(ratios, np.float64)), [False]])
    first, end = np.flatnonzero(nonfinite[1:] != nonfinite[:-1]).reshape(-1, 2).T
    return [(int(start) + 1, int(stop - start)) for start, stop in zip(first, end, strict=True)]


def window_means(ratios: Floats, neutrals: Floats, steps: int = WINDOW_STEPS) -> Floats:
    """Return loss ÷ gray's loss of successive windows of `steps` steps; the last window ends at the last step.

    The sums of a window are divided, not the single steps. Dividing by the window's own neutral loss removes most of
    the differences between photos: with mixed batches of 16, one step's loss varies by a third, and divided by the
    loss of gray on the same photos by an eighth.

    Args:
        ratios: (N,) losses; 0 where the loss isn't finite.
        neutrals: (N,) losses of predicting gray on the same photos, 1 where unknown; 0 where the loss isn't finite.
        steps: length of a window.

    Returns:
        (N // steps,) means.
    """
    count = len(ratios) // steps
    rest = len(ratios) - count * steps
    losses, grays = (values[rest:].reshape(count, steps).sum(axis=1) for values in (ratios, neutrals))
    means: Floats = losses / np.maximum(grays, 1e-12)
    return means


def find_oscillation(ratios: Floats, neutrals: Floats) -> tuple[int, Floats] | None:
    """Find four successive windows near the end whose means alternate by more than the noise explains.

    Several window lengths are tried, because a window that holds a whole period of a wave has a flat mean; and four
    positions of each, because windows that begin in the middle of a half-wave show only part of it.

    Args:
        ratios: as `window_means` takes them.
        neutrals: likewise.

    Returns:
        Steps per window and the four means; None if there is no oscillation.
    """
    for steps in WAVE_WINDOWS_STEPS:
        for end in (len(ratios) - quarter * steps // 4 for quarter in range(4)):
            if end < 4 * steps:
                break
            last = slice(end - 4 * steps, end)
            means = window_means(ratios[last], neutrals[last], steps)
            if not _alternates(means):
                continue
            noise, autocorrelation = step_noise(ratios[last], neutrals[last], steps)
            was_smoothed = autocorrelation > MAX_AUTOCORRELATION and steps < WINDOW_STEPS
            if not was_smoothed and _exceeds_noise(means, noise / math.sqrt(steps)):
                return steps, means
    return None


def _alternates(means: Floats) -> bool:
    first, second, third, last = means.tolist()  # for four numbers Python is faster than NumPy
    moves = (second - first, third - second, last - third)
    changes_sign = moves[0] * moves[1] < 0 and moves[1] * moves[2] < 0
    return bool(changes_sign and min(map(abs, moves)) >= MIN_MOVE * (first + second + third + last) / 4)


def _exceeds_noise(means: Floats, standard_error: float) -> bool:
    """Whether the means alternate significantly, given the relative standard error of each."""
    level_gap = abs(float(means[1::2].mean() - means[::2].mean()))
    smallest_move = float(np.abs(np.diff(means)).min())
    unit = standard_error * float(means.mean())
    return level_gap >= MIN_LEVEL_GAP_SE * unit and smallest_move >= MIN_MOVE_SE * unit


def step_noise(ratios: Floats, neutrals: Floats, piece: int) -> tuple[float, float]:
    """Estimate the noise of one step's loss, and the autocorrelation of successive losses.

    Losses that were smoothed before logging (with an exponential moving average, say) have less noise but a high
    autocorrelation. Their means are no more certain than those of the original losses, so the noise before smoothing
    is estimated: for x[t] = a·x[t−1] + (1 − a)·e[t], the noise is the standard deviation of e.

    Args:
        ratios: as `window_means` takes them.
        neutrals: likewise.
        piece: number of steps within which the level of the loss is taken as constant.

    Returns:
        Standard deviation of one step's loss ÷ mean loss; autocorrelation at lag 1, from 0 to 0.99.
    """
    piece = min(piece, len(ratios))
    losses, grays = (values[len(values) % piece :].reshape(-1, piece) for values in (ratios, neutrals))
    level = losses.sum(axis=1, keepdims=True) / np.maximum(grays.sum(axis=1, keepdims=True), 1e-12)
    residuals = losses - level * grays
    autocorrelation = float((residuals[:, 1:] * residuals[:, :-1]).sum()) / max(1e-24, float((residuals**2).sum()))
    # The level is estimated from the same piece, which makes the estimate too low by (1 + 3a) / length on average.
    autocorrelation = min(max(0.0, autocorrelation + (1 + 3 * autocorrelation) / piece), 0.99)
    unsmoothed = (residuals[:, 1:] - autocorrelation * residuals[:, :-1]) / (1 - autocorrelation)
    return float(np.sqrt((unsmoothed**2).mean())) / max(1e-12, abs(float(losses.mean()))), autocorrelation


def steps_to_detect(noise: float, fall_per_step: float, significance: float) -> int:
    """Return how many steps it takes to detect a fall, from the standard error of a straight line's slope.

    The slope of a line through n points with this noise has the standard error noise · √(12 / n³).

    Args:
        noise: relative standard deviation of one step's loss.
        fall_per_step: relative fall of the loss per step.
        significance: standard errors that the fall must exceed.
    """
    steps: float = (significance * math.sqrt(12) * noise / fall_per_step) ** (2 / 3)
    return math.ceil(steps)


def standard_error_of_fall(noise: float, steps: int) -> float:
    """Return the standard error of the fall that `trend` returns, for this many steps."""
    return noise * math.sqrt(12 / steps)


def trend(ratios: Floats, neutrals: Floats) -> tuple[float, float]:
    """Fit a line to a stretch of losses.

    Args:
        ratios: as `window_means` takes them, at least `TREND_BLOCKS`.
        neutrals: likewise.

    Returns:
        Mean of the stretch; its fall from start to end, as a share of the mean (negative if the loss rises).
    """
    size = len(ratios) // TREND_BLOCKS
    losses, grays = (values[-size * TREND_BLOCKS :].reshape(-1, size).sum(axis=1) for values in (ratios, neutrals))
    means = losses / np.maximum(grays, 1e-12)
    # The variance of a block's ratio is about proportional to 1 / grays, so this weights by the inverse variance.
    slope = float(np.polyfit(np.arange(TREND_BLOCKS), means, 1, w=np.sqrt(grays))[0])
    mean = float(losses.sum() / max(1e-12, grays.sum()))
    return mean, -slope * TREND_BLOCKS / max(1e-12, abs(mean))
