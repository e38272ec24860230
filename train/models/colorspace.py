"""Conversion between sRGB pixels and the network's input (lightness) and output (a and b), in CIELAB."""

from __future__ import annotations

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

AB_UNIT = 50.0
"""The network's a and b are CIELAB values divided by this, so that most lie in −1..1."""


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Return the network's input and target for photos, in float32 even under autocast.

    Args:
        rgb: (N, H, W, 3) uint8 sRGB.

    Returns:
        (N, 1, H, W) lightness L*/50 − 1, in −1..1, and (N, 2, H, W) ab/50; float32, CIELAB under D65.
    """
    with torch.autocast(rgb.device.type, enabled=False):  # bf16 would be wrong by up to 2.7 CIELAB units
        lab = rgb_to_lab(rgb.permute(0, 3, 1, 2).float() / 255)
        return lab[:, :1] / 50 - 1, lab[:, 1:] / AB_UNIT


def gray_lightness(gray: Tensor) -> Tensor:
    """Return the network's input for black-and-white photos.

    Args:
        gray: (N, H, W) uint8, sRGB-encoded.

    Returns:
        (N, 1, H, W) float32 lightness L*/50 − 1, as `split_lab` has it for R = G = B.
    """
    levels = torch.arange(256, dtype=torch.uint8, device=gray.device)
    table, _ = split_lab(levels.reshape(1, 1, 256, 1).expand(1, 1, 256, 3))
    return table.flatten()[gray.long()][:, None]


def join_lab(lightness: Tensor, ab: Tensor) -> Tensor:
    """Return photos from lightness and ab, the inverse of `split_lab`; each channel is clipped to sRGB.

    Args:
        lightness: (N, 1, H, W), L*/50 − 1.
        ab: (N, 2, H, W), ab/50.

    Returns:
        (N, H, W, 3) uint8 sRGB.
    """
    rgb = lab_to_srgb(lightness, ab)
    return (rgb * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def lab_to_srgb(lightness: Tensor, ab: Tensor) -> Tensor:
    """Return (N, 3, H, W) float32 sRGB in 0..1, differentiable; a clipped channel has gradient 0.

    Args:
        lightness: (N, 1, H, W), L*/50 − 1.
        ab: (N, 2, H, W), ab/50.
    """
    with torch.autocast(lightness.device.type, enabled=False):
        lab = torch.cat([(lightness.float() + 1) * 50, ab.float() * AB_UNIT], dim=1)
        return lab_to_rgb(lab, clip=True)
