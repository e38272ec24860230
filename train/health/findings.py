"""What can be wrong with a training run, in words: kinds, evidence, remedies, and the documented ladder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Union

from curate.text import pluralize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Losses = Union[Sequence[float], "NDArray[np.float64]"]
Kind = Literal["divergence", "oscillation", "plateau", "gray output", "sepia output"]

DOCUMENTED_NEUTRAL = 0.12
DOCUMENTED_LOSSES = (0.12, 0.10, 0.08, 0.06, 0.04)
WINDOW_STEPS = 100
"""Losses are judged as means of so many steps; single steps say more about their photos than about the training."""
MIN_STEPS_TO_JUDGE = 4 * WINDOW_STEPS

RATE_FIRST = "the rate first"
CALMER = "`train fit MANIFEST --run-dir NEW --lr 2e-5 --batch-size 8 --warmup 0.2`"
REMEDIES: Mapping[Kind, str] = {
    "divergence": f"a lower rate, then smaller batches and a longer warm-up: {CALMER}, or --on-trouble rescue does it",
    "oscillation": (
        "in the documented order: --lr 2e-5, then --batch-size 8, then a longer --warmup 0.2, then restart: "
        f"{CALMER}, or --on-trouble rescue does it"
    ),
    "plateau": (
        "in the documented order: --channels 128; look whether the data is colourful (`curate filter "
        "--min-colorfulness 30`); train longer (--epochs 200)"
    ),
    "gray output": (
        "in the documented order: more capacity (--channels 128), then more colourful data (`curate filter "
        "--min-colorfulness 30`), then --perceptual-weight 0.01 (pip install 'vividset[encoder]')"
    ),
    "sepia output": (
        "in the documented order: more capacity (--channels 128), then data without sepia (`curate filter` rejects it "
        "unless --keep-tone is given), then --perceptual-weight 0.01 (pip install 'vividset[encoder]')"
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong: what, since when, how one sees it, and what to do."""

    kind: Kind
    step: int
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step:,}: {self.evidence}. What to do: {self.remedy}"

    @property
    def calls_for_a_lower_rate(self) -> bool:
        """Whether a lower rate is the first remedy, which a run can give itself."""
        return self.kind in ("divergence", "oscillation") or self.remedy.startswith(RATE_FIRST)


def summarize_findings(findings: Sequence[Finding], steps: int) -> str:
    """What was found, in a few words."""
    if findings:
        return "trouble: " + ", ".join(finding.kind for finding in findings)
    return "no trouble seen" if steps >= MIN_STEPS_TO_JUDGE else f"too few steps to judge (under {MIN_STEPS_TO_JUDGE})"


def describe_ending(ratios: Losses, neutrals: Losses = (), baseline: str = "neutral") -> str:
    """Where a curve stands at its end, in words; over what gray costs on the same photos where that is known.

    >>> describe_ending([1.0, 0.7, 0.4])
    'at 0.70 of neutral over the last 3 losses (below 0.10 on the documented scale)'
    >>> describe_ending([1.0, 0.6, 0.4], [1.25, 0.75, 0.5])
    'at 0.80 of neutral over the last 3 losses (below 0.10 on the documented scale)'
    """
    recent = list(ratios[-WINDOW_STEPS:])
    grays = list(neutrals[-WINDOW_STEPS:]) if len(neutrals) else [1.0] * len(recent)
    known = [(loss, gray) for loss, gray in zip(recent, grays, strict=True) if math.isfinite(loss)]
    over = pluralize(len(recent), "loss")
    if not known:
        return f"without a number in the last {over}"
    ratio = math.fsum(loss for loss, _ in known) / max(1e-12, math.fsum(gray for _, gray in known))
    return f"at {ratio:.2f} of {baseline} over the last {over} ({documented_level(ratio)} on the documented scale)"


def documented_level(ratio: float) -> str:
    """Where on the documented ladder a loss ÷ neutral stands.

    >>> documented_level(1.0), documented_level(0.6), documented_level(0.2)
    ('above 0.10', 'below 0.08', 'below 0.04')
    """
    documented = ratio * DOCUMENTED_NEUTRAL
    passed = [step for step in DOCUMENTED_LOSSES[1:] if documented <= step]
    return f"below {passed[-1]:.2f}" if passed else "above 0.10"
