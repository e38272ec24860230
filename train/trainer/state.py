"""One run: what it is made of, what a checkpoint keeps of it, and how it goes on from there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.checkpoint import Checkpoint, CheckpointMetadata, Rollback
from train.data.dataset import Datasets
from train.models.efficientnet import LiteEncoder, load_weights
from train.models.losses import ColorizationWeightedLoss, PerceptualLoss
from train.models.unet import ColorUNet, network_for
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig


def check_same(loss: PerceptualLoss, before: CheckpointMetadata | None) -> None:
    """Resuming is exact only with the features that the run began with.

    Raises:
        UsageError: they come from another file.
    """
    if before and loss.weights_sha256 != before.perceptual_sha256:
        raise UsageError(
            f"this run's perceptual loss has efficientnet-lite0's weights of sha256 {before.perceptual_sha256[:12]}, "
            f"these are {loss.weights_sha256[:12]}: give the same --encoder-weights to resume"
        )


CHECKPOINT_STEPS = 100
CHECKPOINT_TIME_SHARE = 0.05
"""Checkpoints are skipped while writing them would take more than this share of the time."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run does, and with what."""

    photos: Datasets
    recipe: Recipe
    """As asked for."""
    machine: DeviceConfig
    folder: Path
    on_trouble: str = "warn"
    """`warn`, `stop` or `rescue`."""
    command: str = ""
    """As typed."""


@dataclass(slots=True)
class TrainState:
    """One run's state; `step`, the network, optimizer, schedule and best score are what a checkpoint keeps."""

    plan: RunConfig
    recipe: Recipe
    """As asked for, or as the last rescue left it."""
    rescues: tuple[Rollback, ...]
    fabric: Fabric
    network: ColorUNet
    model: Any
    """The network as Fabric wraps it."""
    optimizer: Any
    schedule: torch.optim.lr_scheduler.OneCycleLR
    criterion: ColorizationWeightedLoss
    total_steps: int
    perceptual: PerceptualLoss | None = None
    """None at weight 0."""
    ema: AveragedModel | None = None
    """Moving average of the weights, with the network's own buffers."""
    step: int = 0
    neutral_loss: float = 0.0
    """What predicting neutral gray costs on the training photos."""
    empty_batches: int = 0
    """In a row, of which no photo could be read."""
    lost_steps: int = 0
    """In a row, whose loss or gradients were no numbers."""
    best_score: float | None = None
    best_step: int = 0
    best_weights: dict[str, Tensor] | None = None
    """Not yet on the disk."""
    saved_at: float = field(default_factory=time.monotonic)
    saving_took: float = 0.0

    @property
    def photos(self) -> Datasets:
        """What it learns from."""
        return self.plan.photos

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.plan.folder

    @property
    def seen(self) -> nn.Module:
        """The network to look at photos with: the average where one is kept."""
        return self.ema.module if self.ema else self.network

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales gradients up for float16 to hold them, and less where they overflow."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    @property
    def began(self) -> tuple[int, int]:
        """(step, epoch) at which it began, or was rescued."""
        return (self.rescues[-1].from_step, self.rescues[-1].epoch) if self.rescues else (0, 0)

    @property
    def warmup_steps(self) -> int:
        """In which the learning rate climbs, from `began`."""
        return round(self.recipe.warmup * (self.total_steps - self.began[0]))

    def epoch(self) -> tuple[int, bool]:
        """The epoch of the step just taken, and whether that was its last."""
        since, first = self.began
        per_epoch = self.recipe.steps_per_epoch(len(self.photos.train))
        taken = self.step - since
        return first + (taken - 1) // per_epoch, taken % per_epoch == 0 or self.step == self.total_steps


def build_state(plan: RunConfig, fabric: Fabric, resume_from: Checkpoint | None) -> TrainState:
    """Build everything; with a checkpoint, put it where the first run was."""
    about = resume_from.about if resume_from else None
    rescues = about.rescues if about else ()
    recipe, total_steps, since = plan.recipe, plan.recipe.total_steps(len(plan.photos.train)), 0
    if rescues:
        recipe = replace(recipe, lr=rescues[-1].lr, batch_size=rescues[-1].batch_size)
        total_steps, since = rescues[-1].total_steps, rescues[-1].from_step
    torch.manual_seed(recipe.seed)
    network = network_for(recipe)
    if resume_from:
        network.load_state_dict(resume_from.part("model"))
    elif isinstance(network.encoder, LiteEncoder):
        load_weights(network.encoder, plan.machine.encoder_weights)
    network = _for_device(network, fabric)
    adamw = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.lr,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=plan.machine.fuses(fabric),
    )
    schedule = one_cycle(adamw, recipe, total_steps - since)
    model, optimizer = fabric.setup(plan.machine.compiled(network), adamw)
    criterion = ColorizationWeightedLoss.of(recipe, fabric.device)
    perceptual = None
    if recipe.perceptual_weight:  # after the network, whose first weights are so the same with and without
        perceptual = PerceptualLoss(plan.machine.encoder_weights, fabric.device)
        check_same(perceptual, about)
    average = get_ema_multi_avg_fn(recipe.ema) if recipe.ema else None  # type: ignore[no-untyped-call]  # torch
    ema = AveragedModel(network, multi_avg_fn=average) if average else None
    run = TrainState(
        plan, recipe, rescues, fabric, network, model, optimizer, schedule, criterion, total_steps, perceptual, ema
    )
    if resume_from:
        _restore(run, resume_from, adamw)
    return run


def _for_device(network: ColorUNet, fabric: Fabric) -> ColorUNet:
    """In the memory layout that is quicker, most of all on GPUs; statistics over all GPUs that share a batch."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # DDP refuses it on CPUs
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # torch
    return network


def _restore(run: TrainState, before: Checkpoint, adamw: torch.optim.AdamW) -> None:
    about = before.about
    run.step, run.best_score, run.best_step = about.step, about.best_score, about.best_step
    if run.ema:
        run.ema.module.load_state_dict(before.part("ema"))
        run.ema.n_averaged.fill_(about.averaged_steps)
    if about.schedule["groups"]:  # after a rescue, moments and schedule begin anew
        checkpoint.restore_optimizer(adamw, list(about.schedule["groups"]), before.part("optimizer"))
        run.schedule.load_state_dict(dict(about.schedule["one_cycle"]))


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


def checkpoint_due(run: TrainState, *, epoch_ends: bool) -> bool:
    """At the end of an epoch or every 100 steps, if the last checkpoint was cheap enough; always at the end."""
    if run.step == run.total_steps:
        return True
    rested = time.monotonic() - run.saved_at >= run.saving_took / CHECKPOINT_TIME_SHARE
    return rested and (epoch_ends or run.step % CHECKPOINT_STEPS == 0)


def save(run: TrainState) -> None:
    """Write best.safetensors and then last.safetensors: what resuming needs is there when it is.

    Raises:
        CheckpointError: the disk says no.
    """
    save_best(run)
    groups = run.optimizer.state_dict()["param_groups"]
    one_cycle_state = {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}
    whole = replace(about(run), schedule={"groups": groups, "one_cycle": one_cycle_state})
    tensors = weights(run) | checkpoint.optimizer_tensors(run.optimizer)
    checkpoint.save(run.folder / "last.safetensors", tensors, whole)


def save_best(run: TrainState) -> None:
    """Write best.safetensors, if there is a better one than on the disk; the newest where nothing is held out."""
    validated = bool(len(run.photos.val))
    best = run.best_weights if validated else checkpoint.weights(run.seen)
    if best is not None:
        step = run.best_step if validated else run.step
        checkpoint.save(run.folder / "best.safetensors", best, replace(about(run), step=step))
        run.best_weights = None


def weights(run: TrainState) -> dict[str, Tensor]:
    """The network's tensors and, where one is kept, their moving average's."""
    averaged = checkpoint.weights(run.ema.module, "ema") if run.ema else {}
    return checkpoint.weights(run.network) | averaged


def about(run: TrainState) -> CheckpointMetadata:
    """What a checkpoint made now says of itself."""
    return CheckpointMetadata(
        recipe=run.plan.recipe,
        manifest_path=str(run.photos.manifest_path),
        manifest_sha256=run.photos.manifest_sha256,
        step=run.step,
        neutral_loss=run.neutral_loss,
        command=run.plan.command,
        manifest_ancestors=list(run.photos.ancestors),
        best_score=run.best_score,
        best_step=run.best_step,
        averaged_steps=int(run.ema.n_averaged) if run.ema else 0,
        threads=torch.get_num_threads(),
        on_trouble=run.plan.on_trouble,
        rescues=run.rescues,
        perceptual_sha256=run.perceptual.weights_sha256 if run.perceptual else "",
        model=checkpoint.model_of(run.recipe),
    )


def find_checkpoint(run_dir: Path, photos: Datasets) -> Checkpoint | None:
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
