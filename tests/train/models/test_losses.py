"""`ColorizationWeightedLoss` against its formula."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from train.models.colorspace import AB_UNIT
from train.models.losses import ColorizationWeightedLoss


def reference_loss(predicted: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """The documented formula in float64: mean of w (predicted - target)², w from the target's chroma."""
    chroma = 50 * np.hypot(target[:, 0], target[:, 1])
    weight = 0.5 + np.clip((chroma - 20) / 55, 0, 1)
    return float((weight[:, None] * (predicted - target) ** 2).mean())


def pixel(a: float, b: float = 0.0) -> Tensor:
    """One pixel, in CIELAB units."""
    return torch.tensor([a, b]).reshape(1, 2, 1, 1) / AB_UNIT


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_the_documented_formula(seed: int, spread: float) -> None:
    chance = np.random.default_rng(seed)
    predicted, target = chance.normal(0, spread, (2, 2, 2, 5, 7))
    ours = ColorizationWeightedLoss()(torch.from_numpy(predicted), torch.from_numpy(target))
    assert float(ours) == pytest.approx(reference_loss(predicted, target), rel=1e-5)


@pytest.mark.parametrize(
    ("chroma", "weight"),
    [(0, 0.5), (10, 0.5), (20, 0.5), (20 + 55 / 4, 0.75), (47.5, 1.0), (75, 1.5), (76, 1.5), (133.8, 1.5)],
)
def test_the_weight_is_0_5_up_to_chroma_20_and_1_5_from_75_and_linear_between(chroma: float, weight: float) -> None:
    for hue in np.linspace(0, 2 * math.pi, 7):
        target = pixel(chroma * math.cos(hue), chroma * math.sin(hue))
        assert float(ColorizationWeightedLoss().weights(target)) == pytest.approx(weight, abs=1e-5)


def test_the_weight_depends_on_the_target_only() -> None:
    loss = ColorizationWeightedLoss()
    gray, red = pixel(0), pixel(100)
    assert float(loss(red, gray)) == pytest.approx(0.5 * 2**2 / 2)
    assert float(loss(gray, red)) == pytest.approx(1.5 * 2**2 / 2)


def test_equal_inputs_have_loss_0() -> None:
    target = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    assert float(ColorizationWeightedLoss()(target.clone(), target)) == 0


@pytest.mark.parametrize("value", [0.0, 0.4, 1.5, 2.6])
def test_constant_colour_gives_finite_loss_and_gradient(value: float) -> None:
    target = torch.full((2, 2, 8, 8), value)
    predicted = torch.zeros(2, 2, 8, 8, requires_grad=True)
    loss = ColorizationWeightedLoss()(predicted, target)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_gradient_is_the_weighted_difference_even_at_zero_chroma() -> None:
    predicted = torch.full((1, 2, 1, 1), 0.3, requires_grad=True)
    ColorizationWeightedLoss()(predicted, torch.zeros(1, 2, 1, 1)).backward()
    assert predicted.grad is not None
    assert predicted.grad.flatten().tolist() == pytest.approx([2 * 0.5 * 0.3 / 2] * 2)


def test_it_is_computed_in_float32_under_bf16_autocast() -> None:
    chance = torch.Generator().manual_seed(2)
    predicted, target = torch.randn(2, 1, 2, 16, 16, generator=chance)
    loss = ColorizationWeightedLoss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(predicted, target)
        from_half = loss(predicted.bfloat16(), target)
    assert inside.dtype == from_half.dtype == torch.float32
    assert float(inside) == float(loss(predicted, target))


def test_it_accepts_the_device_argument_of_the_documented_recipe() -> None:
    ours, plain = ColorizationWeightedLoss(device="cpu"), ColorizationWeightedLoss()
    assert float(ours(pixel(0), pixel(60))) == float(plain(pixel(0), pixel(60)))
    assert isinstance(ColorizationWeightedLoss(device=torch.device("cpu")), torch.nn.Module)


def test_it_has_no_parameters_or_buffers() -> None:
    assert list(ColorizationWeightedLoss().parameters()) == []
    assert ColorizationWeightedLoss().state_dict() == {}


def test_its_constants_are_arguments() -> None:
    assert set(inspect.signature(ColorizationWeightedLoss).parameters) == {
        "device",
        "neutral_weight",
        "saturated_weight",
        "neutral_chroma",
        "saturated_chroma",
    }
    loss = ColorizationWeightedLoss(neutral_weight=0, saturated_weight=4, neutral_chroma=0, saturated_chroma=100)
    assert float(loss(pixel(0), pixel(50))) == pytest.approx(2 * 1 / 2)


def test_equal_chroma_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="above neutral_chroma"):
        ColorizationWeightedLoss(neutral_chroma=75, saturated_chroma=75)


@pytest.mark.parametrize(
    ("predicted", "target"),
    [((1, 2, 4, 4), (1, 2, 4, 5)), ((1, 2, 4, 4), (2, 2, 4, 4)), ((1, 3, 4, 4), (1, 3, 4, 4)), ((2, 4, 4), (2, 4, 4))],
)
def test_other_shapes_are_refused_instead_of_broadcast(predicted: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected two \(N, 2, H, W\)"):
        ColorizationWeightedLoss()(torch.zeros(predicted), torch.zeros(target))
