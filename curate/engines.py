"""Ways to map a function over items: one after another, or in processes. A map, and nothing more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait as wait_for
from types import MappingProxyType
from typing import Generic, Literal, Protocol, TypeVar

from curate.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """The function returned."""

    item: Item
    result: Result


@dataclass(frozen=True, slots=True)
class Lost(Generic[Item]):
    """The item's process died or was ended for taking too long; the function never returned."""

    item: Item
    reason: Literal["died", "timed out"]


Outcome = Done[Item, Result] | Lost[Item]


class Engine(Protocol):
    """A map over items, in whatever order they finish."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
    ) -> Iterator[Outcome[Item, Result]]:
        """Map in so many places at once."""


def serial(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int = 1,  # noqa: ARG001 - engines are called alike
) -> Iterator[Outcome[Item, Result]]:
    """Map in this process, whatever `workers`: for tests and debuggers, without protection from a decoder's crash."""
    for item in items:
        yield Done(item, function(item))


def processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, timeout_s: float | None = None
) -> Iterator[Outcome[Item, Result]]:
    """Map in worker processes, in whatever order they finish.

    A worker that dies costs its item only and is replaced. What the function raises is raised here.

    Args:
        function: picklable, as are items and results.
        items: consumed as workers get free, never all at once.
        workers: number of processes, at least 1.
        timeout_s: end an item's process after so many seconds.

    Raises:
        EngineError: worker processes can't be started.
    """
    from pebble import ProcessExpired, ProcessPool  # here, so that `--help` answers at once

    context = multiprocessing.get_context("spawn")
    source = iter(items)
    running: dict[Future[Result], Item] = {}
    try:
        pool = ProcessPool(max_workers=workers, context=context, initializer=_start_worker)
    except OSError as exc:
        raise EngineError(f"worker processes can't be started: {exc.strerror}: try fewer with --workers") from exc
    try:
        while True:
            for item in islice(source, 2 * workers - len(running)):
                running[pool.schedule(function, args=[item], timeout=timeout_s)] = item
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                try:
                    yield Done(item, future.result())
                except TimeoutError:
                    yield Lost(item, "timed out")
                except ProcessExpired:
                    yield Lost(item, "died")
        pool.close()  # type: ignore[no-untyped-call]
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()


EngineName = Literal["serial", "processes"]
ENGINES: Mapping[EngineName, Engine] = MappingProxyType({"serial": serial, "processes": processes})


def _end_with(sentinel: int) -> None:
    """A killed scan must not leave workers behind that go on writing."""
    wait_for([sentinel])
    os._exit(1)


def _start_worker() -> None:
    """End with the parent, leave Ctrl-C to it, take one core, and let nobody hear what decoding libraries mutter."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import cv2

    cv2.setNumThreads(1)
