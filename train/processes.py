"""Several processes that share each step: how they start, agree, and fail together."""

from __future__ import annotations

import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed
from torch.multiprocessing.spawn import ProcessException

from curate.errors import TrainingError

LOOK_S = 0.05
"""Between two looks whether all processes have started."""


class Request:
    """Whether somebody asked to stop. A signal handler may set it; a `threading.Event` it may not.

    Where a second signal interrupts `Event.set`, the handler waits for a lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._made = False

    def set(self) -> None:
        """Ask."""
        self._made = True

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._made


def launch(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run `function(fabric, *arguments)` in every process; what the first one returned.

    Raises:
        TrainingError: one of them failed; the others are ended.
    """
    if fabric.world_size == 1:
        return fabric.launch(function, *arguments)
    try:
        with _passed_on() as asked, _starting_without_interrupts(fabric.world_size):
            return fabric.launch(_Sealed(function, arguments)).inside
    except ProcessException as exc:
        if asked.is_set():  # before it could stop after a step
            raise KeyboardInterrupt from exc
        last = str(exc).strip().splitlines()[-1]
        ours = re.fullmatch(r"curate\.errors\.\w+: (.*)", last)
        said = ours[1] if ours else f"{last}: --resume goes on from the last checkpoint"
        raise TrainingError(f"process {exc.error_index} of {fabric.world_size} failed: {said}") from exc


class _Sealed:
    """Keeps Fabric from looking for tensors inside of what it carries; it can't look into frozen dataclasses."""

    def __init__(self, inside: Any, arguments: tuple[Any, ...] = ()) -> None:
        self.inside, self.arguments = inside, arguments

    def __call__(self, fabric: Fabric) -> _Sealed:
        """In the process: call what is inside.

        The group is left before the process ends: its threads, still running then, would abort it now and then.
        Not where one fails: the others would fail of that first, and their words would hide the cause.
        """
        try:
            found = self.inside(fabric, *self.arguments)
        except KeyboardInterrupt:  # in all of them, after the same step
            distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()
        return _Sealed(found)


def total(fabric: Fabric, *numbers: float) -> list[float]:
    """Sums over the processes; every one of them must ask."""
    if fabric.world_size == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64 if fabric.device.type != "mps" else torch.float32)
    sums = sums.to(fabric.device)
    distributed.all_reduce(sums)
    found: list[float] = sums.tolist()
    return found


def gathered(fabric: Fabric, items: list[Any]) -> list[Any]:
    """The items of all processes; every one of them must ask."""
    if fabric.world_size == 1:
        return items
    lists: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]


@contextmanager
def _passed_on() -> Iterator[Request]:
    """Ask the processes to stop when this one is asked; they decide together after which step.

    As SIGTERM, of which any number mean the same. A second Ctrl-C does what Ctrl-C did before.
    """
    asked = Request()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
        asked.set()
        for process in multiprocessing.active_children():
            process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _starting_without_interrupts(processes: int) -> Iterator[None]:
    """Block SIGINT until so many processes have started, which inherit that: a terminal sends its Ctrl-C to all.

    Fabric starts them and waits for them in one call, so a timer looks whether they have started.
    """

    def look(_number: int, _frame: FrameType | None) -> None:
        if len(multiprocessing.active_children()) >= processes:
            end()

    def end() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    resource_tracker.ensure_running()  # first, as it ends by letting SIGINT through
    before = signal.signal(signal.SIGALRM, look)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        end()
        signal.signal(signal.SIGALRM, before)
