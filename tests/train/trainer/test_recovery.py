"""Responses to findings (`--on-trouble`), on runs that really diverge: their learning rate is 3."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from curate.errors import TrainingError
from train import checkpoint
from train.cli import main
from train.data import dataset
from train.health.diagnose import diagnose_curve, read_loss_curve
from train.recipe import Recipe
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.loop import run_training
from train.trainer.state import find_checkpoint

Manifests = Callable[..., Path]
HIGH_RATE = Recipe(image_size=32, channels=1, epochs=9999, max_steps=230, batch_size=2, lr=3.0, ema=0.9, norm="group")
CPU = DeviceConfig("cpu", "32-true", 0)


def train_at_high_rate(
    path: Path, folder: Path, say: Callable[[str], None], on_trouble: str, **changes: Any
) -> FitResult:
    found = dataset.load_datasets(path)
    folder.mkdir(exist_ok=True)
    before = find_checkpoint(folder, found)
    recipe = replace(HIGH_RATE, **changes)
    return run_training(found, recipe, CPU, folder, resume_from=before, on_trouble=on_trouble, say=say)


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    """The events of a kind in a log, without the field that depends on the clock."""
    found = [line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if line["event"] == kind]
    return [{key: value for key, value in line.items() if key != "wait_share"} for line in found]


def test_stop_saves_prints_the_reason_and_exits_1_and_resume_continues_anyway(
    clean_manifest: Manifests, tmp_path: Path
) -> None:
    arguments = [
        "fit",
        str(clean_manifest(("train",) * 40)),
        "--run-dir",
        str(tmp_path / "run"),
        "--device",
        "cpu",
        "--workers",
        "0",
    ]
    options = "--image-size 32 --channels 1 --epochs 999 --max-steps 210 --batch-size 2 --lr 3 --norm group"
    arguments += options.split()
    stopped = CliRunner().invoke(main, [*arguments, "--on-trouble", "stop"])
    assert stopped.exit_code == 1
    assert re.search(
        "^Error: stopped because of --on-trouble stop: (divergence|oscillation)", stopped.stderr, re.MULTILINE
    )
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").metadata.step == 200
    resumed = CliRunner().invoke(main, [*arguments, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    about = checkpoint.load(tmp_path / "run" / "last.safetensors").metadata
    assert (about.step, about.on_trouble) == (210, "stop")


@pytest.fixture(scope="module")
def rescued(clean_manifest_in: Manifests, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """A manifest, the folder of a run on it with one rescue, and its console lines."""
    place, console = tmp_path_factory.mktemp("rescued"), list[str]()
    path = clean_manifest_in(place, ("train",) * 40 + ("val",))
    train_at_high_rate(path, place / "whole", console.append, "rescue")
    return path, place / "whole", console


def test_rescue_continues_from_healthy_weights_with_a_lower_rate_and_records_it(
    rescued: tuple[Path, Path, list[str]],
) -> None:
    _, folder, console = rescued
    about = checkpoint.load(folder / "last.safetensors").metadata
    (done,) = about.rescues
    assert (done.kind, done.found_step, done.from_step) == ("oscillation", 200, 0)
    assert (done.lr, done.batch_size, done.total_steps) == (2e-5, 2, 230)
    assert about.recipe.lr == 3.0
    assert about.step == 230
    assert any(line.startswith("! rescue 1 of at most 3: oscillation at step 200; continuing from") for line in console)
    steps = events(folder / "log.jsonl", "step")
    assert [line["step"] for line in steps] == list(range(1, 231))
    assert max(line["lr"] for line in steps) == pytest.approx(2e-5)
    assert steps[0]["lr"] < 2e-6  # a new warm-up
    assert len(events(folder / "log-before-rescue-1.jsonl", "step")) == 200
    assert [line["found_step"] for line in events(folder / "log.jsonl", "rescue")] == [200]
    verdict = diagnose_curve(read_loss_curve(folder))
    assert "rescued, judged since step 0" in verdict.verdict
    assert verdict.findings == []
    assert "Rescued after oscillation at step 200" in (folder / "run.html").read_text(encoding="utf-8")


def test_a_rescued_run_that_is_stopped_and_resumed_ends_like_an_uninterrupted_one(
    rescued: tuple[Path, Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole, _ = rescued
    monkeypatch.setattr("train.trainer.logger.PRINT_INTERVAL_S", 0.0)
    was_rescued: list[str] = []

    def stop(line: str) -> None:
        if line.startswith("! rescue"):
            was_rescued.append(line)
        if was_rescued and line.split()[:2] == ["step", "40/230"]:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_at_high_rate(path, tmp_path / "stopped", stop, "rescue")
    train_at_high_rate(path, tmp_path / "stopped", was_rescued.append, "rescue")
    ours, theirs = (checkpoint.load(folder / "last.safetensors") for folder in (whole, tmp_path / "stopped"))
    assert ours.metadata.rescues == theirs.metadata.rescues
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert all(torch.equal(value, theirs.tensors[name]) for name, value in ours.tensors.items())
    for kind in ("step", "rescue", "validation"):
        assert events(whole / "log.jsonl", kind) == events(tmp_path / "stopped" / "log.jsonl", kind)


def test_the_number_of_rescues_is_limited(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate after a rescue is as high as before, so the oscillation comes back."""
    monkeypatch.setattr("train.trainer.recovery.ROLLBACK_LR", 3.0)
    monkeypatch.setattr("train.trainer.recovery.LR_DIVISOR", 1.0)
    monkeypatch.setattr("train.trainer.recovery.MAX_ROLLBACKS", 1)
    with pytest.raises(TrainingError, match="oscillation again after 1 rescue"):
        train_at_high_rate(clean_manifest(("train",) * 40), tmp_path / "run", list[str]().append, "rescue")
    assert len(checkpoint.load(tmp_path / "run" / "last.safetensors").metadata.rescues) == 1


def test_healthy_weights_are_saved_at_the_start_and_at_regular_steps(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.recovery.MIN_STEPS_TO_JUDGE", 50)
    path, console = clean_manifest(("train",) * 40), list[str]()
    assert train_at_high_rate(path, tmp_path / "run", console.append, "rescue", lr=1e-3, max_steps=101).healthy
    kept = sorted(path.name for path in (tmp_path / "run" / "healthy").iterdir())
    assert kept == [f"step-{step:07d}.safetensors" for step in (0, 50, 100)]
