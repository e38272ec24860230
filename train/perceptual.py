"""How different two pictures look to EfficientNet-Lite0: what `--perceptual-weight` adds to the loss.

Source: J. Johnson et al., "Perceptual losses for real-time style transfer and super-resolution" (2016), with another
network, whose weights a package carries.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.errors import UsageError
from train.checkpoint import About, sha256_of
from train.encoder import LiteFeatures, load_weights
from train.lab import lab_pictures

LEVELS = 4
"""Features at a half, a quarter, an eighth and a sixteenth of the size; a thirty-second hardly tells where."""


class PerceptualLoss(nn.Module):
    """The mean squared difference of features, mean over four sizes; the features never learn.

    Args:
        weights: EfficientNet-Lite0's, a .pth or .safetensors file; None takes the package's.
        device: where it runs.

    Raises:
        UsageError: the extra isn't installed.
        CheckpointError: the file can't be read, or holds another network.
    """

    def __init__(self, weights: Path | None, device: torch.device | str) -> None:
        super().__init__()
        self.seen = LiteFeatures(LEVELS)
        self.weights_sha256 = sha256_of(load_weights(self.seen, weights))
        self.requires_grad_(False).eval().to(device)

    def forward(self, lightness: Tensor, predicted_ab: Tensor, target_ab: Tensor) -> Tensor:
        """What a batch's colours add.

        Args:
            lightness: (N, 1, H, W) as from `split_lab`.
            predicted_ab, target_ab: (N, 2, H, W) floats in units of ab/50.

        Returns:
            A float32 scalar, computed in float32 under autocast too.
        """
        with torch.autocast(lightness.device.type, enabled=False):
            with torch.no_grad():
                true = self._features(lightness, target_ab)
            ours = self._features(lightness, predicted_ab)
            return torch.stack([functional.mse_loss(*pair) for pair in zip(ours, true, strict=True)]).mean()

    def _features(self, lightness: Tensor, ab: Tensor) -> list[Tensor]:
        return self.seen.features((lab_pictures(lightness, ab) * 255 - 127) / 128)


def check_same(loss: PerceptualLoss, before: About | None) -> None:
    """Resuming is exact only with the features that the run began with.

    Raises:
        UsageError: they come from another file.
    """
    if before and loss.weights_sha256 != before.perceptual_sha256:
        raise UsageError(
            f"this run's perceptual loss has efficientnet-lite0's weights of sha256 {before.perceptual_sha256[:12]}, "
            f"these are {loss.weights_sha256[:12]}: give the same --encoder-weights to resume"
        )
