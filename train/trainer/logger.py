"""The log of a run: events in `log.jsonl`, lines on the console, scalars in TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from curate.errors import TrainingError
from train.checkpoint import Rollback
from train.health.curve import LossCurve, Validation
from train.health.detectors import detect
from train.health.findings import Finding, describe_ending, recent_means, summarize_findings
from train.trainer.step import StepResult

PRINT_INTERVAL_S = 5.0
"""Shortest time in seconds between two console lines about steps, or about validations."""


class LogFile:
    """A run's `log.jsonl`: one JSON object a line, with its kind under `event`.

    Opening the file for a resumed run keeps the lines up to the checkpoint's step, byte for byte, and drops later ones.

    Args:
        run_dir: folder of the run.
        after_step: the last step to keep; 0 starts an empty file.

    Raises:
        TrainingError: the file lacks steps up to `after_step`; it is left unchanged.
    """

    def __init__(self, run_dir: Path, after_step: int) -> None:
        self.path = run_dir / "log.jsonl"
        kept = list(self._read_lines(after_step)) if after_step and self.path.exists() else []
        self.kept_events = [event for _, event in kept]
        """Events of the earlier run up to `after_step`, oldest first."""
        if sum(event["event"] == "step" for event in self.kept_events) != after_step:
            raise TrainingError(
                f"{self.path} lacks steps before the checkpoint's {after_step}: "
                "restore the run's log, or start a new --run-dir"
            )
        draft = run_dir / ".log.jsonl.draft"
        draft.write_text("".join(line for line, _ in kept), encoding="utf-8")
        draft.replace(self.path)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`

    def append(self, event: str, **facts: Any) -> None:
        """Write one event; numbers that JSON doesn't have (NaN, infinity) become null."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in facts.items()
        }
        self._file.write(json.dumps({"event": event, **values}) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Write the lines to the disk (fsync), before a checkpoint relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; `append` raises ValueError from then on."""
        self._file.close()

    def _read_lines(self, last_step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield lines and their events up to a step, or up to the first line that a crash cut short."""
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                event = json.loads(line)
            except ValueError:
                return
            if not isinstance(event, dict) or not line.endswith("\n") or event.get("step", 0) > last_step:
                return
            yield line, event


class RunLogger:
    """Records the events of a run in `log.jsonl`, in TensorBoard, on the console, and in memory for health checks.

    Args:
        run_dir: folder of the run.
        curve: facts about the run that health checks need; its losses are replaced by the logged ones.
        neutral: loss of predicting neutral gray on the training photos.
        total_steps: steps of the whole run.
        after_step: continue the log of an earlier run after this step; 0 starts a new log.
        say: prints a line on the console.

    Raises:
        TrainingError: the earlier run's log lacks steps up to `after_step`.
    """

    def __init__(
        self,
        run_dir: Path,
        curve: LossCurve,
        *,
        neutral: float,
        total_steps: int,
        after_step: int,
        say: Callable[[str], None],
    ) -> None:
        self.neutral, self.total_steps, self._curve = neutral, total_steps, curve
        self.ratios: list[float] = []
        """Loss ÷ `neutral` of each step; NaN for a skipped step."""
        self.neutrals: list[float] = []
        """Loss of predicting gray for each step's own photos ÷ `neutral`."""
        self.rates: list[float] = []
        """Learning rate of each step."""
        self.validations: list[Validation] = []
        self.findings: list[Finding] = []
        """One finding of each kind, since the last rollback."""
        self.has_findings = False
        """Whether the last health check found anything, new or known."""
        self._logged_rollbacks: set[int] = set()
        self._say = say
        self._start_time = self._last_step_line = time.monotonic()
        self._last_validation_line = -math.inf
        self._photos = 0
        self._first_step = after_step
        self._file = LogFile(run_dir, after_step)
        for event in self._file.kept_events:
            self._restore(event)
        self._tensorboard = _open_tensorboard(run_dir, after_step)

    def close(self) -> None:
        """Close the log; further events raise ValueError."""
        self._file.close()
        if self._tensorboard:
            self._tensorboard.close()

    def sync(self) -> None:
        """Write the log to the disk (fsync), before a checkpoint relies on it."""
        self._file.sync()

    def log_event(self, event: str, **facts: Any) -> None:
        """Write an event to `log.jsonl` only."""
        self._file.append(event, **facts)

    def log_step(
        self, step: int, epoch: int, result: StepResult | None, lr: float, photos: int, wait_share: float = 0.0
    ) -> None:
        """Record one optimizer step. The console shows the mean loss of the last 100 steps and its ratio to gray's.

        Args:
            step: counted from 1.
            epoch: counted from 0.
            result: losses of the step; None if no photo of its batch could be read.
            lr: learning rate of the step.
            photos: number of photos in the step.
            wait_share: part of the run's time so far that was spent waiting for photos, 0 to 1.
        """
        if result is None:
            self._append(None, None, lr)
            self.log_event("step", step=step, epoch=epoch, loss=None, neutral=None, ratio=None, lr=lr)
            return
        loss, ratio = result.loss, result.loss / result.neutral if result.neutral else math.nan
        self._append(loss, result.neutral, lr)
        self._photos += photos
        perceptual = {} if result.perceptual is None else {"perceptual": result.perceptual}
        values = {"loss": loss, "neutral": result.neutral, "ratio": ratio, "lr": lr} | perceptual
        self.log_event("step", step=step, epoch=epoch, **values, wait_share=round(wait_share, 4))
        if not math.isfinite(loss):
            return
        self._log_scalars(step, {"loss": loss, "loss/neutral": ratio, "lr": lr} | perceptual)
        now = time.monotonic()
        if step in (1, self.total_steps) or now - self._last_step_line >= PRINT_INTERVAL_S:
            self._last_step_line = now
            elapsed = max(1e-9, now - self._start_time)
            left_s = elapsed / (step - self._first_step) * (self.total_steps - step)
            mean, gray = recent_means(self.ratios, self.neutrals)
            self._say(
                f"step {step:>{len(str(self.total_steps))}}/{self.total_steps}  "
                f"loss {mean * self.neutral:.4f}  {mean / max(1e-12, gray):.2f} of neutral  "
                f"{self._photos / elapsed:.1f} photos/s  "
                f"{f'wait {wait_share:.0%}  ' if wait_share >= 0.01 else ''}{_format_duration(left_s)}"
            )

    def log_validation(self, validation: Validation) -> None:
        """Record a validation."""
        self.validations.append(validation)
        self.log_event("validation", **asdict(validation), score=validation.score)
        scalars = {"val/loss/neutral": validation.ratio, "val/colorfulness": validation.colorfulness_share}
        if validation.hue:
            scalars |= {"val/hue entropy": validation.hue.entropy_bits, "val/warm hues": validation.hue.warm}
        self._log_scalars(validation.step, scalars)
        now = time.monotonic()
        if now - self._last_validation_line >= PRINT_INTERVAL_S or validation.step == self.total_steps:
            self._last_validation_line = now
            self._say(
                f"  validation: loss {validation.loss:.4f}  {validation.ratio:.2f} of neutral  "
                f"colorfulness {validation.colorfulness_share:.0%} of the originals'"
                + ("  (worse than gray)" if validation.warning else "")
            )

    def _log_scalars(self, step: int, scalars: dict[str, float]) -> None:
        if self._tensorboard:
            for name, value in scalars.items():
                self._tensorboard.add_scalar(name, value, step)

    def log_skipped_step(self, step: int, bad_photos: list[str], photos: int) -> None:
        """Record a step that was skipped because its loss or a gradient is NaN or infinite.

        Args:
            step: counted from 1.
            bad_photos: names of the photos of which each alone causes it.
            photos: number of photos in the step.
        """
        self.log_event("lost step", step=step, photos=bad_photos)
        if len(bad_photos) == photos > 1:
            cause = " for every photo of the step, so the weights are the cause"
        elif bad_photos:
            cause = f" for {', '.join(bad_photos)}"
        else:
            cause = "; no single photo causes it"
        self._say(f"! skipped step {step:,}: loss or gradient is NaN or infinite{cause}")

    def log_rollback(self, number: int, rollback: Rollback, warmup: float) -> None:
        """Record a rollback that the run continues from, unless the log has it already.

        Args:
            number: counted from 1.
            rollback: from the checkpoint.
            warmup: share of the remaining steps in which the learning rate rises.
        """
        if rollback.from_step not in self._logged_rollbacks:
            warmup_steps = round(warmup * (rollback.total_steps - rollback.from_step))
            facts = asdict(rollback)
            self.log_event("rescue", step=rollback.from_step, number=number, warmup_steps=warmup_steps, **facts)

    def loss_curve(self) -> LossCurve:
        """Return the losses of all steps and all validations so far, for the health check."""
        return replace(self._curve, ratios=self.ratios, neutrals=self.neutrals, validations=self.validations)

    def check_health(self) -> list[Finding]:
        """Check the run's health, record and print the first finding of each kind, and return these new findings."""
        findings = detect(self.loss_curve().until(len(self.ratios)))
        self.has_findings = bool(findings)
        known = {finding.kind for finding in self.findings}
        if "divergence" in known:
            known.add("oscillation")  # often follows divergence, and has the same remedy
        new = [finding for finding in findings if finding.kind not in known]
        for finding in new:
            self.findings.append(finding)
            self.log_event("finding", **asdict(finding))
            self._say(f"! {finding}")
        return new

    def verdict(self) -> str:
        """Return a sentence about the final loss and the findings."""
        health = summarize_findings(self.findings, len(self.ratios))
        warning = f"; {self.validations[-1].warning}" if self.validations and self.validations[-1].warning else ""
        return f"ending {describe_ending(self.ratios, self.neutrals)}; {health}{warning}"

    def _restore(self, event: dict[str, Any]) -> None:
        """Add an event of the earlier run to the lists in memory."""
        if event["event"] == "step":
            loss, neutral = event["loss"], event["neutral"]
            self._append(math.nan if loss is None and neutral is not None else loss, neutral, event["lr"])
        elif event["event"] == "validation":
            self.validations.append(Validation.from_event(event))
        elif event["event"] == "finding":
            self.findings.append(Finding(event["kind"], event["step"], event["evidence"], event["remedy"]))
        elif event["event"] == "rescue":
            self._logged_rollbacks.add(event["from_step"])
            self.findings.clear()  # they are about weights that the rollback discarded

    def _append(self, loss: float | None, neutral: float | None, lr: float) -> None:
        """Add a step to the lists. Health checks need a value for each: without a readable photo, repeat the last."""
        if loss is None or neutral is None:
            self.ratios.append(self.ratios[-1] if self.ratios else 1.0)
            self.neutrals.append(self.neutrals[-1] if self.neutrals else 1.0)
        else:
            self.ratios.append(loss / self.neutral)
            self.neutrals.append(neutral / self.neutral)
        self.rates.append(lr)


def _open_tensorboard(run_dir: Path, after_step: int) -> Any:
    """Return a TensorBoard writer for the run if TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run_dir / "tensorboard"), purge_step=after_step + 1)


def _format_duration(seconds: float) -> str:
    """Return the remaining time.

    >>> _format_duration(7), _format_duration(301), _format_duration(7260)
    ('7 s left', '5:01 left', '2:01:00 left')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d} left"
    return f"{minutes}:{seconds:02d} left" if minutes else f"{seconds} s left"
