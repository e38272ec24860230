"""Is the training going well? What the documents behind the recipe know of how it goes wrong, and what to do.

All loss values here are divided by what predicting neutral gray costs on the same photos, so that they mean the same on
every data set: the documented ladder 0.12, 0.10, 0.08, 0.06, 0.04 is 1, 0.83, 0.67, 0.50, 0.33 of neutral.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from train.findings import CALMER, DOCUMENTED_NEUTRAL, RATE_FIRST, REMEDIES, WINDOW_STEPS, Finding, Kind

STUCK_RATIO = 0.10 / 0.12
LEARNED_RATIO = 0.04 / 0.12
WORSE_THAN_GRAY = 1.15
"""Batches differ so much that 100-step means of a healthy start reach 1.1 of neutral, but not this twice in a row."""
PALE_SHARE = 0.35
"""Predictions with less than this share of the originals' colourfulness are called gray."""

SETTLED_STEPS = 5 * WINDOW_STEPS
"""A loss that may be stuck is watched for at least so long, and for the length of the warm-up."""
STEADY = 0.012
"""Noise of the mean of a stretch, relative, at which it is long enough to be compared with the next."""
CALM_RATE = 10 * 5e-5
"""Peak rates up to ten times the documented one are not the first suspect when a loss sticks."""
WORSE_BY = 0.1
"""Of the run's neutral loss: so much above gray on the very same photos a step is said to do worse than gray."""
MOST_WORSE = 0.07
"""Share of steps that may do so. Real runs at rates up to 0.05: 2 %; at 0.3, 1 and 3: 8, 20 and 40 %."""
MOST_LOST_STEPS = 10
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

    @property
    def colorless(self) -> bool:
        """Whether the pictures are pale, or most of them gray, sepia or toned."""
        count = sum(self.tones.values())
        toned = count - self.tones.get("color", 0)
        return self.colorfulness_share < PALE_SHARE or 2 * toned > count

    @property
    def score(self) -> float:
        """What the best checkpoint is chosen by; lower is better.

        Loss ÷ neutral, plus the share of the originals' colourfulness that is missing, counted only in pictures whose
        tone is colour. 2 more for pictures that are colourless or for a loss above the neutral prediction's: without
        that the sum stays below 2, so that a gray or sepia network never wins over one that paints and has learned.
        """
        count = max(1, sum(self.tones.values()))
        color = min(1.0, self.colorfulness_share) * self.tones.get("color", 0) / count
        return self.ratio + (1 - color) + (2.0 if self.colorless or self.ratio >= 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Trace:
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
    first_step: int = 0
    """Steps before it were rescued; they aren't judged."""
    rescues: int = 0
    """So far."""
    baseline: str = "neutral"
    """What the losses were divided by, in words."""

    def until(self, step: int) -> Trace:
        """What was known at a step."""
        seen = [validation for validation in self.validations if self.first_step < validation.step <= step]
        return replace(self, ratios=self.ratios[:step], neutrals=self.neutrals[:step], validations=seen)

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ratios and neutrals since `first_step`; both 0 where the loss was no number, so that sums leave it out."""
        ratios = np.asarray(self.ratios[self.first_step :], np.float64)
        known = len(self.neutrals) > 0
        neutrals = np.asarray(self.neutrals[self.first_step :], np.float64) if known else np.ones_like(ratios)
        good = np.isfinite(ratios)
        return np.where(good, ratios, 0), np.where(good, neutrals, 0)


def examine(trace: Trace) -> list[Finding]:
    """Everything that is wrong at the end of a trace; worst first, empty for a healthy run."""
    if finding := _lost(trace):
        return [finding]
    ratios, neutrals = trace.judged()
    means = _window_means(ratios, neutrals)
    steps = len(trace.ratios)
    thrown = _thrown_about(ratios, neutrals, trace) if len(trace.neutrals) else None
    found = [
        _divergence(means, steps),
        thrown or _oscillation(ratios, neutrals, means, steps),
        _plateau(trace, ratios, neutrals),
    ]
    if trace.validations:
        recent = float(means[-1]) if len(means) else math.inf
        found.append(_colorless(trace.validations[-1], recent))
    return [finding for finding in found if finding]


def history(trace: Trace) -> list[Finding]:
    """What `examine` would have said during the run, each kind at the step where it was first seen."""
    found: dict[Kind, Finding] = {}
    steps = len(trace.ratios)
    for end in [*range(trace.first_step + WINDOW_STEPS, steps, WINDOW_STEPS), steps]:
        for finding in examine(trace.until(end)):
            found.setdefault(finding.kind, finding)
    return list(found.values())


def mean_ratio(ratios: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of those that are numbers; NaN if none is."""
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    return sum(known) / len(known) if known else math.nan


def _lost(trace: Trace) -> Finding | None:
    last = trace.ratios[trace.first_step :][-MOST_LOST_STEPS:]
    if len(last) < MOST_LOST_STEPS or any(math.isfinite(ratio) for ratio in last):
        return None
    return _finding("divergence", len(trace.ratios), f"the losses of the last {MOST_LOST_STEPS} steps are no numbers")


def _window_means(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of whole windows, the last one ending at the last step: what their losses cost over what gray costs there.

    Dividing by the windows' own neutral loss takes out that some photos are harder than others: with batches of 16
    photos of all kinds, one step's loss varies by a third, and by an eighth when divided so.
    """
    count = len(ratios) // WINDOW_STEPS
    rest = len(ratios) - count * WINDOW_STEPS
    losses, grays = (values[rest:].reshape(count, WINDOW_STEPS).sum(axis=1) for values in (ratios, neutrals))
    means: NDArray[np.float64] = losses / np.maximum(grays, 1e-12)
    return means


def _noise(ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> float:
    """Standard deviation of one step's loss around its trend, over the mean; from differences of neighbours."""
    level = ratios.sum() / max(1e-12, neutrals.sum())
    left = ratios - level * neutrals
    return float(np.diff(left).std() / math.sqrt(2) / max(1e-12, ratios.mean()))


def _divergence(means: NDArray[np.float64], steps: int) -> Finding | None:
    """Far above the best so far, or for two windows worse than the gray that an untrained network starts with."""
    if len(means) < 2:
        return None
    if means[-1] >= 1.2 and means[-1] >= 1.5 * means.min():
        evidence = f"the loss of the last {WINDOW_STEPS} steps is {means[-1]:.2f} of neutral, after {means.min():.2f}"
    elif means[-2:].min() >= WORSE_THAN_GRAY:
        evidence = (
            f"the loss of the last {2 * WINDOW_STEPS} steps is {means[-2:].mean():.2f} of neutral: "
            "worse than predicting gray, which is where training starts"
        )
    else:
        return None
    return _finding("divergence", steps, evidence)


def _oscillation(
    ratios: NDArray[np.float64], neutrals: NDArray[np.float64], means: NDArray[np.float64], steps: int
) -> Finding | None:
    """Up and down at least twice within four windows, by more than the batches' noise explains."""
    if len(means) < 4:
        return None
    last = means[-4:]
    moves = np.diff(last)
    turns = int((moves[1:] * moves[:-1] < 0).sum())
    recent = slice(-4 * WINDOW_STEPS, None)
    noise = _noise(ratios[recent], neutrals[recent]) * float(last.mean()) * math.sqrt(2 / WINDOW_STEPS)
    smallest = float(np.abs(moves).min())
    if turns < 2 or smallest < 0.12 * last.mean() or smallest < 4 * noise:
        return None
    shown = ", ".join(f"{value * DOCUMENTED_NEUTRAL:.2f}" for value in last)
    return _finding("oscillation", steps, f"means of {WINDOW_STEPS} steps bounce: {shown} on the documented scale")


def _thrown_about(ratios: NDArray[np.float64], neutrals: NDArray[np.float64], trace: Trace) -> Finding | None:
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


def _plateau(trace: Trace, ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> Finding | None:
    """No better than one colour everywhere, or high up and not falling, for long enough after the warm-up."""
    after = len(ratios) - trace.warmup_steps
    if after < SETTLED_STEPS:
        return None
    noise = _noise(ratios[-SETTLED_STEPS:], neutrals[-SETTLED_STEPS:])
    half = int(np.clip(2 * (noise / STEADY) ** 2, SETTLED_STEPS // 2, 2 * SETTLED_STEPS))
    half = max(half, trace.warmup_steps // 2)
    looked = min(after, 2 * half)
    before, now = (
        float(ratios[part].sum() / max(1e-12, neutrals[part].sum()))
        for part in (slice(-2 * half, -half), slice(-half, None))
    )
    doubt = 0.0 if len(trace.neutrals) else 2 * noise / math.sqrt(looked)
    recent = float(ratios[-looked:].sum() / max(1e-12, neutrals[-looked:].sum()))
    slow = now >= 0.97 * before
    if slow and looked >= max(SETTLED_STEPS, trace.warmup_steps) and recent >= trace.mean_color + doubt:
        evidence = (
            f"the loss of the last {looked} steps is {recent:.2f} of neutral, and painting one colour everywhere "
            f"costs {trace.mean_color:.2f}: nothing but that was learned"
        )
    elif after >= 2 * half and now >= STUCK_RATIO and now >= 0.995 * before:
        evidence = (
            f"the loss stays at {now:.2f} of neutral (documented: above 0.10 of 0.12), no lower than {half} steps ago"
        )
    else:
        return None
    return Finding("plateau", len(trace.ratios), evidence, _unstick(trace))


def _unstick(trace: Trace) -> str:
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
