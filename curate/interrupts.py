"""Ctrl-C, SIGTERM and SIGHUP: every command ends in one line and exit code 130.

While the commands are imported, the first signal ends the process: nothing has begun. While a command runs, the first
one raises KeyboardInterrupt, so that what is open is closed; a second one ends the process and its workers at once.
This module is imported before all else, so it needs nothing that takes long to import.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
CHECK_S = 0.05
"""After so long a KeyboardInterrupt that was swallowed is raised again."""
_ENDED: list[bool] = []
"""Not empty as soon as this process, a command's own, was interrupted."""
Handler = Callable[[int, FrameType | None], Any] | int | None


def exit_at_once() -> None:
    """Let a signal end this process in one line. For entry points, before they import the commands."""
    _install(_exit_before_start)
    atexit.register(_exit_after_interrupt)  # what is registered first runs last


def _exit_after_interrupt() -> None:
    """Keep Python from ending itself by SIGINT, as it does where an interrupt passed through `exec`."""
    if _ENDED:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(EXIT_CODE)


def _exit_before_start(_number: int, _frame: FrameType | None) -> None:
    _exit("Interrupted: nothing was begun.")


def _exit(line: str) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(2, f"{line}\n".encode())
    os._exit(EXIT_CODE)


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Handler]:
    """Handle the signals that nobody else ignores (`nohup`) or handles; what handled them before."""
    before: dict[int, Handler] = {}
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _exit_before_start):
            before[number] = signal.signal(number, handler)
    return before


class Interrupts:
    """Handles signals while a command runs.

    Callbacks and imports of compiled libraries swallow a KeyboardInterrupt, or turn it into another exception. So it is
    raised again until the command ends by it, and `asked` says that any exception is only its consequence.
    """

    def __init__(self) -> None:
        self.asked = False
        self._pid = os.getpid()
        self._before: dict[int, Handler] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = _install(self._ask)
            sys.unraisablehook = self._report_unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for number, handler in self._before.items():
            if handler is _exit_before_start:  # the process ends: all is done and said
                _ENDED.extend([True] * self.asked)
                handler = signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL  # noqa: PLW2901
            signal.signal(number, handler)
        if not self.asked:
            sys.unraisablehook = self._unraisable

    def end(self) -> None:
        """Raise no more: the command has ended, and its workers with it."""
        if self.asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _kill_workers()

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker that has not set its own handlers yet: the parent ends it
            return
        if self.asked:
            _kill_workers()
            _exit("Interrupted twice: ended at once; hidden .draft files may be left.")
        self.asked = True
        signal.signal(signal.SIGALRM, self._ask_again)
        signal.setitimer(signal.ITIMER_REAL, CHECK_S, CHECK_S)
        raise KeyboardInterrupt

    def _ask_again(self, _number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid and not _is_unwinding(frame):
            raise KeyboardInterrupt

    def _report_unraisable(self, problem: Any) -> None:
        if not self.asked:
            self._unraisable(problem)


def _is_unwinding(frame: FrameType | None) -> bool:
    """Whether an exception is on its way up, in a block that cleans up."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None or sys.exception() is not None


def _kill_workers() -> None:
    """End all worker processes, and the one that they are forked from, which may import for seconds yet."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for process in multiprocessing.active_children():
            process.kill()
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if (pid := getattr(server, "_forkserver_pid", None)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
