"""Callbacks that run on rank 0 after each step: log, validation, health checks, pictures and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

import torch

from curate.errors import TrainingError
from curate.text import pluralize
from train.data.loader import DataTimer
from train.health.curve import LossCurve
from train.health.detectors import CHECK_INTERVAL_STEPS, MAX_NONFINITE_STEPS
from train.health.findings import WINDOW_STEPS, Finding, RunNames
from train.recipe import Recipe
from train.trainer import recovery, run_page
from train.trainer.film_sheet import make_film_sheet
from train.trainer.logger import RunLogger
from train.trainer.state import TrainState, checkpoint_due, save_checkpoints
from train.trainer.step import StepResult
from train.trainer.validation import Baselines, make_sample_sheet, measure_baselines, plot_losses, save_png, validate


@dataclass(frozen=True, slots=True)
class FitResult:
    """Result of a finished run."""

    run_dir: Path
    steps: int
    """Optimizer steps taken."""
    verdict: str
    """A sentence about the final loss and the findings."""
    healthy: bool
    """Whether there were no findings, or none since the last rollback."""


class LoopAction(IntEnum):
    """What all processes do after a step; rank 0 decides."""

    CONTINUE = 0
    STOP = 1
    """End the run as after Ctrl-C."""
    ROLL_BACK = 2
    """Start again from last.safetensors, which the rollback wrote."""


class Callbacks:
    """Everything that follows a step but isn't training; only rank 0 has one.

    Args:
        state: state of the run; gets the neutral loss and the best weights.
        timer: measures how long the steps wait for photos.
        say: prints a line for the user.

    Raises:
        TrainingError: the photos have no color, none can be read, or the log of the resumed run is incomplete.
    """

    def __init__(self, state: TrainState, timer: DataTimer, say: Callable[[str], None]) -> None:
        self.state, self.timer, self.say = state, timer, say
        self.baselines = measure_baselines(state)
        state.neutral_loss = self.baselines.neutral
        self.logger = _start_log(state, self.baselines, say)
        recovery.drop_newer_weights(state)
        if state.step == 0 and state.recipe.augment == "film" and (sheet := make_film_sheet(state)):
            save_png(sheet, state.run_dir / "film.png")
        if state.step == state.start_point[0]:
            recovery.save_healthy_weights(state)
        if state.config.parent and state.step == 0:
            save_checkpoints(state)  # so that --resume needs no --init from here on
            if validation := validate(state):
                self.logger.log_validation(validation)

    def close(self) -> None:
        """Close the log."""
        self.logger.close()

    def result(self) -> FitResult:
        """Return the result of the finished run."""
        return FitResult(self.state.run_dir, self.state.step, self.logger.verdict(), not self.logger.findings)

    def on_unreadable_photos(self, errors: list[tuple[int, str]]) -> None:
        """Report photos that could not be read: (index in the training photos, reason)."""
        for photo, reason in errors:
            name = self.state.datasets.train.name(photo)
            self.logger.log_event("photo error", step=self.state.step + 1, photo=name, error=reason)
            self.say(f"! skipped photo {name}: {reason}")

    def on_step_end(self, result: StepResult | None, lr: float, photos: int) -> LoopAction:
        """Log the step, and validate, check health and write a checkpoint when they are due.

        Args:
            result: of the step; None if none of its photos could be read.
            lr: learning rate of the step.
            photos: number of photos in the step.

        Raises:
            TrainingError: the run ends because of findings, or no validation photo can be read.
            CheckpointError: a checkpoint can't be written.
        """
        state, logger = self.state, self.logger
        epoch, epoch_ends = state.current_epoch()
        if result and result.bad_photos is not None:
            names = [state.datasets.train.name(photo) for photo in result.bad_photos]
            logger.log_skipped_step(state.step, names, photos)
        logger.log_step(state.step, epoch, result, lr, photos, self.timer.wait_share)
        if epoch_ends and (validation := validate(state)):
            logger.log_validation(validation)
        last = state.step == state.total_steps
        if state.step % CHECK_INTERVAL_STEPS == 0 or last or state.skipped_steps == MAX_NONFINITE_STEPS:
            new_findings = logger.check_health()
            if hint := self.timer.hint():
                self.say(hint)
            if self._handle_findings(new_findings) is LoopAction.ROLL_BACK:
                return LoopAction.ROLL_BACK
        if checkpoint_due(state, epoch_ends=epoch_ends) or state.stop.is_set():
            self.save()
        return LoopAction.STOP if state.stop.is_set() and not last else LoopAction.CONTINUE

    def _handle_findings(self, new_findings: list[Finding]) -> LoopAction:
        """Respond to new findings as `--on-trouble` says.

        Raises:
            TrainingError: it says stop, all rollbacks are used, or the loss stays NaN or infinite.
        """
        state, on_trouble = self.state, self.state.config.on_trouble
        if not self.logger.has_findings:
            recovery.save_healthy_weights(state)
        urgent = next((finding for finding in new_findings if finding.needs_lower_rate), None)
        if on_trouble == "rescue" and urgent:
            if len(state.rollbacks) < recovery.MAX_ROLLBACKS:
                rollback = recovery.roll_back(state, urgent)
                self.say(recovery.describe_rollback(rollback, len(state.rollbacks) + 1))
                return LoopAction.ROLL_BACK
            self._end_run(f"{urgent.kind} again after {len(state.rollbacks)} rescues")
        if on_trouble == "stop" and new_findings:
            kinds = ", ".join(finding.kind for finding in new_findings)
            self._end_run(f"stopped because of --on-trouble stop: {kinds}")
        if state.skipped_steps >= MAX_NONFINITE_STEPS:
            self._end_run(f"divergence: {state.skipped_steps} consecutive steps had a NaN or infinite loss or gradient")
        return LoopAction.CONTINUE

    def _end_run(self, reason: str) -> None:
        """Write a checkpoint, then raise a TrainingError with the reason and what to do."""
        self.save()
        lr = min(self.state.recipe.lr / recovery.LR_DIVISOR, Recipe().lr)
        raise TrainingError(
            f"{reason}; {self.state.run_dir / 'last.safetensors'} has the weights of step {self.state.step:,}: start a "
            f"new --run-dir with --lr {lr:.0e}, or continue this run anyway with --resume"
        )

    def save(self) -> None:
        """Write plot, sample sheet and page, then the checkpoints; their duration decides when the next are due."""
        state, logger = self.state, self.logger
        start = time.monotonic()
        logger.sync()
        plot_losses(state.run_dir / "loss.png", logger.loss_curve())
        if sheet := make_sample_sheet(state):
            save_png(sheet, state.run_dir / "samples" / f"step-{state.step:07d}.png")
            save_png(sheet, state.run_dir / "samples.png")
        info, curve = self._run_info(), logger.loss_curve()
        run_page.write_page(state.run_dir, info, curve, logger.rates, logger.findings, state.rollbacks)
        save_checkpoints(state)
        state.last_save_time = time.monotonic()
        state.last_save_seconds = state.last_save_time - start

    def _run_info(self) -> run_page.RunInfo:
        state, datasets = self.state, self.state.datasets
        manifest = f"{datasets.manifest_path} (sha256 {datasets.manifest_sha256[:12]})"
        photos = len(datasets.train), len(datasets.val)
        config = state.config
        return run_page.RunInfo(config.recipe, state.total_steps, manifest, photos, config.command, config.parent)


def _start_log(state: TrainState, baselines: Baselines, say: Callable[[str], None]) -> RunLogger:
    """Open the log, write its start event, and print what is trained, on what and where, and the baselines."""
    if baselines.neutral <= 0 or not math.isfinite(baselines.neutral):
        raise TrainingError("the training photos have no color: check the manifest with `curate filter`")
    recipe, datasets = state.recipe, state.datasets
    (state.run_dir / "samples").mkdir(parents=True, exist_ok=True)
    curve = LossCurve(
        ratios=(),
        warmup_steps=state.warmup_steps,
        total_steps=state.total_steps,
        mean_color=baselines.mean_color / baselines.neutral,
        photos_per_step=recipe.photos_per_step,
        lr=recipe.lr,
        colorfulness_median=datasets.colorfulness_median,
        first_step=state.start_point[0],
        names=RunNames.from_recipe(state.run_dir, str(datasets.manifest_path), asdict(recipe)),
    )
    logger = RunLogger(
        state.run_dir, curve, neutral=baselines.neutral, total_steps=state.total_steps, after_step=state.step, say=say
    )
    parameters = sum(parameter.numel() for parameter in state.network.parameters())
    logger.log_event(
        "resumed" if state.step else "start",
        at_step=state.step,
        total_steps=state.total_steps,
        recipe=asdict(recipe),
        on_trouble=state.config.on_trouble,
        manifest=str(datasets.manifest_path),
        manifest_sha256=datasets.manifest_sha256,
        parent=asdict(state.config.parent) if state.config.parent else None,
        photos={"train": len(datasets.train), "val": len(datasets.val)},
        colorfulness_median=datasets.colorfulness_median,
        parameters=parameters,
        device=str(state.fabric.device),
        precision=state.fabric.strategy.precision.precision,
        threads=torch.get_num_threads(),
        neutral_loss=baselines.neutral,
        mean_color_loss=baselines.mean_color,
    )
    _print_setup(state, baselines, parameters, say)
    for number, rollback in enumerate(state.rollbacks, 1):
        logger.log_rollback(number, rollback, recipe.warmup)
    if state.step:
        say(f"resumed at step {state.step:,}")
    return logger


def _print_setup(state: TrainState, baselines: Baselines, parameters: int, say: Callable[[str], None]) -> None:
    recipe, datasets = state.recipe, state.datasets
    precision = state.fabric.strategy.precision.precision
    counts = f"{len(datasets.train):,} for training, {len(datasets.val):,} for validation"
    say(f"photos    {counts}; manifest {datasets.manifest_path} (sha256 {datasets.manifest_sha256[:12]})")
    batch = f"batch {recipe.batch_size}"
    for count, name in ((recipe.accumulate, "accumulated"), (recipe.devices, "devices")):
        batch += f" x {count} {name}" if count > 1 else ""
    say(
        f"recipe    {recipe.image_size} px, {batch}, {recipe.channels} channels, "
        f"{recipe.epochs} epochs, {state.total_steps:,} steps, AdamW lr {recipe.lr:g}"
    )
    size = f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters:,}"
    threads = pluralize(torch.get_num_threads(), "thread")
    say(f"network   {size} parameters on {state.fabric.device}, {precision}, {threads}")
    if parent := state.config.parent:
        say(f"weights   started from {parent.path}, step {parent.step:,} (sha256 {parent.sha256[:12]})")
    mean_ratio = baselines.mean_color / baselines.neutral
    say(
        f"baseline  loss of predicting neutral gray {baselines.neutral:.4f}, "
        f"of the best single color {baselines.mean_color:.4f} ({mean_ratio:.2f} of neutral)"
    )
    say(f"steps     loss: mean of the last {WINDOW_STEPS}; of neutral: divided by that of gray on the same photos")
    if not len(datasets.val):
        say("no photos for validation (split 'val'): best.safetensors gets the same weights as last.safetensors")
