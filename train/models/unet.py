"""The network: a U-Net that predicts ab from L.

Source: O. Ronneberger et al., "U-Net" (2015), with padded convolutions and normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.models import efficientnet
from train.recipe import Norm, Recipe

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)


def network_for(recipe: Recipe) -> ColorUNet:
    """The network that a recipe asks for, untrained."""
    return ColorUNet(recipe.channels, recipe.norm, pretrained=recipe.encoder != "plain")


class PlainEncoder(nn.ModuleList):
    """Convolutions at the full size, a half, ... a sixteenth."""

    def __init__(self, widths: list[int], norm: Norm) -> None:
        inside = [1, *widths[:-1]]
        super().__init__(_convolutions(has, wants, norm) for has, wants in zip(inside, widths, strict=True))

    def forward(self, features: Tensor) -> list[Tensor]:
        """(N, 1, H, W) to the features of every level."""
        skips: list[Tensor] = []
        for convolutions in self:
            features = convolutions(functional.max_pool2d(skips[-1], 2) if skips else features)
            skips.append(features)
        return skips


class ColorUNet(nn.Module):
    """Five levels of channels, 2·channels, ... 16·channels; 69.8 M parameters at 96 channels.

    The head starts at zero, so an untrained network predicts exactly neutral gray.

    Args:
        channels: width of the first level.
        norm: `batch` or `group`.
        pretrained: take EfficientNet-Lite0 for the encoder, its weights still random.
    """

    def __init__(self, channels: int = 96, norm: Norm = "batch", *, pretrained: bool = False) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(LEVELS)]
        self.stride = efficientnet.STRIDE if pretrained else STRIDE
        self.encoder: PlainEncoder | efficientnet.LiteEncoder = (
            efficientnet.LiteEncoder(widths, _convolutions(1, channels, norm))
            if pretrained
            else PlainEncoder(widths, norm)
        )
        downwards = list(reversed(list(zip(widths[1:], widths[:-1], strict=True))))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in downwards)
        self.decoder = nn.ModuleList(_convolutions(2 * shallow, shallow, norm) for _, shallow in downwards)
        self.head = nn.Conv2d(channels, 2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # a Conv2d made without bias=False has one

    def forward(self, lightness: Tensor) -> Tensor:
        """(N, 1, H, W) lightness in −1..1 to (N, 2, H, W) ab/50, for any H and W."""
        height, width = lightness.shape[2:]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        *skips, features = self.encoder(functional.pad(lightness, padding, mode="replicate"))
        for widen, convolutions, skip in zip(self.widen, self.decoder, reversed(skips), strict=True):
            features = convolutions(torch.cat([skip, widen(features)], dim=1))
        predicted: Tensor = self.head(features)
        return predicted[..., :height, :width]


def _convolutions(inside: int, outside: int, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [nn.Conv2d(channels, outside, 3, padding=1, bias=False), _norm(norm, outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _norm(norm: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(math.gcd(channels, 8), channels)
