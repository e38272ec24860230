"""The tone network and its teacher, in PyTorch, for training; a scan uses `curate.measures.tone.network`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUTS = 5
"""Lightness, a, b, and a, b relative to the photo's own chroma, as in `curate.measures.tone.network`."""
WIDTHS = ((32, 2), (48, 1), (96, 2), (96, 1), (128, 2), (128, 1))
"""Channels and stride of each convolution of the network in the package."""
TEACHER_WIDTHS = ((48, 1), (96, 2), (192, 2), (256, 2))
HIDDEN = 64


def inputs(lab: Tensor) -> Tensor:
    """(n, 5, rows, columns) of (n, 3, rows, columns) CIELAB."""
    ab = lab[:, 1:]
    chroma = ab.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt()
    return torch.cat([lab[:, :1] / 25 - 2, ab / 20, ab / (chroma + 3)], 1)


class NetworkSize(nn.Module):
    """(n, 5, 32, 40) to (n,) log odds of toned: convolutions, their mean and maximum over the picture, two layers."""

    def __init__(self, *, teacher: bool = False) -> None:
        super().__init__()
        steps = TEACHER_WIDTHS if teacher else WIDTHS
        came = (INPUTS, *(width for width, _ in steps))
        block = _Residual if teacher else _convolution
        self.body = nn.Sequential(*(block(i, o, stride) for i, (o, stride) in zip(came, steps, strict=False)))
        self.head = nn.Sequential(nn.Linear(2 * came[-1], HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(HIDDEN, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Log odds for the result of `inputs`."""
        found = self.body(x)
        odds: Tensor = self.head(torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1))[:, 0]
        return odds


def _convolution(came: int, goes: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(came, goes, 3, stride, 1, bias=False), nn.BatchNorm2d(goes), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, came: int, goes: int, stride: int) -> None:
        super().__init__()
        second = nn.Sequential(nn.Conv2d(goes, goes, 3, 1, 1, bias=False), nn.BatchNorm2d(goes))
        self.two = nn.Sequential(_convolution(came, goes, stride), second)
        self.straight = nn.Conv2d(came, goes, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.two(x) + self.straight(x))
