"""What a run tells: JSON lines for programs, short lines for people, pictures for both."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from curate.errors import TrainingError
from train.checkpoint import Rescue
from train.findings import Finding, ending, summary
from train.health import Trace, Validation, examine
from train.step import Step

SAY_EVERY_S = 5.0


class Journal:
    """The log of one run: `log.jsonl`, one JSON object a line, and lines for people through `say`.

    Args:
        folder: the run's.
        known: what health needs to know beside the losses.
        neutral: loss of the neutral prediction on the training photos.
        total_steps: of the run.
        after_step: keep the lines of an earlier run up to this step, drop later ones; 0 starts anew.
        say: prints a line.
    """

    def __init__(
        self,
        folder: Path,
        known: Trace,
        *,
        neutral: float,
        total_steps: int,
        after_step: int,
        say: Callable[[str], None],
    ) -> None:
        self.path = folder / "log.jsonl"
        self.neutral, self.total_steps, self._known = neutral, total_steps, known
        self.ratios: list[float] = []
        self.neutrals: list[float] = []
        self.rates: list[float] = []
        self.validations: list[Validation] = []
        self.findings: list[Finding] = []
        self.troubled = False
        """Whether health saw anything when it last looked, known or new."""
        self._rescued_to: set[int] = set()
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

    def step(
        self, step: int, epoch: int, learned: Step | None, lr: float, photos: int, wait_share: float = 0.0
    ) -> None:
        """One optimizer step; None if no photo of its batch could be read.

        `wait_share` is the part of the time so far, 0 to 1, in which the device waited for photos.
        """
        if learned is None:
            self._add(self.ratios[-1] if self.ratios else 1.0, self.neutrals[-1] if self.neutrals else 1.0, lr)
            self.note("step", step=step, epoch=epoch, loss=None, neutral=None, ratio=self.ratios[-1], lr=lr)
            return
        loss, ratio = learned.loss, learned.loss / self.neutral
        self._add(ratio, learned.neutral / self.neutral, lr)
        self._photos += photos
        look = {} if learned.perceptual is None else {"perceptual": learned.perceptual}
        numbers = {"loss": loss, "neutral": learned.neutral, "ratio": ratio, "lr": lr} | look
        self.note("step", step=step, epoch=epoch, **numbers, wait_share=round(wait_share, 4))
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

    def validated(self, validation: Validation) -> None:
        """Held-out photos were looked at."""
        self.validations.append(validation)
        self.note("validation", **asdict(validation), score=validation.score)
        self._draw(
            validation.step, {"val/loss/neutral": validation.ratio, "val/colorfulness": validation.colorfulness_share}
        )
        now = time.monotonic()
        if now - self._said_validation >= SAY_EVERY_S or validation.step == self.total_steps:
            self._said_validation = now
            self._say(
                f"  held out: loss {validation.loss:.4f}  {validation.ratio:.2f} of their neutral  "
                f"colourfulness {validation.colorfulness_share:.0%} of the originals'"
                + ("  (gray costs less)" if validation.note else "")
            )

    def _draw(self, step: int, scalars: dict[str, float]) -> None:
        if self._board:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)

    def lost(self, step: int, photos: list[str], of: int) -> None:
        """A step of so many photos whose loss or gradients were no numbers, and the photos at fault."""
        self.note("lost step", step=step, photos=photos)
        fault = f"on {', '.join(photos)}" if photos else "by no single photo's fault"
        if len(photos) == of > 1:
            fault = "on every photo of it: the weights are at fault"
        self._say(f"! step {step:,} left out: its loss or gradients are no numbers, {fault}")

    def rescued(self, number: int, done: Rescue, warmup: float) -> None:
        """A rescue that the run goes on from, once."""
        if done.from_step not in self._rescued_to:
            warmup_steps = round(warmup * (done.total_steps - done.from_step))
            self.note("rescue", step=done.from_step, number=number, warmup_steps=warmup_steps, **asdict(done))

    def trace(self) -> Trace:
        """Everything so far, as health judges it."""
        return replace(self._known, ratios=self.ratios, neutrals=self.neutrals, validations=self.validations)

    def check_health(self) -> list[Finding]:
        """Say what is wrong, each kind once; what is new."""
        found = examine(self.trace().until(len(self.ratios)))
        self.troubled = bool(found)
        known = {finding.kind for finding in self.findings}
        if "divergence" in known:
            known.add("oscillation")  # follows, and has the same remedy
        new = [finding for finding in found if finding.kind not in known]
        for finding in new:
            self.findings.append(finding)
            self.note("finding", **asdict(finding))
            self._say(f"! {finding}")
        return new

    def verdict(self) -> str:
        """The closing sentence about the loss."""
        health = summary(self.findings, len(self.ratios))
        note = f"; {self.validations[-1].note}" if self.validations and self.validations[-1].note else ""
        return f"ending {ending(self.ratios, self.neutrals)}; {health}{note}"

    def _keep(self, after_step: int) -> list[str]:
        """Lines of an earlier run up to a step; what they say is known again."""
        if not after_step:
            return []
        kept = []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        for line in lines:
            facts = self._parse(line)
            if facts is None or facts.get("step", 0) > after_step:
                break
            kept.append(line)
            self._remember(facts)
        if len(self.ratios) != after_step:
            raise TrainingError(
                f"{self.path} lacks steps before the checkpoint's {after_step}: "
                "put the run's log back, or start a new --run-dir"
            )
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
            ratio, neutral = facts["ratio"], facts["neutral"]
            self._add(
                math.nan if ratio is None else ratio,
                (self.neutrals[-1] if self.neutrals else 1.0) if neutral is None else neutral / self.neutral,
                facts["lr"],
            )
        elif facts["event"] == "validation":
            known = {entry.name: facts[entry.name] for entry in fields(Validation)}
            unknown = {name: math.inf for name in ("ratio", "loss") if known[name] is None}
            self.validations.append(Validation(**known | unknown))
        elif facts["event"] == "finding":
            self.findings.append(Finding(facts["kind"], facts["step"], facts["evidence"], facts["remedy"]))
        elif facts["event"] == "rescue":
            self._rescued_to.add(facts["from_step"])
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


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
