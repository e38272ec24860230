"""Checkpoints: one safetensors file each, written atomically and read without executing code from the file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from curate.errors import CheckpointError, UsageError
from curate.files import commit
from curate.version import __version__
from train import checkpoint_file
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe

FORMAT_VERSION = 1
MODEL = "ColorUNet"
MODELS = (MODEL, f"{MODEL} under efficientnet-lite0")


@dataclass(frozen=True, slots=True)
class Rollback:
    """One rollback of a run: back to healthy weights, then on with a lower learning rate and smaller batches."""

    kind: str
    """Kind of the finding that caused it, for example `divergence`."""
    found_step: int
    """Step at which the finding was reported."""
    from_step: int
    """Step of the healthy weights that the run continues from."""
    epoch: int
    """Number of the first epoch after the rollback; a new one, so that crops and flips are drawn again."""
    lr: float
    """New peak learning rate."""
    batch_size: int
    """New batch size."""
    total_steps: int
    """New last step of the run; the learning-rate schedule, with its warm-up, restarts at `from_step`."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The checkpoint whose weights a run started from, with what it records about its own training."""

    path: str
    """Absolute path of its file."""
    sha256: str
    """SHA-256 of its file, hex."""
    step: int
    """Optimizer steps taken."""
    manifest_path: str
    """As `CheckpointMetadata.manifest_path`, and so on."""
    manifest_sha256: str
    manifest_ancestors: Sequence[Mapping[str, str]] = ()
    photos_sha256: str = ""
    photos_left_out: int = 0
    command: str = ""
    held_out: Mapping[str, int] | None = None
    """Number of photos in the new run's splits `val` and `test` that this checkpoint was trained on; None if
    unknown."""
    list_sha256: str = ""
    """SHA-256 of parent-photos.parquet in the new run's folder, hex: the training photos of this checkpoint and of
    those before it; empty if some of them are unknown."""
    parent: Parent | None = None
    """Its own parent."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any] | None) -> Parent | None:
        """Return the parent from its JSON object, with all parents before it; None for null."""
        return cls(**{**fields, "parent": cls.from_fields(fields.get("parent"))}) if fields else None


@dataclass(frozen=True, slots=True)
class CheckpointMetadata:
    """Metadata of a checkpoint, stored as JSON in the safetensors header; the field names are the JSON keys."""

    recipe: Recipe
    """The recipe that the run was started with; the last of `rescues` overrides its `lr` and `batch_size`."""
    manifest_path: str
    """Manifest of the training photos."""
    manifest_sha256: str
    """SHA-256 of that manifest, hex."""
    step: int
    """Optimizer steps taken."""
    neutral_loss: float
    """Loss of predicting neutral gray on the training photos."""
    command: str = ""
    """Command line of the run."""
    best_score: float | None = None
    """Lowest `Validation.score` so far; None without validation photos."""
    best_step: int = 0
    """Step of the lowest score."""
    auto_strength: float | None = None
    """Factor for the predicted chroma that makes the validation photos as colorful as their originals, at most 2, for
    the weights in this file; None if they were not validated."""
    averaged_steps: int = 0
    """Updates of the EMA weights; 0 without EMA."""
    threads: int = 0
    """CPU threads of torch; resuming with another number changes the last bits of the results."""
    on_trouble: str = "warn"
    """Response to findings: `warn`, `stop` or `rescue`."""
    rescues: tuple[Rollback, ...] = ()
    """Rollbacks so far, oldest first."""
    perceptual_sha256: str = ""
    """SHA-256 of the weights file of the perceptual loss; empty without a perceptual loss."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """State of the learning-rate schedule and of the optimizer's parameter groups; empty if it can't be resumed."""
    manifest_ancestors: Sequence[Mapping[str, str]] = field(default_factory=list)
    """Ancestors of the manifest, back to the scan: kind, path and sha256 of each."""
    photos_sha256: str = ""
    """SHA-256 of photos.parquet in the run's folder, hex: the photos of the manifest that were used."""
    photos_left_out: int = 0
    """Photos of the manifest that were left out, because they had changed since the scan."""
    parent: Parent | None = None
    """The checkpoint that the run started from; None if it started with new weights."""
    model: str = MODEL
    """Name of the architecture, one of `MODELS`."""
    tool_version: str = __version__
    """vividset version that wrote the checkpoint."""
    format_version: int = FORMAT_VERSION
    """Version of this format."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory."""

    path: Path
    metadata: CheckpointMetadata
    tensors: Mapping[str, Tensor]
    """Tensors by stored name, for example `model/head.weight`."""

    def tensors_under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names start with `prefix/`, keyed by the rest of the name."""
        start = prefix + "/"
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}

    def network(self) -> ColorUNet:
        """Return the trained network in eval mode, with its EMA weights if the checkpoint has them.

        Raises:
            CheckpointError: the weights don't match the architecture that the metadata describes.
        """
        network = build_network(self.metadata.recipe)
        try:
            network.load_state_dict(self.tensors_under("ema") or self.tensors_under("model"))
        except RuntimeError as exc:
            raise CheckpointError(
                f"{self.path} is damaged: its weights don't match its {MODEL}: use another checkpoint"
            ) from exc
        return network.eval()


def save(path: Path, tensors: Mapping[str, Tensor], metadata: CheckpointMetadata) -> None:
    """Write a checkpoint atomically: the file is complete, or unchanged.

    Args:
        path: file to write; its folder must exist.
        tensors: by name, like `model/head.weight` and `optimizer/0/exp_avg`.
        metadata: stored with the tensors.

    Raises:
        CheckpointError: the file can't be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        draft.unlink(missing_ok=True)
        draft.touch()
        mode = draft.stat().st_mode  # safetensors makes files that only their owner can read
        save_file(plain, draft, {checkpoint_file.METADATA_KEY: json.dumps(asdict(metadata))})
        draft.chmod(mode)
        commit(draft, path)
    except (OSError, SafetensorError) as exc:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path} can't be written: {exc}: free some space, then --resume") from exc


def load(path: Path, *, weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: as for `train.checkpoint_file.find_file`.
        weights_only: skip the optimizer's tensors.

    Raises:
        CheckpointError: the file is missing, damaged, not a vividset checkpoint, or of an unknown format or model.
    """
    path = checkpoint_file.find_file(path)
    text = checkpoint_file.read_metadata(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not weights_only or name.startswith(("model/", "ema/"))]  # noqa: SIM118  # not a dict
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as exc:
        raise CheckpointError(
            f"{path} can't be read ({exc}): the file is incomplete or not a checkpoint of `train fit`"
        ) from exc
    return Checkpoint(path, _parse_metadata(path, text), tensors)


def model_name(recipe: Recipe) -> str:
    """Return the name of a recipe's network; older versions refuse a checkpoint whose model name they don't know."""
    return MODELS[recipe.encoder != "plain"]


def network_tensors(network: nn.Module, prefix: str = "model") -> dict[str, Tensor]:
    """Return CPU copies of a network's weights and buffers, named `PREFIX/NAME`."""
    return {f"{prefix}/{name}": tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return AdamW's moments and step counts, named `optimizer/PARAMETER INDEX/NAME`."""
    states = optimizer.state_dict()["state"]
    return {f"optimizer/{index}/{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]
) -> None:
    """Load AdamW's state into a new optimizer.

    The tensors are copied into memory of the same layout as their weights: fused AdamW requires that, and safetensors
    doesn't keep the layout. The copy also separates the processes of a DDP run, which share the loaded checkpoint.

    Args:
        optimizer: filled in place; keeps its own setting of `fused`, which depends on the device.
        groups: its parameter groups, as in `CheckpointMetadata.schedule["groups"]`.
        tensors: the tensors of `optimizer_tensors`, without the prefix `optimizer/`.
    """
    groups = [group | {"fused": now["fused"]} for group, now in zip(groups, optimizer.param_groups, strict=True)]
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, field_name = name.partition("/")
        weight = parameters[int(index)]
        like = weight if tensor.shape == weight.shape else tensor
        states.setdefault(int(index), {})[field_name] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def remove_drafts(folder: Path) -> None:
    """Delete the incomplete files that a killed run left in its folder."""
    for draft in folder.glob(".*.draft"):
        os.unlink(draft)


def _parse_metadata(path: Path, text: str) -> CheckpointMetadata:
    """Check and convert the JSON text in the header of the checkpoint `path`."""
    try:
        fields = json.loads(text)
        version, model = fields["format_version"], fields["model"]
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(f"{path} is damaged: its metadata can't be read: use another checkpoint") from exc
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version} (vividset {fields.get('tool_version')}), but this version "
            f"(vividset {__version__}) reads format {FORMAT_VERSION}: use that version, or train again"
        )
    if model not in MODELS:
        raise CheckpointError(
            f"{path} holds a {model}, but this version reads only {', '.join(MODELS)}: use the version that made it"
        )
    try:
        rescues = tuple(Rollback(**rescue) for rescue in fields.get("rescues", ()))
        parts = {"recipe": Recipe(**fields["recipe"]), "rescues": rescues}
        return CheckpointMetadata(**{**fields, **parts, "parent": Parent.from_fields(fields.get("parent"))})
    except (KeyError, TypeError, AttributeError, UsageError) as exc:
        raise CheckpointError(f"{path} is damaged: its recipe can't be read ({exc}): use another checkpoint") from exc
