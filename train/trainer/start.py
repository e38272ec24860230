"""Checks before a training run starts, or resumes in its folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import torch

from curate.errors import CheckpointError, UsageError
from curate.files import check_writable, sha256_of, write_errors
from curate.locations import Location
from curate.manifest import Manifest
from train import checkpoint, checkpoint_file, lineage
from train.checkpoint import Checkpoint, Parent
from train.data import dataset, packed, run_photos
from train.data.dataset import Datasets
from train.lineage import ParentPhotos
from train.recipe import Recipe
from train.trainer import loop
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.state import find_checkpoint

NETWORK_OPTIONS = ("channels", "norm", "encoder")
"""Hyper-parameters that decide the shape of the network: with `--init`, they are those of the checkpoint."""
_training_lock = threading.Lock()
"""Held while this process trains a network."""


def start_training(
    manifest: Location,
    run_dir: Path,
    recipe: Recipe,
    device_config: DeviceConfig,
    *,
    set_by_user: Collection[str],
    roots: Sequence[Path] = (),
    skip_changed: bool = False,
    init: Path | None = None,
    resume: bool = False,
    on_trouble: str = "warn",
    command: str = "",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Check everything that can be checked before training, then train.

    Args:
        manifest: as `curate filter` or `curate pack` wrote it.
        run_dir: folder of the run.
        recipe: hyper-parameters; a resumed run keeps its own.
        device_config: device, precision and reader processes.
        set_by_user: names of the arguments that the user gave: hyper-parameters that must agree with a resumed run,
            and `on_trouble`, which otherwise stays as in a resumed run.
        roots: folders to look in if the photos have moved since the scan.
        skip_changed: leave out photos that have changed since the scan, instead of refusing.
        init: run's folder or checkpoint with whose weights a new run starts; None starts with new weights. A resumed
            run has weights of its own, and refuses another one than it started from.
        resume: continue the run in `run_dir`, if it has a checkpoint.
        on_trouble: `warn`, `stop` or `rescue`; see `train.trainer.loop.run_training`.
        command: command line, stored in the checkpoints.
        progress: called after each step with the number of steps done and of all steps.
        say: prints a line for the user.

    Raises:
        VividsetError: as `train.trainer.loop.run_training`; UsageError where the folder has a run and `resume` is
            False.
    """
    _check_run_dir(run_dir, resume)
    resuming = resume and (run_dir / "last.safetensors").exists()
    init_from = checkpoint.load(init, weights_only=True) if init and not resuming else None
    recipe = _initial_recipe(init_from, recipe, set_by_user) if init_from else recipe
    read, checked, datasets = _load_photos(
        manifest, run_dir, roots, resuming=resuming, skip_changed=skip_changed, say=say
    )
    resume_from = find_checkpoint(run_dir, datasets) if resuming else None
    parent, init_weights, parent_photos = None, None, None
    if resume_from:
        recipe = _resumed_recipe(resume_from, recipe, set_by_user)
        parent = resume_from.metadata.parent
        check_same_parent(parent, init)
    elif init_from:
        init_weights = init_from.network().state_dict()
        parent, parent_photos = _describe_parent(init_from, checked.table, say)
    packed.check_pack_size(manifest, datasets.packed_px, recipe.image_size)
    datasets = dataset.crop_datasets(datasets, read) if recipe.crop_borders else datasets
    if resume_from and resume_from.metadata.threads != (threads := torch.get_num_threads()):
        say(f"this run had {resume_from.metadata.threads} CPU threads and now has {threads}: its last bits will differ")
    device_config.make_fabric(recipe.devices)  # raises if there is no such device, before anything is written
    with write_errors(run_dir, CheckpointError, "--run-dir"):
        run_dir.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_drafts(run_dir)
    if resume_from is None:
        left_out = read.table.num_rows - checked.table.num_rows
        list_sha256 = run_photos.write_photos(run_dir, checked, left_out)
        if parent and parent_photos:
            parent = replace(parent, list_sha256=lineage.write_parent_photos(run_dir, parent_photos))
        datasets = replace(datasets, photos_sha256=list_sha256, photos_left_out=left_out)
    if resume and resume_from is None:
        say(f"{run_dir} has no checkpoint yet: starting a new run" + ("" if init else " (without --init)"))
    return loop.run_training(
        datasets,
        recipe,
        device_config,
        run_dir,
        resume_from=resume_from,
        init_weights=init_weights,
        parent=parent,
        on_trouble=resume_from.metadata.on_trouble if resume_from and "on_trouble" not in set_by_user else on_trouble,
        command=command,
        say=say,
        progress=progress,
    )


@contextmanager
def only_training(devices: int) -> Iterator[None]:
    """Keep other threads of this process from training a network in the block.

    Args:
        devices: number of devices to train on.

    Raises:
        UsageError: another thread trains, or several devices are requested outside the main thread.
    """
    if devices > 1 and threading.current_thread() is not threading.main_thread():
        raise UsageError("several devices need signal handlers: call fit in the main thread, or with devices=1")
    if not _training_lock.acquire(blocking=False):
        raise UsageError("another thread of this process trains a network: wait for it, or train in another process")
    try:
        yield
    finally:
        _training_lock.release()


def _check_run_dir(folder: Path, resume: bool) -> None:
    if not resume and any((folder / name).exists() for name in ("last.safetensors", "log.jsonl")):
        raise UsageError(f"{folder} already has a run: continue it with --resume, or choose another --run-dir")
    with write_errors(folder, CheckpointError, "--run-dir"):
        check_writable(folder / "last.safetensors")


def _load_photos(
    manifest: Location,
    run_dir: Path,
    roots: Sequence[Path],
    *,
    resuming: bool,
    skip_changed: bool,
    say: Callable[[str], None],
) -> tuple[Manifest, Manifest, Datasets]:
    """Read the photos of a new run from the manifest, those of a resumed run from its own list, and check them.

    Returns:
        All rows, the rows of unchanged photos, and the photos of the run. A resumed run keeps photos that have changed
        in their places in the order, and skips them when they are read.
    """
    own = run_photos.read_photos(run_dir) if resuming else None
    if own and (line := run_photos.describe_changes(own, manifest)):
        say(line)
    read = own.read if own else dataset.read_rows(manifest)
    checked = dataset.check_rows(read, roots, skip_changed=skip_changed, say=say)
    if own:
        return read, checked, run_photos.make_run_datasets(own, manifest, roots)
    return read, checked, dataset.make_datasets(read if resuming else checked, roots)


def _resumed_recipe(resume_from: Checkpoint, requested: Recipe, set_by_user: Collection[str]) -> Recipe:
    """Return the run's own recipe; hyper-parameters that the user gave must agree with it."""
    recipe = resume_from.metadata.recipe
    for name, value in asdict(requested).items():
        if name in set_by_user and getattr(recipe, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} {value} differs from the run's {getattr(recipe, name)}: leave it out to resume, "
                "or start a new run with another --run-dir"
            )
    return recipe


def _initial_recipe(init_from: Checkpoint, requested: Recipe, set_by_user: Collection[str]) -> Recipe:
    """Return the recipe with the network of the checkpoint; what the user gave of it must agree."""
    network = {name: getattr(init_from.metadata.recipe, name) for name in NETWORK_OPTIONS}
    for name, value in network.items():
        if name in set_by_user and getattr(requested, name) != value:
            raise UsageError(
                f"--{name} {getattr(requested, name)} differs from the {value} of {init_from.path}, whose weights "
                "--init takes: leave it out, or train without --init"
            )
    return replace(requested, **network)


def check_same_parent(parent: Parent | None, init: Path | None) -> None:
    """Refuse to resume a run with another `--init` than it started with; the same one is accepted, also if it is gone.

    Raises:
        UsageError: it is another file, or the file has other bytes now.
    """
    if init is None:
        return
    if parent is None:
        raise UsageError(f"this run started with new weights, not with those of {init}: leave out --init to resume")
    path, recorded = checkpoint_file.find_file(init), Path(parent.path)
    if sha256_of(path) != parent.sha256 if path.is_file() else init.absolute() not in (recorded, recorded.parent):
        raise UsageError(
            f"{path} is not the checkpoint that this run started from ({parent.path}, sha256 {parent.sha256[:12]}): "
            "leave out --init to resume"
        )


def _describe_parent(init_from: Checkpoint, table: pa.Table, say: Callable[[str], None]) -> tuple[Parent, ParentPhotos]:
    """Return what the run records about its parent, and its training photos; warn of held-out ones."""
    parent, held_out, known = lineage.describe_parent(init_from, table)
    if held_out.counts:
        total = sum(held_out.counts.values())
        splits = " and ".join(f"{count:,} of split '{split}'" for split, count in held_out.counts.items())
        names = ", ".join(held_out.names) + (", ..." if total > len(held_out.names) else "")
        say(
            f"! {init_from.path} was trained on {splits}, for example {names}: scores on these are too good; filter "
            "with the same --split as for its training, so that each photo stays in its split"
        )
    for line in known.missing:
        say(f"! {line}; photos of the splits 'val' and 'test' may be among them, and scores on those are too good")
    return parent, known
