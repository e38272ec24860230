"""Work on groups of photos by any engine, where a photo that kills or hangs its process costs itself alone."""

from __future__ import annotations

import faulthandler
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from curate.errors import PhotoError, TimedOut, WorkerDied
from curate.executors.engines import Done, Engine, WorkerLost, processes

STDERR = 2
"""The descriptor itself: in notebooks and tests `sys.stderr` is none."""
Photo = TypeVar("Photo")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number of photos done and to be done."""


class Group(Protocol):
    """Photos that go to a worker together."""

    @property
    def photos(self) -> Sequence[Any]:
        """In their order."""


Some = TypeVar("Some", bound=Group)


def run_groups(
    engine: Engine,
    work: Callable[[Some], None],
    groups: Iterable[Some],
    *,
    apart: Callable[[Some], None],
    workers: int | None,
    total: int,
    progress: Progress | None = None,
) -> None:
    """Do the work on all groups; those that took a process with them are done again at the end, photo by photo.

    Args:
        engine: where to.
        work: in a worker, on one group.
        groups: consumed as workers get free.
        apart: in this process, on a group that was lost; see `run_isolated`.
        workers: see the engine.
        total: photos of all groups.
        progress: told how far it is.
    """
    say = progress or (lambda done, total: None)
    done, lost = 0, []
    say(0, total)
    for outcome in engine(work, groups, workers=workers):
        if isinstance(outcome, WorkerLost):
            lost.append(outcome.item)
            continue
        done += len(outcome.item.photos)
        say(done, total)
    for group in lost:
        apart(group)
        done += len(group.photos)
        say(done, total)


def with_watchdog(photos: Iterable[Photo], timeout_s: float) -> Iterator[Photo]:
    """In a worker: the photos; if the next isn't asked for in time, the process ends."""
    armed_at = -math.inf
    for photo in photos:
        now = time.monotonic()
        if now - armed_at > timeout_s / 4:  # arming starts a thread, which costs as much as a small photo
            faulthandler.dump_traceback_later(1.25 * timeout_s, exit=True, file=STDERR)
            armed_at = now
        yield photo
    faulthandler.cancel_dump_traceback_later()


def run_isolated(
    function: Callable[[Photo], Result], photos: Sequence[Photo], *, workers: int | None, timeout_s: float
) -> list[Result | PhotoError]:
    """Each photo in a task of its own, in their order: what the function returns, or how it ended its process."""
    found: dict[Photo, Result | PhotoError] = {}
    for outcome in processes(function, photos, workers=workers, timeout_s=timeout_s):
        match outcome:
            case Done(photo, result):
                found[photo] = result
            case WorkerLost(photo, "timed out"):
                found[photo] = TimedOut(f"decoding it took over {timeout_s:g} s (--timeout)")
            case WorkerLost(photo):
                found[photo] = WorkerDied("decoding it ended the process")
    return [found[photo] for photo in photos]
