"""Recovery from bad training: roll back to healthy weights and continue with a lower rate and smaller batches."""

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
from train.trainer.state import TrainState, checkpoint_metadata, model_tensors, save_best

MAX_ROLLBACKS = 3
ROLLBACK_LR = 2e-5
"""Learning rate after a rollback, from the documented recipe; lower still if the run's rate was low already."""
ROLLBACK_BATCH_SIZE = 8
LR_DIVISOR = 2.5
"""From the documented 5e-5 to 2e-5; each further rollback divides the rate by as much again."""
KEPT_HEALTHY_WEIGHTS = 3


def save_healthy_weights(state: TrainState) -> None:
    """Write the weights to RUN/healthy every 400 steps, if `--on-trouble rescue` is set; call it on healthy steps.

    The steps don't depend on the clock, so that a killed and resumed run rolls back to the same one.
    """
    folder = state.run_dir / "healthy"
    if state.config.on_trouble != "rescue" or (state.step - state.start_point[0]) % MIN_STEPS_TO_JUDGE:
        return
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / f"step-{state.step:07d}.safetensors", model_tensors(state), checkpoint_metadata(state))
    for _, path in _healthy_files(folder)[:-KEPT_HEALTHY_WEIGHTS]:
        path.unlink()


def drop_newer_weights(state: TrainState) -> None:
    """Delete healthy weights of steps after the current one; the resumed run will take those steps again."""
    for step, path in _healthy_files(state.run_dir / "healthy"):
        if step > state.step:
            path.unlink()


def roll_back(state: TrainState, finding: Finding) -> Rollback:
    """Write the newest weights from before the finding to last.safetensors, with a lower rate and smaller batches.

    A finding about the last 400 steps may have begun 400 steps ago, so only older weights count as healthy. The log up
    to here is copied to log-before-rescue-N.jsonl. last.safetensors is written at the end, so a run that is killed
    earlier meets the finding again and rolls back then.

    Raises:
        CheckpointError: there are no healthy weights, or a file can't be written.
    """
    folder = state.run_dir / "healthy"
    newest = max(state.start_point[0], state.step - MIN_STEPS_TO_JUDGE)
    candidates = [path for step, path in _healthy_files(folder) if step <= newest]
    if not candidates:
        raise CheckpointError(f"{folder} has no weights to go back to: start a new --run-dir")
    healthy = checkpoint.load(candidates[-1])
    log_copy = state.run_dir / f"log-before-rescue-{len(state.rollbacks) + 1}.jsonl"
    draft = log_copy.with_name(f".{log_copy.name}.draft")
    shutil.copyfile(state.run_dir / "log.jsonl", draft)
    draft.replace(log_copy)
    save_best(state)
    rollback = _plan_rollback(state, finding, healthy.metadata.step)
    metadata = replace(
        checkpoint_metadata(state),
        step=healthy.metadata.step,
        averaged_steps=healthy.metadata.averaged_steps,
        auto_strength=healthy.metadata.auto_strength,
        rescues=(*state.rollbacks, rollback),
        schedule={"groups": [], "one_cycle": {}},  # the optimizer and the schedule start again from zero
    )
    checkpoint.save(state.run_dir / "last.safetensors", healthy.tensors, metadata)
    return rollback


def describe_rollback(rollback: Rollback, number: int) -> str:
    """Return the console line about a rollback."""
    return (
        f"! rescue {number} of at most {MAX_ROLLBACKS}: {rollback.kind} at step {rollback.found_step:,}; "
        f"continuing from the healthy weights of step {rollback.from_step:,} with lr {rollback.lr:.0e}, batch "
        f"{rollback.batch_size} and a new warm-up, to step {rollback.total_steps:,}"
    )


def _plan_rollback(state: TrainState, finding: Finding, from_step: int) -> Rollback:
    """Choose the lower learning rate and batch size, and the new last step.

    The run still sees as many photos as were left, unless the number of steps was set by `--max-steps`.
    """
    recipe, photos = state.recipe, len(state.datasets.train)
    batch_size = min(ROLLBACK_BATCH_SIZE, recipe.batch_size)
    steps_left = state.total_steps - from_step
    if recipe.max_steps is None:
        smaller = replace(recipe, batch_size=batch_size)
        steps_left = math.ceil(steps_left * smaller.steps_per_epoch(photos) / recipe.steps_per_epoch(photos))
    return Rollback(
        kind=finding.kind,
        found_step=finding.step,
        from_step=from_step,
        epoch=state.current_epoch()[0] + 1,
        lr=min(ROLLBACK_LR, recipe.lr / LR_DIVISOR),
        batch_size=batch_size,
        total_steps=from_step + steps_left,
    )


def _healthy_files(folder: Path) -> Sequence[tuple[int, Path]]:
    """Return (step, file) of all healthy weights, oldest first."""
    return [(int(path.stem.removeprefix("step-")), path) for path in sorted(folder.glob("step-*.safetensors"))]
