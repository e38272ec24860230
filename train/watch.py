"""What one process does beside the steps: words, log, held-out photos, health, pictures and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

import torch

from curate.errors import TrainingError
from train import page, rescue
from train.feeding import Waiting
from train.findings import Finding
from train.health import LOOK_STEPS, MOST_LOST_STEPS, Trace
from train.journal import Journal
from train.pictures import loss_plot, save_picture
from train.processes import Request
from train.recipe import Recipe
from train.run import Run, checkpoint_due, save
from train.step import Step
from train.validate import Baselines, measure_baselines, sample_sheet, validate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run comes to."""

    run_dir: Path
    steps: int
    verdict: str
    healthy: bool


class Next(IntEnum):
    """What all processes do after a step."""

    GO_ON = 0
    STOP = 1
    """As if Ctrl-C had been pressed."""
    RESCUE = 2
    """Start again from last.safetensors, which was made for that."""


class Watch:
    """The eyes and the pen of a run.

    Args:
        run: to be watched.
        waiting: measures how long its steps wait for photos.
        say: prints a line for people.

    Raises:
        TrainingError: the photos have no colour, or none can be read.
    """

    def __init__(self, run: Run, waiting: Waiting, say: Callable[[str], None]) -> None:
        self.run, self.waiting, self.say = run, waiting, say
        self.baselines = measure_baselines(run)
        run.neutral_loss = self.baselines.neutral
        self.journal = _open_journal(run, self.baselines, say)
        rescue.forget_later(run)
        if run.step == run.began[0]:
            rescue.keep_healthy(run)

    def close(self) -> None:
        """Close the log."""
        self.journal.close()

    def outcome(self) -> Outcome:
        """What the finished run comes to."""
        return Outcome(self.run.folder, self.run.step, self.journal.verdict(), not self.journal.findings)

    def unreadable(self, errors: list[tuple[int, str]]) -> None:
        """Name photos that a batch had to do without."""
        for photo, reason in errors:
            name = self.run.photos.train.name(photo)
            self.journal.note("photo error", step=self.run.step + 1, photo=name, error=reason)
            self.say(f"! left out: {name}: {reason}")

    def after(self, step: Step | None, lr: float, photos: int, *, stopping: Request) -> Next:
        """Everything that follows a step."""
        run, journal = self.run, self.journal
        epoch, epoch_ends = run.epoch()
        if step and step.lost is not None:
            journal.lost(run.step, [run.photos.train.name(photo) for photo in step.lost], photos)
        journal.step(run.step, epoch, step, lr, photos, self.waiting.share)
        if epoch_ends and (seen := validate(run)):
            journal.validated(seen)
        if run.step % LOOK_STEPS == 0 or run.step == run.total_steps or run.lost_steps == MOST_LOST_STEPS:
            found = journal.check_health()
            if hint := self.waiting.hint():
                self.say(hint)
            if self._respond(found) is Next.RESCUE:
                return Next.RESCUE
        if checkpoint_due(run, epoch_ends=epoch_ends) or stopping.is_set():
            self._keep()
        return Next.STOP if stopping.is_set() and run.step < run.total_steps else Next.GO_ON

    def _respond(self, found: list[Finding]) -> Next:
        """What --on-trouble says, to findings that are new.

        Raises:
            TrainingError: it says stop, rescues are used up, or there is nothing to go on with.
        """
        run = self.run
        if not self.journal.troubled:
            rescue.keep_healthy(run)
        urgent = next((finding for finding in found if finding.calls_for_a_lower_rate), None)
        if run.plan.on_trouble == "rescue" and urgent:
            if len(run.rescues) < rescue.MOST_RESCUES:
                self.say(rescue.words(rescue.rescue(run, urgent), len(run.rescues) + 1))
                return Next.RESCUE
            self._stop(f"{urgent.kind} again after {len(run.rescues)} rescues")
        if run.plan.on_trouble == "stop" and found:
            self._stop(f"stopped, as --on-trouble stop asks: {', '.join(finding.kind for finding in found)}")
        if run.lost_steps >= MOST_LOST_STEPS:
            self._stop(f"divergence: the losses of {run.lost_steps} steps in a row are no numbers")
        return Next.GO_ON

    def _stop(self, why: str) -> None:
        self._keep()
        lr = min(self.run.recipe.lr / rescue.CALMER_BY, Recipe().lr)
        raise TrainingError(
            f"{why}; {self.run.folder / 'last.safetensors'} holds the weights of step {self.run.step:,}: start a new "
            f"--run-dir with --lr {lr:.0e}, or go on in spite of it with --resume"
        )

    def _keep(self) -> None:
        """Pictures for people, then a checkpoint; how long that took decides when the next is due."""
        run, journal = self.run, self.journal
        began = time.monotonic()
        journal.sync()
        mean_color = self.baselines.mean_color / self.baselines.neutral
        loss_plot(run.folder / "loss.png", journal.ratios, journal.validations, mean_color)
        if sheet := sample_sheet(run):
            save_picture(sheet, run.folder / "samples" / f"step-{run.step:07d}.png")
            save_picture(sheet, run.folder / "samples.png")
        page.write(run.folder, journal.trace(), journal.rates, journal.findings, run.rescues)
        save(run)
        run.saved_at = time.monotonic()
        run.saving_took = run.saved_at - began


def _open_journal(run: Run, baselines: Baselines, say: Callable[[str], None]) -> Journal:
    """Say what is about to be trained, on what, where, and what costs nothing."""
    if baselines.neutral <= 0 or not math.isfinite(baselines.neutral):
        raise TrainingError("the training photos have no colour at all: look at the manifest with `curate filter`")
    recipe, photos = run.recipe, run.photos
    (run.folder / "samples").mkdir(parents=True, exist_ok=True)
    known = Trace(
        ratios=(),
        warmup_steps=run.warmup_steps,
        mean_color=baselines.mean_color / baselines.neutral,
        photos_per_step=recipe.photos_per_step,
        lr=recipe.lr,
        colorfulness_median=photos.colorfulness_median,
        first_step=run.began[0],
    )
    journal = Journal(
        run.folder, known, neutral=baselines.neutral, total_steps=run.total_steps, after_step=run.step, say=say
    )
    parameters = sum(weight.numel() for weight in run.network.parameters())
    journal.note(
        "resumed" if run.step else "start",
        at_step=run.step,
        total_steps=run.total_steps,
        recipe=asdict(recipe),
        on_trouble=run.plan.on_trouble,
        manifest=str(photos.manifest_path),
        manifest_sha256=photos.manifest_sha256,
        photos={"train": len(photos.train), "val": len(photos.val)},
        colorfulness_median=photos.colorfulness_median,
        parameters=parameters,
        device=str(run.fabric.device),
        precision=run.fabric.strategy.precision.precision,
        threads=torch.get_num_threads(),
        neutral_loss=baselines.neutral,
        mean_color_loss=baselines.mean_color,
    )
    _introduce(run, baselines, parameters, say)
    for number, done in enumerate(run.rescues, 1):
        journal.rescued(number, done, recipe.warmup)
    if run.step:
        say(f"resumed at step {run.step:,}")
    return journal


def _introduce(run: Run, baselines: Baselines, parameters: int, say: Callable[[str], None]) -> None:
    recipe, photos = run.recipe, run.photos
    precision = run.fabric.strategy.precision.precision
    counts = f"{len(photos.train):,} to train, {len(photos.val):,} held out to validate"
    say(f"photos    {counts}; {photos.manifest_path} {photos.manifest_sha256[:12]}")
    say(
        f"recipe    {recipe.image_size} px, batch {_batch(recipe)}, {recipe.channels} channels, "
        f"{recipe.epochs} epochs, {run.total_steps:,} steps, AdamW lr {recipe.lr:g}"
    )
    size = f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters:,}"
    say(f"network   {size} parameters on {run.fabric.device}, {precision}, {torch.get_num_threads()} threads")
    mean_ratio = baselines.mean_color / baselines.neutral
    say(
        f"baseline  neutral gray costs {baselines.neutral:.4f}, "
        f"the best single colour {baselines.mean_color:.4f} ({mean_ratio:.2f} of neutral)"
    )
    if not len(photos.val):
        say("no photos are held out (split 'val'): best.safetensors will be the last")


def _batch(recipe: Recipe) -> str:
    times = "".join(
        f" x {count} {name}"
        for count, name in ((recipe.accumulate, "accumulated"), (recipe.devices, "devices"))
        if count > 1
    )
    return f"{recipe.batch_size}{times}"
