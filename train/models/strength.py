"""The strength of predicted colors: a factor for their chroma, and how the automatic one is found.

A network that minimizes a squared error predicts paler colors than the photos have, because it averages over the colors
that a thing can have. A factor above 1 makes up for that, and costs some loss.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from curate.errors import CheckpointError, UsageError
from curate.measures.colorfulness import colorfulness
from train.models.colorspace import join_lab

Strength = float | Literal["auto"]
"""A factor for the chroma, or `auto`: the factor that a validation measured."""
MAX_STRENGTH = 4.0
MAX_AUTO_STRENGTH = 2.0
"""Larger factors also enlarge mistakes so much that pictures look wrong before they look colorful."""
TOLERANCE = 0.002
"""Largest relative error of the mean colorfulness."""
BATCH_PICTURES = 16
MAX_PHOTOS = 256
MAX_SIDE_PX = 128


def check_strength(strength: float) -> float:
    """Return a strength that was given as a number.

    Raises:
        UsageError: it is not 0 to 4.
    """
    if not 0 <= strength <= MAX_STRENGTH:
        raise UsageError(f"strength {strength} is out of range: give 0 to {MAX_STRENGTH:g}, or auto")
    return float(strength)


def resolve_strength(strength: Strength, automatic: float | None, checkpoint: Path) -> float:
    """Return the factor for a strength: the number itself, or the checkpoint's own for `auto`.

    Args:
        strength: a number, or `auto`.
        automatic: the checkpoint's automatic strength; None if it has none.
        checkpoint: its path, for the message.

    Raises:
        UsageError: the number is not 0 to 4.
        CheckpointError: the checkpoint has no automatic strength.
    """
    if strength != "auto":
        return check_strength(strength)
    if automatic is None:
        raise CheckpointError(
            f"{checkpoint} has no automatic strength (only weights that were validated have one, and older versions "
            "didn't record it): give a number, such as the one that `train evaluate` prints for this checkpoint"
        )
    return automatic


class StrengthSamples:
    """Predictions on which the automatic strength is measured, in at most 128 × 128 px each."""

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._originals: list[float] = []

    def add(self, lightness: Tensor, ab: Tensor, rgb: Tensor) -> None:
        """Add some photos. Of large ones, only every second, third, ... row and column is used.

        Args:
            lightness: (N, 1, H, W), as from `split_lab`.
            ab: (N, 2, H, W) predicted ab/50.
            rgb: (N, H, W, 3) uint8 sRGB, the originals.
        """
        step = -(-max(ab.shape[-2:]) // MAX_SIDE_PX)
        self._inputs.append(lightness[..., ::step, ::step])
        self._outputs.append(ab[..., ::step, ::step])
        self._originals += map(colorfulness, np.ascontiguousarray(rgb[:, ::step, ::step].cpu().numpy()))

    def automatic_strength(self) -> float | None:
        """Return the strength that makes the predictions as colorful as the originals; see `match_colorfulness`."""
        return match_colorfulness(torch.cat(self._inputs), torch.cat(self._outputs), fmean(self._originals))


def match_colorfulness(lightness: Tensor, ab: Tensor, target: float) -> float | None:
    """Return the strength that brings the mean colorfulness of pictures to a target.

    Colors outside sRGB are clipped, so colorfulness is not proportional to the strength; it is found by false position.

    Args:
        lightness: (N, 1, H, W), as from `split_lab`.
        ab: (N, 2, H, W) predicted ab/50.
        target: mean colorfulness of the originals, 0 to about 298.

    Returns:
        0 to 2, rounded to 0.001; 2 if even that is too pale. None if a prediction is NaN or infinite.
    """
    if not bool(ab.isfinite().all()):
        return None
    low, high, error_low = 0.0, MAX_AUTO_STRENGTH, -target
    error_high = _mean_colorfulness(lightness, ab * high) - target
    if error_high <= 0:
        return MAX_AUTO_STRENGTH
    strength = low
    while high - low > 1e-3:
        share = error_low / (error_low - error_high)
        strength = low + (high - low) * min(max(share, 0.05), 0.95)  # never stuck at one end
        error = _mean_colorfulness(lightness, ab * strength) - target
        if abs(error) <= TOLERANCE * target:
            break
        if error < 0:
            low, error_low = strength, error
        else:
            high, error_high = strength, error
    return round(strength, 3)


def loss_at(strength: float, loss: float, neutral: float, energy: float) -> float:
    """Return the weighted squared error of predictions that are multiplied by a strength; it is quadratic in it.

    Args:
        strength: the factor.
        loss: mean of w · (p − t)², of the predictions p for the targets t.
        neutral: mean of w · t².
        energy: mean of w · p².

    >>> round(loss_at(2.0, loss=0.25, neutral=1.0, energy=0.25), 6)    # p = t / 2 everywhere, w = 1
    0.0
    """
    return neutral + strength**2 * energy - strength * (energy + neutral - loss)


def _mean_colorfulness(lightness: Tensor, ab: Tensor) -> float:
    values: list[float] = []
    for first in range(0, len(ab), BATCH_PICTURES):
        part = slice(first, first + BATCH_PICTURES)
        values += map(colorfulness, join_lab(lightness[part], ab[part]).cpu().numpy())
    return math.fsum(values) / len(values)
