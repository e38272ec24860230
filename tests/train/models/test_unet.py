"""`ColorUNet`: size, zero start, any image size, normalisation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from train.models.unet import ColorUNet
from train.recipe import Norm


def lightness(height: int, width: int, photos: int = 1) -> Tensor:
    return torch.rand(photos, 1, height, width, generator=torch.Generator().manual_seed(3)) * 2 - 1


def random_network(channels: int = 2, norm: Norm = "batch") -> ColorUNet:
    """A network whose output layer isn't zero, in eval mode."""
    torch.manual_seed(4)
    network = ColorUNet(channels, norm)
    nn.init.normal_(network.head.weight)
    return network.eval()


@pytest.mark.parametrize(("channels", "millions"), [(64, 31.0), (96, 69.8), (128, 124.1)])
def test_the_number_of_parameters_is_the_documented_one(channels: int, millions: float) -> None:
    with torch.device("meta"):
        network = ColorUNet(channels)
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_untrained_network_predicts_exactly_neutral(norm: Norm) -> None:
    network = ColorUNet(3, norm)
    for mode in (True, False):
        assert not network.train(mode)(lightness(32, 48, photos=2)).any()


def test_the_zero_output_layer_has_a_gradient_in_the_first_step() -> None:
    network = ColorUNet(2)
    network(lightness(32, 32, photos=2)).sub(1).square().mean().backward()
    assert network.head.weight.grad is not None
    assert network.head.weight.grad.abs().sum() > 0


@given(st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=30, deadline=None)
def test_the_output_has_the_size_of_the_input(height: int, width: int) -> None:
    with torch.no_grad():
        predicted = random_network()(lightness(height, width))
    assert predicted.shape == (1, 2, height, width)
    assert predicted.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3, 5, 12])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_any_number_of_channels_has_gradients_with_either_norm(channels: int, norm: Norm) -> None:
    network = ColorUNet(channels, norm).train()
    predicted = network(lightness(32, 32, photos=1))
    assert predicted.shape == (1, 2, 32, 32)
    predicted.sub(1).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_group_norm_does_not_depend_on_the_other_photos_of_a_batch() -> None:
    network = random_network(norm="group").train()
    pair = lightness(32, 32, photos=2)
    with torch.no_grad():
        assert torch.allclose(network(pair)[:1], network(pair[:1]), atol=1e-5)


def test_norm_decides_the_layers() -> None:
    kinds = {norm: {type(module) for module in ColorUNet(4, norm).modules()} for norm in ("batch", "group")}
    assert nn.BatchNorm2d in kinds["batch"]
    assert nn.GroupNorm not in kinds["batch"]
    assert nn.GroupNorm in kinds["group"]
    assert nn.BatchNorm2d not in kinds["group"]
