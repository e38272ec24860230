"""The state of a training run: how it is built, which part of it a checkpoint stores, and how it is restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.checkpoint import Checkpoint, CheckpointMetadata, Parent, Rollback
from train.data.dataset import Datasets
from train.models.efficientnet import LiteEncoder, load_weights
from train.models.losses import ColorizationWeightedLoss, PerceptualLoss
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig, StopRequest

CHECKPOINT_STEPS = 100
CHECKPOINT_TIME_SHARE = 0.05
"""Checkpoints are skipped while writing them would take more than this share of the time."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The arguments of a run; they don't change while it runs."""

    datasets: Datasets
    recipe: Recipe
    """The recipe that the run was started with."""
    device_config: DeviceConfig
    run_dir: Path
    """Folder for checkpoints, log and pictures."""
    on_trouble: str = "warn"
    """Response to findings: `warn`, `stop` or `rescue`."""
    command: str = ""
    """Command line, stored in the checkpoints."""
    init_weights: Mapping[str, Tensor] | None = None
    """Weights and buffers of the network to start with; None starts with new weights."""
    parent: Parent | None = None
    """The checkpoint that the run started from."""


@dataclass(slots=True)
class TrainState:
    """Everything that changes during a run.

    Checkpoints store the step, the networks, the state of optimizer and schedule, and the best score.
    """

    config: RunConfig
    recipe: Recipe
    """The recipe in force: the run's own, with the learning rate and batch size of the last rollback."""
    rollbacks: tuple[Rollback, ...]
    """Rollbacks so far, oldest first."""
    fabric: Fabric
    network: ColorUNet
    model: Any
    """The network as wrapped by Fabric (DDP, precision, torch.compile)."""
    optimizer: Any
    schedule: torch.optim.lr_scheduler.OneCycleLR
    criterion: ColorizationWeightedLoss
    total_steps: int
    perceptual_loss: PerceptualLoss | None = None
    """None if `recipe.perceptual_weight` is 0."""
    ema: AveragedModel | None = None
    """Exponential moving average of the weights and of BatchNorm's statistics; None without `recipe.ema`.

    The network's current statistics don't fit averaged weights while the learning rate is high (docs/results/rates.md).
    """
    step: int = 0
    """Optimizer steps taken, skipped ones included."""
    neutral_loss: float = 0.0
    """Loss of predicting neutral gray on the training photos."""
    empty_batches: int = 0
    """Consecutive steps of which no photo could be read."""
    skipped_steps: int = 0
    """Consecutive steps that were skipped because the loss or a gradient was NaN or infinite."""
    best_score: float | None = None
    """Lowest `Validation.score` so far."""
    best_step: int = 0
    """Step of the lowest score."""
    best_weights: dict[str, Tensor] | None = None
    """Weights of the best step until they are written to best.safetensors, then None."""
    best_auto_strength: float | None = None
    """`Validation.auto_strength` of `best_weights`."""
    auto_strength: float | None = None
    """The same for the current weights; None if they were not validated."""
    stop: StopRequest = field(default_factory=StopRequest)
    """Whether the user asked to stop."""
    say: Callable[[str], None] = print
    """Prints a line for the user."""
    reported_photos: set[str] = field(default_factory=set)
    """Names of the unreadable photos that were reported outside of training steps, each once."""
    last_save_time: float = field(default_factory=time.monotonic)
    """Clock time of the last checkpoint, in seconds of `time.monotonic`."""
    last_save_seconds: float = 0.0
    """Time that writing it took."""

    @property
    def datasets(self) -> Datasets:
        """Training and validation photos."""
        return self.config.datasets

    @property
    def run_dir(self) -> Path:
        """Folder for checkpoints, log and pictures."""
        return self.config.run_dir

    @property
    def eval_model(self) -> nn.Module:
        """The network for validation, samples and best.safetensors: the EMA where there is one."""
        return self.ema.module if self.ema else self.network

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The loss scaler of float16 mixed precision, else None."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    @property
    def start_point(self) -> tuple[int, int]:
        """(step, epoch) at which the run started, or continued after its last rollback."""
        return (self.rollbacks[-1].from_step, self.rollbacks[-1].epoch) if self.rollbacks else (0, 0)

    @property
    def warmup_steps(self) -> int:
        """Steps after `start_point` during which the learning rate rises."""
        return round(self.recipe.warmup * (self.total_steps - self.start_point[0]))

    def current_epoch(self) -> tuple[int, bool]:
        """Return the epoch of the step just taken, and whether that step was the epoch's last."""
        first_step, first_epoch = self.start_point
        per_epoch = self.recipe.steps_per_epoch(len(self.datasets.train))
        taken = self.step - first_step
        return first_epoch + (taken - 1) // per_epoch, taken % per_epoch == 0 or self.step == self.total_steps


def build_state(config: RunConfig, fabric: Fabric, resume_from: Checkpoint | None) -> TrainState:
    """Build network, optimizer, schedule and losses; restore them from a checkpoint if one is given.

    Raises:
        UsageError: the perceptual loss has other weights than before, or an extra isn't installed.
        CheckpointError: the encoder's weights can't be read.
    """
    metadata = resume_from.metadata if resume_from else None
    rollbacks = metadata.rescues if metadata else ()
    recipe, total_steps, first_step = config.recipe, config.recipe.total_steps(len(config.datasets.train)), 0
    if rollbacks:
        recipe = replace(recipe, lr=rollbacks[-1].lr, batch_size=rollbacks[-1].batch_size)
        total_steps, first_step = rollbacks[-1].total_steps, rollbacks[-1].from_step
    torch.manual_seed(recipe.seed)
    network = build_network(recipe)
    if resume_from:
        network.load_state_dict(resume_from.tensors_under("model"))
    elif config.init_weights is not None:
        network.load_state_dict(config.init_weights)
    elif isinstance(network.encoder, LiteEncoder):
        load_weights(network.encoder, config.device_config.encoder_weights)
    network = _prepare_for_device(network, fabric)
    adamw = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.lr,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=config.device_config.fused_adamw(fabric),
    )
    schedule = one_cycle_schedule(adamw, recipe, total_steps - first_step)
    model, optimizer = fabric.setup(config.device_config.compile_if_asked(network), adamw)
    criterion = ColorizationWeightedLoss.from_recipe(recipe, fabric.device)
    perceptual_loss = None
    if recipe.perceptual_weight:  # built after the network, so that the seed gives the same weights with and without it
        perceptual_loss = PerceptualLoss(config.device_config.encoder_weights, fabric.device)
        _check_perceptual_weights(perceptual_loss, metadata)
    average = get_ema_multi_avg_fn(recipe.ema) if recipe.ema else None  # type: ignore[no-untyped-call]  # torch
    state = TrainState(
        config,
        recipe,
        rollbacks,
        fabric,
        network,
        model,
        optimizer,
        schedule,
        criterion,
        total_steps,
        perceptual_loss,
        AveragedModel(network, multi_avg_fn=average, use_buffers=True) if average else None,
    )
    if resume_from:
        _restore(state, resume_from, adamw)
    return state


def _prepare_for_device(network: ColorUNet, fabric: Fabric) -> ColorUNet:
    """Use the channels-last memory layout, faster most of all on GPUs, and BatchNorm over all GPUs of a step."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # DDP refuses SyncBatchNorm on CPUs
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # torch
    return network


def _check_perceptual_weights(loss: PerceptualLoss, metadata: CheckpointMetadata | None) -> None:
    """Refuse to resume with other perceptual weights than the run started with: the result would not be the same."""
    if metadata and loss.weights_sha256 != metadata.perceptual_sha256:
        raise UsageError(
            f"this run's perceptual loss uses efficientnet-lite0 weights with sha256 {metadata.perceptual_sha256[:12]},"
            f" but these have {loss.weights_sha256[:12]}: give the same --encoder-weights to resume"
        )


def _restore(state: TrainState, source: Checkpoint, adamw: torch.optim.AdamW) -> None:
    """Restore what isn't in the network: step, best score, EMA, and the optimizer's and schedule's state."""
    metadata = source.metadata
    state.step, state.best_score, state.best_step = metadata.step, metadata.best_score, metadata.best_step
    state.auto_strength = metadata.auto_strength
    if state.ema:
        state.ema.module.load_state_dict(source.tensors_under("ema"))
        state.ema.n_averaged.fill_(metadata.averaged_steps)
    if metadata.schedule["groups"]:  # empty after a rollback: AdamW's moments and the schedule start again from zero
        checkpoint.restore_optimizer(adamw, list(metadata.schedule["groups"]), source.tensors_under("optimizer"))
        state.schedule.load_state_dict(dict(metadata.schedule["one_cycle"]))


def one_cycle_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Return a OneCycleLR schedule for any `total_steps` from 1; it leaves AdamW's betas alone.

    OneCycleLR divides by zero if the warm-up is exactly one step. A slightly longer warm-up gives the same rates.
    """
    warmup = recipe.warmup
    if abs(warmup * total_steps - 1) < 1e-6:
        warmup += 1e-3 / total_steps
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.lr, total_steps=total_steps, pct_start=warmup, cycle_momentum=False
    )


def find_checkpoint(run_dir: Path, datasets: Datasets) -> Checkpoint | None:
    """Return the checkpoint to resume from, last.safetensors; None if the run has none yet.

    Raises:
        CheckpointError: it can't be read, can't be resumed from, or was trained on another manifest.
    """
    path = run_dir / "last.safetensors"
    if not path.exists():
        return None
    last = checkpoint.load(path)
    metadata = last.metadata
    if not metadata.schedule:
        raise CheckpointError(
            f"{path} has no optimizer state and can't be resumed from: start a new run with another --run-dir"
        )
    if metadata.manifest_sha256 != datasets.manifest_sha256:
        raise CheckpointError(
            f"{path} was trained on another manifest ({metadata.manifest_path}, sha256 "
            f"{metadata.manifest_sha256[:12]}): give that manifest, or a new --run-dir"
        )
    if metadata.photos_sha256 != datasets.photos_sha256 and (datasets.photos_sha256 or metadata.photos_left_out):
        raise CheckpointError(
            f"{run_dir / 'photos.parquet'} is not the list of photos that {path} was trained on: bring that back, or "
            "give a new --run-dir"
        )
    return last


def checkpoint_due(state: TrainState, *, epoch_ends: bool) -> bool:
    """Whether to write a checkpoint after this step.

    Yes at the end of the run; at the end of an epoch and every 100 steps, unless the time since the last checkpoint is
    short compared with the time that writing it took.
    """
    if state.step == state.total_steps:
        return True
    cheap = time.monotonic() - state.last_save_time >= state.last_save_seconds / CHECKPOINT_TIME_SHARE
    return cheap and (epoch_ends or state.step % CHECKPOINT_STEPS == 0)


def save_checkpoints(state: TrainState) -> None:
    """Write best.safetensors if it changed, then last.safetensors, which a resumed run reads.

    Raises:
        CheckpointError: a file can't be written.
    """
    save_best(state)
    groups = state.optimizer.state_dict()["param_groups"]
    one_cycle = {name: value for name, value in state.schedule.state_dict().items() if not callable(value)}
    metadata = replace(checkpoint_metadata(state), schedule={"groups": groups, "one_cycle": one_cycle})
    tensors = model_tensors(state) | checkpoint.optimizer_tensors(state.optimizer)
    checkpoint.save(state.run_dir / "last.safetensors", tensors, metadata)


def save_best(state: TrainState) -> None:
    """Write best.safetensors if there are better weights than in the file.

    Without validation photos, the current weights are the best.
    """
    has_validation = bool(len(state.datasets.val))
    best = state.best_weights if has_validation else checkpoint.network_tensors(state.eval_model)
    if best is not None:
        step = state.best_step if has_validation else state.step
        metadata = replace(checkpoint_metadata(state), step=step, auto_strength=state.best_auto_strength)
        checkpoint.save(state.run_dir / "best.safetensors", best, metadata)
        state.best_weights = None


def model_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return the network's tensors under `model/` and those of the EMA, where there is one, under `ema/`."""
    ema = checkpoint.network_tensors(state.ema.module, "ema") if state.ema else {}
    return checkpoint.network_tensors(state.network) | ema


def checkpoint_metadata(state: TrainState) -> CheckpointMetadata:
    """Return the metadata of a checkpoint of the current state, without `schedule`."""
    datasets = state.datasets
    return CheckpointMetadata(
        recipe=state.config.recipe,
        manifest_path=str(datasets.manifest_path),
        manifest_sha256=datasets.manifest_sha256,
        step=state.step,
        neutral_loss=state.neutral_loss,
        command=state.config.command,
        manifest_ancestors=list(datasets.ancestors),
        photos_sha256=datasets.photos_sha256,
        photos_left_out=datasets.photos_left_out,
        parent=state.config.parent,
        best_score=state.best_score,
        best_step=state.best_step,
        auto_strength=state.auto_strength,
        averaged_steps=int(state.ema.n_averaged) if state.ema else 0,
        threads=torch.get_num_threads(),
        on_trouble=state.config.on_trouble,
        rescues=state.rollbacks,
        perceptual_sha256=state.perceptual_loss.weights_sha256 if state.perceptual_loss else "",
        model=checkpoint.model_name(state.recipe),
    )
