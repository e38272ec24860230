"""Diagnosis of a finished run, or of another trainer's loss curve in a CSV file."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.errors import TrainingError, UsageError
from curate.text import pluralize
from curate.unicode import read_text
from train.health.curve import NOTHING_LEARNED, LossCurve, Validation
from train.health.detectors import detect_all
from train.health.findings import (
    REMEDIES,
    WINDOW_STEPS,
    Finding,
    RunNames,
    describe_ending,
    summarize_findings,
)
from train.health.loss_noise import nonfinite_stretches, step_noise

MAX_ROWS = 20_000
"""Longer tables are judged as means of rows."""
MAX_RESUMED_SHARE = 0.1
"""A step counter that goes back at more than this share of the rows was not resumed: the rows are unordered."""
MIN_BASELINE_ROWS = 10
STEP_NOISE = 1 / 3
"""Relative standard deviation of one step's loss that is assumed where rows are means: that of batches of 16 photos."""
MAX_BASELINE_ERROR = 0.05
"""Relative standard error up to which the mean of a curve's first losses serves as the baseline."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a diagnosis."""

    verdict: str
    """One line about the run."""
    findings: list[Finding]
    """All problems; empty for a healthy run."""

    def as_json(self) -> str:
        """Return `{"verdict": ..., "findings": [{kind, step, evidence, remedy, documented}]}`."""
        findings = [asdict(finding) | {"documented": finding.is_documented} for finding in self.findings]
        return json.dumps({"verdict": self.verdict, "findings": findings}, ensure_ascii=False)


def diagnose_curve(curve: LossCurve) -> Diagnosis:
    """Judge a whole loss curve; of a run with rescues, the part after the last one. Divergence is listed first."""
    steps = len(curve.ratios)
    findings = sorted(detect_all(curve), key=lambda finding: finding.kind != "divergence")
    nonfinite = nonfinite_stretches(curve.ratios)
    if not math.isfinite(curve.ratios[-1]) and "divergence" not in {finding.kind for finding in findings}:
        evidence = "the last loss is NaN or infinite"
        findings.insert(0, Finding("divergence", nonfinite[-1][0], evidence, curve.names.fill(REMEDIES["divergence"])))
    if len(curve.labels):
        findings = [replace(finding, step=int(curve.labels[finding.step - 1])) for finding in findings]
    ending = describe_ending(curve.ratios, curve.neutrals, curve.baseline)
    head = f"{pluralize(steps, 'loss' if len(curve.labels) else 'step')}, ending {ending}"
    since = f"; rescued, judged since step {curve.first_step:,}" if curve.rescues else ""
    state = summarize_findings(findings, steps - curve.first_step)
    notes = [f"; {note}" for note in (_count_nonfinite(curve, nonfinite), curve.assumption) if note]
    return Diagnosis(f"{head}{since}; {state}{''.join(notes)}", findings)


def _count_nonfinite(curve: LossCurve, stretches: list[tuple[int, int]]) -> str:
    if not stretches:
        return ""
    total, first = sum(count for _, count in stretches), stretches[0][0]
    step = int(curve.labels[first - 1]) if len(curve.labels) else first
    verb = "is" if total == 1 else "are"
    return f"{pluralize(total, 'loss')} {verb} NaN or infinite, the first at step {step:,}"


def read_loss_curve(path: Path, neutral: float | None = None, means_of: int | None = None) -> LossCurve:
    """Read a loss curve from a run's folder, its log.jsonl, or a CSV file with the columns `step` and `loss`.

    Args:
        path: folder or file.
        neutral: loss of predicting neutral gray. None takes a run's own, or the mean of a CSV's first 10 to 100 rows.
        means_of: each row of a CSV is the mean of this many steps; None: each row is the loss of one step.

    Raises:
        TrainingError: the file is missing, can't be read, or has no losses.
        UsageError: `means_of` was given for a run's own log, which has the loss of every step.
    """
    if path.is_dir():
        path = path / "log.jsonl"
    if not path.exists():
        raise TrainingError(f"{path} doesn't exist: name a run's folder, or a CSV file with the columns step,loss")
    is_log = path.suffix == ".jsonl"
    if means_of and is_log:
        raise UsageError(f"{path} has the loss of every step: leave out --means, which is for CSV files")
    try:
        curve = _read_log(path, neutral) if is_log else _read_csv(path, neutral, means_of)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as exc:
        wanted = "a run's log" if is_log else "a table with the columns step,loss and a number in each"
        raise TrainingError(f"{path} can't be judged: it is not {wanted}{_reason(exc)}") from exc
    if not len(curve.ratios):
        raise TrainingError(f"{path} has no steps yet: diagnose it after some training")
    return curve


def _reason(exc: Exception) -> str:
    """Our own or the operating system's message; a parser's message would not help a user."""
    if isinstance(exc, OSError):
        return f" that can be read ({exc.strerror})"
    return f": {exc}" if isinstance(exc, _NoCurveError | UnicodeError) else ": name a run's folder or such a file"


class _NoCurveError(ValueError):
    """A table is not a loss curve; the message says why."""


def _read_log(path: Path, neutral: float | None) -> LossCurve:
    # A line without its closing brace is the last one of a run that is being written or was killed.
    events = [json.loads(line) for line in read_text(path).splitlines() if line.endswith("}")]
    start = next(event for event in events if event["event"] in ("start", "resumed"))
    rescues = [event for event in events if event["event"] == "rescue"]
    last_rescue = rescues[-1] if rescues else None
    baseline = neutral or float(start["neutral_loss"])
    steps = [event for event in events if event["event"] == "step"]
    recipe = start["recipe"]
    batch_size = (last_rescue or recipe)["batch_size"]
    warmup = last_rescue["warmup_steps"] if last_rescue else round(recipe["warmup"] * start["total_steps"])
    # Logs of older versions lack "neutral", "accumulate", "devices" and "colorfulness_median".
    return LossCurve(
        ratios=[_divide(event["loss"], baseline, math.nan) for event in steps],
        neutrals=[_divide(event["neutral"], baseline, 1.0) for event in steps if "neutral" in event],
        warmup_steps=warmup,
        total_steps=(last_rescue or start)["total_steps"],
        validations=[Validation.from_event(event) for event in events if event["event"] == "validation"],
        mean_color=_divide(start["mean_color_loss"], baseline, NOTHING_LEARNED),
        photos_per_step=batch_size * recipe.get("accumulate", 1) * recipe.get("devices", 1),
        lr=(last_rescue or recipe)["lr"],
        colorfulness_median=start.get("colorfulness_median"),
        first_step=last_rescue["from_step"] if last_rescue else 0,
        rescues=len(rescues),
        names=RunNames.from_recipe(path.parent, str(start.get("manifest", "MANIFEST")), recipe),
    )


def _divide(value: float | None, baseline: float, default: float) -> float:
    """`value / baseline`; the default for null, which stands for NaN in a log."""
    return default if value is None else float(value) / baseline


def _read_csv(path: Path, neutral: float | None, means_of: int | None) -> LossCurve:
    table = pd.read_csv(
        io.StringIO(read_text(path)), skipinitialspace=True, comment="#", keep_default_na=False, na_values=[""]
    )
    if missing := {"step", "loss"} - set(table.columns):
        raise _NoCurveError(f"the column {' and '.join(sorted(missing))} is missing: name columns in its first line")
    table = table[[name for name in ("step", "loss", "neutral") if name in table]]
    table = _sort_steps(table.dropna().apply(_parse_numbers))  # loggers leave the loss empty in rows of other metrics
    assumption = ""
    if means_of is not None:
        table = _means_to_steps(table, means_of)
    elif table["step"].diff().median() > 1:
        assumption = "each row was read as the loss of one step: if rows are means of N steps, give --means N"
    baseline, error = _find_baseline(table, neutral)
    table = _reduce_rows(table)
    losses, neutrals = (table[name].to_numpy() if name in table else np.empty(0) for name in ("loss", "neutral"))
    return LossCurve(
        ratios=losses / baseline,
        warmup_steps=len(losses) // 10,  # unknown; the documented recipe's
        neutrals=neutrals / baseline,
        baseline="the mean of the first losses" if error else "the neutral loss",
        baseline_error=error,
        labels=table["step"].to_numpy(),
        assumption=assumption,
    )


def _parse_numbers(column: pd.Series[Any]) -> pd.Series[float]:
    if not pd.api.types.is_numeric_dtype(column):
        column = column.str.lower().replace(["none", "null", "na", "n/a"], "nan")
    return column.astype(float)


def _sort_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Bring rows into the order in which the steps were trained.

    A counter that restarts each epoch is continued. Where a run was resumed from an earlier step, the new rows replace
    the old ones of the same steps. Rows without any order are sorted by step.
    """
    steps = table["step"].to_numpy()
    back = np.flatnonzero(np.diff(steps) < 0) + 1  # rows at which the counter goes back
    if not len(back):
        return table
    if (steps[back] <= steps[0]).all() and steps[0] < steps[1]:  # restarts at its first value: a counter per epoch
        before = np.zeros(len(steps))
        before[back] = steps[back - 1]
        return table.assign(step=steps + before.cumsum())
    if len(back) > MAX_RESUMED_SHARE * len(steps):
        return table.sort_values("step", kind="stable")
    # Keep a row only if no later resumption starts at or before its step.
    resumed_at = np.full(len(steps) + 1, np.inf)
    resumed_at[back] = steps[back]
    earliest_later_resumption = np.minimum.accumulate(resumed_at[::-1])[::-1][1:]
    return table[steps < earliest_later_resumption]


def _means_to_steps(table: pd.DataFrame, means_of: int) -> pd.DataFrame:
    """Return `means_of` rows for each row, with the same mean, and with the noise of batches of 16 photos.

    Changes of the loss are compared with the noise from step to step, which a mean hides. If rows were only repeated,
    healthy means would look like trouble (docs/results/health.md).
    """
    signs = np.random.default_rng(0).permutation(np.resize([1.0, -1.0], means_of))  # alternating, pairs would cancel
    scatter = 1 + STEP_NOISE * np.tile(signs - signs.mean(), len(table))
    steps = table.loc[table.index.repeat(means_of)]
    return steps.assign(loss=steps["loss"] * scatter)


def _find_baseline(table: pd.DataFrame, neutral: float | None) -> tuple[float, float]:
    """Return the loss of predicting gray and its relative standard error; (1, 0) if no loss is finite.

    Raises:
        _NoCurveError: it is neither given nor can it be taken from the table.
    """
    losses = table["loss"].to_numpy()
    finite = losses[np.isfinite(losses)]
    if neutral or not len(finite):
        return neutral or 1.0, 0.0
    in_table = "neutral" in table
    baseline, error = (float(table["neutral"].mean()), 0.0) if in_table else _mean_of_start(finite[:WINDOW_STEPS])
    if not 0 < baseline < math.inf:
        name = "neutral losses" if in_table else "first losses"
        raise _NoCurveError(f"the mean of its {name} isn't a number above 0; give --neutral")
    return baseline, error


def _mean_of_start(losses: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of the first losses and its relative standard error.

    As few losses as possible are used, because the loss falls: enough that independent losses would give
    `MAX_BASELINE_ERROR`. The error of autocorrelated (smoothed) losses is larger by the share of the first loss in
    their mean, as all early values of an exponential moving average contain the first one.
    """
    if len(losses) <= MIN_BASELINE_ROWS:
        return float(losses.mean()) if len(losses) else math.nan, 1.0
    noise, autocorrelation = step_noise(losses, np.ones_like(losses), len(losses) // 2)
    count = int(np.clip((noise / MAX_BASELINE_ERROR) ** 2, MIN_BASELINE_ROWS, len(losses)))
    share_of_first = (1 - autocorrelation**count) / (1 - autocorrelation) / count
    return float(losses[:count].mean()), noise * math.hypot(count**-0.5, share_of_first)


def _reduce_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return at most `MAX_ROWS` rows: means of successive rows, with the step of the last one of each group.

    A group becomes NaN if it has only NaN or its last number is infinite, so that divergence is still visible.
    """
    size = -(-len(table) // MAX_ROWS)
    if size <= 1:
        return table
    table = table.iloc[len(table) % size :]
    group = np.arange(len(table)) // size
    last = table.groupby(group).last()
    means = table.where(np.isfinite(table)).groupby(group).mean()
    return means.assign(step=last["step"]).where(np.isfinite(last))
