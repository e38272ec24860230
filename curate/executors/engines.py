"""Ways to map a function over items: one after another, in processes, or on a Ray cluster. A map, and nothing more."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import current_process
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from curate.errors import EngineError
from curate.executors.worker import init_worker, limit_threads, start_fork_server
from curate.text import describe_error

if TYPE_CHECKING:
    from pebble import ProcessPool

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """The function returned."""

    item: Item
    result: Result


@dataclass(frozen=True, slots=True)
class WorkerLost(Generic[Item]):
    """The item's process died or was ended for taking too long; the function never returned."""

    item: Item
    reason: Literal["died", "timed out"]


Outcome = Done[Item, Result] | WorkerLost[Item]
POLL_S = 0.02
"""How often a pool looks after its workers; so long, once or twice, it takes to end."""
RAY_TRIES = 2
"""A node that is taken away costs its tasks once; a photo that kills its worker is to be found out soon."""


class Engine(Protocol):
    """A map over items, in whatever order they finish."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None
    ) -> Iterator[Outcome[Item, Result]]:
        """Map in so many places at once."""


def serial(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,  # noqa: ARG001 - engines are called alike
) -> Iterator[Outcome[Item, Result]]:
    """Map in this process, whatever `workers`: for tests and debuggers, without protection from a decoder's crash."""
    for item in items:
        yield Done(item, function(item))


def processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Outcome[Item, Result]]:
    """Map in worker processes, in whatever order they finish.

    A worker that dies costs its item only and is replaced. What the function raises is raised here.

    Args:
        function: picklable, as are items and results.
        items: consumed as workers get free, never all at once.
        workers: number of processes, if there are as many items; None is one a core.
        timeout_s: end an item's process after so many seconds.

    Raises:
        EngineError: worker processes can't be started.
    """
    source = iter(items)
    first = list(islice(source, workers or os.cpu_count() or 1))
    if not first:
        return
    source, at_once = chain(first, source), 2 * len(first)
    running: dict[Future[Result], Item] = {}
    with _pool(len(first), getattr(function, "func", function).__module__) as pool:
        while True:
            for item in islice(source, at_once - len(running)):
                running[pool.schedule(function, args=[item], timeout=timeout_s)] = item
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield _outcome(running.pop(future), future)


@contextmanager
def _pool(size: int, module: str) -> Iterator[ProcessPool]:
    """So many workers, which need a module; they end with the block, in the midst of their work if it fails."""
    from pebble import CONSTS, ProcessPool  # here, so that `--help` answers at once

    if current_process().daemon:
        raise EngineError("a worker of a multiprocessing pool may start none: choose the serial engine there")
    CONSTS.sleep_unit = POLL_S
    pool = ProcessPool(size, initializer=init_worker, initargs=[dict(os.environ)], context=start_fork_server(module))
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except BrokenProcessPool as exc:
        pool.stop()  # type: ignore[no-untyped-call]
        raise _not_started(exc) from exc
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()


def _outcome(item: Item, future: Future[Result]) -> Outcome[Item, Result]:
    from pebble import ProcessExpired

    try:
        return Done(item, future.result())
    except TimeoutError:
        return WorkerLost(item, "timed out")
    except ProcessExpired:
        return WorkerLost(item, "died")


def _not_started(exc: BrokenProcessPool) -> EngineError:
    if isinstance(exc.__cause__, OSError):
        gone = isinstance(exc.__cause__, FileNotFoundError)
        advice = "is the current folder gone? Go to another" if gone else "try fewer with --workers"
        return EngineError(f"worker processes can't be started: {describe_error(exc.__cause__)}: {advice}")
    return EngineError(
        "worker processes end by themselves: run the same command to go on; if they do at once, --engine serial says "
        "what is wrong"
    )


def ray(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Iterator[Outcome[Item, Result]]:
    """Map as tasks of the Ray cluster that `RAY_ADDRESS` names or this machine is part of; else of one started here.

    A task whose worker or node dies is tried once more elsewhere.

    Args:
        function: picklable, as are items and results, and importable on every node.
        items: consumed as workers get free.
        workers: tasks at once; None is one a core of the cluster.

    Raises:
        EngineError: Ray is missing, or no cluster answers.
    """
    cluster = _connected_ray()
    at_once = 2 * (workers or max(1, int(cluster.cluster_resources().get("CPU", 1))))
    task = cluster.remote(num_cpus=1, max_retries=0)(_in_ray)
    source = iter(items)
    running: dict[Any, tuple[Item, int]] = {}
    while True:
        for item in islice(source, at_once - len(running)):
            running[task.remote(function, item)] = item, 1
        if not running:
            return
        done, _ = cluster.wait(list(running), num_returns=1)
        item, tries = running.pop(done[0])
        try:
            yield Done(item, cluster.get(done[0]))
        except cluster.exceptions.RayTaskError as exc:
            raise exc.cause from exc
        except cluster.exceptions.RayError:
            if tries < RAY_TRIES:
                running[task.remote(function, item)] = item, tries + 1
            else:
                yield WorkerLost(item, "died")


EngineName = Literal["serial", "processes", "ray"]
ENGINES: Mapping[EngineName, Engine] = MappingProxyType({"serial": serial, "processes": processes, "ray": ray})


def _connected_ray() -> Any:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or it writes a token into the home folder
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as cluster
    except ImportError as exc:
        raise EngineError("the ray engine needs Ray: pip install 'vividset[ray]' on every node") from exc
    if not cluster.is_initialized():
        try:
            cluster.init(log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as exc:
            raise EngineError(f"no Ray cluster answers: {exc}: check RAY_ADDRESS, or `ray start` one") from exc
    return cluster


def _in_ray(function: Callable[[Item], Result], item: Item) -> Result:
    limit_threads()
    return function(item)
