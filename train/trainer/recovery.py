"""What a run does about trouble: stop, or go back to where it was healthy and go on more calmly."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from curate.errors import CheckpointError
from train import checkpoint
from train.checkpoint import Rollback
from train.health.findings import MIN_STEPS_TO_JUDGE, Finding
from train.trainer.state import TrainState, about, save_best, weights

MOST_RESCUES = 3
CALM_LR = 2e-5
CALM_BATCH = 8
CALMER_BY = 2.5
"""From the documented 5e-5 to 2e-5; a second rescue goes down as far again."""
KEPT = 3


def save_healthy_weights(run: TrainState) -> None:
    """Keep the weights as they are, if the run is to rescue itself; call it every 400 healthy steps.

    At steps that don't depend on the clock, so that a run that was killed and resumed goes back to the same one.
    """
    folder = run.folder / "healthy"
    if run.plan.on_trouble != "rescue" or (run.step - run.began[0]) % MIN_STEPS_TO_JUDGE:
        return
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / f"step-{run.step:07d}.safetensors", weights(run), about(run))
    for _, older in _kept(folder)[:-KEPT]:
        older.unlink()


def drop_newer_weights(run: TrainState) -> None:
    """Drop what was kept at steps that are now to be taken again."""
    for step, path in _kept(run.folder / "healthy"):
        if step > run.step:
            path.unlink()


def roll_back(run: TrainState, finding: Finding) -> Rollback:
    """Make last.safetensors the newest weights from before the trouble, to go on from them more calmly.

    What health sees in 400 steps began up to 400 steps earlier, so only weights older than that are healthy. The log up
    to here is kept as log-before-rescue-N.jsonl. Killed at any moment, the run is rescued once.

    Raises:
        CheckpointError: no healthy weights are kept.
    """
    found = [
        path for step, path in _kept(run.folder / "healthy") if step <= max(run.began[0], run.step - MIN_STEPS_TO_JUDGE)
    ]
    if not found:
        raise CheckpointError(f"{run.folder / 'healthy'} holds no weights to go back to: start a new --run-dir")
    healthy = checkpoint.load(found[-1])
    _copy(run.folder / "log.jsonl", run.folder / f"log-before-rescue-{len(run.rescues) + 1}.jsonl")
    save_best(run)
    calmer = _calmer(run, finding, healthy.about.step)
    now = replace(
        about(run),
        step=healthy.about.step,
        averaged_steps=healthy.about.averaged_steps,
        rescues=(*run.rescues, calmer),
        schedule={"groups": [], "one_cycle": {}},
    )
    checkpoint.save(run.folder / "last.safetensors", healthy.tensors, now)
    return calmer


def words(calmer: Rollback, number: int) -> str:
    """A rescue in one line."""
    return (
        f"! rescue {number} of at most {MOST_RESCUES}: {calmer.kind} at step {calmer.found_step:,}; back to "
        f"healthy step {calmer.from_step:,}, lr {calmer.lr:.0e}, batch {calmer.batch_size}, new warm-up, to step "
        f"{calmer.total_steps:,}"
    )


def _calmer(run: TrainState, finding: Finding, from_step: int) -> Rollback:
    """Lower rate and smaller batch; as many photos as were left, unless the number of steps was asked for."""
    recipe, photos = run.recipe, len(run.photos.train)
    batch = min(CALM_BATCH, recipe.batch_size)
    left = run.total_steps - from_step
    if recipe.max_steps is None:
        smaller = replace(recipe, batch_size=batch)
        left = math.ceil(left * smaller.steps_per_epoch(photos) / recipe.steps_per_epoch(photos))
    return Rollback(
        kind=finding.kind,
        found_step=finding.step,
        from_step=from_step,
        epoch=run.epoch()[0] + 1,
        lr=min(CALM_LR, recipe.lr / CALMER_BY),
        batch_size=batch,
        total_steps=from_step + left,
    )


def _kept(folder: Path) -> Sequence[tuple[int, Path]]:
    """(step, file), oldest first."""
    return [(int(path.stem.removeprefix("step-")), path) for path in sorted(folder.glob("step-*.safetensors"))]


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.draft")
    shutil.copyfile(source, draft)
    draft.replace(target)
