"""Detection of overfitting: the network memorizes its training photos, and held-out photos profit little.

This is a check of vividset: the documents behind the recipe don't mention it. Both losses are divided by the loss of
gray on the same photos. docs/results/health.md has the real runs that the constants were chosen by.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from train.health.findings import REMEDIES, WINDOW_STEPS, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.health.curve import LossCurve, Validation

MIN_VALIDATIONS = 3
"""All of the last three validations must show it, and all of the last 100 steps: in one alone, BatchNorm's averages may
lag behind weights that change fast."""
MAX_TRAINED = 0.08 / 0.12
"""A network with a higher training loss has not learned enough to be overfitted."""
MAX_GAIN_SHARE = 0.4
"""Held-out photos gain less than this share of what training photos gain. The gain is 1 − loss ÷ neutral."""
PHOTO_NOISE = 2.15
"""Of n held-out photos chosen at random, the loss ÷ neutral is above that of all photos by a factor of exp(2.15 ÷ √n)
in about 1 % of the choices or less: one photo alone may be eight times as difficult."""
OVER_COLORFUL_SHARE = 1.5
"""More colorful predictions than this share of the originals are further evidence."""


def detect_overfitting(curve: LossCurve) -> Finding | None:
    """Return a finding if held-out photos profit much less from the training than the training photos.

    Validations of the warm-up, and of the 100 steps after it, are not used.
    """
    settled = curve.first_step + curve.warmup_steps + WINDOW_STEPS
    validations = [validation for validation in curve.validations if validation.step > settled]
    if len(validations) < MIN_VALIDATIONS:
        return None
    since = min(validations[-MIN_VALIDATIONS].step, validations[-1].step - WINDOW_STEPS)
    recent = [validation for validation in validations if validation.step >= since]
    ratios, neutrals = curve.finite_values(since)
    trained = float(ratios.sum() / max(1e-12, neutrals.sum()))
    held_out = min(validation.ratio for validation in recent)
    noise = math.exp(PHOTO_NOISE / math.sqrt(max(1, recent[-1].photos)))
    if trained > MAX_TRAINED or 1 - held_out >= MAX_GAIN_SHARE * (1 - trained) or held_out < noise * trained:
        return None
    last = recent[-1].ratio
    evidence = f"the loss is {trained:.2f} times the neutral loss on training photos, but {last:.2f} on held-out ones, "
    evidence += _describe_course(curve.validations)
    best = min(curve.validations, key=lambda validation: validation.score)
    remedy = REMEDIES["overfitting"].format(best_step=f"{best.step:,}", max_steps=best.step)
    return Finding("overfitting", len(curve.ratios), evidence, remedy)


def _describe_course(validations: Sequence[Validation]) -> str:
    """The lowest validation; the highest, if it is worse than gray; the last one's colorfulness, if it is high."""
    lowest = min(validations, key=lambda validation: validation.ratio)
    highest = max(validations, key=lambda validation: validation.ratio)
    text = f"where the lowest was {lowest.ratio:.2f} at step {lowest.step:,}"
    if highest.ratio >= 1.15:
        text += f" and the highest {highest.ratio:.2f} at step {highest.step:,}"
    share = validations[-1].colorfulness_share
    if share >= OVER_COLORFUL_SHARE:
        text += f"; the predictions for them are {share:.1f} times as colorful as the originals"
    return text
