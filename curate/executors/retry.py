"""Process groups of photos on any engine; a photo that crashes or hangs its worker costs only itself."""

from __future__ import annotations

import faulthandler
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from curate.errors import PhotoError, TimedOut, WorkerDied
from curate.executors.engines import Engine, TaskResult, WorkerLost, map_in_processes

STDERR_FD = 2
"""File descriptor of stderr; in notebooks and under pytest `sys.stderr` has no descriptor."""
Photo = TypeVar("Photo")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number of photos that are done, and the number of all photos."""


class PhotoGroup(Protocol):
    """Photos that are sent to a worker together."""

    @property
    def photos(self) -> Sequence[Any]:
        """The photos, in order."""


Group = TypeVar("Group", bound=PhotoGroup)


def run_groups(
    engine: Engine,
    process_group: Callable[[Group], None],
    groups: Iterable[Group],
    *,
    retry_group: Callable[[Group], None],
    workers: int | None,
    total: int,
    progress: Progress | None = None,
) -> None:
    """Process all groups on an engine, then retry the groups whose worker died.

    Args:
        engine: where the groups are processed.
        process_group: called in a worker, once per group.
        groups: read as workers become free.
        retry_group: called in this process, at the end, with each group whose worker died; see `run_isolated`.
        workers: number of tasks that run at the same time; see the engine.
        total: number of photos in all groups.
        progress: called after each group.
    """
    report = progress or (lambda done, total: None)
    done, lost = 0, []
    report(0, total)
    for outcome in engine(process_group, groups, workers=workers):
        if isinstance(outcome, WorkerLost):
            lost.append(outcome.item)
            continue
        done += len(outcome.item.photos)
        report(done, total)
    for group in lost:
        retry_group(group)
        done += len(group.photos)
        report(done, total)


def with_watchdog(photos: Iterable[Photo], timeout_s: float) -> Iterator[Photo]:
    """Yield the photos, and end the process if the next one isn't asked for in time.

    For use in a worker: a decoder that hangs in C code can't be interrupted in another way.

    Args:
        photos: in order.
        timeout_s: seconds that one photo may take. The process ends after 1 to 1.25 times as long.
    """
    watchdog = ProcessWatchdog(timeout_s)
    try:
        for photo in photos:
            watchdog.beat()
            yield photo
    finally:
        watchdog.stop()


class ProcessWatchdog:
    """Ends the process unless `beat` is called in time.

    Args:
        timeout_s: seconds between two calls. The process ends after 1 to 1.25 times as long.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._armed_at = -math.inf

    def beat(self) -> None:
        """Start the time again."""
        now = time.monotonic()
        # not each time: it starts a thread, which costs as much as a small photo
        if now - self._armed_at > self._timeout_s / 4:
            faulthandler.dump_traceback_later(1.25 * self._timeout_s, exit=True, file=STDERR_FD)
            self._armed_at = now

    def stop(self) -> None:
        """Stop the watchdog."""
        faulthandler.cancel_dump_traceback_later()


def run_isolated(
    function: Callable[[Photo], Result], photos: Sequence[Photo], *, workers: int | None, timeout_s: float
) -> list[Result | PhotoError]:
    """Call a function on each photo in a task of its own.

    Args:
        function: called in a worker.
        photos: hashable, without duplicates.
        workers: number of processes; None: one per available core.
        timeout_s: seconds that one photo may take.

    Returns:
        For each photo, in order, the function's result, or `TimedOut` or `WorkerDied` if its process ended.
    """
    results: dict[Photo, Result | PhotoError] = {}
    for outcome in map_in_processes(function, photos, workers=workers, timeout_s=timeout_s):
        match outcome:
            case TaskResult(photo, result):
                results[photo] = result
            case WorkerLost(photo, "timed out"):
                results[photo] = TimedOut(f"decoding took more than {timeout_s:g} s (--timeout)")
            case WorkerLost(photo):
                results[photo] = WorkerDied("decoding crashed the process")
    return [results[photo] for photo in photos]
