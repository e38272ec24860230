"""One optimizer step, looked at closely."""

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
        plan = RunConfig(dataset.load_datasets(clean_manifest()), recipe, DeviceConfig("cpu", "32-true", 0), tmp_path)
        return build_state(plan, plan.machine.fabric(), None)

    return make


def first_batch(run: TrainState) -> Batch:
    crops = CropLoader(run.photos.train, 32, 0)
    return crops.load_batch(next(iter(StepSampler(4, 4, 0, 0, 1))))


def everything(run: TrainState) -> dict[str, Tensor]:
    return checkpoint.weights(run.network) | {
        name: value.clone() for name, value in checkpoint.optimizer_tensors(run.optimizer).items()
    }


def test_a_step_that_is_left_out_changes_no_weight_moment_or_buffer(
    run: Callable[..., TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = run(replace(TINY, ema=0.5))
    batch = first_batch(ours)
    train_step(ours, batch, 4)
    before, averaged = everything(ours), checkpoint.weights(ours.seen)
    true_loss = ColorizationWeightedLoss.forward
    monkeypatch.setattr(
        ColorizationWeightedLoss, "forward", lambda self, ours, target: true_loss(self, ours, target) * math.inf
    )
    step = train_step(ours, batch, 4)
    assert math.isnan(step.loss)
    assert set(step.lost or ()) == set(batch.photos)
    assert all(torch.equal(before[name], value) for name, value in everything(ours).items())
    assert all(torch.equal(averaged[name], value) for name, value in checkpoint.weights(ours.seen).items())


def test_a_gradient_that_is_no_number_is_left_out_too(run: Callable[..., TrainState]) -> None:
    """The loss is finite, and its gradient 0 times infinity."""
    ours = run()
    batch = first_batch(ours)
    bias = ours.network.head.bias
    assert bias is not None
    bias.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]  # torch
    before = everything(ours)
    step = train_step(ours, batch, 4)
    assert step.lost is not None
    assert all(torch.equal(before[name], value) for name, value in everything(ours).items())


class Float16(DeviceConfig):
    """float16 on a CPU, which Fabric only offers on GPUs, with gradients scaled so far that they overflow at first."""

    def fabric(self, devices: int = 1) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        return Fabric(accelerator="cpu", devices=devices, plugins=MixedPrecision("16-mixed", "cpu", scaler))


def test_float16_that_overflows_scales_less_and_loses_no_step(clean_manifest: Manifests, tmp_path: Path) -> None:
    plan = RunConfig(
        dataset.load_datasets(clean_manifest()), replace(TINY, ema=0.5), Float16("cpu", "16-mixed"), tmp_path
    )
    ours = build_state(plan, plan.machine.fabric(), None)
    batch, before = first_batch(ours), checkpoint.weights(ours.network)
    assert ours.scaler is not None
    scales = []
    for _ in range(40):
        scales.append(ours.scaler.get_scale())
        step = train_step(ours, batch, 4)
        assert step.lost is None
        assert math.isfinite(step.loss)
        if scales[-1] == scales[0]:
            assert torch.equal(before["model/head.bias"], checkpoint.weights(ours.network)["model/head.bias"])
    assert scales[0] == 2.0**40
    assert scales[-1] < scales[0]
    assert not torch.equal(before["model/head.bias"], checkpoint.weights(ours.network)["model/head.bias"])


def test_float16_still_tells_a_photo_that_gives_no_number(
    clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = RunConfig(dataset.load_datasets(clean_manifest()), TINY, Float16("cpu", "16-mixed"), tmp_path)
    ours = build_state(plan, plan.machine.fabric(), None)
    true_loss = ColorizationWeightedLoss.forward
    monkeypatch.setattr(
        ColorizationWeightedLoss, "forward", lambda self, ours, target: true_loss(self, ours, target) * math.nan
    )
    batch = first_batch(ours)
    assert set(train_step(ours, batch, 4).lost or ()) == set(batch.photos)


def test_the_average_is_the_one_by_hand_and_carries_the_networks_buffers(run: Callable[..., TrainState]) -> None:
    ours = run(replace(TINY, ema=0.75))
    batch = first_batch(ours)
    seen = []
    for _ in range(3):
        train_step(ours, batch, 4)
        advance_schedule(ours)
        seen.append({name: value.clone() for name, value in ours.network.state_dict().items()})
    name = "encoder.0.0.weight"
    expected = 0.75 * (0.75 * seen[0][name] + 0.25 * seen[1][name]) + 0.25 * seen[2][name]
    average = ours.seen.state_dict()
    assert torch.allclose(average[name], expected, rtol=0, atol=1e-7)
    buffers = [name for name in average if "running" in name]
    assert all(torch.equal(average[name], seen[2][name]) for name in buffers)


def test_a_step_costs_the_mean_over_its_photos_whatever_the_parts(run: Callable[..., TrainState]) -> None:
    whole, parted = run(replace(TINY, norm="group")), run(replace(TINY, norm="group", batch_size=3, accumulate=2))
    batch = first_batch(whole)
    first, second = train_step(whole, batch, 4), train_step(parted, batch, 4)
    assert first.loss == pytest.approx(first.neutral)  # an untrained network predicts gray
    assert (second.loss, second.neutral) == pytest.approx((first.loss, first.neutral))
    for name, value in whole.network.state_dict().items():
        assert torch.allclose(parted.network.state_dict()[name], value, atol=1e-5)
