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
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext

SINGLE_THREAD_ENV = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment variables with which importing NumPy, OpenCV and Arrow starts no thread.

The threads of NumPy and OpenCV busy-wait for about 0.1 s on every core, and a process that is forked must not have any.
"""
PRELOADED_MODULES = ["curate.executors.silence", __name__]
"""What the fork server imports first. Only the process of the command prints errors."""


def start_fork_server(*modules: str) -> ForkServerContext | SpawnContext:
    """Return the context that starts workers; on Linux, also start the fork server in the background.

    A fork server that already runs is left as it is.

    Args:
        modules: names of modules that the fork server imports. One that can't be imported is left to the workers.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED_MODULES, *modules])
    try:
        resource_tracker.ensure_running()  # before SIGINT is blocked: it unblocks SIGINT when it returns
        with _fork_server_environment():
            forkserver.ensure_running()
    except OSError:  # its socket can't be created, for example because the path of TMPDIR is too long
        return multiprocessing.get_context("spawn")
    return context


@contextmanager
def _fork_server_environment() -> Iterator[None]:
    """Set the environment of the fork server: the import path of this process, no threads, SIGINT blocked."""
    before = dict(os.environ)
    # PYTHONSAFEPATH: a file in the current folder that is named like a library must not be imported
    os.environ.update(SINGLE_THREAD_ENV, PYTHONSAFEPATH="1", PYTHONPATH=os.pathsep.join(map(os.path.abspath, sys.path)))
    unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


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
    """Let OpenCV use one thread in this process: there is one worker per core."""
    import cv2

    cv2.setNumThreads(1)
