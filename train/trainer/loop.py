"""The training loop: `run_training` trains a network on a manifest's photos, on one device or several."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import cv2
from lightning_fabric import Fabric
from torch import Tensor

from curate.errors import TrainingError
from curate.text import advise, describe_error, is_disk_full, is_shared_memory_full
from train import checkpoint
from train.checkpoint import Checkpoint, Parent
from train.data.dataset import Datasets
from train.data.loader import Batch, CropLoader, DataTimer, load_batches
from train.data.sampler import StepSampler
from train.recipe import Recipe
from train.trainer.callbacks import Callbacks, FitResult, LoopAction
from train.trainer.fabric import DeviceConfig, StopRequest, all_gather, all_reduce_sum, launch
from train.trainer.state import RunConfig, TrainState, build_state
from train.trainer.step import advance_schedule, is_out_of_memory, train_step

MAX_EMPTY_BATCHES = 10
"""Consecutive steps without a readable photo after which a run ends; an epoch's steps, if those are fewer."""


def run_training(
    datasets: Datasets,
    recipe: Recipe,
    device_config: DeviceConfig,
    run_dir: Path,
    *,
    resume_from: Checkpoint | None = None,
    init_weights: Mapping[str, Tensor] | None = None,
    parent: Parent | None = None,
    on_trouble: str = "warn",
    command: str = "",
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Train a colorizer.

    Args:
        datasets: training and validation photos, from `train.data.dataset.load_datasets`.
        recipe: the hyper-parameters.
        device_config: device, precision and number of reader processes.
        run_dir: existing folder for checkpoints, log and pictures.
        resume_from: checkpoint to continue from. On a CPU with the same number of threads the result is bit for bit
            the same as without the interruption.
        init_weights: weights and buffers of the network to start with; None starts with new weights.
        parent: the checkpoint that the run started from, for the metadata; also of a resumed run.
        on_trouble: response to findings: `warn` prints them, `stop` also ends the run, `rescue` also rolls back to
            healthy weights and continues with a lower learning rate, smaller batches and a new warm-up.
        command: command line, stored in the checkpoints.
        say: prints a line for the user; with several devices it must be a function defined at module level.
        progress: called after each step with the number of steps done and of all steps; as `say` with several devices.

    Raises:
        TrainingError: the loss stays NaN or infinite, there are findings with `stop`, or no photo can be read.
        CheckpointError: a checkpoint can't be written.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; a checkpoint was written first.
    """
    config = RunConfig(datasets, recipe, device_config, run_dir, on_trouble, command, init_weights, parent)
    with _describe_system_errors(run_dir):
        while True:
            result = launch(device_config.make_fabric(recipe.devices), _train, config, resume_from, say, progress)
            if result is LoopAction.STOP:
                raise KeyboardInterrupt
            if isinstance(result, FitResult):
                return result
            resume_from = checkpoint.load(run_dir / "last.safetensors")  # written by the rollback


def _train(
    fabric: Fabric,
    config: RunConfig,
    resume_from: Checkpoint | None,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] | None,
) -> FitResult | LoopAction:
    """Run the steps; called in each process. Rank 0 also runs the callbacks."""
    state = build_state(config, fabric, resume_from)
    state.say = say
    recipe, photos = state.recipe, state.datasets.train
    crops = CropLoader(photos, recipe.image_size, recipe.seed, recipe.augment)
    sampler = StepSampler(
        len(photos),
        recipe.photos_per_step,
        recipe.seed,
        state.step,
        state.total_steps,
        photos.shard_starts(),
        start_point=state.start_point,
        process=(fabric.global_rank, fabric.world_size),
    )
    timer = DataTimer()
    callbacks = Callbacks(state, timer, say) if fabric.is_global_zero else None
    with closing(callbacks) if callbacks else nullcontext(), _stop_after_step(state.stop):
        for batch in timer.measure_wait(_load_batches(state, crops, sampler, callbacks)):
            count = _count_readable(state, batch, callbacks)
            result = train_step(state, batch, count) if count else None
            state.skipped_steps = state.skipped_steps + 1 if result and result.bad_photos is not None else 0
            lr = float(state.schedule.get_last_lr()[0])
            advance_schedule(state)
            action = callbacks.on_step_end(result, lr, count) if callbacks else LoopAction.CONTINUE
            if callbacks and progress:
                progress(state.step, state.total_steps)
            action = LoopAction(int(all_reduce_sum(fabric, action)[0]))  # rank 0 decides, the others add 0
            if action is not LoopAction.CONTINUE:
                return action
        if callbacks and state.stop.is_set() and state.step < state.total_steps:  # while it waited for photos
            callbacks.save()
            return LoopAction.STOP
    return callbacks.result() if callbacks else LoopAction.CONTINUE


def _load_batches(
    state: TrainState, crops: CropLoader, steps: StepSampler, callbacks: Callbacks | None
) -> Iterator[Batch]:
    """Yield the batches of the steps; save a checkpoint if photos can't be read any more."""
    device_config = state.config.device_config
    try:
        yield from load_batches(
            crops,
            steps,
            device_config.workers,
            timeout_s=device_config.timeout_s,
            is_stopping=state.stop.is_set,
            abandon=state.fabric.world_size == 1,  # several processes must take the same steps
            say=state.say,
        )
    except TrainingError:
        if callbacks:
            callbacks.save()
        raise


def _count_readable(state: TrainState, batch: Batch, callbacks: Callbacks | None) -> int:
    """Return how many photos of a step could be read, over all processes; report the others.

    Raises:
        TrainingError: no photo could be read for too many consecutive steps.
    """
    count, errors = map(int, all_reduce_sum(state.fabric, len(batch.photos), len(batch.errors)))
    if errors:
        all_errors = all_gather(state.fabric, batch.errors)
        if callbacks:
            callbacks.on_unreadable_photos(all_errors)
    state.empty_batches = 0 if count else state.empty_batches + 1
    if state.empty_batches >= min(MAX_EMPTY_BATCHES, state.recipe.steps_per_epoch(len(state.datasets.train))):
        raise TrainingError(
            "no training photo can be read any more: check that their disk is mounted, then continue with --resume"
        )
    return count


@contextmanager
def _describe_system_errors(run_dir: Path) -> Iterator[None]:
    """Turn errors of the system, of torch.compile and lack of memory into a TrainingError with advice.

    Unreadable photos are handled where they are read, so the disk that is full is that of the run's folder.
    """
    try:
        yield
    except OSError as exc:
        full = is_disk_full(exc) and not is_shared_memory_full(exc)
        where = f"{exc.filename}: " if exc.filename else f"{run_dir} can't be written: " if full else ""
        advice = f"{hint}, then continue" if (hint := advise(exc)) else "continue"
        raise TrainingError(f"{where}{describe_error(exc)}: {advice} with --resume") from exc
    except (RuntimeError, MemoryError, cv2.error) as exc:
        if type(exc).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = " ".join(str(exc).split())[:200]
            raise TrainingError(f"torch.compile fails on this machine ({reason}): leave out --compile") from exc
        if not is_out_of_memory(exc):
            raise
        raise TrainingError("out of memory: lower --batch-size, --channels or --image-size") from exc


@contextmanager
def _stop_after_step(stop: StopRequest) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the run after the current step, with a checkpoint.

    A second Ctrl-C gets the handler that was installed before. Outside the main thread, signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, old_handlers[signal.SIGINT])

    old_handlers = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
