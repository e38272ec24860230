"""Checks before a training run starts, or resumes in its folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from curate.errors import CheckpointError, UsageError
from curate.files import check_writable, write_errors
from curate.locations import Location
from train import checkpoint
from train.checkpoint import Checkpoint
from train.data import dataset, packed, run_photos
from train.data.roots import check_roots as check_roots  # noqa: PLC0414  # train.api imports it from here
from train.recipe import Recipe
from train.trainer import loop
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.state import find_checkpoint


def start_training(
    manifest: Location,
    run_dir: Path,
    recipe: Recipe,
    device_config: DeviceConfig,
    *,
    set_by_user: Collection[str],
    roots: Sequence[Path] = (),
    skip_changed: bool = False,
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
        resume: continue the run in `run_dir`, if it has a checkpoint.
        on_trouble: `warn`, `stop` or `rescue`; see `train.trainer.loop.fit`.
        command: command line, stored in the checkpoints.
        progress: called after each step with the number of steps done and of all steps.
        say: prints a line for the user.

    Raises:
        VividsetError: as `train.trainer.loop.fit`; UsageError where the folder has a run and `resume` is False.
    """
    _check_run_dir(run_dir, resume)
    resuming = resume and (run_dir / "last.safetensors").exists()
    own = run_photos.read_photos(run_dir) if resuming else None
    if own and (line := run_photos.describe_changes(own, manifest)):
        say(line)
    read = own.read if own else dataset.read_rows(manifest)
    checked = dataset.check_rows(read, roots, skip_changed=skip_changed, say=say)
    if own:  # photos that have changed keep their places in the order, and are skipped when they are read
        datasets = run_photos.make_datasets(own, manifest, roots)
    else:
        datasets = dataset.make_datasets(read if resuming else checked, roots)
    resume_from = find_checkpoint(run_dir, datasets) if resuming else None
    recipe = _resumed_recipe(resume_from, recipe, set_by_user) if resume_from else recipe
    packed.check_size(manifest, datasets.packed_px, recipe.image_size)
    if resume_from and resume_from.metadata.threads != (threads := torch.get_num_threads()):
        say(f"this run had {resume_from.metadata.threads} CPU threads and now has {threads}: its last bits will differ")
    device_config.make_fabric(recipe.devices)  # raises if there is no such device, before anything is written
    with write_errors(run_dir, CheckpointError, "--run-dir"):
        run_dir.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_drafts(run_dir)
    if resume_from is None:
        left_out = read.table.num_rows - checked.table.num_rows
        list_sha256 = run_photos.write_photos(run_dir, checked, left_out)
        datasets = replace(datasets, photos_sha256=list_sha256, photos_left_out=left_out)
    if resume and resume_from is None:
        say(f"{run_dir} has no checkpoint yet: starting a new run")
    return loop.fit(
        datasets,
        recipe,
        device_config,
        run_dir,
        resume_from=resume_from,
        on_trouble=resume_from.metadata.on_trouble if resume_from and "on_trouble" not in set_by_user else on_trouble,
        command=command,
        say=say,
        progress=progress,
    )


def _check_run_dir(folder: Path, resume: bool) -> None:
    if not resume and any((folder / name).exists() for name in ("last.safetensors", "log.jsonl")):
        raise UsageError(f"{folder} already has a run: continue it with --resume, or choose another --run-dir")
    with write_errors(folder, CheckpointError, "--run-dir"):
        check_writable(folder / "last.safetensors")


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
