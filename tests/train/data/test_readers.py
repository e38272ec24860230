"""Reader processes that die, hang or stop are replaced, and the batches stay the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.errors import TrainingError
from curate.executors import watchdog
from train.data import dataset, readers
from train.data.dataset import PhotoDataset
from train.data.loader import Batch, CropLoader, load_batches
from train.data.sampler import StepSampler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the photos' replaced method reaches forked processes")
Read = Callable[[PhotoDataset, int, int], NDArray[np.uint8]]
READ: Read = PhotoDataset.read_pixels


@pytest.fixture
def crops(clean_manifest: Callable[..., Path]) -> CropLoader:
    photos = dataset.load_datasets(clean_manifest(("train",) * 7)).train
    return CropLoader(photos, 32, seed=3)


def read_all(crops: CropLoader, workers: int, steps: int = 6, timeout_s: float = 30.0, **how: object) -> list[Batch]:
    return list(load_batches(crops, StepSampler(7, 3, 3, 0, steps), workers, timeout_s=timeout_s, **how))  # type: ignore[arg-type]


def contents(batches: list[Batch]) -> list[tuple[list[int], bytes]]:
    return [(batch.photos, batch.rgb.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_reader_that_is_killed_or_stopped_is_replaced_and_the_batches_are_the_same(
    crops: CropLoader, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "START_TIMEOUT_S", 2.0)
    expected = contents(read_all(crops, 0, 40))
    said: list[str] = []
    batches = load_batches(crops, StepSampler(7, 3, 3, 0, 40), 2, timeout_s=2.0, say=said.append)
    seen = [next(batches)]
    (first, _) = multiprocessing.active_children()
    assert first.pid
    os.kill(first.pid, number)
    seen += batches
    assert contents(seen) == expected
    assert said
    assert ("probably for lack of memory" if number == signal.SIGKILL else "made no progress") in said[0]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_photo_that_hangs_becomes_an_error_of_its_batch(
    crops: CropLoader, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(photos: PhotoDataset, index: int, side: int) -> NDArray[np.uint8]:
        if index == 5:
            time.sleep(60)
        return READ(photos, index, side)

    monkeypatch.setattr(PhotoDataset, "read_pixels", hang)
    batches = read_all(crops, workers, 3, timeout_s=0.4)
    assert [error for batch in batches for error in batch.errors] == [
        (5, "TimedOut: reading and decoding took more than 0.4 s (--timeout)")
    ]
    assert sorted(photo for batch in batches for photo in batch.photos) == [0, 1, 2, 3, 4, 6]


def test_a_photo_at_which_two_readers_died_becomes_an_error_of_its_batch(
    crops: CropLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(photos: PhotoDataset, index: int, side: int) -> NDArray[np.uint8]:
        return READ(photos, index, side) if index != 5 else os._exit(3)

    monkeypatch.setattr(PhotoDataset, "read_pixels", crash)
    said: list[str] = []
    batches = read_all(crops, 1, 6, say=said.append)
    errors = [error for batch in batches for error in batch.errors]
    assert errors == [(5, "WorkerDied: reading it ended its process 2 times")] * 2
    assert len(said) == 2
    assert "ended with exit code 3" in said[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_does_not_answer_ends_the_run(
    crops: CropLoader, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PhotoDataset, "read_pixels", lambda *_: time.sleep(60))
    monkeypatch.setattr(watchdog, "POLL_S", 0.05)
    monkeypatch.setattr(readers, "POLL_S", 0.05)
    with pytest.raises(TrainingError, match=r"5 photos in a row took more than 0.1 s .*mounted"):
        list(load_batches(crops, StepSampler(7, 7, 3, 0, 1), workers, timeout_s=0.1))


def test_readers_that_die_again_and_again_end_the_run(crops: CropLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhotoDataset, "read_pixels", lambda *_: os._exit(9))
    with pytest.raises(TrainingError, match=r"ended 5 times in a row.*fewer --workers"):
        read_all(crops, 1, say=lambda _line: None)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_request_to_stop_ends_the_wait_for_a_photo(
    crops: CropLoader, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PhotoDataset, "read_pixels", lambda *_: time.sleep(60))
    start = time.monotonic()
    assert read_all(crops, workers, is_stopping=lambda: True, abandon=True) == []
    assert time.monotonic() - start < 20


def test_an_error_in_a_reader_is_raised_here(crops: CropLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhotoDataset, "read_pixels", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        read_all(crops, 1)


def test_forked_readers_need_no_space_in_dev_shm_and_others_say_that_it_is_full(
    crops: CropLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.data.readers.shutil.disk_usage", lambda _path: SimpleNamespace(free=4096))
    assert len(read_all(crops, 1)) == 6
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(TrainingError, match=r"shm has 4.10 kB free.*--shm-size.*--workers 0"):
        read_all(crops, 1)


def test_a_suspended_program_has_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.2, 3600.0])
    monkeypatch.setattr("curate.executors.watchdog.time.monotonic", lambda: next(clock))
    waited = watchdog.Stopwatch()
    assert waited.poll() == pytest.approx(0.2)
    assert waited.poll() == pytest.approx(0.6)  # 0.2 s, and twice the interval of 0.2 s for the hour
