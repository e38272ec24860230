"""Looking back: what a finished run's log, or somebody else's loss curve, says of its health."""

from __future__ import annotations

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
from train.health.detectors import NOTHING_LEARNED, LossCurve, Validation, detect_all
from train.health.findings import REMEDIES, WINDOW_STEPS, Finding, describe_ending, summarize_findings
from train.health.loss_noise import lost_stretches, step_noise

MOST_ROWS = 20_000
"""Longer tables are judged as means of rows."""
MOST_RESUMED = 0.1
"""Share of rows before which the step counter may go back, because the run was resumed."""
FEWEST_ROWS = 10
STEP_NOISE = 1 / 3
"""Relative standard deviation of one step's loss, assumed for rows that are means; see `train.noise.window_means`."""
MOST_DOUBT = 0.05
"""So well should the mean of a curve's first losses be known."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A verdict, and everything that is wrong."""

    verdict: str
    findings: list[Finding]

    def as_json(self) -> str:
        """`{"verdict": ..., "findings": [{kind, step, evidence, remedy}]}`."""
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps({"verdict": self.verdict, "findings": findings}, ensure_ascii=False)


def diagnose(trace: LossCurve) -> Diagnosis:
    """Judge a whole curve; of a run that rescued itself, what came after. Divergence comes first."""
    steps = len(trace.ratios)
    findings = sorted(detect_all(trace), key=lambda finding: finding.kind != "divergence")
    lost = lost_stretches(trace.ratios)
    if not math.isfinite(trace.ratios[-1]) and "divergence" not in {finding.kind for finding in findings}:
        findings.insert(0, Finding("divergence", lost[-1][0], "the last loss is no number", REMEDIES["divergence"]))
    if len(trace.labels):
        findings = [replace(finding, step=int(trace.labels[finding.step - 1])) for finding in findings]
    state = summarize_findings(findings, steps - trace.first_step)
    ended = describe_ending(trace.ratios, trace.neutrals, trace.baseline)
    head = f"{pluralize(steps, 'loss' if len(trace.labels) else 'step')}, ending {ended}"
    since = f"; rescued, judged since step {trace.first_step:,}" if trace.rescues else ""
    notes = [f"; {note}" for note in (_lost(trace, lost), trace.assumption) if note]
    return Diagnosis(f"{head}{since}; {state}{''.join(notes)}", findings)


def _lost(trace: LossCurve, lost: list[tuple[int, int]]) -> str:
    if not lost:
        return ""
    count, first = sum(many for _, many in lost), lost[0][0]
    step = int(trace.labels[first - 1]) if len(trace.labels) else first
    return (
        f"{pluralize(count, 'loss')} {'is no number' if count == 1 else 'are no numbers'}, the first at step {step:,}"
    )


def read_trace(path: Path, neutral: float | None = None, means_of: int | None = None) -> LossCurve:
    """A curve from a run's folder, its log.jsonl, or a CSV file with the columns `step` and `loss`.

    Args:
        path: folder or file.
        neutral: what the neutral prediction costs; without it a run's own, or the mean of a CSV's first 10 to 100 rows.
        means_of: each row of a CSV is the mean of this many steps; None: each is the loss of one step.

    Raises:
        TrainingError: nothing to judge there.
        UsageError: a run's own log holds no means.
    """
    if path.is_dir():
        path = path / "log.jsonl"
    if not path.exists():
        raise TrainingError(f"{path} doesn't exist: name a run's folder, or a CSV file with the columns step,loss")
    if means_of and path.suffix == ".jsonl":
        raise UsageError(f"{path} holds the loss of every step: leave out --means, which is for CSV files")
    try:
        trace = _from_log(path, neutral) if path.suffix == ".jsonl" else _from_csv(path, neutral, means_of)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as exc:
        kind = "a run's log" if path.suffix == ".jsonl" else "a table with the columns step,loss and a number in each"
        raise TrainingError(f"{path} can't be judged: it is not {kind}{_why(exc)}") from exc
    if not len(trace.ratios):
        raise TrainingError(f"{path} holds no steps yet: train some first")
    return trace


def _why(exc: Exception) -> str:
    """What we said ourselves or the system says; a library's own words tell a user nothing."""
    if isinstance(exc, OSError):
        return f" that can be read ({exc.strerror})"
    return f": {exc}" if isinstance(exc, _NoCurveError) else ": name a run's folder or such a file"


class _NoCurveError(ValueError):
    """Why a table is no loss curve, in our words."""


def _from_log(path: Path, neutral: float | None) -> LossCurve:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    start = next(line for line in lines if line["event"] in ("start", "resumed"))
    rescues = [line for line in lines if line["event"] == "rescue"]
    began = rescues[-1] if rescues else None
    baseline = neutral or float(start["neutral_loss"])
    steps = [line for line in lines if line["event"] == "step"]
    recipe = start["recipe"]
    batch_size = (began or recipe)["batch_size"]
    warmup = began["warmup_steps"] if began else round(recipe["warmup"] * start["total_steps"])
    return LossCurve(
        ratios=[_number(line["loss"], baseline, math.nan) for line in steps],
        neutrals=[_number(line["neutral"], baseline, 1.0) for line in steps if "neutral" in line],  # not in old logs
        warmup_steps=warmup,
        validations=[Validation.from_event(line) for line in lines if line["event"] == "validation"],
        mean_color=_number(start["mean_color_loss"], baseline, NOTHING_LEARNED),
        photos_per_step=batch_size * recipe.get("accumulate", 1) * recipe.get("devices", 1),  # not in old logs
        lr=(began or recipe)["lr"],
        colorfulness_median=start.get("colorfulness_median"),
        first_step=began["from_step"] if began else 0,
        rescues=len(rescues),
    )


def _number(value: float | None, baseline: float, unknown: float) -> float:
    return unknown if value is None else float(value) / baseline


def _from_csv(path: Path, neutral: float | None, means_of: int | None) -> LossCurve:
    table = pd.read_csv(path, skipinitialspace=True, comment="#", keep_default_na=False, na_values=[""])
    if missing := {"step", "loss"} - set(table.columns):
        raise _NoCurveError(f"it lacks the column {' and '.join(sorted(missing))}: name columns so in its first line")
    table = table[[name for name in ("step", "loss", "neutral") if name in table]]
    table = _in_order(table.dropna().apply(_numbers))  # loggers leave a loss blank in other things' rows
    note = ""
    if means_of is not None:
        table = _as_steps(table, means_of)
    elif table["step"].diff().median() > 1:
        note = "each row was read as the loss of one step: if rows are means of N steps, give --means N"
    return replace(_trace(table, _baseline(table, neutral)), assumption=note)


def _baseline(table: pd.DataFrame, neutral: float | None) -> tuple[float, float]:
    """What the neutral prediction costs, and how doubtful that is, relative; 1 where no loss is a number."""
    losses = table["loss"].to_numpy()
    known = losses[np.isfinite(losses)]
    baseline, doubt = neutral or 1.0, 0.0
    if len(known) and not neutral:
        given = "neutral" in table
        baseline, doubt = (float(table["neutral"].mean()), 0.0) if given else _start(known[:WINDOW_STEPS])
        if not 0 < baseline < math.inf:
            first = "neutral losses" if given else "first losses"
            raise _NoCurveError(f"the mean of its {first} isn't a number above 0; give --neutral")
    return baseline, doubt


def _trace(table: pd.DataFrame, base: tuple[float, float]) -> LossCurve:
    table = _thinned(table)
    baseline, doubt = base
    losses, neutrals = (table[name].to_numpy() if name in table else np.empty(0) for name in ("loss", "neutral"))
    return LossCurve(
        ratios=losses / baseline,
        warmup_steps=len(losses) // 10,
        neutrals=neutrals / baseline,
        baseline="the start" if doubt else "neutral",
        baseline_error=doubt,
        labels=table["step"].to_numpy(),
    )


def _as_steps(table: pd.DataFrame, means_of: int) -> pd.DataFrame:
    """Return `means_of` rows for each row, with its mean, and with the noise of batches of 16 photos.

    Health compares changes with the noise from step to step, which a mean hides. If rows were only repeated, healthy
    means would look like trouble (docs/results/health.md).
    """
    signs = np.random.default_rng(0).permutation(np.resize([1.0, -1.0], means_of))  # in turn, pairs would cancel
    scatter = 1 + STEP_NOISE * np.tile(signs - signs.mean(), len(table))
    steps = table.loc[table.index.repeat(means_of)]
    return steps.assign(loss=steps["loss"] * scatter)


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    if not pd.api.types.is_numeric_dtype(column):
        column = column.str.lower().replace(["none", "null", "na", "n/a"], "nan")
    return column.astype(float)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order in which they were learned, whatever became of the step counter.

    Counters that begin anew, each epoch say, go on; where a run was resumed, its new rows stand for the old ones;
    rows that are in no order at all are sorted.
    """
    steps = table["step"].to_numpy()
    back = np.flatnonzero(np.diff(steps) < 0) + 1
    if not len(back):
        return table
    if (steps[back] <= steps[0]).all() and steps[0] < steps[1]:
        before = np.zeros(len(steps))
        before[back] = steps[back - 1]
        return table.assign(step=steps + before.cumsum())
    if len(back) > MOST_RESUMED * len(steps):
        return table.sort_values("step", kind="stable")
    again = np.full(len(steps) + 1, np.inf)
    again[back] = steps[back]
    learned_again_from = np.minimum.accumulate(again[::-1])[::-1][1:]
    return table[steps < learned_again_from]


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_ROWS`: means of so many rows each, as the last of them is called; no number where that is none."""
    size = -(-len(table) // MOST_ROWS)
    if size <= 1:
        return table
    table = table.iloc[len(table) % size :]
    group = np.arange(len(table)) // size
    last = table.groupby(group).last()
    means = table.where(np.isfinite(table)).groupby(group).mean()
    return means.assign(step=last["step"]).where(np.isfinite(last))


def _start(losses: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of the first losses, and its standard error over it: of as few as will do, since they fall.

    A smoothed curve's first losses are all much like its very first.
    """
    if len(losses) <= FEWEST_ROWS:
        return float(losses.mean()) if len(losses) else math.nan, 1.0
    noise, follows = step_noise(losses, np.ones_like(losses), len(losses) // 2)
    count = int(np.clip((noise / MOST_DOUBT) ** 2, FEWEST_ROWS, len(losses)))
    like_first = (1 - follows**count) / (1 - follows) / count
    return float(losses[:count].mean()), noise * math.hypot(count**-0.5, like_first)
