"""Worker processes: how they come to be, and what each does first.

On Linux they are forked from a process that has imported what they need, and runs no threads: the fork server of
`multiprocessing`. Elsewhere each imports everything itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

THREADLESS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment in which importing NumPy, OpenCV and Arrow starts no thread: those of the first two wait busily, for some
0.1 s of every core, and a process that others are forked from should have none.
"""

PRELOADED = ["curate.executors.silence", __name__]
"""What the process that workers are forked from imports first. Only the waiting program prints errors."""


_STARTING = threading.Lock()


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Start processes in this block that do not run the user's script again.

    `multiprocessing` imports the parent's main module in every process that it spawns: a script without
    `if __name__ == "__main__"` would run again in each worker. Workers need nothing of it, because all that is sent to
    them is defined in this package. A main module whose name ends in `.__main__` is not imported there.
    """
    main = sys.modules["__main__"]
    with _STARTING:
        before = main.__spec__
        main.__spec__ = ModuleSpec("vividset.__main__", None)
        try:
            yield
        finally:
            main.__spec__ = before


class _ForkedWorker(ForkServerProcess):
    """A process of the fork server, without the user's main module."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802  # multiprocessing's name
        with _without_main_module():
            return ForkServerProcess._Popen(process_obj)  # noqa: SLF001


class _SpawnedWorker(SpawnProcess):
    """A spawned process, without the user's main module."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802  # multiprocessing's name
        with _without_main_module():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001


class _ForkedContext(ForkServerContext):
    Process = _ForkedWorker


class _SpawnedContext(SpawnContext):
    Process = _SpawnedWorker


def start_fork_server(*modules: str) -> ForkServerContext | SpawnContext:
    """Have workers started by what this returns; on Linux, start the process that they will be forked from.

    It imports what they need while this process goes on. Where it runs already, it is left as it is.

    Args:
        modules: to be imported there; one that can't be is left to the workers.
    """
    if sys.platform == "linux":
        from multiprocessing import forkserver, resource_tracker

        context = _ForkedContext()
        context.set_forkserver_preload([*PRELOADED, *modules])
        try:
            resource_tracker.ensure_running()  # first, as it ends by letting SIGINT through
            with _as_workers_need_it():
                forkserver.ensure_running()
        except OSError:  # no place for its socket
            return _SpawnedContext()
        return context
    return _SpawnedContext()


@contextmanager
def _as_workers_need_it() -> Iterator[None]:
    """The environment for a process that imports from where this one does, and doesn't mind Ctrl-C."""
    before = dict(os.environ)
    os.environ.update(THREADLESS, PYTHONSAFEPATH="1", PYTHONPATH=os.pathsep.join(map(os.path.abspath, sys.path)))
    unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def init_worker(environment: Mapping[str, str]) -> None:
    """In a worker: end with the parent, leave Ctrl-C to it, be lean, and let nobody hear what decoders mutter.

    Args:
        environment: the parent's, which may have changed since the process began that this one is forked from.
    """
    os.environ.clear()
    os.environ.update(environment)
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    limit_threads()


def end_with_parent() -> None:
    """In a worker: end as soon as the parent has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()


def _end_with(sentinel: int) -> None:
    """A killed scan must not leave workers behind that go on writing."""
    wait([sentinel])
    os._exit(1)


def limit_threads() -> None:
    """One core a task, as tasks are as many as cores."""
    import cv2

    cv2.setNumThreads(1)
