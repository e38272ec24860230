"""`ColorUNet`: a U-Net that predicts a and b from lightness.

Source: O. Ronneberger et al., "U-Net" (2015), with padded convolutions and normalization.
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


def build_network(recipe: Recipe) -> ColorUNet:
    """Return a network with a recipe's architecture and random weights."""
    return ColorUNet(recipe.channels, recipe.norm, pretrained=recipe.encoder != "plain")


class PlainEncoder(nn.ModuleList):
    """The U-Net's own encoder: two convolutions a level, at full size, 1/2, 1/4, 1/8 and 1/16.

    Args:
        widths: channels of the five levels.
        norm: `batch` or `group`.
    """

    def __init__(self, widths: list[int], norm: Norm) -> None:
        inputs = [1, *widths[:-1]]
        super().__init__(_double_conv(inside, outside, norm) for inside, outside in zip(inputs, widths, strict=True))

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return the features of every level for (N, 1, H, W) lightness, largest first."""
        levels: list[Tensor] = []
        for double_conv in self:
            features = double_conv(functional.max_pool2d(levels[-1], 2) if levels else features)
            levels.append(features)
        return levels


class ColorUNet(nn.Module):
    """A U-Net with five levels of `channels`, 2, 4, 8 and 16 times as many; 69.8 M parameters at 96 channels.

    The output layer starts at zero, so that an untrained network predicts exactly neutral gray.

    Args:
        channels: width of the first level.
        norm: `batch` or `group`.
        pretrained: use EfficientNet-Lite0 as the encoder; `efficientnet.load_weights` loads its weights.
    """

    def __init__(self, channels: int = 96, norm: Norm = "batch", *, pretrained: bool = False) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(LEVELS)]
        self.stride = efficientnet.STRIDE if pretrained else STRIDE
        self.encoder: PlainEncoder | efficientnet.LiteEncoder = (
            efficientnet.LiteEncoder(widths, _double_conv(1, channels, norm))
            if pretrained
            else PlainEncoder(widths, norm)
        )
        pairs = list(reversed(list(zip(widths[1:], widths[:-1], strict=True))))  # (deeper, shallower), deepest first
        self.widen = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in pairs)
        self.decoder = nn.ModuleList(_double_conv(2 * shallow, shallow, norm) for _, shallow in pairs)
        self.head = nn.Conv2d(channels, 2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # a Conv2d made without bias=False has one

    def forward(self, lightness: Tensor) -> Tensor:
        """Return the predicted (N, 2, H, W) ab/50 for (N, 1, H, W) lightness in −1..1; any H and W from 1."""
        height, width = lightness.shape[2:]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        *skips, features = self.encoder(functional.pad(lightness, padding, mode="replicate"))
        for upsample, double_conv, skip in zip(self.widen, self.decoder, reversed(skips), strict=True):
            features = double_conv(torch.cat([skip, upsample(features)], dim=1))
        predicted: Tensor = self.head(features)
        return predicted[..., :height, :width]


def _double_conv(inside: int, outside: int, norm: Norm) -> nn.Sequential:
    """Return two 3×3 convolutions, each with normalization and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [nn.Conv2d(channels, outside, 3, padding=1, bias=False), _norm(norm, outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _norm(norm: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(math.gcd(channels, 8), channels)
