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
from train.data.loader import DataTimer
from train.health.detectors import CHECK_INTERVAL_STEPS, MAX_NONFINITE_STEPS, LossCurve
from train.health.findings import Finding
from train.recipe import Recipe
from train.trainer import recovery, run_page
from train.trainer.fabric import Request
from train.trainer.logger import RunLogger
from train.trainer.state import TrainState, checkpoint_due, save
from train.trainer.step import StepResult
from train.trainer.validation import Baselines, loss_plot, measure_baselines, sample_sheet, save_picture, validate


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a finished run comes to."""

    run_dir: Path
    steps: int
    verdict: str
    healthy: bool


class LoopAction(IntEnum):
    """What all processes do after a step."""

    GO_ON = 0
    STOP = 1
    """As if Ctrl-C had been pressed."""
    RESCUE = 2
    """Start again from last.safetensors, which was made for that."""


class Callbacks:
    """The eyes and the pen of a run.

    Args:
        run: to be watched.
        waiting: measures how long its steps wait for photos.
        say: prints a line for people.

    Raises:
        TrainingError: the photos have no colour, or none can be read.
    """

    def __init__(self, run: TrainState, waiting: DataTimer, say: Callable[[str], None]) -> None:
        self.run, self.waiting, self.say = run, waiting, say
        self.baselines = measure_baselines(run)
        run.neutral_loss = self.baselines.neutral
        self.logger = _open_log(run, self.baselines, say)
        recovery.drop_newer_weights(run)
        if run.step == run.began[0]:
            recovery.save_healthy_weights(run)

    def close(self) -> None:
        """Close the log."""
        self.logger.close()

    def outcome(self) -> FitResult:
        """What the finished run comes to."""
        return FitResult(self.run.folder, self.run.step, self.logger.verdict(), not self.logger.findings)

    def unreadable(self, errors: list[tuple[int, str]]) -> None:
        """Name photos that a batch had to do without."""
        for photo, reason in errors:
            name = self.run.photos.train.name(photo)
            self.logger.log_event("photo error", step=self.run.step + 1, photo=name, error=reason)
            self.say(f"! left out: {name}: {reason}")

    def after(self, step: StepResult | None, lr: float, photos: int, *, stopping: Request) -> LoopAction:
        """Everything that follows a step."""
        run, logger = self.run, self.logger
        epoch, epoch_ends = run.epoch()
        if step and step.lost is not None:
            logger.log_lost_step(run.step, [run.photos.train.name(photo) for photo in step.lost], photos)
        logger.log_step(run.step, epoch, step, lr, photos, self.waiting.wait_share)
        if epoch_ends and (seen := validate(run)):
            logger.log_validation(seen)
        if run.step % CHECK_INTERVAL_STEPS == 0 or run.step == run.total_steps or run.lost_steps == MAX_NONFINITE_STEPS:
            found = logger.check_health()
            if hint := self.waiting.hint():
                self.say(hint)
            if self._respond(found) is LoopAction.RESCUE:
                return LoopAction.RESCUE
        if checkpoint_due(run, epoch_ends=epoch_ends) or stopping.is_set():
            self._keep()
        return LoopAction.STOP if stopping.is_set() and run.step < run.total_steps else LoopAction.GO_ON

    def _respond(self, found: list[Finding]) -> LoopAction:
        """What --on-trouble says, to findings that are new.

        Raises:
            TrainingError: it says stop, rescues are used up, or there is nothing to go on with.
        """
        run = self.run
        if not self.logger.troubled:
            recovery.save_healthy_weights(run)
        urgent = next((finding for finding in found if finding.calls_for_a_lower_rate), None)
        if run.plan.on_trouble == "rescue" and urgent:
            if len(run.rescues) < recovery.MOST_RESCUES:
                self.say(recovery.words(recovery.roll_back(run, urgent), len(run.rescues) + 1))
                return LoopAction.RESCUE
            self._stop(f"{urgent.kind} again after {len(run.rescues)} rescues")
        if run.plan.on_trouble == "stop" and found:
            self._stop(f"stopped, as --on-trouble stop asks: {', '.join(finding.kind for finding in found)}")
        if run.lost_steps >= MAX_NONFINITE_STEPS:
            self._stop(f"divergence: the losses of {run.lost_steps} steps in a row are no numbers")
        return LoopAction.GO_ON

    def _stop(self, why: str) -> None:
        self._keep()
        lr = min(self.run.recipe.lr / recovery.CALMER_BY, Recipe().lr)
        raise TrainingError(
            f"{why}; {self.run.folder / 'last.safetensors'} holds the weights of step {self.run.step:,}: start a new "
            f"--run-dir with --lr {lr:.0e}, or go on in spite of it with --resume"
        )

    def _keep(self) -> None:
        """Pictures for people, then a checkpoint; how long that took decides when the next is due."""
        run, logger = self.run, self.logger
        began = time.monotonic()
        logger.sync()
        mean_color = self.baselines.mean_color / self.baselines.neutral
        loss_plot(run.folder / "loss.png", logger.ratios, logger.validations, mean_color)
        if sheet := sample_sheet(run):
            save_picture(sheet, run.folder / "samples" / f"step-{run.step:07d}.png")
            save_picture(sheet, run.folder / "samples.png")
        run_page.write(run.folder, logger.trace(), logger.rates, logger.findings, run.rescues)
        save(run)
        run.saved_at = time.monotonic()
        run.saving_took = run.saved_at - began


def _open_log(run: TrainState, baselines: Baselines, say: Callable[[str], None]) -> RunLogger:
    """Say what is about to be trained, on what, where, and what costs nothing."""
    if baselines.neutral <= 0 or not math.isfinite(baselines.neutral):
        raise TrainingError("the training photos have no colour at all: look at the manifest with `curate filter`")
    recipe, photos = run.recipe, run.photos
    (run.folder / "samples").mkdir(parents=True, exist_ok=True)
    known = LossCurve(
        ratios=(),
        warmup_steps=run.warmup_steps,
        mean_color=baselines.mean_color / baselines.neutral,
        photos_per_step=recipe.photos_per_step,
        lr=recipe.lr,
        colorfulness_median=photos.colorfulness_median,
        first_step=run.began[0],
    )
    logger = RunLogger(
        run.folder, known, neutral=baselines.neutral, total_steps=run.total_steps, after_step=run.step, say=say
    )
    parameters = sum(weight.numel() for weight in run.network.parameters())
    logger.log_event(
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
        logger.log_rescue(number, done, recipe.warmup)
    if run.step:
        say(f"resumed at step {run.step:,}")
    return logger


def _introduce(run: TrainState, baselines: Baselines, parameters: int, say: Callable[[str], None]) -> None:
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
