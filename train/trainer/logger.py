"""The log of a run: events in `log.jsonl` for programs, lines on the console for people, scalars for TensorBoard."""

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
from train.health.detectors import LossCurve, Validation, detect
from train.health.findings import Finding, describe_ending, summarize_findings
from train.trainer.step import StepResult

SAY_EVERY_S = 5.0
"""Shortest time in seconds between two lines on the console about steps, or about validations."""


class LogFile:
    """A run's `log.jsonl`: one JSON object a line, with its kind under `event`.

    Opening the file for a resumed run keeps the lines up to the checkpoint's step, byte for byte, and drops later ones.

    Args:
        folder: the run's.
        after_step: the last step to keep; 0 starts an empty file.

    Raises:
        TrainingError: the file lacks steps up to `after_step`; it is left as it was.
    """

    def __init__(self, folder: Path, after_step: int) -> None:
        self.path = folder / "log.jsonl"
        kept = list(self._lines(after_step)) if after_step and self.path.exists() else []
        self.kept_events = [event for _, event in kept]
        """Events of the earlier run up to `after_step`, oldest first."""
        if sum(event["event"] == "step" for event in self.kept_events) != after_step:
            raise TrainingError(
                f"{self.path} lacks steps before the checkpoint's {after_step}: "
                "put the run's log back, or start a new --run-dir"
            )
        draft = folder / ".log.jsonl.draft"
        draft.write_text("".join(line for line, _ in kept), encoding="utf-8")
        draft.replace(self.path)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`

    def append(self, event: str, **facts: Any) -> None:
        """Write one event; numbers that JSON doesn't have (NaN, infinity) become null."""
        line = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in facts.items()
        }
        self._file.write(json.dumps({"event": event, **line}) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Bring the lines to the disk, before a checkpoint relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; `append` raises ValueError from then on."""
        self._file.close()

    def _lines(self, last_step: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Lines and their events up to a step, or up to the first line that a crash cut short."""
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                event = json.loads(line)
            except ValueError:
                return
            if not isinstance(event, dict) or not line.endswith("\n") or event.get("step", 0) > last_step:
                return
            yield line, event


class RunLogger:
    """Records what happens in a run: in memory for health and plots, in `log.jsonl`, TensorBoard and on the console.

    Args:
        folder: the run's.
        known: what health needs to know beside the losses.
        neutral: loss of the neutral prediction on the training photos.
        total_steps: of the run.
        after_step: go on after this step of an earlier run; 0 starts a new log.
        say: prints a line on the console.

    Raises:
        TrainingError: the earlier run's log lacks steps up to `after_step`.
    """

    def __init__(
        self,
        folder: Path,
        known: LossCurve,
        *,
        neutral: float,
        total_steps: int,
        after_step: int,
        say: Callable[[str], None],
    ) -> None:
        self.neutral, self.total_steps, self._known = neutral, total_steps, known
        self.ratios: list[float] = []
        self.neutrals: list[float] = []
        self.rates: list[float] = []
        self.validations: list[Validation] = []
        self.findings: list[Finding] = []
        self.troubled = False
        """Whether the last health check found anything, known or new."""
        self._rescued_to: set[int] = set()
        self._say = say
        self._started = self._said = time.monotonic()
        self._said_validation = -math.inf
        self._photos = 0
        self._first_step = after_step
        self._file = LogFile(folder, after_step)
        for event in self._file.kept_events:
            self._restore(event)
        self._board = _tensorboard(folder, after_step)

    def close(self) -> None:
        """Close the log; further events raise."""
        self._file.close()
        if self._board:
            self._board.close()

    def sync(self) -> None:
        """Bring the log to the disk, before a checkpoint relies on it."""
        self._file.sync()

    def log_event(self, event: str, **facts: Any) -> None:
        """Write an event to `log.jsonl` only."""
        self._file.append(event, **facts)

    def log_step(
        self, step: int, epoch: int, learned: StepResult | None, lr: float, photos: int, wait_share: float = 0.0
    ) -> None:
        """Record one optimizer step; None if no photo of its batch could be read.

        `wait_share` is the part of the time so far, 0 to 1, in which the device waited for photos.
        """
        if learned is None:
            self._add(self.ratios[-1] if self.ratios else 1.0, self.neutrals[-1] if self.neutrals else 1.0, lr)
            self.log_event("step", step=step, epoch=epoch, loss=None, neutral=None, ratio=self.ratios[-1], lr=lr)
            return
        loss, ratio = learned.loss, learned.loss / self.neutral
        self._add(ratio, learned.neutral / self.neutral, lr)
        self._photos += photos
        look = {} if learned.perceptual is None else {"perceptual": learned.perceptual}
        numbers = {"loss": loss, "neutral": learned.neutral, "ratio": ratio, "lr": lr} | look
        self.log_event("step", step=step, epoch=epoch, **numbers, wait_share=round(wait_share, 4))
        if not math.isfinite(loss):
            return
        self._draw(step, {"loss": loss, "loss/neutral": ratio, "lr": lr} | look)
        now = time.monotonic()
        if step in (1, self.total_steps) or now - self._said >= SAY_EVERY_S:
            self._said = now
            elapsed = max(1e-9, now - self._started)
            left_s = elapsed / (step - self._first_step) * (self.total_steps - step)
            self._say(
                f"step {step:>{len(str(self.total_steps))}}/{self.total_steps}  "
                f"loss {loss:.4f}  {ratio:.2f} of neutral  "
                f"lr {lr:.1e}  {self._photos / elapsed:.1f} photos/s  waits {wait_share:.1%}  {_duration(left_s)} left"
            )

    def log_validation(self, validation: Validation) -> None:
        """Record a validation on the held-out photos."""
        self.validations.append(validation)
        self.log_event("validation", **asdict(validation), score=validation.score)
        self._draw(
            validation.step, {"val/loss/neutral": validation.ratio, "val/colorfulness": validation.colorfulness_share}
        )
        now = time.monotonic()
        if now - self._said_validation >= SAY_EVERY_S or validation.step == self.total_steps:
            self._said_validation = now
            self._say(
                f"  held out: loss {validation.loss:.4f}  {validation.ratio:.2f} of their neutral  "
                f"colourfulness {validation.colorfulness_share:.0%} of the originals'"
                + ("  (gray costs less)" if validation.warning else "")
            )

    def _draw(self, step: int, scalars: dict[str, float]) -> None:
        if self._board:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)

    def log_lost_step(self, step: int, photos: list[str], of: int) -> None:
        """Record a step of `of` photos whose loss or gradients are NaN or infinite, and the photos that cause it."""
        self.log_event("lost step", step=step, photos=photos)
        fault = f"on {', '.join(photos)}" if photos else "by no single photo's fault"
        if len(photos) == of > 1:
            fault = "on every photo of it: the weights are at fault"
        self._say(f"! step {step:,} left out: its loss or gradients are no numbers, {fault}")

    def log_rescue(self, number: int, done: Rollback, warmup: float) -> None:
        """Record a rescue that the run continues from, if the log doesn't have it yet."""
        if done.from_step not in self._rescued_to:
            warmup_steps = round(warmup * (done.total_steps - done.from_step))
            self.log_event("rescue", step=done.from_step, number=number, warmup_steps=warmup_steps, **asdict(done))

    def trace(self) -> LossCurve:
        """Return all steps and validations so far, for the health check."""
        return replace(self._known, ratios=self.ratios, neutrals=self.neutrals, validations=self.validations)

    def check_health(self) -> list[Finding]:
        """Check the run's health, record each kind of finding once, and return the new ones."""
        found = detect(self.trace().until(len(self.ratios)))
        self.troubled = bool(found)
        known = {finding.kind for finding in self.findings}
        if "divergence" in known:
            known.add("oscillation")  # follows, and has the same remedy
        new = [finding for finding in found if finding.kind not in known]
        for finding in new:
            self.findings.append(finding)
            self.log_event("finding", **asdict(finding))
            self._say(f"! {finding}")
        return new

    def verdict(self) -> str:
        """Return a sentence about the final loss and the findings."""
        health = summarize_findings(self.findings, len(self.ratios))
        note = f"; {self.validations[-1].warning}" if self.validations and self.validations[-1].warning else ""
        return f"ending {describe_ending(self.ratios, self.neutrals)}; {health}{note}"

    def _restore(self, event: dict[str, Any]) -> None:
        """Take an event of the earlier run over into memory."""
        if event["event"] == "step":
            ratio, neutral = event["ratio"], event["neutral"]
            self._add(
                math.nan if ratio is None else ratio,
                (self.neutrals[-1] if self.neutrals else 1.0) if neutral is None else neutral / self.neutral,
                event["lr"],
            )
        elif event["event"] == "validation":
            self.validations.append(Validation.from_event(event))
        elif event["event"] == "finding":
            self.findings.append(Finding(event["kind"], event["step"], event["evidence"], event["remedy"]))
        elif event["event"] == "rescue":
            self._rescued_to.add(event["from_step"])
            self.findings.clear()  # what went before is left behind

    def _add(self, ratio: float, neutral: float, lr: float) -> None:
        self.ratios.append(ratio)
        self.neutrals.append(neutral)
        self.rates.append(lr)


def _tensorboard(folder: Path, after_step: int) -> Any:
    """A TensorBoard writer for the run where TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
