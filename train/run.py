"""One run: what it is made of, what a checkpoint keeps of it, and how it goes on from there."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.checkpoint import About, Checkpoint
from train.loss import ColorizationWeightedLoss
from train.model import ColorUNet
from train.photos import PhotoLists
from train.recipe import Recipe

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
        named = re.fullmatch(r"(auto|cpu|cuda|mps)(?::(\d+))?", self.device)
        if named is None:
            raise UsageError(f"there is no --device {self.device}: choose auto, cpu, cuda, cuda:1 or mps")
        accelerator, number = named.groups()
        devices = [int(number)] if number else 1
        try:
            return Fabric(accelerator=accelerator, devices=devices, precision=self.precision)  # type: ignore[arg-type]  # checked there
        except (RuntimeError, ValueError, TypeError, ImportError) as exc:
            raise UsageError(
                f"--device {self.device} --precision {self.precision} can't be had: {' '.join(str(exc).split())}"
            ) from exc


@dataclass(slots=True)
class Run:
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
    neutral_loss: float = 0.0
    """What predicting neutral gray costs on the training photos."""
    empty_batches: int = 0
    """In a row, of which no photo could be read."""
    best_score: float | None = None
    best_step: int = 0
    best_weights: dict[str, Tensor] | None = None
    """Not yet on the disk."""
    saved_at: float = field(default_factory=time.monotonic)
    saving_took: float = 0.0


def start(
    photos: PhotoLists, recipe: Recipe, machine: Machine, run_dir: Path, resume_from: Checkpoint | None, command: str
) -> Run:
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
    criterion = ColorizationWeightedLoss.of(recipe, fabric.device)
    run = Run(
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
        about = resume_from.about
        run.step, run.best_score, run.best_step = about.step, about.best_score, about.best_step
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


def checkpoint_due(run: Run, *, epoch_ends: bool) -> bool:
    """At the end of an epoch or every 100 steps, if the last checkpoint was cheap enough; always at the end."""
    if run.step == run.total_steps:
        return True
    rested = time.monotonic() - run.saved_at >= run.saving_took / CHECKPOINT_TIME_SHARE
    return rested and (epoch_ends or run.step % CHECKPOINT_STEPS == 0)


def save(run: Run) -> None:
    """Write best.safetensors and then last.safetensors: what resuming needs is there when it is.

    Raises:
        CheckpointError: the disk says no.
    """
    about = _about(run)
    now = checkpoint.weights(run.network)
    best = now if not len(run.photos.val) else run.best_weights
    if best is not None:
        best_step = run.best_step if len(run.photos.val) else run.step
        checkpoint.save(run.folder / "best.safetensors", best, replace(about, step=best_step))
        run.best_weights = None
    groups = run.optimizer.state_dict()["param_groups"]
    one_cycle_state = {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}
    whole = replace(about, schedule={"groups": groups, "one_cycle": one_cycle_state})
    checkpoint.save(run.folder / "last.safetensors", now | checkpoint.optimizer_tensors(run.optimizer), whole)


def _about(run: Run) -> About:
    return About(
        recipe=run.recipe,
        manifest_path=str(run.photos.manifest_path),
        manifest_sha256=run.photos.manifest_sha256,
        step=run.step,
        neutral_loss=run.neutral_loss,
        command=run.command,
        manifest_ancestors=list(run.photos.ancestors),
        best_score=run.best_score,
        best_step=run.best_step,
        threads=torch.get_num_threads(),
    )


def resumable(run_dir: Path, photos: PhotoLists) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run has none yet.

    Raises:
        CheckpointError: it was trained on another manifest, or can't be read.
    """
    path = run_dir / "last.safetensors"
    if not path.exists():
        return None
    found = checkpoint.load(path)
    if not found.about.schedule:
        raise CheckpointError(f"{path} is for use, not for resuming: start a new run with another --run-dir")
    if found.about.manifest_sha256 != photos.manifest_sha256:
        raise CheckpointError(
            f"{path} was trained on another manifest ({found.about.manifest_path}, "
            f"sha256 {found.about.manifest_sha256[:12]}): give that one, or a new --run-dir"
        )
    return found
