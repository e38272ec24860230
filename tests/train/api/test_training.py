"""train.fit: hyper-parameters, resuming, and one training per process."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import train
from curate import errors


def test_fit_refuses_what_is_not_thread_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    running, stop = threading.Event(), threading.Event()

    def start_training(*_: object, **__: object) -> None:
        running.set()
        stop.wait(10)

    monkeypatch.setattr("train.api.training.start_training", start_training)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(train.fit, "clean.parquet")
        assert running.wait(10)
        with pytest.raises(errors.UsageError, match="another thread of this process trains"):
            train.fit("clean.parquet")
        with pytest.raises(errors.UsageError, match="in the main thread"):
            threads.submit(train.fit, "clean.parquet", devices=2).result()
        stop.set()
        first.result()
    train.fit("clean.parquet")


def test_fit_takes_every_hyper_parameter_with_its_default() -> None:
    signature = inspect.signature(train.fit).parameters
    assert {name: signature[name].default for name in train.Recipe.__dataclass_fields__} == {
        name: getattr(train.Recipe(), name) for name in train.Recipe.__dataclass_fields__
    }


def test_fit_resumes_and_refuses_another_recipe(clean_manifest: Callable[..., Path], tmp_path: Path) -> None:
    manifest = clean_manifest(("train",) * 4)
    lines: list[str] = []
    done: list[tuple[int, int]] = []
    small = train.Recipe(image_size=32, channels=2, epochs=1, batch_size=2)
    result = train.fit(
        manifest,
        run_dir=tmp_path / "run",
        recipe=small,
        device="cpu",
        workers=0,
        say=lines.append,
        progress=lambda *steps: done.append(steps),
    )
    assert done == [(1, 2), (2, 2)]
    assert (result.steps, result.run_dir) == (2, tmp_path / "run")
    assert any(line.startswith("step 2/2") for line in lines)
    again = train.fit(manifest, run_dir=tmp_path / "run", resume=True, device="cpu", workers=0, say=lines.append)
    assert again.steps == 2
    with pytest.raises(errors.UsageError, match="--channels 8 differs from the run's 2"):
        train.fit(manifest, run_dir=tmp_path / "run", resume=True, channels=8, device="cpu", say=lines.append)
    with pytest.raises(errors.UsageError, match="--resume"):
        train.fit(manifest, run_dir=tmp_path / "run", recipe=small, device="cpu", say=lines.append)
