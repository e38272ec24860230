"""Call functions that may hang, such as reads from a dead network mount, without hanging with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from curate.errors import TimedOut

POLL_S = 0.2
"""Interval at which a waiting process handles signals and counts the time."""
STOP_GRACE_S = 5.0
"""After a request to stop, a photo that takes longer than this counts as hanging."""
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def never() -> bool:
    """Return False: there is no request to stop."""
    return False


class WaitStopped(Exception):  # noqa: N818  # not an error
    """The user asked to stop while something was waited for."""


class Stopwatch:
    """Counts the time that something makes no progress.

    Each poll counts at most twice its interval: a program that was itself suspended (Ctrl-Z, a sleeping laptop) has not
    waited for that long.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._polled = time.monotonic()

    def poll(self) -> float:
        """Return the seconds since the start, after one interval of `POLL_S`."""
        now = time.monotonic()
        self.seconds += min(now - self._polled, 2 * POLL_S)
        self._polled = now
        return self.seconds


class Watchdog:
    """Calls functions one after another in a thread of its own, and stops waiting for one that takes too long.

    The waiting thread handles signals, so that Ctrl-C works while a read hangs. A thread that hangs can't be ended: it
    is left behind, and ends with the process. Code that hangs without releasing the GIL hangs the program.

    Args:
        timeout_s: seconds that one call may take.
        is_stopping: whether the user asked to stop.
        abandon: what a call does then: True raises `WaitStopped`, False takes at most `STOP_GRACE_S`.
    """

    def __init__(self, timeout_s: float, is_stopping: Callable[[], bool] = never, *, abandon: bool = False) -> None:
        self.timeout_s, self.is_stopping, self.abandon = timeout_s, is_stopping, abandon
        self._thread: _CallThread | None = None

    def call(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Return what the function returns, or raise what it raises.

        Raises:
            TimedOut: it takes too long.
            WaitStopped: the user asked to stop, and `abandon` is set.
        """
        thread, self._thread = self._thread or _CallThread(), None
        thread.calls.put((function, args, kwargs))
        waited = Stopwatch()
        try:
            while True:
                try:
                    result, error = thread.results.get(timeout=POLL_S)
                    break
                except Empty:
                    limit_s = stop_limit(self.timeout_s, self.is_stopping, abandon=self.abandon)
                    if waited.poll() > limit_s:
                        raise timed_out(limit_s) from None
        except BaseException:
            thread.calls.put(None)
            raise
        self._thread = thread
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # of the function

    def close(self) -> None:
        """Let the thread end as soon as its call returns."""
        if self._thread is not None:
            self._thread.calls.put(None)
            self._thread = None


def stop_limit(timeout_s: float, is_stopping: Callable[[], bool], *, abandon: bool) -> float:
    """Return the seconds that a photo may take: `timeout_s`, or at most `STOP_GRACE_S` if the user asked to stop.

    Raises:
        WaitStopped: the user asked to stop, and `abandon` is set.
    """
    if not is_stopping():
        return timeout_s
    if abandon:
        raise WaitStopped
    return min(timeout_s, STOP_GRACE_S)


def timed_out(limit_s: float) -> TimedOut:
    """Return the error of a photo that took longer than this many seconds."""
    return TimedOut(f"reading and decoding took more than {limit_s:g} s (--timeout)")


class _CallThread(threading.Thread):
    """Makes the calls that it finds in a queue until it finds None."""

    def __init__(self) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None] = SimpleQueue()
        self.results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while (call := self.calls.get()) is not None:
            function, args, kwargs = call
            try:
                self.results.put((function(*args, **kwargs), None))
            except BaseException as exc:  # noqa: BLE001 - raised again in the waiting thread
                self.results.put((None, exc))
