"""Training, read in one sitting: `fit` is the method, `_Run` holds what it needs."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from curate.errors import CheckpointError, TrainingError, UsageError
from curate.measures import measure
from train import checkpoint
from train.checkpoint import About, Checkpoint
from train.data import Batch, Crops, Draw, StepSampler, batches, in_order, need_some
from train.health import WINDOW_STEPS, Validation
from train.journal import Journal
from train.lab import join_lab, split_lab
from train.loss import ColorizationWeightedLoss
from train.model import ColorUNet
from train.photos import PhotoList, PhotoLists
from train.pictures import loss_plot, save_picture, side_by_side
from train.recipe import Recipe

BASELINE_PHOTOS = 512
SAMPLE_PHOTOS = 6
JUDGED_PHOTOS = 64
"""Validation pictures whose colourfulness and tone are measured."""
CHECKPOINT_STEPS = 100
CHECKPOINT_TIME_SHARE = 0.05
"""Checkpoints are skipped while writing them would take more than this share of the time."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run happens; none of it is part of the recipe."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    precision: str = "32-true"
    """As Lightning Fabric names them: `32-true`, `bf16-mixed`, `16-mixed`."""
    workers: int = 1
    """Processes that read photos."""

    def fabric(self) -> Fabric:
        """Lightning Fabric on this device.

        Raises:
            UsageError: no such device here, or not in that precision.
        """
        accelerator, _, number = self.device.partition(":")
        devices = [int(number)] if number else 1
        try:
            return Fabric(accelerator=accelerator, devices=devices, precision=self.precision)  # type: ignore[arg-type]  # checked there
        except (RuntimeError, ValueError, TypeError) as exc:
            raise UsageError(
                f"--device {self.device} --precision {self.precision} can't be had: {' '.join(str(exc).split())}"
            ) from exc


@dataclass(frozen=True, slots=True)
class Baselines:
    """What costs nothing to predict, on the training photos."""

    neutral: float
    """Loss of predicting neutral gray everywhere."""
    mean_color: float
    """Loss of the best single colour."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run comes to."""

    run_dir: Path
    steps: int
    verdict: str
    healthy: bool


@dataclass(slots=True)
class _Run:
    """One run's state; `step`, the network, optimizer, schedule and best score are what a checkpoint keeps."""

    recipe: Recipe
    photos: PhotoLists
    folder: Path
    command: str
    fabric: Fabric
    network: ColorUNet
    model: Any
    """The network as Fabric wraps it."""
    optimizer: Any
    schedule: torch.optim.lr_scheduler.OneCycleLR
    criterion: ColorizationWeightedLoss
    workers: int
    total_steps: int
    step: int = 0
    best_score: float | None = None
    best_weights: dict[str, Tensor] | None = None
    """Not yet on the disk."""
    saved_at: float = field(default_factory=time.monotonic)
    saving_took: float = 0.0


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
    run = _start(photos, recipe, machine, run_dir, resume_from, command)
    baselines = _baselines(run)
    journal = _open_journal(run, baselines, say)
    per_epoch = recipe.steps_per_epoch(len(photos.train))
    crops = Crops(photos.train, recipe.image_size, recipe.seed)
    steps = StepSampler(len(photos.train), recipe.batch_size, recipe.seed, run.step, run.total_steps)
    with _stop_after_step() as stopping:
        for batch in batches(crops, steps, run.workers):
            _name_unreadable(batch, photos.train, journal, say)
            need_some(batch, photos.train)
            lightness, target = split_lab(batch.rgb.to(run.fabric.device))
            run.model.train()
            loss = run.criterion(run.model(lightness), target)
            value = _finite(float(loss.detach()), run, batch)
            run.fabric.backward(loss)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            lr = float(run.schedule.get_last_lr()[0])
            run.schedule.step()
            run.step += 1
            epoch_ends = run.step % per_epoch == 0 or run.step == run.total_steps
            journal.step(run.step, (run.step - 1) // per_epoch, value, lr, len(batch.photos))
            if epoch_ends:
                _validate(run, journal)
            if run.step % WINDOW_STEPS == 0 or epoch_ends:
                journal.check_health()
            if _checkpoint_due(run, epoch_ends) or stopping.is_set():
                _save(run, journal, baselines)
            if stopping.is_set() and run.step < run.total_steps:
                journal.close()
                raise KeyboardInterrupt
    journal.close()
    return Outcome(run_dir, run.step, journal.verdict(), not journal.findings)


def _start(
    photos: PhotoLists, recipe: Recipe, machine: Machine, run_dir: Path, resume_from: Checkpoint | None, command: str
) -> _Run:
    """Build everything; with a checkpoint, put it where the first run was."""
    fabric = machine.fabric()
    torch.manual_seed(recipe.seed)
    network = ColorUNet(recipe.channels, recipe.norm)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter quicker on CPUs
    betas = (recipe.beta1, recipe.beta2)
    adamw = torch.optim.AdamW(network.parameters(), lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)
    if resume_from:
        network.load_state_dict(resume_from.part("model"))
    total_steps = recipe.total_steps(len(photos.train))
    schedule = one_cycle(adamw, recipe, total_steps)
    model, optimizer = fabric.setup(network, adamw)
    if resume_from:
        about = resume_from.about
        checkpoint.restore_optimizer(adamw, list(about.schedule["groups"]), resume_from.part("optimizer"))
        schedule.load_state_dict(dict(about.schedule["one_cycle"]))
    criterion = ColorizationWeightedLoss(
        device=fabric.device,
        neutral_weight=recipe.neutral_weight,
        saturated_weight=recipe.saturated_weight,
        neutral_chroma=recipe.neutral_chroma,
        saturated_chroma=recipe.saturated_chroma,
    )
    run = _Run(
        recipe,
        photos,
        run_dir,
        command,
        fabric,
        network,
        model,
        optimizer,
        schedule,
        criterion,
        machine.workers,
        total_steps,
    )
    if resume_from:
        run.step, run.best_score = resume_from.about.step, resume_from.about.best_score
    return run


def one_cycle(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """OneCycleLR over the whole run, betas left alone, for any number of steps from 1.

    OneCycleLR divides by zero where the warm-up is exactly one step; a hair more warm-up means the same there.
    """
    warmup = recipe.warmup
    if abs(warmup * total_steps - 1) < 1e-6:
        warmup += 1e-3 / total_steps
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=total_steps, pct_start=warmup, cycle_momentum=False
    )


def _baselines(run: _Run) -> Baselines:
    """Neutral gray and the best single colour, on up to 512 training photos cropped from the middle.

    The best single colour is the mean of ab under the loss's own weights: the minimum of a weighted squared error.
    """
    draws = in_order(run.photos.train, run.recipe.batch_size, BASELINE_PHOTOS)
    targets = []
    for batch in _center_batches(run, run.photos.train, draws):
        _, target = split_lab(batch.rgb)
        targets.append(torch.nn.functional.avg_pool2d(target, 2).to(torch.float16))
    target = torch.cat(targets).float()
    weights = run.criterion.weights(target)
    mean = (weights * target).sum(dim=(0, 2, 3), keepdim=True) / weights.sum()
    neutral = float(run.criterion(torch.zeros_like(target), target))
    return Baselines(neutral, float(run.criterion(mean.expand_as(target), target)))


def _center_batches(run: _Run, photos: PhotoList, draws: list[list[Draw]]) -> Iterator[Batch]:
    crops = Crops(photos, run.recipe.image_size, run.recipe.seed)
    for batch in batches(crops, draws, run.workers if len(draws) > 2 else 0):
        if batch.photos:
            yield batch


def _validate(run: _Run, journal: Journal) -> None:
    """Look at the held-out photos: loss ÷ neutral, colourfulness and tone; keep the best weights."""
    if not len(run.photos.val):
        return
    loss = neutral = 0.0
    photos = 0
    judged: list[tuple[Any, Any]] = []
    for lightness, target, predicted, rgb in _predictions(run, run.photos.val):
        count = len(target)
        loss += count * float(run.criterion(predicted, target))
        neutral += count * float(run.criterion(torch.zeros_like(target), target))
        photos += count
        if len(judged) < JUDGED_PHOTOS:
            judged += zip(join_lab(lightness, predicted).cpu().numpy(), rgb.cpu().numpy(), strict=True)
    if not photos:
        raise TrainingError("not one held-out photo can be read: is the disk there? then --resume")
    measured = [(measure(ours), measure(original)) for ours, original in judged]
    colorful = sum(original.colorfulness for _, original in measured)
    validation = Validation(
        step=run.step,
        ratio=loss / neutral if neutral else math.inf,
        colorfulness_share=sum(ours.colorfulness for ours, _ in measured) / colorful if colorful else 0.0,
        tones=dict(Counter(ours.tone.tone for ours, _ in measured)),
    )
    journal.validated(validation, loss / photos, photos)
    if run.best_score is None or validation.ratio < run.best_score:
        run.best_score, run.best_weights = validation.ratio, checkpoint.weights(run.network)


def _predictions(
    run: _Run, photos: PhotoList, limit: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(lightness, target, predicted, rgb) of photos cropped from the middle, in batches."""
    run.model.eval()
    with torch.no_grad():
        for batch in _center_batches(run, photos, in_order(photos, run.recipe.batch_size, limit)):
            rgb = batch.rgb.to(run.fabric.device)
            lightness, target = split_lab(rgb)
            yield lightness, target, run.model(lightness).float(), rgb


def _checkpoint_due(run: _Run, epoch_ends: bool) -> bool:
    if run.step == run.total_steps:
        return True
    rested = time.monotonic() - run.saved_at >= run.saving_took / CHECKPOINT_TIME_SHARE
    return rested and (epoch_ends or run.step % CHECKPOINT_STEPS == 0)


def _save(run: _Run, journal: Journal, baselines: Baselines) -> None:
    """Pictures, best.safetensors, and last.safetensors last: what it needs is there when it is."""
    began = time.monotonic()
    journal.sync()
    loss_plot(run.folder / "loss.png", journal.ratios, journal.validations, baselines.mean_color / baselines.neutral)
    _save_samples(run)
    about = _about(run, baselines)
    now = checkpoint.weights(run.network)
    best = now if not len(run.photos.val) else run.best_weights
    if best is not None:
        checkpoint.save(run.folder / "best.safetensors", best, about)
        run.best_weights = None
    groups = run.optimizer.state_dict()["param_groups"]
    one_cycle_state = {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}
    whole = replace(about, schedule={"groups": groups, "one_cycle": one_cycle_state})
    checkpoint.save(run.folder / "last.safetensors", now | checkpoint.optimizer_tensors(run.optimizer), whole)
    run.saved_at = time.monotonic()
    run.saving_took = run.saved_at - began


def _about(run: _Run, baselines: Baselines) -> About:
    return About(
        recipe=run.recipe,
        manifest_path=str(run.photos.manifest_path),
        manifest_sha256=run.photos.manifest_sha256,
        step=run.step,
        neutral_loss=baselines.neutral,
        command=run.command,
        best_score=run.best_score,
        threads=torch.get_num_threads(),
    )


def _save_samples(run: _Run) -> None:
    """Gray | predicted | original of a few held-out photos, or of training photos where none are held out."""
    photos = run.photos.val if len(run.photos.val) else run.photos.train
    rows = []
    for lightness, _, predicted, rgb in _predictions(run, photos, SAMPLE_PHOTOS):
        grays = join_lab(lightness, torch.zeros_like(predicted)).cpu().numpy()
        ours = join_lab(lightness, predicted).cpu().numpy()
        rows += list(zip(grays, ours, rgb.cpu().numpy(), strict=True))
    if rows:
        sheet = side_by_side(rows, ("gray", f"predicted, step {run.step:,}", "original"))
        save_picture(sheet, run.folder / "samples" / f"step-{run.step:07d}.png")
        save_picture(sheet, run.folder / "samples.png")


def _open_journal(run: _Run, baselines: Baselines, say: Callable[[str], None]) -> Journal:
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
        recipe=asdict(recipe),
        manifest=str(photos.manifest_path),
        manifest_sha256=photos.manifest_sha256,
        photos={"train": len(photos.train), "val": len(photos.val)},
        parameters=parameters,
        device=str(run.fabric.device),
        threads=torch.get_num_threads(),
        neutral_loss=baselines.neutral,
        mean_color_loss=baselines.mean_color,
    )
    counts = f"{len(photos.train):,} to train, {len(photos.val):,} held out to validate"
    say(f"photos    {counts}; {photos.manifest_path} {photos.manifest_sha256[:12]}")
    say(
        f"recipe    {recipe.image_size} px, batch {recipe.batch_size}, {recipe.channels} channels, "
        f"{recipe.epochs} epochs, {run.total_steps:,} steps, AdamW lr {recipe.lr:g}"
    )
    say(f"network   {parameters / 1e6:.1f} M parameters on {run.fabric.device}, {torch.get_num_threads()} threads")
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


def _name_unreadable(batch: Batch, photos: PhotoList, journal: Journal, say: Callable[[str], None]) -> None:
    for index, reason in batch.errors:
        journal.note("photo error", photo=photos.name(index), error=reason)
        say(f"! left out: {photos.name(index)}: {reason}")


def _finite(loss: float, run: _Run, batch: Batch) -> float:
    if math.isfinite(loss):
        return loss
    names = ", ".join(run.photos.train.name(index) for index in batch.photos[:4])
    raise TrainingError(
        f"divergence: the loss of step {run.step + 1:,} is no number ({names}, ...): "
        f"start a new run with --lr {run.recipe.lr / 2.5:.0e}; "
        f"{run.folder / 'last.safetensors'} holds the last checkpoint"
    )


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


def resumable(run_dir: Path, photos: PhotoLists) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run has none yet.

    Raises:
        CheckpointError: it was trained on another manifest, or can't be read.
    """
    path = run_dir / "last.safetensors"
    if not path.exists():
        return None
    found = checkpoint.load(path)
    if found.about.manifest_sha256 != photos.manifest_sha256:
        raise CheckpointError(
            f"{path} was trained on another manifest ({found.about.manifest_path}, "
            f"sha256 {found.about.manifest_sha256[:12]}): give that one, or a new --run-dir"
        )
    return found
