"""What a run tells: JSON lines for programs, short lines for people, pictures for both."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from curate.errors import TrainingError
from train.health import Finding, Validation, examine, rung, summary

SAY_EVERY_S = 5.0


class Journal:
    """The log of one run: `log.jsonl`, one JSON object a line, and lines for people through `say`.

    Args:
        folder: the run's.
        neutral: loss of the neutral prediction on the training photos.
        total_steps, warmup_steps: of the run.
        after_step: keep the lines of an earlier run up to this step, drop later ones; 0 starts anew.
        say: prints a line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        neutral: float,
        total_steps: int,
        warmup_steps: int,
        after_step: int,
        say: Callable[[str], None],
    ) -> None:
        self.path = folder / "log.jsonl"
        self.neutral, self.total_steps, self.warmup_steps = neutral, total_steps, warmup_steps
        self.ratios: list[float] = []
        self.validations: list[Validation] = []
        self.findings: list[Finding] = []
        self._say = say
        self._started = self._said = time.monotonic()
        self._said_validation = -math.inf
        self._photos = 0
        self._first_step = after_step
        kept = self._keep(after_step)
        draft = folder / ".log.jsonl.draft"
        draft.write_text("".join(kept), encoding="utf-8")
        draft.replace(self.path)
        self._board = _tensorboard(folder, after_step)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # held as long as the journal

    def close(self) -> None:
        """Close the log; more lines raise."""
        self._file.close()
        if self._board:
            self._board.close()

    def sync(self) -> None:
        """Bring the lines to the disk, before a checkpoint relies on them."""
        os.fsync(self._file.fileno())

    def note(self, event: str, **facts: Any) -> None:
        """A line for programs."""
        line = {key: _json_number(value) for key, value in facts.items()}
        self._file.write(json.dumps({"event": event, **line}) + "\n")
        self._file.flush()

    def step(self, step: int, epoch: int, loss: float | None, lr: float, photos: int, wait_share: float = 0.0) -> None:
        """One optimizer step; without a loss if no photo of its batch could be read.

        `wait_share` is the part of the time so far, 0 to 1, in which the device waited for photos.
        """
        if loss is None:
            self.ratios.append(self.ratios[-1] if self.ratios else 1.0)
            self.note("step", step=step, epoch=epoch, loss=None, ratio=self.ratios[-1], lr=lr)
            return
        ratio = loss / self.neutral
        self.ratios.append(ratio)
        self._photos += photos
        self.note("step", step=step, epoch=epoch, loss=loss, ratio=ratio, lr=lr, wait_share=round(wait_share, 4))
        self._draw(step, {"loss": loss, "loss/neutral": ratio, "lr": lr})
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

    def validated(self, validation: Validation) -> None:
        """Held-out photos were looked at."""
        self.validations.append(validation)
        self.note("validation", **asdict(validation))
        self._draw(
            validation.step, {"val/loss/neutral": validation.ratio, "val/colorfulness": validation.colorfulness_share}
        )
        now = time.monotonic()
        if now - self._said_validation >= SAY_EVERY_S or validation.step == self.total_steps:
            self._said_validation = now
            self._say(
                f"  held out: loss {validation.loss:.4f}  {validation.ratio:.2f} of their neutral  "
                f"colourfulness {validation.colorfulness_share:.0%} of the originals'"
            )

    def _draw(self, step: int, scalars: dict[str, float]) -> None:
        if self._board:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)

    def check_health(self) -> None:
        """Say what is wrong, each kind once."""
        for finding in examine(self.ratios, self.warmup_steps, self.validations):
            if finding.kind not in {known.kind for known in self.findings}:
                self.findings.append(finding)
                self.note("finding", **asdict(finding), remedy=finding.remedy)
                self._say(f"! {finding}")

    def verdict(self) -> str:
        """The closing sentence about the loss."""
        recent = self.ratios[-100:]
        ratio = sum(recent) / len(recent)
        health = summary(self.findings, len(self.ratios))
        scale = f"{rung(ratio)} on the documented scale"
        return f"loss ÷ neutral {ratio:.2f} over the last {len(recent)} steps ({scale}); {health}"

    def _keep(self, after_step: int) -> list[str]:
        """Lines of an earlier run up to a step; what they say is known again."""
        if not after_step or not self.path.exists():
            return []
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            facts = self._parse(line)
            if facts is None or facts.get("step", 0) > after_step:
                break
            kept.append(line)
            self._remember(facts)
        if len(self.ratios) != after_step:
            raise TrainingError(f"{self.path} lacks steps before the checkpoint's {after_step}: start a new --run-dir")
        return kept

    @staticmethod
    def _parse(line: str) -> dict[str, Any] | None:
        try:
            facts = json.loads(line)
        except ValueError:
            return None
        return facts if isinstance(facts, dict) and line.endswith("\n") else None

    def _remember(self, facts: dict[str, Any]) -> None:
        if facts["event"] == "step":
            self.ratios.append(float(facts["ratio"] if facts["ratio"] is not None else math.nan))
        elif facts["event"] == "validation":
            known = {entry.name: facts[entry.name] for entry in fields(Validation)}
            unknown = {name: math.inf for name in ("ratio", "loss") if known[name] is None}
            self.validations.append(Validation(**known | unknown))
        elif facts["event"] == "finding":
            self.findings.append(Finding(facts["kind"], facts["step"], facts["evidence"]))


def _tensorboard(folder: Path, after_step: int) -> Any:
    """A TensorBoard writer for the run where TensorBoard is installed, else None."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
