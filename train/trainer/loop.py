"""Training, read in one sitting."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import cv2
import torch
from lightning_fabric import Fabric

from curate.errors import TrainingError
from train import checkpoint
from train.checkpoint import Checkpoint
from train.data.dataset import Datasets
from train.data.loader import Batch, CropLoader, DataTimer, load_batches
from train.data.sampler import StepSampler
from train.recipe import Recipe
from train.trainer.callbacks import Callbacks, FitResult, LoopAction
from train.trainer.fabric import DeviceConfig, Request, all_gather, all_reduce_sum, launch
from train.trainer.state import RunConfig, TrainState, build_state, find_checkpoint, one_cycle
from train.trainer.step import advance_schedule, out_of_memory, train_step

MOST_EMPTY_BATCHES = 10

__all__ = ["DeviceConfig", "FitResult", "find_checkpoint", "fit", "one_cycle", "threads"]


def fit(
    photos: Datasets,
    recipe: Recipe,
    machine: DeviceConfig,
    run_dir: Path,
    *,
    resume_from: Checkpoint | None = None,
    on_trouble: str = "warn",
    command: str = "",
    say: Callable[[str], None] = print,
) -> FitResult:
    """Train a colorizer.

    Args:
        photos: as `train.photos.load` found them.
        recipe: what decides the weights.
        machine: where.
        run_dir: folder for checkpoints, log and pictures.
        resume_from: go on from here; on a CPU with as many threads, bit for bit as if never stopped.
        on_trouble: `warn` says what is wrong, `stop` ends the run as well, `rescue` goes back to healthy weights and
            on with lower rate, smaller batch and new warm-up.
        command: kept in the checkpoints.
        say: prints a line for people; with several devices it must be a function of a module.

    Raises:
        TrainingError: the losses are no numbers any more, trouble with `stop`, or no photo can be read.
        CheckpointError: a checkpoint can't be written.
        KeyboardInterrupt: asked to stop; a checkpoint was written first.
    """
    plan = RunConfig(photos, recipe, machine, run_dir, on_trouble, command)
    with _writing_to(run_dir):
        while True:
            ended = launch(machine.fabric(recipe.devices), _train, plan, resume_from, say)
            if ended is LoopAction.STOP:
                raise KeyboardInterrupt
            if isinstance(ended, FitResult):
                return ended
            resume_from = checkpoint.load(run_dir / "last.safetensors")


def threads() -> int:
    """CPU threads that a step would use here; another number changes the last bits of its result."""
    return torch.get_num_threads()


def _train(
    fabric: Fabric, plan: RunConfig, resume_from: Checkpoint | None, say: Callable[[str], None]
) -> FitResult | LoopAction:
    """The steps, in each process; the first one also watches."""
    run = build_state(plan, fabric, resume_from)
    recipe, photos = run.recipe, run.photos.train
    crops = CropLoader(photos, recipe.image_size, recipe.seed)
    steps = StepSampler(
        len(photos),
        recipe.photos_per_step,
        recipe.seed,
        run.step,
        run.total_steps,
        photos.shard_starts(),
        start_point=run.began,
        process=(fabric.global_rank, fabric.world_size),
    )
    waiting = DataTimer()
    watch = Callbacks(run, waiting, say) if fabric.is_global_zero else None
    with closing(watch) if watch else nullcontext(), _stop_after_step() as stopping:
        for batch in waiting.measure_wait(load_batches(crops, steps, plan.machine.workers)):
            count = _readable(run, batch, watch)
            step = train_step(run, batch, count) if count else None
            run.lost_steps = run.lost_steps + 1 if step and step.lost is not None else 0
            lr = float(run.schedule.get_last_lr()[0])
            advance_schedule(run)
            after = watch.after(step, lr, count, stopping=stopping) if watch else LoopAction.GO_ON
            if (now := LoopAction(int(all_reduce_sum(fabric, after)[0]))) is not LoopAction.GO_ON:
                return now
    return watch.outcome() if watch else LoopAction.GO_ON


def _readable(run: TrainState, batch: Batch, watch: Callbacks | None) -> int:
    """How many photos of a step could be read, in all processes; the others are named.

    Raises:
        TrainingError: none, for too many steps in a row.
    """
    count, errors = map(int, all_reduce_sum(run.fabric, len(batch.photos), len(batch.errors)))
    if errors:
        everywhere = all_gather(run.fabric, batch.errors)
        if watch:
            watch.unreadable(everywhere)
    run.empty_batches = 0 if count else run.empty_batches + 1
    if run.empty_batches >= min(MOST_EMPTY_BATCHES, run.recipe.steps_per_epoch(len(run.photos.train))):
        raise TrainingError("no training photo can be read any more: is the disk there? then --resume")
    return count


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Photos that can't be read are dealt with where they are read; what else the system refuses is this folder."""
    try:
        yield
    except OSError as exc:
        raise TrainingError(
            f"{folder} can't be written: {exc.strerror or exc}: free some space, then --resume"
        ) from exc
    except (RuntimeError, MemoryError, cv2.error) as exc:
        if type(exc).__module__.startswith(("torch._dynamo", "torch._inductor")):
            why = " ".join(str(exc).split())[:200]
            raise TrainingError(f"torch.compile fails here ({why}): leave out --compile") from exc
        if not out_of_memory(exc):
            raise
        raise TrainingError("there isn't enough memory: lower --batch-size, --channels or --image-size") from exc


@contextmanager
def _stop_after_step() -> Iterator[Request]:
    """Let the first Ctrl-C or SIGTERM end the run after a step, with a checkpoint.

    A second Ctrl-C does what Ctrl-C did before.
    """
    asked = Request()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
