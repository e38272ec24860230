"""Between sRGB pixels and what the network speaks: lightness in, a and b out."""

from __future__ import annotations

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

AB_UNIT = 50.0
"""The network speaks of a and b in units of 50, so that most values lie in -1..1."""


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Photos to the network's input and target, in float32 even under autocast.

    Args:
        rgb: (N, H, W, 3) uint8 sRGB.

    Returns:
        (N, 1, H, W) lightness L*/50 − 1, in −1..1, and (N, 2, H, W) ab/50; float32, CIELAB under D65.
    """
    with torch.autocast(rgb.device.type, enabled=False):
        lab = rgb_to_lab(rgb.permute(0, 3, 1, 2).float() / 255)
        return lab[:, :1] / 50 - 1, lab[:, 1:] / AB_UNIT


def join_lab(lightness: Tensor, ab: Tensor) -> Tensor:
    """The way back; colours outside sRGB are clipped channel by channel.

    Args:
        lightness: (N, 1, H, W) as from `split_lab`.
        ab: (N, 2, H, W) in units of 50.

    Returns:
        (N, H, W, 3) uint8 sRGB.
    """
    rgb = lab_pictures(lightness, ab)
    return (rgb * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def lab_pictures(lightness: Tensor, ab: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in 0..1, float32, with gradients; none from a channel that is clipped."""
    with torch.autocast(lightness.device.type, enabled=False):
        lab = torch.cat([(lightness.float() + 1) * 50, ab.float() * AB_UNIT], dim=1)
        return lab_to_rgb(lab, clip=True)
