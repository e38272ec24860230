"""Engines: map a function over items serially, in worker processes, or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import current_process
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from curate.cores import available_cores
from curate.errors import EngineError, UsageError
from curate.executors.worker import continued_if_stopped, init_worker, limit_threads, start_fork_server
from curate.process_settings import one_opencv_thread
from curate.text import advise, describe_error, install_hint

if TYPE_CHECKING:
    from pebble import ProcessPool

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_INTERVAL_S = 0.02
"""How often a pool checks its workers. Closing a pool takes one or two intervals."""
RAY_MAX_TRIES = 2
"""A task is repeated once, because its node may have been taken away. More tries would only delay the retry of a group
with a photo that crashes its worker."""


@dataclass(frozen=True, slots=True)
class TaskResult(Generic[Item, Result]):
    """An item and what the function returned for it."""

    item: Item
    result: Result


@dataclass(frozen=True, slots=True)
class WorkerLost(Generic[Item]):
    """An item without result: its process died, or was ended because it took too long."""

    item: Item
    reason: Literal["died", "timed out"]


Outcome = TaskResult[Item, Result] | WorkerLost[Item]


class Engine(Protocol):
    """A function that maps another function over items, and yields the outcomes in the order in which they finish."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None
    ) -> Iterator[Outcome[Item, Result]]:
        """Map the function over the items with a number of workers; None: one per available core."""


def map_serially(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,  # noqa: ARG001 - all engines have the same parameters
) -> Iterator[Outcome[Item, Result]]:
    """Map a function over items in this process, for tests and debuggers.

    A decoder that crashes ends the whole program. OpenCV uses one thread while the function runs.

    Args:
        function: called on each item.
        items: read one at a time.
        workers: ignored.
    """
    for item in items:
        with one_opencv_thread:
            result = function(item)
        yield TaskResult(item, result)


def map_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Outcome[Item, Result]]:
    """Map a function over items in worker processes; yield the outcomes in the order in which they finish.

    A worker that dies is replaced, and only its item is lost. An exception of the function is raised here.

    Args:
        function: picklable, as are items and results.
        items: read as workers become free.
        workers: number of processes, but no more than there are items; None: one per core that this process may use.
        timeout_s: end the process of an item after this many seconds; None: never.

    Raises:
        EngineError: worker processes can't be started.
    """
    remaining = iter(items)
    first = list(islice(remaining, workers or available_cores()))
    if not first:
        return
    remaining, max_queued = chain(first, remaining), 2 * len(first)  # the next item is queued before a worker is free
    running: dict[Future[Result], Item] = {}
    module = getattr(function, "func", function).__module__
    with continued_if_stopped(), _open_pool(len(first), module) as pool:
        while True:
            for item in islice(remaining, max_queued - len(running)):
                running[pool.schedule(function, args=[item], timeout=timeout_s)] = item
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield _get_outcome(running.pop(future), future)


def map_on_ray(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Iterator[Outcome[Item, Result]]:
    """Map a function over items as tasks of a Ray cluster; yield the outcomes in the order in which they finish.

    The cluster is the one that `RAY_ADDRESS` names or that this machine is part of; otherwise one is started on this
    machine, with the cores that this process may use. A task whose worker or node dies is repeated once.

    Args:
        function: picklable, as are items and results, and importable on every node.
        items: read as workers become free.
        workers: number of tasks that run at the same time; None: one per core of the cluster.

    Raises:
        EngineError: Ray isn't installed, or the cluster doesn't answer.
    """
    ray = _connect_ray()
    max_queued = 2 * (workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
    task = ray.remote(num_cpus=1, max_retries=0)(_run_ray_task)
    remaining = iter(items)
    running: dict[Any, tuple[Item, int]] = {}  # by the reference to the task: its item, and which try it is
    while True:
        for item in islice(remaining, max_queued - len(running)):
            running[task.remote(function, item)] = item, 1
        if not running:
            return
        (finished,), _ = ray.wait(list(running), num_returns=1)
        item, tries = running.pop(finished)
        try:
            yield TaskResult(item, ray.get(finished))
        except ray.exceptions.RayTaskError as exc:
            raise exc.cause from exc
        except ray.exceptions.RayError:
            if tries < RAY_MAX_TRIES:
                running[task.remote(function, item)] = item, tries + 1
            else:
                yield WorkerLost(item, "died")


EngineName = Literal["serial", "processes", "ray"]
ENGINES: Mapping[EngineName, Engine] = MappingProxyType(
    {"serial": map_serially, "processes": map_in_processes, "ray": map_on_ray}
)


def check_engine_options(engine: str, workers: int | None, timeout_s: float) -> None:
    """Check the options that all commands with an engine share.

    Raises:
        UsageError: there is no such engine, or a number is too small.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine!r} does not exist: choose from {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be 1 or more, not {workers}")
    if not timeout_s > 0:
        raise UsageError(f"--timeout must be more than 0 seconds, not {timeout_s}")


@contextmanager
def _open_pool(size: int, module: str) -> Iterator[ProcessPool]:
    """Open a pool of workers that have imported a module; an exception in the block ends them immediately."""
    from pebble import CONSTS, ProcessPool  # here, because importing it would slow down `--help`

    if current_process().daemon:
        raise EngineError("a worker of a multiprocessing pool can't start workers itself: use the serial engine there")
    CONSTS.sleep_unit = POLL_INTERVAL_S
    context = start_fork_server(module)
    try:
        pool = ProcessPool(size, initializer=init_worker, initargs=[dict(os.environ)], context=context)
    except OSError as exc:  # without this, a BrokenPipeError would end the command silently, as for a closed stdout
        raise _start_error(exc) from exc
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except BrokenProcessPool as exc:
        pool.stop()  # type: ignore[no-untyped-call]
        raise _pool_error(exc) from exc
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()


def _get_outcome(item: Item, future: Future[Result]) -> Outcome[Item, Result]:
    from pebble import ProcessExpired

    try:
        return TaskResult(item, future.result())
    except TimeoutError:
        return WorkerLost(item, "timed out")
    except ProcessExpired:
        return WorkerLost(item, "died")


def _start_error(exc: OSError) -> EngineError:
    if isinstance(exc, FileNotFoundError):
        advice = "does the current folder still exist? Change to another one"
    elif isinstance(exc, ConnectionError):  # the fork server ended at once: for example, Python can't be executed
        advice = f"can you run {sys.executable}? If not, use --engine serial"
    else:
        advice = f"{advise(exc)}, or use fewer --workers" if advise(exc) else "try fewer with --workers"
    return EngineError(f"worker processes can't be started: {describe_error(exc)}: {advice}")


def _pool_error(exc: BrokenProcessPool) -> EngineError:
    if isinstance(exc.__cause__, OSError):
        return _start_error(exc.__cause__)
    return EngineError(
        "the worker processes ended: run the same command again to continue. If they end again at once, "
        "--engine serial shows the error"
    )


def _connect_ray() -> Any:
    """Import Ray and connect to a cluster."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # otherwise it writes a token into the home folder
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as exc:
        raise EngineError(f"the ray engine needs Ray on every node: {install_hint('ray')}") from exc
    if not ray.is_initialized():
        try:
            _init_ray(ray)
        except (OSError, RuntimeError, ValueError) as exc:
            raise EngineError(
                f"no Ray cluster answers: {exc}: check RAY_ADDRESS, or start a cluster with `ray start`"
            ) from exc
    return ray


def _init_ray(ray: Any) -> None:
    """Connect to the cluster of `RAY_ADDRESS` or of this machine; without one, start one with the available cores."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    try:
        ray.init("auto", **quiet)
    except ConnectionError:  # no cluster runs here
        ray.init("local", num_cpus=available_cores(), **quiet)


def _run_ray_task(function: Callable[[Item], Result], item: Item) -> Result:
    limit_threads()
    return function(item)
