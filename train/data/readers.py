"""Processes that read photos and write crops into shared memory; one that dies or hangs is replaced.

torch's DataLoader can't do that: it ends the run when a worker dies, and waits forever for one that hangs.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.errors import TrainingError, WorkerDied
from curate.executors.watchdog import POLL_S, Stopwatch, never, stop_limit, timed_out
from curate.executors.worker import exit_with_parent, is_stopped, start_fork_server
from curate.process_settings import ignore_warnings
from curate.text import SHARED_MEMORY, advise, describe_error, format_bytes
from train.data.sampler import SampleKey

PREFETCH_BATCHES = 2
"""Batches that each process prepares ahead."""
MAX_DEATHS = 2
"""A photo at which this many processes died is skipped."""
MAX_FAILURES_IN_A_ROW = 5
"""If this many photos in a row hang or end their process, the cause is a missing disk or too little memory."""
PROCESS_NAME = "pt_data_worker"
"""As `ps` and `top` show the processes on Linux: the name that torch's own workers have."""
START_TIMEOUT_S = 60.0
"""A new process may take this long before its first photo, because it may have to import torch."""
Errors = list[tuple[int, str]]


class Crops(Protocol):
    """Makes the crops of a batch; see `train.data.loader.CropLoader`."""

    size: int
    has_gray: bool
    """Whether there is a degraded copy of each crop."""

    def fill_crops(
        self,
        keys: Sequence[SampleKey],
        rgb: NDArray[np.uint8],
        gray: NDArray[np.uint8] | None,
        *,
        skip: Mapping[int, str],
        on_photo: Callable[[int], None],
    ) -> tuple[list[int], Errors]:
        """Write the crops of all readable photos into `rgb`; see `train.data.loader.CropLoader.fill_crops`."""


@dataclass(frozen=True, slots=True)
class _Slots:
    """Shared memory. Step number N uses row N modulo the number of rows."""

    keys: Tensor
    """(rows, largest batch, 2) int64: epoch and photo of each sample."""
    rgb: Tensor
    """(rows, largest batch, size, size, 3) uint8: the crops."""
    gray: Tensor | None
    """(rows, largest batch, size, size) uint8: their degraded copies, if there are any."""
    progress: Tensor
    """(readers,) int64: step number · largest batch + position in the batch of the photo that each reader is at."""


@dataclass(slots=True)
class _Reader:
    """One process, and the steps that it was given and has not finished."""

    process: BaseProcess
    pipe: Connection
    steps: deque[tuple[int, list[SampleKey]]] = field(default_factory=deque)


class ReaderPool:
    """Reads the photos of steps in several processes; use it as a context manager.

    A process that dies is started again, and its batch read once more: a crop depends on nothing but its sample, so the
    result is the same. A photo that hangs, or at which two processes died, becomes an error of its batch.

    Args:
        crops: makes the crops.
        workers: number of processes.
        largest: largest number of samples of a step.
        timeout_s: seconds that reading and decoding one photo may take.
        is_stopping: whether the user asked to stop.
        abandon: as for `Watchdog`.
        say: prints a line for the user.

    Raises:
        TrainingError: the processes can't be started.
    """

    def __init__(
        self,
        crops: Crops,
        workers: int,
        largest: int,
        *,
        timeout_s: float,
        is_stopping: Callable[[], bool] = never,
        abandon: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.crops, self.timeout_s, self.say = crops, timeout_s, say
        self.is_stopping, self.abandon = is_stopping, abandon
        self._context = start_context()
        rows = PREFETCH_BATCHES * workers
        self._slots = _Slots(
            _shared(self._context, torch.int64, rows, largest, 2),
            _shared(self._context, torch.uint8, rows, largest, crops.size, crops.size, 3),
            _shared(self._context, torch.uint8, rows, largest, crops.size, crops.size) if crops.has_gray else None,
            _shared(self._context, torch.int64, workers),
        )
        self._skipped: dict[int, str] = {}
        self._deaths: Counter[int] = Counter()
        self._last_failure, self._failures = (-1, -1), 0
        self._readers: list[_Reader] = []
        try:
            for number in range(workers):
                self._readers.append(self._start(number))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes; they write nothing but shared memory."""
        for reader in self._readers:
            _kill(reader)

    def batches(self, steps: Iterable[list[SampleKey]]) -> Iterator[tuple[list[int], Tensor, Tensor | None, Errors]]:
        """Yield the result of each step, in order.

        That is: photos, their crops (N, size, size, 3) uint8, the crops' degraded copies (N, size, size) uint8 or None,
        and errors.

        Raises:
            TrainingError: processes die or hang again and again.
            WaitStopped: the user asked to stop, and `abandon` is set.
        """
        ahead = enumerate(steps)
        sent = 0
        number = 0
        while True:
            while sent < number + len(self._slots.rgb) and (step := next(ahead, None)) is not None:
                sent += 1
                self._send(self._readers[step[0] % len(self._readers)], step)
            if number == sent:
                return
            photos, errors = self._receive(number % len(self._readers))
            row = number % len(self._slots.rgb)
            grays = None if self._slots.gray is None else self._slots.gray[row, : len(photos)].clone()
            yield photos, self._slots.rgb[row, : len(photos)].clone(), grays, errors
            number += 1

    def _send(self, reader: _Reader, step: tuple[int, list[SampleKey]], *, again: bool = False) -> None:
        number, keys = step
        if not again:
            reader.steps.append(step)
            if keys:
                self._slots.keys[number % len(self._slots.keys), : len(keys)] = torch.tensor(keys)
        skip = {position: self._skipped[key.photo] for position, key in enumerate(keys) if key.photo in self._skipped}
        with suppress(OSError):  # the process is dead: this is noticed when its result is waited for
            reader.pipe.send((number, len(keys), skip))

    def _receive(self, index: int) -> tuple[list[int], Errors]:
        """Wait for the next result of a reader, and replace it as often as it dies or hangs."""
        before, waited = None, Stopwatch()
        while True:
            reader = self._readers[index]
            progress = int(self._slots.progress[index])
            if progress != before:
                before, waited = progress, Stopwatch()
            try:
                if reader.pipe.poll(POLL_S):
                    result = reader.pipe.recv()
                    break
            except (EOFError, OSError):
                self._replace(index, None)
                before = None
                continue
            has_begun = self._position(index) is not None
            limit_s = self.timeout_s if has_begun else max(self.timeout_s, START_TIMEOUT_S)
            limit_s = stop_limit(limit_s, self.is_stopping, abandon=self.abandon)
            if waited.poll() > limit_s:
                self._replace(index, limit_s)
                before = None
        if isinstance(result, RuntimeError):
            raise result
        reader.steps.popleft()
        photos, errors = result
        return photos, errors

    def _position(self, index: int) -> int | None:
        """Return the position in its batch of the photo that a reader is at; None before its first one."""
        number, position = divmod(int(self._slots.progress[index]), self._slots.keys.shape[1])
        steps = self._readers[index].steps
        return position if steps and steps[0][0] == number else None

    def _replace(self, index: int, hung_s: float | None) -> None:
        """Replace a process that died, or that made no progress for `hung_s` seconds, and give it the same steps."""
        reader, position = self._readers[index], self._position(index)
        step, keys = reader.steps[0]
        if is_stopped(reader.process.pid or 0):  # not the photo's fault
            position = None
        exit_code = _kill(reader)
        if position is not None:
            self._skip_failed(keys[position].photo, hung_s)
        self._count_failure((step, -1 if position is None else position), hung_s)
        if hung_s is None or position is None:
            self.say(f"! a process that reads photos {_describe_end(exit_code, hung_s)}")
        new = self._readers[index] = self._start(index)
        new.steps = reader.steps
        for unfinished in reader.steps:
            self._send(new, unfinished, again=True)

    def _skip_failed(self, photo: int, hung_s: float | None) -> None:
        """Skip a photo that hangs, and one at which several processes died."""
        self._deaths[photo] += hung_s is None
        if hung_s is not None:
            self._skipped[photo] = str(timed_out(hung_s))
        elif self._deaths[photo] >= MAX_DEATHS:
            self._skipped[photo] = str(WorkerDied(f"reading it ended its process {MAX_DEATHS} times"))

    def _count_failure(self, place: tuple[int, int], hung_s: float | None) -> None:
        """Count failures without a readable photo between them.

        Raises:
            TrainingError: there are too many.
        """
        last, self._last_failure = self._last_failure, place
        in_a_row = place[0] == last[0] and place[1] <= last[1] + 1
        self._failures = self._failures + 1 if in_a_row else 1
        if self._failures < MAX_FAILURES_IN_A_ROW:
            return
        if hung_s is None:
            raise TrainingError(
                f"processes that read photos were ended {self._failures} times in a row, probably for lack of memory: "
                "continue with --resume and fewer --workers"
            )
        raise hanging_photos(self._failures, hung_s)

    def _start(self, index: int) -> _Reader:
        self._slots.progress[index] = -1
        try:
            ours, theirs = self._context.Pipe()
            process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]  # every context has it
                target=_read_steps, args=(theirs, self.crops, self._slots, index), name="photo reader", daemon=True
            )
            with ignore_warnings:  # Python warns about a fork of a process with threads
                process.start()
        except OSError as exc:
            advice = f"{hint}, or " if (hint := advise(exc)) else ""
            raise TrainingError(
                f"processes that read photos can't be started: {describe_error(exc)}: {advice}give fewer --workers; "
                "--workers 0 needs none"
            ) from exc
        theirs.close()
        return _Reader(process, ours)


def start_context() -> BaseContext:
    """Return how processes are started.

    On Linux they are forked, so that they don't import torch again. If this process has imported Ray, its threads and
    connections make a forked process crash: processes are then forked from a server process that never imported it.
    """
    if sys.platform == "linux" and "ray" not in sys.modules:
        return get_context("fork")
    return start_fork_server(__name__)


def hanging_photos(count: int, seconds: float) -> TrainingError:
    """Return the error of a disk that doesn't answer any more."""
    return TrainingError(
        f"{count} photos in a row took more than {seconds:g} s (--timeout): check that their disk is mounted, then "
        "continue with --resume"
    )


def _shared(context: BaseContext, dtype: torch.dtype, *shape: int) -> Tensor:
    """Return a tensor in memory that all processes share.

    Forked processes inherit it. torch's own shared memory, for the others, is limited by the size of /dev/shm, which is
    64 MB in a container, and a process that writes to more of it is killed.

    Raises:
        TrainingError: /dev/shm is too small.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if context.get_start_method() == "fork":
        return torch.frombuffer(mmap.mmap(-1, size), dtype=dtype).view(shape)
    if os.path.isdir(SHARED_MEMORY) and (free := shutil.disk_usage(SHARED_MEMORY).free) < size:
        raise TrainingError(
            f"{SHARED_MEMORY} has {format_bytes(free)} free, but the processes that read photos share "
            f"{format_bytes(size)}: enlarge it (docker run --shm-size), or give --workers 0"
        )
    shared = torch.zeros(shape, dtype=dtype)
    shared.share_memory_()  # type: ignore[no-untyped-call]
    return shared


def _read_steps(pipe: Connection, crops: Crops, slots: _Slots, index: int) -> None:
    """In a reader process: fill the row of each step that arrives, until the trainer ends or kills this process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # terminals and schedulers send them to all processes of a run
        signal.signal(number, signal.SIG_IGN)
    exit_with_parent()
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:  # not on macOS and Windows
        name.write(PROCESS_NAME)
    cv2.setNumThreads(1)
    progress = slots.progress.numpy()
    with suppress(EOFError, OSError):
        while True:
            number, count, skip = pipe.recv()
            row, first = number % len(slots.rgb), number * slots.keys.shape[1]

            def mark(position: int, first: int = first) -> None:
                progress[index] = first + position

            keys = [SampleKey(*key) for key in slots.keys[row, :count].tolist()]
            try:
                grays = None if slots.gray is None else slots.gray[row].numpy()
                result: Any = crops.fill_crops(keys, slots.rgb[row].numpy(), grays, skip=skip, on_photo=mark)
            except Exception:  # noqa: BLE001 - a bug: the trainer raises it
                result = RuntimeError(f"a process that reads photos failed:\n{traceback.format_exc()}")
            pipe.send(result)


def _kill(reader: _Reader) -> int | None:
    """End a process, and return its exit code; None if it can't be ended yet, as when it waits for a dead disk."""
    exit_code = reader.process.exitcode
    reader.process.kill()
    reader.process.join(1)
    reader.pipe.close()
    return reader.process.exitcode if exit_code is None else exit_code


def _describe_end(exit_code: int | None, hung_s: float | None) -> str:
    """Return the rest of the sentence about a process that was replaced."""
    if hung_s is not None:
        return f"made no progress for {hung_s:g} s and was replaced"
    if exit_code == -signal.SIGKILL:
        return "was killed, probably for lack of memory, and replaced: if this repeats, give fewer --workers"
    return f"ended with exit code {exit_code} and was replaced; the photo is tried again"
