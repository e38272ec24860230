"""Is the training going well? What the documents behind the recipe know of how it goes wrong, and what to do.

All loss values here are divided by what predicting neutral gray costs on the same photos, so that they mean the same on
every data set: the documented ladder 0.12, 0.10, 0.08, 0.06, 0.04 is 1, 0.83, 0.67, 0.50, 0.33 of neutral.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["divergence", "oscillation", "plateau", "gray output", "sepia output"]

WINDOW_STEPS = 100
"""Losses are judged as means of so many steps; single steps say more about their photos than about the training."""
DOCUMENTED_NEUTRAL = 0.12
LADDER = (0.12, 0.10, 0.08, 0.06, 0.04)
STUCK_RATIO = 0.10 / 0.12
LEARNED_RATIO = 0.04 / 0.12
WORSE_THAN_GRAY = 1.15
"""Batches differ so much that 100-step means of a healthy start reach 1.1 of neutral, but not this twice in a row."""
PALE_SHARE = 0.35
"""Predictions with less than this share of the originals' colourfulness are called gray."""

REMEDIES: Mapping[Kind, str] = {
    "divergence": "start again with --lr 2e-5; then --batch-size 8, and a longer --warmup 0.2",
    "oscillation": (
        "in the documented order: --lr 2e-5, then --batch-size 8, then a longer --warmup 0.2, then restart in a new "
        "--run-dir"
    ),
    "plateau": (
        "in the documented order: --channels 128; look whether the data is colourful (`curate filter "
        "--min-colorfulness 30`); train longer (--epochs 200)"
    ),
    "gray output": (
        "in the documented order: more capacity (--channels 128), then more colourful data (`curate filter "
        "--min-colorfulness 30`), then longer training"
    ),
    "sepia output": (
        "in the documented order: more capacity (--channels 128), then data without sepia (`curate filter` rejects it "
        "unless --keep-tone is given), then longer training"
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong: what, since when, how one sees it, and what to do."""

    kind: Kind
    step: int
    evidence: str

    @property
    def remedy(self) -> str:
        """The documented remedies, as options to give."""
        return REMEDIES[self.kind]

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step:,}: {self.evidence}. What to do: {self.remedy}"


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


FEWEST_STEPS = 4 * WINDOW_STEPS


def summary(findings: Sequence[Finding], steps: int) -> str:
    """What was found, in a few words."""
    if findings:
        return "trouble: " + ", ".join(finding.kind for finding in findings)
    return "no trouble seen" if steps >= FEWEST_STEPS else f"too few steps to judge (under {FEWEST_STEPS})"


def rung(ratio: float) -> str:
    """Where on the documented ladder a loss ÷ neutral stands.

    >>> rung(1.0), rung(0.6), rung(0.2)
    ('above 0.10', 'below 0.08', 'below 0.04')
    """
    documented = ratio * DOCUMENTED_NEUTRAL
    passed = [step for step in LADDER[1:] if documented <= step]
    return f"below {passed[-1]:.2f}" if passed else "above 0.10"


def examine(ratios: Sequence[float], warmup_steps: int, validations: Sequence[Validation] = ()) -> list[Finding]:
    """Everything that is wrong at the end of a trace.

    Args:
        ratios: loss ÷ neutral of every step so far.
        warmup_steps: steps during which the learning rate climbs; a plateau there is none.
        validations: so far, oldest first.

    Returns:
        Findings, worst first; empty for a healthy run.
    """
    losses = np.asarray(ratios, np.float64)
    if len(losses) and not np.isfinite(losses[-1]):
        return [Finding("divergence", len(losses), "the loss is no number any more")]
    means = _window_means(losses)
    found = [_divergence(losses, means), _oscillation(losses, means), _plateau(means, warmup_steps)]
    if validations:
        recent = float(means[-1]) if len(means) else math.inf
        found.append(_colorless(validations[-1], recent))
    return [finding for finding in found if finding]


def history(ratios: Sequence[float], warmup_steps: int, validations: Sequence[Validation] = ()) -> list[Finding]:
    """What `examine` would have said during the run, each kind at the step where it was first seen."""
    found: dict[Kind, Finding] = {}
    ends = [*range(WINDOW_STEPS, len(ratios), WINDOW_STEPS), len(ratios)]
    for end in ends:
        seen = [validation for validation in validations if validation.step <= end]
        for finding in examine(ratios[:end], warmup_steps, seen):
            found.setdefault(finding.kind, finding)
    return list(found.values())


def _window_means(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of whole windows, the last one ending at the last step."""
    count = len(losses) // WINDOW_STEPS
    means: NDArray[np.float64] = losses[len(losses) - count * WINDOW_STEPS :].reshape(count, WINDOW_STEPS).mean(axis=1)
    return means


def _divergence(losses: NDArray[np.float64], means: NDArray[np.float64]) -> Finding | None:
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
    return Finding("divergence", len(losses), evidence)


def _oscillation(losses: NDArray[np.float64], means: NDArray[np.float64]) -> Finding | None:
    """Up and down at least twice within four windows, by more than the batches' noise explains."""
    if len(means) < 4:
        return None
    last = means[-4:]
    moves = np.diff(last)
    turns = int((moves[1:] * moves[:-1] < 0).sum())
    noise = float(np.diff(losses[-4 * WINDOW_STEPS :]).std() / math.sqrt(2 * WINDOW_STEPS))
    smallest = float(np.abs(moves).min())
    if turns < 2 or smallest < 0.12 * last.mean() or smallest < 4 * noise:
        return None
    shown = ", ".join(f"{value * DOCUMENTED_NEUTRAL:.2f}" for value in last)
    return Finding("oscillation", len(losses), f"means of {WINDOW_STEPS} steps bounce: {shown} on the documented scale")


def _plateau(means: NDArray[np.float64], warmup_steps: int) -> Finding | None:
    after = means[math.ceil(warmup_steps / WINDOW_STEPS) :]
    if len(after) < 10:
        return None
    before, now = float(after[-10:-5].mean()), float(after[-5:].mean())
    if now < STUCK_RATIO or now < 0.98 * before:
        return None
    evidence = (
        f"the loss stays at {now:.2f} of neutral (documented: above 0.10 of 0.12) and fell by less than 2 % "
        f"in {5 * WINDOW_STEPS} steps"
    )
    return Finding("plateau", len(means) * WINDOW_STEPS, evidence)


def _colorless(validation: Validation, recent_ratio: float) -> Finding | None:
    """Pale pictures, once the loss says that colour should have been learned."""
    if min(validation.ratio, recent_ratio) > LEARNED_RATIO * 1.1:
        return None
    count = max(1, sum(validation.tones.values()))
    if validation.tones.get("sepia", 0) * 2 > count:
        evidence = f"your predictions are sepia: {validation.tones['sepia']} of {count} validation pictures"
        return Finding("sepia output", validation.step, evidence)
    if validation.colorfulness_share < PALE_SHARE:
        evidence = f"the predictions have {validation.colorfulness_share:.0%} of the originals' colourfulness"
        return Finding("gray output", validation.step, evidence)
    return None
