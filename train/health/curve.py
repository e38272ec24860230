"""The losses and validations of a run, which the detectors judge.

All losses here are divided by the neutral loss, which is what predicting gray costs on the same photos, so that
thresholds mean the same on every data set: the documented 0.12, 0.10, 0.08, 0.06, 0.04 are 1, 0.83, 0.67, 0.50, 0.33
times the neutral loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.measures.hue_spread import HueSpread
from train.health.findings import RunNames

WORSE_THAN_GRAY = 1.15
"""Batches differ so much that 100-step means of a healthy start reach 1.1, but not this value twice in a row."""
PALE_SHARE = 0.35
"""Predictions with a smaller share of the originals' colorfulness are called gray."""
NOTHING_LEARNED = 0.95
"""Times the neutral loss: above it, a network is no better than the best single color, where that isn't known."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The predictions for the held-out photos at one step, compared with the originals."""

    step: int
    ratio: float
    """Weighted loss ÷ neutral loss on the same held-out photos."""
    colorfulness_share: float
    """Mean colorfulness of the predictions ÷ that of the originals; 1 is as colorful."""
    tones: Mapping[str, int] = field(default_factory=Counter)
    """Number of predictions by tone, as `curate` classifies them."""
    loss: float = math.nan
    """Mean weighted loss, not divided."""
    photos: int = 0
    hue: HueSpread | None = None
    """Hue spread of the predictions; None in logs of versions that didn't measure it."""
    original_hue: HueSpread | None = None
    """Hue spread of the originals."""
    auto_strength: float | None = None
    """Factor for the predicted chroma that makes the pictures as colorful as the originals; None in older logs."""
    auto_ratio: float | None = None
    """`ratio` at that strength."""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Validation:
        """Return a validation from its event in `log.jsonl`, in which null means infinity."""
        hues = {name: HueSpread(**event[name]) for name in ("hue", "original_hue") if event.get(name)}
        values = {entry.name: event[entry.name] for entry in fields(cls) if entry.name in event}
        return cls(**values | hues | {name: math.inf for name in ("ratio", "loss") if values[name] is None})

    @property
    def is_colorless(self) -> bool:
        """Whether the predictions are pale, or most of them are gray, sepia or toned."""
        count = sum(self.tones.values())
        toned = count - self.tones.get("color", 0)
        return self.colorfulness_share < PALE_SHARE or 2 * toned > count

    @property
    def warning(self) -> str:
        """A warning if predicting gray would be clearly better; else empty.

        It is not a finding: few photos are held out, and a pretrained encoder passes through this in its first epochs.
        """
        if self.ratio < WORSE_THAN_GRAY:
            return ""
        return (
            f"on held-out photos the loss is {self.ratio:.2f} times that of predicting gray: "
            "the network has not learned enough yet, or it is overfitted to the training photos"
        )

    @property
    def score(self) -> float:
        """The criterion for the best checkpoint; lower is better.

        score = loss ÷ neutral + (1 − c) + p. c is the share of the originals' colorfulness (at most 1) times the share
        of predictions whose tone is color. p is 2 if the predictions are colorless or the loss is not below the
        neutral loss. Without p the sum is below 2, so a gray or sepia network never wins over one that has learned
        color.
        """
        count = max(1, sum(self.tones.values()))
        color = min(1.0, self.colorfulness_share) * self.tones.get("color", 0) / count
        return self.ratio + (1 - color) + (2.0 if self.is_colorless or self.ratio >= 1 else 0.0)


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The losses of a run, divided by a baseline, and what is known about the run."""

    ratios: Sequence[float] | NDArray[np.float64]
    """Loss ÷ baseline of every step; NaN or infinite where the loss was."""
    warmup_steps: int
    """Steps in which the learning rate rises; no plateau is reported in them."""
    validations: Sequence[Validation] = ()
    """Oldest first."""
    neutrals: Sequence[float] | NDArray[np.float64] = ()
    """Loss of predicting gray on each step's own photos ÷ baseline; empty where unknown."""
    total_steps: int | None = None
    """Steps of the whole run; None if unknown."""
    mean_color: float = NOTHING_LEARNED
    """Loss of the best single color ÷ baseline."""
    photos_per_step: int = 16
    lr: float | None = None
    """Peak learning rate; None if unknown."""
    colorfulness_median: float | None = None
    """Of the training photos; None if unknown."""
    baseline_error: float = 0.0
    """Relative standard error of the baseline."""
    labels: Sequence[float] | NDArray[np.float64] = ()
    """Step number of each loss, where steps aren't simply counted from 1."""
    first_step: int = 0
    """Steps up to this one were rolled back by a rescue; they aren't judged."""
    rescues: int = 0
    """Number of rescues so far."""
    baseline: str = "the neutral loss"
    """Name of what the losses were divided by, for messages."""
    assumption: str = ""
    """What had to be assumed to read the losses; for the verdict."""
    names: RunNames = RunNames()
    """What the commands of remedies name."""

    def until(self, step: int) -> LossCurve:
        """Return the curve as it was known at a step."""
        validations = [entry for entry in self.validations if self.first_step < entry.step <= step]
        return replace(self, ratios=self.ratios[:step], neutrals=self.neutrals[:step], validations=validations)

    def finite_values(self, since: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ratios and neutrals since a step; both 0 where the loss isn't finite, so that sums leave it out."""
        ratios = np.asarray(self.ratios[since:], np.float64)
        has_neutrals = len(self.neutrals) > 0
        neutrals = np.asarray(self.neutrals[since:], np.float64) if has_neutrals else np.ones_like(ratios)
        finite = np.isfinite(ratios)
        return np.where(finite, ratios, 0), np.where(finite, neutrals, 0)
