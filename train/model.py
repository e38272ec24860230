"""The network: a U-Net that predicts ab from L.

Source: O. Ronneberger et al., "U-Net" (2015), with padded convolutions and normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.recipe import Norm

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)


class ColorUNet(nn.Module):
    """Five levels of channels, 2·channels, ... 16·channels; 69.8 M parameters at 96 channels.

    The head starts at zero, so an untrained network predicts exactly neutral gray.

    Args:
        channels: width of the first level.
        norm: `batch` or `group`.
    """

    def __init__(self, channels: int = 96, norm: Norm = "batch") -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            _convolutions(inside, outside, norm) for inside, outside in zip([1, *widths], widths, strict=False)
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
        features = functional.pad(lightness, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        skips = []
        for level, convolutions in enumerate(self.encoder):
            features = convolutions(features if level == 0 else functional.max_pool2d(features, 2))
            skips.append(features)
        for widen, convolutions, skip in zip(self.widen, self.decoder, reversed(skips[:-1]), strict=True):
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
