"""How worker processes are started, and what each of them sets up first.

On Linux, workers are forked from the fork server of `multiprocessing`: a process that has imported what they need and
runs no threads. On other systems each worker is a new Python process that imports everything itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SINGLE_THREAD_ENV = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment variables with which importing NumPy, OpenCV and Arrow starts no thread.

The threads of NumPy and OpenCV busy-wait for about 0.1 s on every core, and a process that is forked must not have any.
"""
PRELOADED_MODULES = ["curate.executors.silence", __name__]
"""What the fork server imports first. Only the process of the command prints errors."""
STOPPED_CHECK_S = 5.0
"""How often a command looks for workers that were stopped."""
_main_module_lock = threading.Lock()
_server_lock = threading.Lock()
"""Held while the environment of this process is that of the fork server."""


def start_fork_server(*modules: str) -> ForkServerContext | SpawnContext:
    """Return the context that starts workers; on Linux, also start the fork server in the background.

    A fork server that already runs is left as it is.

    Args:
        modules: names of modules that the fork server imports. One that can't be imported is left to the workers.
    """
    if sys.platform != "linux":
        return _SpawnContext()
    from multiprocessing import forkserver, resource_tracker

    context = _ForkServerContext()
    try:
        with _server_lock:
            context.set_forkserver_preload([*PRELOADED_MODULES, *modules])
            with _child_environment():
                resource_tracker.ensure_running()  # before SIGINT is blocked: it unblocks SIGINT when it returns
                with _interrupts_blocked():
                    forkserver.ensure_running()
    except OSError:  # its socket can't be created, for example because the path of TMPDIR is too long
        return _SpawnContext()
    return context


@contextmanager
def _child_environment() -> Iterator[None]:
    """Set the environment of the fork server and the resource tracker: the import path of this process, no threads."""
    before = dict(os.environ)
    # PYTHONSAFEPATH: a file in the current folder that is named like a library must not be imported
    os.environ.update(SINGLE_THREAD_ENV, PYTHONSAFEPATH="1", PYTHONPATH=os.pathsep.join(map(os.path.abspath, sys.path)))
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)


@contextmanager
def continued_if_stopped() -> Iterator[None]:
    """While the block runs, continue the fork server and its workers where only they were stopped (SIGSTOP).

    A stopped process can't notice a time limit, and the command would wait for it forever. Ctrl-Z stops the command
    too, which then doesn't look.
    """
    ended = threading.Event()
    threading.Thread(target=_continue_stopped, args=[ended], daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _continue_stopped(ended: threading.Event) -> None:
    while not ended.wait(STOPPED_CHECK_S):
        server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
        pid = getattr(server, "_forkserver_pid", None)
        with suppress(OSError):  # not Linux, no fork server, or a process has just ended
            for process in (int(pid or 0), *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
                if is_stopped(process):
                    os.kill(process, signal.SIGCONT)


def is_stopped(process: int) -> bool:
    """Whether a process was stopped by a signal, on Linux; False if it does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def init_worker(environment: Mapping[str, str]) -> None:
    """Set up a worker process: exit with the parent, ignore Ctrl-C, discard stderr, use one thread.

    Decoders write warnings to stderr, which would mix with the output of the command.

    Args:
        environment: environment variables of the parent, which may have changed since the fork server was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    limit_threads()


def exit_with_parent() -> None:
    """In a worker: exit as soon as the parent process has ended, even if it was killed.

    Otherwise the workers of a killed scan would continue to write files.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=[parent.sentinel], daemon=True).start()


def _wait_and_exit(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def limit_threads() -> None:
    """Let OpenCV use one thread in this process: there is one worker per available core."""
    import cv2

    cv2.setNumThreads(1)


@contextmanager
def without_main_module() -> Iterator[None]:
    """Start processes in this block that do not run the user's script again.

    `multiprocessing` imports the parent's main module in every process that it spawns: a script without
    `if __name__ == "__main__"` would run again in each worker. Workers don't need it, because all that is sent to
    them is defined in this package. `multiprocessing` imports no main module whose name ends in `.__main__`.
    """
    main = sys.modules["__main__"]
    with _main_module_lock:
        before = main.__spec__
        main.__spec__ = ModuleSpec("vividset.__main__", None)
        try:
            yield
        finally:
            main.__spec__ = before


class _ForkServerWorker(ForkServerProcess):
    """A process of the fork server, without the user's main module."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802  # multiprocessing's name
        with without_main_module():
            return ForkServerProcess._Popen(process_obj)  # noqa: SLF001


class _SpawnWorker(SpawnProcess):
    """A spawned process, without the user's main module."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802  # multiprocessing's name
        with without_main_module():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001


class _ForkServerContext(ForkServerContext):
    Process = _ForkServerWorker


class _SpawnContext(SpawnContext):
    Process = _SpawnWorker
