"""Looking back: what a finished run's log, or somebody else's loss curve, says of its health."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import TrainingError
from train.health import WINDOW_STEPS, Finding, Validation, history, rung, summary


@dataclass(frozen=True, slots=True)
class Trace:
    """A loss curve over what it is measured by."""

    ratios: list[float]
    """Loss ÷ neutral of every step."""
    warmup_steps: int
    validations: list[Validation]
    baseline: str
    """What the losses were divided by, in words."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A verdict, and everything that is wrong."""

    verdict: str
    findings: list[Finding]

    def as_json(self) -> str:
        """`{"verdict": ..., "findings": [{kind, step, evidence, remedy}]}`."""
        findings = [
            {"kind": finding.kind, "step": finding.step, "evidence": finding.evidence, "remedy": finding.remedy}
            for finding in self.findings
        ]
        return json.dumps({"verdict": self.verdict, "findings": findings}, ensure_ascii=False)


def diagnose(trace: Trace) -> Diagnosis:
    """Judge a whole curve."""
    findings = history(trace.ratios, trace.warmup_steps, trace.validations)
    recent = trace.ratios[-WINDOW_STEPS:]
    ratio = sum(recent) / len(recent)
    state = summary(findings, len(trace.ratios))
    ended = f"{ratio:.2f} of {trace.baseline} over the last {len(recent)} ({rung(ratio)} on the documented scale)"
    return Diagnosis(f"{len(trace.ratios):,} steps, ending at {ended}; {state}", findings)


def read_trace(path: Path, neutral: float | None = None) -> Trace:
    """A curve from a run's folder, its log.jsonl, or a CSV file with the columns `step` and `loss`.

    Args:
        path: folder or file.
        neutral: what the neutral prediction costs; without it a run's own, or the mean of a CSV's first 100 steps.

    Raises:
        TrainingError: nothing to judge there.
    """
    if path.is_dir():
        path = path / "log.jsonl"
    if not path.exists():
        raise TrainingError(f"{path} doesn't exist: name a run's folder, or a CSV file with the columns step,loss")
    try:
        trace = _from_log(path, neutral) if path.suffix == ".jsonl" else _from_csv(path, neutral)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        why = " ".join(str(exc).split())[:150]
        raise TrainingError(
            f"{path} can't be judged ({why}): it takes a run's log.jsonl, or a CSV file with the columns step,loss"
        ) from exc
    if not trace.ratios:
        raise TrainingError(f"{path} holds no steps yet: train some first")
    return trace


def _from_log(path: Path, neutral: float | None) -> Trace:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    start = next(line for line in lines if line["event"] == "start")
    baseline = neutral or float(start["neutral_loss"])
    steps = [line for line in lines if line["event"] == "step"]
    known = [entry.name for entry in fields(Validation)]
    return Trace(
        ratios=[line["ratio"] * float(start["neutral_loss"]) / baseline for line in steps],
        warmup_steps=round(start["recipe"]["warmup"] * start["total_steps"]),
        validations=[
            _validation({name: line[name] for name in known}) for line in lines if line["event"] == "validation"
        ],
        baseline="neutral",
    )


def _validation(facts: dict[str, Any]) -> Validation:
    return Validation(**facts | {name: math.inf for name in ("ratio", "loss") if facts[name] is None})


def _from_csv(path: Path, neutral: float | None) -> Trace:
    losses = pd.read_csv(path, usecols=["step", "loss"]).sort_values("step", kind="stable")["loss"].astype(float)
    baseline = neutral or float(losses.head(WINDOW_STEPS).mean())
    if not baseline > 0:
        raise ValueError("the baseline isn't above 0; give --neutral")
    name = "neutral" if neutral else f"the first {min(WINDOW_STEPS, len(losses))} steps"
    return Trace((losses / baseline).tolist(), len(losses) // 10, [], name)
