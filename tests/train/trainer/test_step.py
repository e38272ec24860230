"""`train_step`: skipped steps, float16, EMA, gradient accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor

from train import checkpoint
from train.data import dataset
from train.data.loader import Batch, CropLoader
from train.data.sampler import StepSampler
from train.models.losses import ColorizationWeightedLoss
from train.recipe import Recipe
from train.trainer.fabric import DeviceConfig
from train.trainer.state import RunConfig, TrainState, build_state
from train.trainer.step import advance_schedule, train_step

Manifests = Callable[..., Path]
TINY = Recipe(image_size=32, channels=2, batch_size=4, lr=1e-2, warmup=0.0, norm="batch")


@pytest.fixture
def run(clean_manifest: Manifests, tmp_path: Path) -> Callable[..., TrainState]:
    def make(recipe: Recipe = TINY) -> TrainState:
        config = RunConfig(dataset.load_datasets(clean_manifest()), recipe, DeviceConfig("cpu", "32-true", 0), tmp_path)
        return build_state(config, config.device_config.make_fabric(), None)

    return make


def first_batch(run: TrainState) -> Batch:
    crops = CropLoader(run.datasets.train, 32, 0)
    return crops.load_batch(next(iter(StepSampler(4, 4, 0, 0, 1))))


def all_tensors(run: TrainState) -> dict[str, Tensor]:
    return checkpoint.network_tensors(run.network) | {
        name: value.clone() for name, value in checkpoint.optimizer_tensors(run.optimizer).items()
    }


def test_a_skipped_step_changes_no_weight_moment_or_buffer(
    run: Callable[..., TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = run(replace(TINY, ema=0.5))
    batch = first_batch(ours)
    train_step(ours, batch, 4)
    before, averaged = all_tensors(ours), checkpoint.network_tensors(ours.eval_model)
    true_loss = ColorizationWeightedLoss.forward
    monkeypatch.setattr(
        ColorizationWeightedLoss, "forward", lambda self, ours, target: true_loss(self, ours, target) * math.inf
    )
    step = train_step(ours, batch, 4)
    assert math.isnan(step.loss)
    assert set(step.bad_photos or ()) == set(batch.photos)
    assert all(torch.equal(before[name], value) for name, value in all_tensors(ours).items())
    assert all(
        torch.equal(averaged[name], value) for name, value in checkpoint.network_tensors(ours.eval_model).items()
    )


def test_a_nan_gradient_skips_the_step_too(run: Callable[..., TrainState]) -> None:
    """The loss is finite, and its gradient is 0 times infinity."""
    ours = run()
    batch = first_batch(ours)
    bias = ours.network.head.bias
    assert bias is not None
    bias.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]  # torch
    before = all_tensors(ours)
    step = train_step(ours, batch, 4)
    assert step.bad_photos is not None
    assert all(torch.equal(before[name], value) for name, value in all_tensors(ours).items())


class Float16(DeviceConfig):
    """float16 on a CPU, which Fabric offers only on GPUs; the initial loss scale makes gradients overflow."""

    def make_fabric(self, devices: int = 1) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        return Fabric(accelerator="cpu", devices=devices, plugins=MixedPrecision("16-mixed", "cpu", scaler))


def test_float16_overflow_lowers_the_scale_and_is_no_skipped_step(clean_manifest: Manifests, tmp_path: Path) -> None:
    config = RunConfig(
        dataset.load_datasets(clean_manifest()), replace(TINY, ema=0.5), Float16("cpu", "16-mixed"), tmp_path
    )
    ours = build_state(config, config.device_config.make_fabric(), None)
    batch, before = first_batch(ours), checkpoint.network_tensors(ours.network)
    assert ours.scaler is not None
    scales = []
    for _ in range(40):
        scales.append(ours.scaler.get_scale())
        step = train_step(ours, batch, 4)
        assert step.bad_photos is None
        assert math.isfinite(step.loss)
        if scales[-1] == scales[0]:
            assert torch.equal(before["model/head.bias"], checkpoint.network_tensors(ours.network)["model/head.bias"])
    assert scales[0] == 2.0**40
    assert scales[-1] < scales[0]
    assert not torch.equal(before["model/head.bias"], checkpoint.network_tensors(ours.network)["model/head.bias"])


def test_a_nan_loss_is_found_in_float16_too(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(dataset.load_datasets(clean_manifest()), TINY, Float16("cpu", "16-mixed"), tmp_path)
    ours = build_state(config, config.device_config.make_fabric(), None)
    true_loss = ColorizationWeightedLoss.forward
    monkeypatch.setattr(
        ColorizationWeightedLoss, "forward", lambda self, ours, target: true_loss(self, ours, target) * math.nan
    )
    batch = first_batch(ours)
    assert set(train_step(ours, batch, 4).bad_photos or ()) == set(batch.photos)


def test_the_ema_of_weights_and_batchnorm_statistics_follows_its_formula(run: Callable[..., TrainState]) -> None:
    ours = run(replace(TINY, ema=0.75))
    batch = first_batch(ours)
    history = []
    for _ in range(3):
        train_step(ours, batch, 4)
        advance_schedule(ours)
        history.append({name: value.clone() for name, value in ours.network.state_dict().items()})
    average = ours.eval_model.state_dict()
    for name in ("encoder.0.0.weight", *(name for name in average if "running" in name)):
        expected = 0.75 * (0.75 * history[0][name] + 0.25 * history[1][name]) + 0.25 * history[2][name]
        assert torch.allclose(average[name], expected, rtol=0, atol=1e-6), name


def test_the_loss_is_the_mean_over_the_photos_however_the_step_is_split(run: Callable[..., TrainState]) -> None:
    whole, split = run(replace(TINY, norm="group")), run(replace(TINY, norm="group", batch_size=3, accumulate=2))
    batch = first_batch(whole)
    first, second = train_step(whole, batch, 4), train_step(split, batch, 4)
    assert first.loss == pytest.approx(first.neutral)  # an untrained network predicts gray
    assert (second.loss, second.neutral) == pytest.approx((first.loss, first.neutral))
    for name, value in whole.network.state_dict().items():
        assert torch.allclose(split.network.state_dict()[name], value, atol=1e-5)
