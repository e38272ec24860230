"""Signal handling of the commands: Ctrl-C, SIGTERM and SIGHUP end each of them with one line and exit code 130.

While a command is still importing, the first signal ends the process: no work has started. While a command runs, the
first signal raises KeyboardInterrupt, so that open files are closed; a second one kills the process and its workers.
This module is imported before all others, so it imports only fast modules.
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
RERAISE_INTERVAL_S = 0.05
"""A KeyboardInterrupt that some code caught and ignored is raised again after this many seconds."""
Handler = Callable[[int, FrameType | None], Any] | int | None
_interrupted_commands: list[InterruptHandler] = []
"""Filled when the command of this process was interrupted, which decides the exit code."""


def exit_on_signal() -> None:
    """End the process with one line at the first signal; entry points call this before they import the commands."""
    _install(_exit_before_start)
    atexit.register(_exit_after_interrupt)  # registered first, so it runs after all other exit functions


class InterruptHandler:
    """Context manager that turns signals into KeyboardInterrupt while a command runs.

    Callbacks and imports of compiled libraries may ignore a KeyboardInterrupt or turn it into another exception.
    Therefore it is raised again until the command ends, and `requested` says that any exception is a consequence of it.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether a signal has arrived."""
        self._pid = os.getpid()
        self._before: dict[int, Handler] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = _install(self._interrupt)
            sys.unraisablehook = self._report_unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._before.items():
            if handler is _exit_before_start:  # the process is about to end, and its output is complete
                if self.requested:
                    _interrupted_commands.append(self)
                handler = signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL  # noqa: PLW2901
            signal.signal(number, handler)
        if not self.requested:
            sys.unraisablehook = self._unraisable

    def stop(self) -> None:
        """After an interrupted command has ended: don't raise KeyboardInterrupt again, and kill its workers."""
        if self.requested:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _kill_workers()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker that hasn't installed its own handlers yet: the parent ends it
            return
        if self.requested:
            _kill_workers()
            _exit("Interrupted twice: ended immediately; hidden .draft files may be left and can be deleted.")
        self.requested = True
        signal.signal(signal.SIGALRM, self._interrupt_again)
        signal.setitimer(signal.ITIMER_REAL, RERAISE_INTERVAL_S, RERAISE_INTERVAL_S)
        raise KeyboardInterrupt

    def _interrupt_again(self, _number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid and not _is_unwinding(frame):
            raise KeyboardInterrupt

    def _report_unraisable(self, unraisable: Any) -> None:
        if not self.requested:
            self._unraisable(unraisable)


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Handler]:
    """Install a handler and return the handlers that it replaces.

    A signal that is ignored (`nohup`), or that another program handles, is left as it is.
    """
    before: dict[int, Handler] = {}
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _exit_before_start):
            before[number] = signal.signal(number, handler)
    return before


def _exit_before_start(_number: int, _frame: FrameType | None) -> None:
    _exit("Interrupted: no work had started.")


def _exit_after_interrupt() -> None:
    """Set the exit code: Python would end itself by SIGINT if an interrupt passed through `exec`."""
    if _interrupted_commands:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(EXIT_CODE)


def _exit(line: str) -> None:
    with suppress(OSError):  # stderr is closed
        os.write(2, f"{line}\n".encode())
    os._exit(EXIT_CODE)


def _is_unwinding(frame: FrameType | None) -> bool:
    """Whether an exception is being handled, or a `__del__` runs: a second exception would break the clean-up."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None or sys.exception() is not None


def _kill_workers() -> None:
    """Kill all worker processes, and the fork server, which may otherwise continue to import for seconds."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for process in multiprocessing.active_children():
            process.kill()
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if (pid := getattr(server, "_forkserver_pid", None)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
