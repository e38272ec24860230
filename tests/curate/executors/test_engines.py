"""Tests of curate/executors/engines.py without a cluster; test_ray.py has those of the Ray engine."""

from __future__ import annotations

import os
import time
from typing import NoReturn

import cv2
import pytest

from curate.errors import EngineError
from curate.executors import engines
from curate.executors.engines import TaskResult, WorkerLost, map_in_processes, map_serially


def test_serial_and_process_engines_give_the_same_results() -> None:
    expected = {TaskResult(number, abs(number)) for number in range(-20, 5)}
    assert set(map_serially(abs, range(-20, 5))) == expected
    assert set(map_in_processes(abs, range(-20, 5), workers=2)) == expected


def test_the_serial_engine_lets_opencv_use_one_thread_and_restores_the_callers_number() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        for outcome in map_serially(lambda _: cv2.getNumThreads(), range(2)):
            assert isinstance(outcome, TaskResult)
            assert outcome.result == 1
            assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_a_process_that_dies_or_times_out_loses_only_its_item() -> None:
    assert list(map_in_processes(os._exit, [3], workers=1)) == [WorkerLost(3, "died")]
    outcomes = list(map_in_processes(time.sleep, [0, 600, 0.01], workers=1, timeout_s=0.5))
    assert outcomes == [TaskResult(0, None), WorkerLost(600, "timed out"), TaskResult(0.01, None)]


def test_an_exception_in_a_worker_is_raised_by_the_engine() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_processes(int, ["1", "x"], workers=1))


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ConnectionRefusedError(111, "Refused")])
def test_workers_that_cannot_be_started_are_one_error(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail_to_start(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("pebble.ProcessPool", fail_to_start)
    with pytest.raises(EngineError, match=r"can't be started: .*: can you run .*--engine serial"):
        list(map_in_processes(abs, [1], workers=1))


def test_the_default_number_of_workers_is_that_of_the_available_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def record_size(size: int, _module: str) -> NoReturn:
        sizes.append(size)
        raise EngineError

    monkeypatch.setattr(engines, "available_cores", lambda: 3)
    monkeypatch.setattr(engines, "_open_pool", record_size)
    for workers in (None, 2):
        with pytest.raises(EngineError):
            list(map_in_processes(abs, range(9), workers=workers))
    assert sizes == [3, 2]


@pytest.mark.parametrize("running", [True, False])
def test_ray_joins_a_cluster_of_this_machine_or_starts_one_on_the_available_cores(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str | None, int | None]] = []

    class Ray:
        def init(self, address: str | None = None, *, num_cpus: int | None = None, **_quiet: object) -> None:
            if address == "auto" and not running:
                raise ConnectionError  # as ray.init does without a cluster
            calls.append((address, num_cpus))

    monkeypatch.setattr(engines, "available_cores", lambda: 3)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    engines._init_ray(Ray())
    assert calls == [("auto", None) if running else ("local", 3)]
