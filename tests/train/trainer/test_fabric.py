"""Training in two processes on the CPU, and choosing a device."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from curate.errors import TrainingError, UsageError
from train import checkpoint
from train.data import dataset
from train.data.sampler import StepSampler
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig, launch
from train.trainer.loop import run_training
from train.trainer.state import find_checkpoint

Manifests = Callable[..., Path]
CPU = DeviceConfig("cpu", "32-true", 0)
TWO = Recipe(image_size=32, channels=2, epochs=3, batch_size=2, devices=2, lr=1e-3, norm="group")


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["loss"] for line in lines if line["event"] == "step"]


def quiet(_line: str) -> None:
    """Print nothing, in any process."""


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_all_processes_make_up_the_whole_step(processes: int) -> None:
    whole = list(StepSampler(23, 4 * processes, 5, 0, 9))
    shares = [list(StepSampler(23, 4 * processes, 5, 0, 9, process=(rank, processes))) for rank in range(processes)]
    for step, draws in enumerate(whole):
        together = [draw for share in shares for draw in share[step]]
        assert sorted(together) == sorted(draws)
        assert max(len(share[step]) for share in shares) <= 4


def interrupt(line: str) -> None:
    """Send SIGTERM to rank 0 after its first step: the parent forwards Ctrl-C so, and processes block SIGINT."""
    if line.lstrip().startswith("step 1/"):
        signal.raise_signal(signal.SIGTERM)


def test_two_processes_train_like_one_with_the_doubled_batch_also_when_interrupted_and_resumed(
    clean_manifest: Manifests, tmp_path: Path
) -> None:
    """Seven photos: the last step of an epoch has shares of two and one; one photo can't be read."""
    path = clean_manifest(("train",) * 7)
    damaged = path.parent / "photos" / "p03.png"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    found = dataset.load_datasets(path)
    for name in ("one", "two", "stopped"):
        (tmp_path / name).mkdir()
    run_training(found, replace(TWO, devices=1, batch_size=4), CPU, tmp_path / "one", say=quiet)
    run_training(found, replace(TWO, max_steps=6), CPU, tmp_path / "two", say=quiet)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    two, one = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("two", "one"))
    assert all(
        torch.allclose(value, one.tensors_under("model")[name], atol=1e-4)
        for name, value in two.tensors_under("model").items()
    )
    log = (tmp_path / "two" / "log.jsonl").read_text(encoding="utf-8")
    assert log.count('"photo error"') == 3  # once an epoch, whichever process met it
    with pytest.raises(KeyboardInterrupt):
        run_training(found, replace(TWO, max_steps=6), CPU, tmp_path / "stopped", say=interrupt)
    before = find_checkpoint(tmp_path / "stopped", found)
    assert before
    assert before.metadata.step == 1
    run_training(found, replace(TWO, max_steps=6), CPU, tmp_path / "stopped", resume_from=before, say=quiet)
    resumed = checkpoint.load(tmp_path / "stopped" / "last.safetensors")
    assert resumed.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(value, two.tensors[name]) for name, value in resumed.tensors.items())


def fail_second(fabric: Fabric) -> None:
    if fabric.global_rank == 1:
        raise TrainingError("its disk is gone: mount it, then --resume")
    fabric.barrier()


def exit_second(fabric: Fabric) -> None:
    if fabric.global_rank == 1:
        os._exit(3)
    fabric.barrier()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fail_second, "process 1 of 2 failed: its disk is gone: mount it, then --resume"),
        (exit_second, "process 1 of 2 failed: process 1 terminated with exit code 3: --resume continues"),
    ],
)
def test_a_failing_process_ends_the_run_with_a_one_line_error(function: Callable[[Fabric], None], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        launch(CPU.make_fabric(2), function)
    assert str(caught.value).startswith(message)


def test_a_numbered_device_with_two_devices_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"--device cuda:1 is one device: give --device cuda with --devices 2"):
        DeviceConfig("cuda:1").make_fabric(2)
