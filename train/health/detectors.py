"""Is the training going well? What the documents behind the recipe know of how it goes wrong, and what to do.

All loss values here are divided by what predicting neutral gray costs on the same photos, so that they mean the same on
every data set: the documented ladder 0.12, 0.10, 0.08, 0.06, 0.04 is 1, 0.83, 0.67, 0.50, 0.33 of neutral.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.health.findings import CALMER, DOCUMENTED_NEUTRAL, RATE_FIRST, REMEDIES, WINDOW_STEPS, Finding, Kind
from train.health.loss_noise import (
    bounce,
    lost_stretches,
    standard_error_of_fall,
    step_noise,
    steps_to_tell,
    trend,
    window_means,
)

STUCK_RATIO = 0.10 / 0.12
LEARNED_RATIO = 0.04 / 0.12
WORSE_THAN_GRAY = 1.15
"""Batches differ so much that 100-step means of a healthy start reach 1.1 of neutral, but not this twice in a row."""
PALE_SHARE = 0.35
"""Predictions with less than this share of the originals' colourfulness are called gray."""

CHECK_INTERVAL_STEPS = WINDOW_STEPS // 2
"""Health looks at a run so often."""
SETTLED_STEPS = 4 * WINDOW_STEPS
"""A loss that may be stuck is watched for at least so long."""
LEAST_FALL = 0.05
"""Relative. A loss that falls by less in `PATIENCE_STEPS`, or in four warm-ups' time where that is more, is stuck."""
SURE, SURE_ALONE = 3.4, 4.0
"""Standard errors between a run that falls as little as that and one that doesn't; more from losses alone, whose noise
has longer tails."""
PATIENCE_STEPS = 1000
MAX_JUDGED_STEPS = 5000
"""Findings are about the last so many steps, or about the last four warm-ups' time where that is more."""
CALM_RATE = 10 * 5e-5
"""Peak rates up to ten times the documented one are not the first suspect when a loss sticks."""
WORSE_BY = 0.1
"""Of the run's neutral loss: so much above gray on the very same photos a step is said to do worse than gray."""
MOST_WORSE = 0.07
"""Share of steps that may do so. Real runs at rates up to 0.05: 2 %; at 0.3, 1 and 3: 8, 20 and 40 %."""
MAX_NONFINITE_STEPS = 10
"""Steps in a row whose loss is no number: one or two may be a photo's fault, so many are the training's."""
NOTHING_LEARNED = 0.95
"""Of neutral: where the cost of the best single colour isn't known, a loss above this has learned no more than that."""
DULL = 30.0
"""Median colourfulness of training photos below which the data is a likely cause; slightly colourful at most."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How held-out photos come out."""

    step: int
    ratio: float
    """Weighted loss ÷ neutral on the same held-out photos."""
    colorfulness_share: float
    """Mean colourfulness of the predictions ÷ that of the originals; 1 is as colourful."""
    tones: Mapping[str, int] = field(default_factory=Counter)
    """Predictions by tone, as `curate` calls them."""
    loss: float = math.nan
    """Mean weighted loss, as it is."""
    photos: int = 0

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Validation:
        """Read a validation from its event in `log.jsonl`, where null stands for infinity."""
        values = {entry.name: event[entry.name] for entry in fields(cls)}
        return cls(**values | {name: math.inf for name in ("ratio", "loss") if values[name] is None})

    @property
    def is_colorless(self) -> bool:
        """Whether the pictures are pale, or most of them gray, sepia or toned."""
        count = sum(self.tones.values())
        toned = count - self.tones.get("color", 0)
        return self.colorfulness_share < PALE_SHARE or 2 * toned > count

    @property
    def warning(self) -> str:
        """A warning in words where gray would have done clearly better; empty otherwise.

        No finding: few photos are held out, and a pretrained encoder's first epochs pass through this.
        """
        if self.ratio < WORSE_THAN_GRAY:
            return ""
        return f"held-out photos cost {self.ratio:.2f} of what gray costs: not learned yet, or learned by heart"

    @property
    def score(self) -> float:
        """What the best checkpoint is chosen by; lower is better.

        Loss ÷ neutral, plus the share of the originals' colourfulness that is missing, counted only in pictures whose
        tone is colour. 2 more for pictures that are colourless or for a loss above the neutral prediction's: without
        that the sum stays below 2, so that a gray or sepia network never wins over one that paints and has learned.
        """
        count = max(1, sum(self.tones.values()))
        color = min(1.0, self.colorfulness_share) * self.tones.get("color", 0) / count
        return self.ratio + (1 - color) + (2.0 if self.is_colorless or self.ratio >= 1 else 0.0)


@dataclass(frozen=True, slots=True)
class LossCurve:
    """A loss curve over what it is measured by, and what is known of how it came about."""

    ratios: Sequence[float] | NDArray[np.float64]
    """Loss ÷ neutral of every step; NaN where the loss was no number."""
    warmup_steps: int
    """During which the learning rate climbs; a plateau there is none."""
    validations: Sequence[Validation] = ()
    """Oldest first."""
    neutrals: Sequence[float] | NDArray[np.float64] = ()
    """What predicting gray costs on each step's own photos, in the same unit as `ratios`; empty where unknown."""
    mean_color: float = NOTHING_LEARNED
    """What the best single colour costs, in the same unit."""
    photos_per_step: int = 16
    lr: float | None = None
    """Peak learning rate, where known."""
    colorfulness_median: float | None = None
    """Of the training photos, where known."""
    baseline_error: float = 0.0
    """Standard error of what the losses were divided by, relative."""
    labels: Sequence[float] | NDArray[np.float64] = ()
    """The step of each loss, where they aren't simply counted."""
    first_step: int = 0
    """Steps before it were rescued; they aren't judged."""
    rescues: int = 0
    """So far."""
    baseline: str = "neutral"
    """What the losses were divided by, in words."""
    assumption: str = ""
    """What had to be assumed to read them."""

    def until(self, step: int) -> LossCurve:
        """What was known at a step."""
        seen = [validation for validation in self.validations if self.first_step < validation.step <= step]
        return replace(self, ratios=self.ratios[:step], neutrals=self.neutrals[:step], validations=seen)

    def finite_values(self, since: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ratios and neutrals since a step; both 0 where the loss was no number, so that sums leave it out."""
        ratios = np.asarray(self.ratios[since:], np.float64)
        known = len(self.neutrals) > 0
        neutrals = np.asarray(self.neutrals[since:], np.float64) if known else np.ones_like(ratios)
        good = np.isfinite(ratios)
        return np.where(good, ratios, 0), np.where(good, neutrals, 0)


def detect(trace: LossCurve) -> list[Finding]:
    """Everything that is wrong at the end of a trace; empty for a healthy run.

    Divergence alone, and no plateau beside oscillation: those follow.
    """
    if finding := _lost(trace):
        return [finding]
    steps = len(trace.ratios)
    most = max(MAX_JUDGED_STEPS, 4 * trace.warmup_steps)
    ratios, neutrals = trace.finite_values(max(trace.first_step, steps - most))
    means = window_means(ratios, neutrals)
    if finding := _divergence(ratios, neutrals, means, trace):
        return [finding]
    thrown = _thrown_about(ratios, neutrals, trace) if len(trace.neutrals) else None
    found = [thrown or _oscillation(ratios, neutrals, trace) or _plateau(trace, ratios, neutrals)]
    if trace.validations:
        recent = float(means[-1]) if len(means) else math.inf
        found.append(_colorless(trace.validations[-1], recent))
    return [finding for finding in found if finding]


def detect_all(trace: LossCurve) -> list[Finding]:
    """What `detect` would have said during the run, each kind at the step where it was first seen."""
    found: dict[Kind, Finding] = {}
    steps = len(trace.ratios)
    trace = replace(trace, ratios=np.asarray(trace.ratios), neutrals=np.asarray(trace.neutrals))
    for end in [*range(trace.first_step + WINDOW_STEPS, steps, CHECK_INTERVAL_STEPS), steps]:
        for finding in detect(trace.until(end)):
            found.setdefault(finding.kind, finding)
    return list(found.values())


def _lost(trace: LossCurve) -> Finding | None:
    """Too many steps in a row without a number, since health last looked."""
    steps = len(trace.ratios)
    for first, count in lost_stretches(trace.ratios[trace.first_step :]):
        start = trace.first_step + first
        if count >= MAX_NONFINITE_STEPS and start + count > steps - CHECK_INTERVAL_STEPS:
            ended = start + count > steps
            evidence = "no loss from there on is a number" if ended else f"{count} losses in a row are no numbers"
            return _finding("divergence", start, evidence)
    return None


def _divergence(
    ratios: NDArray[np.float64], neutrals: NDArray[np.float64], means: NDArray[np.float64], trace: LossCurve
) -> Finding | None:
    """Far above the best so far and all before it, or for two windows worse than the gray that training starts with."""
    if len(means) < 2:
        return None
    now, best, both = means[-1], means.min(), means[-2:]
    before_best = means[: means.argmin()].max(initial=1.0)
    if both.min() < WORSE_THAN_GRAY and now < max(1.2 * before_best, 1.5 * best):
        return None
    before = slice(-5 * WINDOW_STEPS, -WINDOW_STEPS)
    noise = step_noise(ratios[before], neutrals[before], WINDOW_STEPS)[0] / math.sqrt(WINDOW_STEPS)
    if now >= 1.2 * before_best + 3 * trace.baseline_error and now >= (1.5 + 4 * noise) * best:
        evidence = f"the loss of the last {WINDOW_STEPS} steps is {now:.2f} of {trace.baseline}, after {best:.2f}"
    elif both.min() >= WORSE_THAN_GRAY and both.mean() >= 1 + 3 * math.hypot(noise, trace.baseline_error):
        evidence = (
            f"the loss of the last {2 * WINDOW_STEPS} steps is {both.mean():.2f} of {trace.baseline}: "
            "worse than predicting gray, which is where training starts"
        )
    else:
        return None
    return _finding("divergence", len(trace.ratios), evidence)


def _oscillation(ratios: NDArray[np.float64], neutrals: NDArray[np.float64], trace: LossCurve) -> Finding | None:
    """Up and down at least twice within four windows, by more than the batches' noise explains."""
    found = bounce(ratios, neutrals)
    if found is None:
        return None
    steps, means = found
    shown = ", ".join(f"{value * DOCUMENTED_NEUTRAL:.2f}" for value in means)
    return _finding("oscillation", len(trace.ratios), f"means of {steps} steps bounce: {shown} on the documented scale")


def _thrown_about(ratios: NDArray[np.float64], neutrals: NDArray[np.float64], trace: LossCurve) -> Finding | None:
    """Again and again much worse than gray on the same photos: the weights are thrown about from step to step.

    This is how too high a rate shows with AdamW and normalised layers: means of 100 steps hardly bounce there.
    """
    together = -(-16 // trace.photos_per_step)  # small batches scatter more: judged as 16 photos or more
    count = 2 * WINDOW_STEPS // together
    if len(ratios) < count * together:
        return None
    above = (ratios - neutrals)[-count * together :].reshape(count, together).mean(axis=1)
    worse = float((above > WORSE_BY).mean())
    if worse < MOST_WORSE:
        return None
    evidence = (
        f"{worse:.0%} of the last {count * together} steps did much worse than predicting gray on the same photos: "
        "the weights are thrown about"
    )
    return _finding("oscillation", len(trace.ratios), evidence)


def _plateau(trace: LossCurve, ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> Finding | None:
    """Nothing learned, or high up and not falling, for long enough after the warm-up."""
    after = len(trace.ratios) - trace.first_step - trace.warmup_steps
    if after < SETTLED_STEPS:
        return None
    losses, grays = ratios[-SETTLED_STEPS:], neutrals[-SETTLED_STEPS:]
    if losses.sum() < STUCK_RATIO * grays.sum():
        return None
    noise, _ = step_noise(losses, grays, SETTLED_STEPS)
    patience = max(PATIENCE_STEPS, 4 * trace.warmup_steps)
    sure = SURE if len(trace.neutrals) else SURE_ALONE
    needed = max(SETTLED_STEPS, trace.warmup_steps, steps_to_tell(noise, LEAST_FALL / patience, sure))
    looked = min(after, len(ratios), needed)
    level, fall = trend(ratios[-looked:], neutrals[-looked:])
    alone = 0.0 if len(trace.neutrals) else noise / math.sqrt(looked)
    doubt = 2.5 * math.hypot(alone, trace.baseline_error)
    least_fall = LEAST_FALL * looked / patience
    if looked >= trace.warmup_steps and level >= NOTHING_LEARNED + doubt and fall < least_fall:
        evidence = (
            f"the loss of the last {looked} steps is {level:.2f} of {trace.baseline}, and painting one colour "
            f"everywhere costs {trace.mean_color:.2f}: next to nothing was learned"
        )
    elif level >= STUCK_RATIO + doubt and fall + (sure - 1) * standard_error_of_fall(noise, looked) < least_fall:
        evidence = (
            f"the loss stays at {level:.2f} of {trace.baseline} (documented: above 0.10 of 0.12) for {looked} steps"
        )
    else:
        return None
    return Finding("plateau", len(trace.ratios), evidence, _unstick(trace))


def _unstick(trace: LossCurve) -> str:
    """The documented remedies for a plateau, with a look at what this run knows of its rate and its photos."""
    remedy = REMEDIES["plateau"]
    if trace.colorfulness_median is not None:
        dull = trace.colorfulness_median < DULL
        verdict = "dull: start there" if dull else "colourful enough"
        remedy += f"; the training photos' median colourfulness is {trace.colorfulness_median:.0f}, {verdict}"
    if trace.lr is None or trace.lr <= CALM_RATE:
        return remedy
    return f"{RATE_FIRST}: {trace.lr:g} is {trace.lr / 5e-5:,.0f} times the documented 5e-5: {CALMER}; then {remedy}"


def _colorless(validation: Validation, recent_ratio: float) -> Finding | None:
    """Pale pictures, once the loss says that colour should have been learned."""
    if min(validation.ratio, recent_ratio) > LEARNED_RATIO * 1.1:
        return None
    count = max(1, sum(validation.tones.values()))
    if validation.tones.get("sepia", 0) * 2 > count:
        evidence = f"your predictions are sepia: {validation.tones['sepia']} of {count} validation pictures"
        return _finding("sepia output", validation.step, evidence)
    if validation.colorfulness_share < PALE_SHARE:
        evidence = f"the predictions have {validation.colorfulness_share:.0%} of the originals' colourfulness"
        return _finding("gray output", validation.step, evidence)
    return None


def _finding(kind: Kind, step: int, evidence: str) -> Finding:
    return Finding(kind, step, evidence, REMEDIES[kind])
