"""Checkpoints: one safetensors file, written whole or not at all, read without running any code from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from curate import manifest
from curate.errors import CheckpointError, ManifestError, UsageError
from curate.files import check_readable, commit
from curate.text import describe_error
from curate.version import __version__
from train.models.unet import ColorUNet, network_for
from train.recipe import Recipe

FORMAT_VERSION = 1
MODEL = "ColorUNet"
MODELS = (MODEL, f"{MODEL} under efficientnet-lite0")
_KEY = "vividset"


@dataclass(frozen=True, slots=True)
class Rollback:
    """A run that went back to where it was healthy, and went on from there more calmly."""

    kind: str
    """What was found."""
    found_step: int
    from_step: int
    """The healthy step that it went back to."""
    epoch: int
    """The first one after that, for crops and flips that weren't drawn before."""
    lr: float
    """New peak learning rate."""
    batch_size: int
    total_steps: int
    """Where the run now ends; the schedule, its warm-up included, begins anew at `from_step`."""


@dataclass(frozen=True, slots=True)
class CheckpointMetadata:
    """What a checkpoint says of itself, as JSON in the file's metadata."""

    recipe: Recipe
    """As asked for; the last of `rescues` tells what it came to."""
    manifest_path: str
    manifest_sha256: str
    """Of the manifest whose photos taught it."""
    step: int
    """Optimizer steps taken."""
    neutral_loss: float
    """What predicting neutral gray costs on the training photos."""
    command: str = ""
    best_score: float | None = None
    """Lowest `Validation.score` so far; None without validation photos."""
    best_step: int = 0
    """The step of that."""
    averaged_steps: int = 0
    """Steps in the moving average of the weights; 0 where none is kept."""
    threads: int = 0
    """CPU threads; another number changes the last bits of a resumed run."""
    on_trouble: str = "warn"
    """What the run does about findings: warn, stop or rescue."""
    rescues: tuple[Rollback, ...] = ()
    """Oldest first."""
    perceptual_sha256: str = ""
    """Of the file with the perceptual loss's features; empty without one."""
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """The learning-rate schedule's and the optimizer's numbers; empty in a checkpoint that is only for use."""
    manifest_ancestors: Sequence[Mapping[str, str]] = field(default_factory=list)
    """The manifests that it was made from, back to the scan: kind, path and sha256."""
    model: str = MODEL
    tool_version: str = __version__
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory."""

    path: Path
    about: CheckpointMetadata
    tensors: Mapping[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below `prefix/`, by the rest of their names."""
        start = prefix + "/"
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}

    def network(self) -> ColorUNet:
        """The trained network, ready to predict; its moving average where the file has one.

        Raises:
            CheckpointError: the weights don't fit the recipe that the file names.
        """
        network = network_for(self.about.recipe)
        try:
            network.load_state_dict(self.part("ema") or self.part("model"))
        except RuntimeError as exc:
            raise CheckpointError(
                f"{self.path} is damaged: its weights don't fit a {MODEL}: use another checkpoint"
            ) from exc
        return network.eval()


def save(path: Path, tensors: Mapping[str, Tensor], about: CheckpointMetadata) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: where; its folder must exist.
        tensors: by name, like `model/head.weight` and `optimizer/0/exp_avg`.
        about: see `CheckpointMetadata`.

    Raises:
        CheckpointError: the disk says no.
    """
    draft = path.with_name(f".{path.name}.draft")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, draft, {_KEY: json.dumps(asdict(about))})
        draft.chmod(0o666 & ~_umask())  # the library writes for the owner alone
        commit(draft, path)
    except (OSError, SafetensorError) as exc:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path} can't be written: {exc}: free some space, then --resume") from exc


def _umask() -> int:
    """What this process takes from new files' permissions; the system tells only whoever sets it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(path: Path, *, weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a `.safetensors` file, or a run folder: its best.safetensors, else its last.safetensors.
        weights_only: leave out the optimizer's tensors.

    Raises:
        CheckpointError: missing, damaged, foreign, or of another version or model.
    """
    if path.is_dir():
        last = path / "last.safetensors"
        path = path / "best.safetensors"
        path = last if last.exists() and not path.exists() else path
    try:
        check_readable(path)
    except FileNotFoundError as exc:
        raise CheckpointError(
            f"{path} doesn't exist: name RUN/best.safetensors of a run that `train fit` made"
        ) from exc
    except OSError as exc:
        raise CheckpointError(f"{path} can't be read: {describe_error(exc)}: name a checkpoint of `train fit`") from exc
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            names = [name for name in file.keys() if not weights_only or name.startswith(("model/", "ema/"))]  # noqa: SIM118  # not a dict
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as exc:
        raise CheckpointError(f"{path} can't be read ({exc}): is it a checkpoint of `train fit`, whole?") from exc
    return Checkpoint(path, _about(path, text), tensors)


def model_of(recipe: Recipe) -> str:
    """The name of a recipe's network, which older versions refuse by."""
    return MODELS[recipe.encoder != "plain"]


def _about(path: Path, text: str | None) -> CheckpointMetadata:
    if text is None:
        raise CheckpointError(f"{path} was not made by vividset: name a checkpoint of `train fit`")
    try:
        fields = json.loads(text)
        version, model = fields["format_version"], fields["model"]
    except (ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(
            f"{path} is damaged: what it says of itself can't be read: use another checkpoint"
        ) from exc
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version} (vividset {fields.get('tool_version')}), this is {FORMAT_VERSION} "
            f"(vividset {__version__}): use that version, or train again"
        )
    if model not in MODELS:
        raise CheckpointError(
            f"{path} holds a {model}, and this version only knows {', '.join(MODELS)}: use the version that made it"
        )
    try:
        rescues = tuple(Rollback(**rescue) for rescue in fields.get("rescues", ()))
        return CheckpointMetadata(**{**fields, "recipe": Recipe(**fields["recipe"]), "rescues": rescues})
    except (KeyError, TypeError, UsageError) as exc:
        raise CheckpointError(f"{path} is damaged: its recipe can't be read ({exc}): use another checkpoint") from exc


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's moments and step counts, as `optimizer/PARAMETER/NAME`."""
    states = optimizer.state_dict()["state"]
    return {f"optimizer/{index}/{name}": value for index, state in states.items() for name, value in state.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]
) -> None:
    """Undo `optimizer_tensors`; `groups` are the optimizer's numbers, from `CheckpointMetadata.schedule`.

    Whether it is one kernel depends on where it runs now, not on where it was saved. That kernel wants moments to lie
    in memory as their weights do, which a file doesn't keep; and processes were all given the same memory: so, copies.
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


def weights(network: nn.Module, prefix: str = "model") -> dict[str, Tensor]:
    """A network's weights and buffers, as `PREFIX/NAME`, copied to the CPU."""
    return {f"{prefix}/{name}": tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def remove_drafts(folder: Path) -> None:
    """Delete what a killed run was in the middle of writing."""
    for draft in folder.glob(".*.draft"):
        os.unlink(draft)


def training_photos(about: CheckpointMetadata, moved_to: Path | None = None) -> pa.Table:
    """Source, path and sha256 of every photo that taught a model, by the very manifest that it names.

    Args:
        about: what its checkpoint says.
        moved_to: the manifest, where it lies elsewhere by now.

    Raises:
        ManifestError: it isn't there, can't be read, or is another one.
    """
    place = moved_to or Path(about.manifest_path)
    wanted = f"name the one of sha256 {about.manifest_sha256[:12]} with --manifest"
    if not place.exists():
        raise ManifestError(f"{place}, the manifest of the photos that taught this, isn't there: {wanted}")
    read = manifest.read_manifest(
        place, required=("source", "path", "sha256", "split"), columns=("source", "path", "sha256", "split")
    )
    if read.sha256 != about.manifest_sha256:
        raise ManifestError(f"{place} is not the manifest of the photos that taught this, or has changed: {wanted}")
    return read.table.filter(pc.equal(read.table["split"], "train"))
