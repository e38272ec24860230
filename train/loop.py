"""Training, read in one sitting."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import cv2
import torch

from curate.errors import TrainingError
from train.checkpoint import Checkpoint
from train.data import Batch, Crops, StepSampler, batches
from train.health import WINDOW_STEPS
from train.journal import Journal
from train.lab import split_lab
from train.photos import PhotoLists
from train.pictures import loss_plot, save_picture
from train.recipe import Recipe
from train.run import Machine, Run, checkpoint_due, one_cycle, resumable, save, start
from train.validate import Baselines, measure_baselines, sample_sheet, validate

MOST_EMPTY_BATCHES = 10

__all__ = ["Machine", "Outcome", "fit", "one_cycle", "resumable", "threads"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run comes to."""

    run_dir: Path
    steps: int
    verdict: str
    healthy: bool


def fit(
    photos: PhotoLists,
    recipe: Recipe,
    machine: Machine,
    run_dir: Path,
    *,
    resume_from: Checkpoint | None = None,
    command: str = "",
    say: Callable[[str], None] = print,
) -> Outcome:
    """Train a colorizer.

    Args:
        photos: as `train.photos.load` found them.
        recipe: what decides the weights.
        machine: where.
        run_dir: folder for checkpoints, log and pictures.
        resume_from: go on from here; on a CPU with as many threads, bit for bit as if never stopped.
        command: kept in the checkpoints.
        say: prints a line for people.

    Raises:
        TrainingError: the loss is no number any more, or no photo can be read.
        CheckpointError: a checkpoint can't be written.
        KeyboardInterrupt: asked to stop; a checkpoint was written first.
    """
    with _writing_to(run_dir):
        run = start(photos, recipe, machine, run_dir, resume_from, command)
        return _train(run, say)


def threads() -> int:
    """CPU threads that a step would use here; another number changes the last bits of its result."""
    return torch.get_num_threads()


def _train(run: Run, say: Callable[[str], None]) -> Outcome:
    recipe, photos = run.recipe, run.photos
    baselines = measure_baselines(run)
    run.neutral_loss = baselines.neutral
    journal = _open_journal(run, baselines, say)
    per_epoch = recipe.steps_per_epoch(len(photos.train))
    crops = Crops(photos.train, recipe.image_size, recipe.seed)
    starts = photos.train.starts()
    steps = StepSampler(len(photos.train), recipe.batch_size, recipe.seed, run.step, run.total_steps, starts)
    with closing(journal), _stop_after_step() as stopping:
        for batch in batches(crops, steps, run.workers):
            _name_unreadable(batch, run, journal, say)
            loss = _learn(run, batch)
            lr = float(run.schedule.get_last_lr()[0])
            run.schedule.step()
            run.step += 1
            epoch_ends = run.step % per_epoch == 0 or run.step == run.total_steps
            journal.step(run.step, (run.step - 1) // per_epoch, loss, lr, len(batch.photos))
            if epoch_ends and (seen := validate(run)):
                journal.validated(seen)
            if run.step % WINDOW_STEPS == 0 or run.step == run.total_steps:
                journal.check_health()
            if checkpoint_due(run, epoch_ends=epoch_ends) or stopping.is_set():
                _keep(run, journal, baselines)
            if stopping.is_set() and run.step < run.total_steps:
                raise KeyboardInterrupt
    return Outcome(run.folder, run.step, journal.verdict(), not journal.findings)


def _learn(run: Run, batch: Batch) -> float | None:
    """One optimizer step; its loss, or None if not one photo of the batch could be read."""
    if not batch.photos:
        run.empty_batches += 1
        if run.empty_batches >= min(MOST_EMPTY_BATCHES, run.recipe.steps_per_epoch(len(run.photos.train))):
            raise TrainingError("no training photo can be read any more: is the disk there? then --resume")
        return None
    run.empty_batches = 0
    lightness, target = split_lab(batch.rgb.to(run.fabric.device))
    run.model.train()
    loss = run.criterion(run.model(lightness), target)
    value = _finite(float(loss.detach()), run, batch)
    run.fabric.backward(loss)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return value


def _keep(run: Run, journal: Journal, baselines: Baselines) -> None:
    """Pictures for people, then a checkpoint; how long that took decides when the next is due."""
    began = time.monotonic()
    journal.sync()
    loss_plot(run.folder / "loss.png", journal.ratios, journal.validations, baselines.mean_color / baselines.neutral)
    if sheet := sample_sheet(run):
        save_picture(sheet, run.folder / "samples" / f"step-{run.step:07d}.png")
        save_picture(sheet, run.folder / "samples.png")
    save(run)
    run.saved_at = time.monotonic()
    run.saving_took = run.saved_at - began


def _open_journal(run: Run, baselines: Baselines, say: Callable[[str], None]) -> Journal:
    """Say what is about to be trained, on what, where, and what costs nothing."""
    if baselines.neutral <= 0 or not math.isfinite(baselines.neutral):
        raise TrainingError("the training photos have no colour at all: look at the manifest with `curate filter`")
    recipe, photos = run.recipe, run.photos
    (run.folder / "samples").mkdir(parents=True, exist_ok=True)
    journal = Journal(
        run.folder,
        neutral=baselines.neutral,
        total_steps=run.total_steps,
        warmup_steps=round(recipe.warmup * run.total_steps),
        after_step=run.step,
        say=say,
    )
    parameters = sum(weight.numel() for weight in run.network.parameters())
    journal.note(
        "resumed" if run.step else "start",
        at_step=run.step,
        total_steps=run.total_steps,
        recipe=asdict(recipe),
        manifest=str(photos.manifest_path),
        manifest_sha256=photos.manifest_sha256,
        photos={"train": len(photos.train), "val": len(photos.val)},
        parameters=parameters,
        device=str(run.fabric.device),
        threads=threads(),
        neutral_loss=baselines.neutral,
        mean_color_loss=baselines.mean_color,
    )
    counts = f"{len(photos.train):,} to train, {len(photos.val):,} held out to validate"
    say(f"photos    {counts}; {photos.manifest_path} {photos.manifest_sha256[:12]}")
    say(
        f"recipe    {recipe.image_size} px, batch {recipe.batch_size}, {recipe.channels} channels, "
        f"{recipe.epochs} epochs, {run.total_steps:,} steps, AdamW lr {recipe.lr:g}"
    )
    say(f"network   {parameters / 1e6:.1f} M parameters on {run.fabric.device}, {threads()} threads")
    mean_ratio = baselines.mean_color / baselines.neutral
    say(
        f"baseline  neutral gray costs {baselines.neutral:.4f}, "
        f"the best single colour {baselines.mean_color:.4f} ({mean_ratio:.2f} of neutral)"
    )
    if not len(photos.val):
        say("no photos are held out (split 'val'): best.safetensors will be the last")
    if run.step:
        say(f"resumed at step {run.step:,}")
    return journal


def _name_unreadable(batch: Batch, run: Run, journal: Journal, say: Callable[[str], None]) -> None:
    for photo, reason in batch.errors:
        name = run.photos.train.name(photo)
        journal.note("photo error", step=run.step + 1, photo=name, error=reason)
        say(f"! left out: {name}: {reason}")


def _finite(loss: float, run: Run, batch: Batch) -> float:
    if math.isfinite(loss):
        return loss
    names = ", ".join(run.photos.train.name(index) for index in batch.photos[:4])
    last = run.folder / "last.safetensors"
    kept = f"; {last} holds the last checkpoint" if last.exists() else ""
    raise TrainingError(
        f"divergence: the loss of step {run.step + 1:,} is no number ({names}, ...): "
        f"start a new run with --lr {min(run.recipe.lr / 2.5, Recipe().lr):.0e}{kept}"
    )


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Photos that can't be read are dealt with where they are read; what else the system refuses is this folder."""
    try:
        yield
    except OSError as exc:
        raise TrainingError(
            f"{folder} can't be written: {exc.strerror or exc}: free some space, then --resume"
        ) from exc
    except (RuntimeError, MemoryError, cv2.error) as exc:
        if not isinstance(exc, MemoryError) and "memory" not in str(exc).lower():
            raise
        raise TrainingError("there isn't enough memory: lower --batch-size, --channels or --image-size") from exc


@contextmanager
def _stop_after_step() -> Iterator[threading.Event]:
    """Let the first Ctrl-C end the run after a step, with a checkpoint; a second one ends it at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
