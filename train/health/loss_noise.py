"""How much losses vary from step to step, and what can be told in spite of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.health.findings import WINDOW_STEPS

BOUNCE_STEPS = (100, 70, 50, 35, 140, 200, 280, 400)
"""A loss that goes up and down does so in windows of one of these lengths, if they are no more than 1.2 times off."""
LEAST_BOUNCE = 0.12
"""Relative, between one window and the next."""
SURE_BOUNCE, SURE_MOVE = 6.5, 4.0
"""Standard errors of a window's mean between high and low windows, and between each and the next."""
MOST_FOLLOWS = 0.5
"""Shorter windows than 100 steps say nothing of losses that somebody smoothed."""
MOST_BLOCKS = 20
"""A pace is read from the means of so many blocks."""


def lost_stretches(ratios: Sequence[float] | NDArray[np.float64]) -> list[tuple[int, int]]:
    """(first, how many) of the losses in a row that are no numbers; losses count from 1.

    >>> lost_stretches([0.9, math.nan, math.inf, 0.8, math.nan])
    [(2, 2), (5, 1)]
    """
    lost = np.concatenate([[False], ~np.isfinite(np.asarray(ratios, np.float64)), [False]])
    first, after = np.flatnonzero(lost[1:] != lost[:-1]).reshape(-1, 2).T
    return [(int(start) + 1, int(end - start)) for start, end in zip(first, after, strict=True)]


def window_means(
    ratios: NDArray[np.float64], neutrals: NDArray[np.float64], steps: int = WINDOW_STEPS
) -> NDArray[np.float64]:
    """Of whole windows of so many steps, the last one ending at the last: what losses cost over what gray costs there.

    Dividing by the windows' own neutral loss takes out that some photos are harder than others: with batches of 16
    photos of all kinds, one step's loss varies by a third, and by an eighth when divided so.
    """
    count = len(ratios) // steps
    rest = len(ratios) - count * steps
    losses, grays = (values[rest:].reshape(count, steps).sum(axis=1) for values in (ratios, neutrals))
    means: NDArray[np.float64] = losses / np.maximum(grays, 1e-12)
    return means


def bounce(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]] | None:
    """Four windows whose means go up, down and up or down, up and down, by more than the noise explains.

    Windows of several lengths, and for each four places at the end: a window that holds a whole wave is flat.

    Returns:
        How many steps a window has, and the four means; None if there are none such.
    """
    for steps in BOUNCE_STEPS:
        for end in (len(ratios) - late * steps // 4 for late in range(4)):
            if end < 4 * steps:
                break
            last = slice(end - 4 * steps, end)
            means = window_means(ratios[last], neutrals[last], steps)
            if not _moves(means):
                continue
            noise, follows = step_noise(ratios[last], neutrals[last], steps)
            smoothed = follows > MOST_FOLLOWS and steps < WINDOW_STEPS
            if not smoothed and _is_sure(means, noise / math.sqrt(steps)):
                return steps, means
    return None


def _moves(means: NDArray[np.float64]) -> bool:
    """Up and down in turn, and far enough."""
    moves = np.diff(means)
    in_turn = (moves[1:] * moves[:-1]).max() < 0
    return bool(in_turn and np.abs(moves).min() >= LEAST_BOUNCE * means.mean())


def _is_sure(means: NDArray[np.float64], doubt: float) -> bool:
    """`doubt` is the standard error of a mean, relative."""
    high_from_low = abs(float(means[1::2].mean() - means[::2].mean()))
    smallest = float(np.abs(np.diff(means)).min())
    level = float(means.mean())
    return high_from_low >= SURE_BOUNCE * doubt * level and smallest >= SURE_MOVE * doubt * level


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


def steps_to_tell(noise: float, fall_per_step: float, sure: float) -> int:
    """So many that such a fall is `sure` standard errors of a straight line's slope."""
    steps: float = (sure * math.sqrt(12) * noise / fall_per_step) ** (2 / 3)
    return math.ceil(steps)


def standard_error_of_fall(noise: float, steps: int) -> float:
    """Standard error of the second number of `trend`, for so many steps."""
    return noise * math.sqrt(12 / steps)


def trend(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of a stretch, and by which part of it the loss falls along the stretch."""
    size = len(ratios) // MOST_BLOCKS
    losses, grays = (values[-size * MOST_BLOCKS :].reshape(-1, size).sum(axis=1) for values in (ratios, neutrals))
    means = losses / np.maximum(grays, 1e-12)
    slope = float(np.polyfit(np.arange(MOST_BLOCKS), means, 1, w=np.sqrt(grays))[0])
    level = float(losses.sum() / max(1e-12, grays.sum()))
    return level, -slope * MOST_BLOCKS / max(1e-12, abs(level))
