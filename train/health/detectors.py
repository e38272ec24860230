"""Detection of training problems: divergence, oscillation, plateau, gray and sepia output, overfitting.

All losses are divided by the neutral loss (`curve.py`). docs/explanation/health.md gives the reasons for the rules, and
docs/results/health.md how often they are wrong.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from train.health.brown import detect_brown, sepia_remedy
from train.health.curve import NOTHING_LEARNED, PALE_SHARE, WORSE_THAN_GRAY, LossCurve
from train.health.findings import (
    DOCUMENTED_NEUTRAL,
    LOWER_RATE_COMMAND,
    LOWER_RATE_FIRST,
    REMEDIES,
    WINDOW_STEPS,
    Finding,
    Kind,
)
from train.health.loss_noise import (
    find_oscillation,
    nonfinite_stretches,
    standard_error_of_fall,
    step_noise,
    steps_to_detect,
    trend,
    window_means,
)
from train.health.overfitting import detect_overfitting

STUCK_RATIO = 0.10 / 0.12
"""A loss that stays above this is a plateau: the documents' "sticks above 0.10"."""
LEARNED_RATIO = 0.04 / 0.12
"""At this loss the documents expect colorful predictions."""

CHECK_INTERVAL_STEPS = WINDOW_STEPS // 2
"""Steps between two checks of a run's health."""
SETTLED_STEPS = 4 * WINDOW_STEPS
"""Fewest steps after the warm-up before a plateau is reported."""
MIN_FALL = 0.05
"""Relative. A loss that falls by less in `PATIENCE_STEPS`, or in four warm-ups if that is longer, is a plateau."""
SIGNIFICANCE, SIGNIFICANCE_LOSSES_ALONE = 3.4, 4.0
"""Standard errors between a loss that falls by `MIN_FALL` and one that doesn't fall. More without the neutral loss of
each step, because the noise of undivided losses has longer tails."""
PATIENCE_STEPS = 1000
MAX_JUDGED_STEPS = 5000
"""Findings are about the last steps only: this many, or four warm-ups if that is longer."""
MAX_USUAL_RATE = 10 * 5e-5
"""Up to ten times the documented peak rate, the rate is not the first suspect for a plateau."""
WORSE_BY = 0.1
"""Times the neutral loss: a step counts as much worse than gray if its loss is this much above gray on its photos."""
MAX_WORSE_SHARE = 0.07
"""Share of such steps that is healthy. Real runs at rates up to 0.05 have 2 %; at 0.3, 1 and 3: 8, 20 and 40 %."""
MAX_NONFINITE_STEPS = 10
"""Steps in a row with a NaN or infinite loss: one or two may be caused by a photo, this many by the training."""
DULL_COLORFULNESS = 30.0
"""A lower median colorfulness of the training photos is a likely cause of a plateau ("slightly colorful")."""


def detect(curve: LossCurve) -> list[Finding]:
    """Return the problems at the end of a loss curve; empty for a healthy run.

    Consequences are left out: nothing beside divergence, and no plateau beside oscillation.
    """
    return [replace(finding, remedy=curve.names.fill(finding.remedy)) for finding in _detect(curve)]


def _detect(curve: LossCurve) -> list[Finding]:
    if finding := _detect_nonfinite(curve):
        return [finding]
    steps = len(curve.ratios)
    judged_steps = max(MAX_JUDGED_STEPS, 4 * curve.warmup_steps)
    ratios, neutrals = curve.finite_values(max(curve.first_step, steps - judged_steps))
    means = window_means(ratios, neutrals)
    if finding := _detect_divergence(ratios, neutrals, means, curve):
        return [finding]
    unstable = _detect_unstable_steps(ratios, neutrals, curve) if len(curve.neutrals) else None
    findings = [unstable or _detect_waves(ratios, neutrals, curve) or _detect_plateau(curve, ratios, neutrals)]
    if curve.validations:
        recent = float(means[-1]) if len(means) else math.inf
        findings += [_detect_colorless(curve, recent), detect_overfitting(curve)]
    return [finding for finding in findings if finding]


def detect_all(curve: LossCurve) -> list[Finding]:
    """Return what `detect` would have reported during the run, each kind at the step of its first report."""
    findings: dict[Kind, Finding] = {}
    steps = len(curve.ratios)
    curve = replace(curve, ratios=np.asarray(curve.ratios), neutrals=np.asarray(curve.neutrals))
    for end in [*range(curve.first_step + WINDOW_STEPS, steps, CHECK_INTERVAL_STEPS), steps]:
        for finding in detect(curve.until(end)):
            findings.setdefault(finding.kind, finding)
    return list(findings.values())


def _detect_nonfinite(curve: LossCurve) -> Finding | None:
    """Too many NaN or infinite losses in a row, the last of them since the previous check."""
    steps = len(curve.ratios)
    for first, count in nonfinite_stretches(curve.ratios[curve.first_step :]):
        start = curve.first_step + first
        if count >= MAX_NONFINITE_STEPS and start + count > steps - CHECK_INTERVAL_STEPS:
            lasts = start + count > steps
            evidence = (
                "every loss from there on is NaN or infinite" if lasts else f"{count} losses in a row are not finite"
            )
            return _finding("divergence", start, evidence)
    return None


def _detect_divergence(
    ratios: NDArray[np.float64], neutrals: NDArray[np.float64], means: NDArray[np.float64], curve: LossCurve
) -> Finding | None:
    """A loss far above the best so far and above all before that, or two windows worse than predicting gray."""
    if len(means) < 2:
        return None
    now, best, last_two = means[-1], means.min(), means[-2:]
    before_best = means[: means.argmin()].max(initial=1.0)  # 1: an untrained network starts at the neutral loss
    if last_two.min() < WORSE_THAN_GRAY and now < max(1.2 * before_best, 1.5 * best):
        return None  # the common case, decided without estimating the noise
    before = slice(-5 * WINDOW_STEPS, -WINDOW_STEPS)  # without the last window: its noise may be part of the problem
    noise = step_noise(ratios[before], neutrals[before], WINDOW_STEPS)[0] / math.sqrt(WINDOW_STEPS)
    if now >= 1.2 * before_best + 3 * curve.baseline_error and now >= (1.5 + 4 * noise) * best:
        evidence = (
            f"the mean loss of the last {WINDOW_STEPS} steps is {now:.2f} times {curve.baseline}; "
            f"the best such mean was {best:.2f}"
        )
    elif last_two.min() >= WORSE_THAN_GRAY and last_two.mean() >= 1 + 3 * math.hypot(noise, curve.baseline_error):
        evidence = (
            f"the mean loss of the last {2 * WINDOW_STEPS} steps is {last_two.mean():.2f} times {curve.baseline}: "
            "worse than predicting gray, which is where training starts"
        )
    else:
        return None
    return _finding("divergence", len(curve.ratios), evidence)


def _detect_waves(ratios: NDArray[np.float64], neutrals: NDArray[np.float64], curve: LossCurve) -> Finding | None:
    """Window means that go up and down by more than the noise of the batches explains."""
    oscillation = find_oscillation(ratios, neutrals)
    if oscillation is None:
        return None
    steps, means = oscillation
    values = ", ".join(f"{value * DOCUMENTED_NEUTRAL:.2f}" for value in means)
    evidence = f"successive means of {steps} steps go up and down: {values} on the documented scale"
    return _finding("oscillation", len(curve.ratios), evidence)


def _detect_unstable_steps(
    ratios: NDArray[np.float64], neutrals: NDArray[np.float64], curve: LossCurve
) -> Finding | None:
    """Too many steps much worse than gray on the same photos, because each update changes the weights too much.

    This is the sign of a too high rate with AdamW and normalization layers: 100-step means hardly go up and down there.
    """
    group = -(-16 // curve.photos_per_step)  # small batches vary more: steps are averaged to 16 photos or more
    count = 2 * WINDOW_STEPS // group
    if len(ratios) < count * group:
        return None
    above_gray = (ratios - neutrals)[-count * group :].reshape(count, group).mean(axis=1)
    worse_share = float((above_gray > WORSE_BY).mean())
    if worse_share < MAX_WORSE_SHARE:
        return None
    evidence = (
        f"in {worse_share:.0%} of the last {count * group} steps the loss is much higher than that of predicting gray "
        "on the same photos: each step changes the weights too much"
    )
    return _finding("oscillation", len(curve.ratios), evidence)


def _detect_plateau(curve: LossCurve, ratios: NDArray[np.float64], neutrals: NDArray[np.float64]) -> Finding | None:
    """Nothing learned, or a high loss that doesn't fall, for long enough after the warm-up."""
    after_warmup = len(curve.ratios) - curve.first_step - curve.warmup_steps
    if after_warmup < SETTLED_STEPS:
        return None
    losses, grays = ratios[-SETTLED_STEPS:], neutrals[-SETTLED_STEPS:]
    if losses.sum() < STUCK_RATIO * grays.sum():
        return None
    # Look back far enough to tell the smallest acceptable fall from no fall, given the noise of this curve.
    noise, _ = step_noise(losses, grays, SETTLED_STEPS)
    patience = max(PATIENCE_STEPS, 4 * curve.warmup_steps)
    significance = SIGNIFICANCE if len(curve.neutrals) else SIGNIFICANCE_LOSSES_ALONE
    needed = max(SETTLED_STEPS, curve.warmup_steps, steps_to_detect(noise, MIN_FALL / patience, significance))
    steps = min(after_warmup, len(ratios), needed)
    level, fall = trend(ratios[-steps:], neutrals[-steps:])
    level_error = 0.0 if len(curve.neutrals) else noise / math.sqrt(steps)
    margin = 2.5 * math.hypot(level_error, curve.baseline_error)
    min_fall = MIN_FALL * steps / patience
    if steps >= curve.warmup_steps and level >= NOTHING_LEARNED + margin and fall < min_fall:
        evidence = (
            f"the mean loss of the last {steps} steps is {level:.2f} times {curve.baseline}, and predicting one color "
            f"everywhere has {curve.mean_color:.2f}: almost nothing was learned"
        )
    elif level >= STUCK_RATIO + margin and fall + (significance - 1) * standard_error_of_fall(noise, steps) < min_fall:
        evidence = (
            f"the loss has stayed at {level:.2f} times {curve.baseline} for {steps} steps "
            "(documented: above 0.10, where the neutral loss is 0.12)"
        )
    else:
        return None
    return Finding("plateau", len(curve.ratios), evidence, _plateau_remedy(curve))


def _plateau_remedy(curve: LossCurve) -> str:
    """The documented remedies, with what this run's learning rate and photos suggest."""
    remedy = REMEDIES["plateau"]
    if curve.colorfulness_median is not None:
        verdict = (
            "which is dull: start there"
            if curve.colorfulness_median < DULL_COLORFULNESS
            else "which is colorful enough"
        )
        remedy += f"; the training photos' median colorfulness is {curve.colorfulness_median:.0f}, {verdict}"
    if curve.lr is None or curve.lr <= MAX_USUAL_RATE:
        return remedy
    times = f"{curve.lr:g} is {curve.lr / 5e-5:,.0f} times the documented 5e-5"
    return f"{LOWER_RATE_FIRST}: {times}: {LOWER_RATE_COMMAND}; then {remedy}"


def _detect_colorless(curve: LossCurve, recent_ratio: float) -> Finding | None:
    """Sepia or pale predictions although the loss is low enough for color; brown ones then, or when the run is over."""
    validation = curve.validations[-1]
    if min(validation.ratio, recent_ratio) > LEARNED_RATIO * 1.1:
        return detect_brown(curve, has_learned=False)
    count = max(1, sum(validation.tones.values()))
    sepia = validation.tones.get("sepia", 0)
    if sepia * 2 > count:
        evidence = f"{sepia} of {count} predictions for held-out photos are sepia"
        return Finding("sepia output", validation.step, evidence, sepia_remedy(validation.original_hue))
    if validation.colorfulness_share < PALE_SHARE:
        evidence = f"the predictions have {validation.colorfulness_share:.0%} of the originals' colorfulness"
        return _finding("gray output", validation.step, evidence)
    return detect_brown(curve, has_learned=True)


def _finding(kind: Kind, step: int, evidence: str) -> Finding:
    return Finding(kind, step, evidence, REMEDIES[kind])
