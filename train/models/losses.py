"""ColorizationWeightedLoss: weighted mean squared error, and no more."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.files import sha256_of
from train.models.colorspace import AB_UNIT, lab_pictures
from train.models.efficientnet import LiteFeatures, load_weights
from train.recipe import Recipe


class ColorizationWeightedLoss(nn.Module):
    """The mean of w·(predicted − target)², where saturated targets weigh more than gray and sepia ones.

    w = neutral_weight + (saturated_weight − neutral_weight) · clip((C − neutral_chroma) / (saturated_chroma −
    neutral_chroma), 0, 1), with C the target's CIELAB chroma √(a² + b²). With the defaults, 0.5 up to C = 20 (gray
    through the usual sepia matrix has 21) and 1.5 from C = 75.

    Args:
        device: accepted because the documented recipe passes it; there is nothing to move.
        neutral_weight, saturated_weight: the lowest and the highest weight.
        neutral_chroma, saturated_chroma: where they are reached, in CIELAB units.

    >>> loss = ColorizationWeightedLoss()
    >>> target = torch.tensor([1.5, 0.0]).reshape(1, 2, 1, 1)   # C = 75: weighs 1.5
    >>> float(loss(torch.zeros_like(target), target))           # 1.5 * (1.5**2 + 0) / 2
    1.6875
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        *,
        neutral_weight: float = 0.5,
        saturated_weight: float = 1.5,
        neutral_chroma: float = 20.0,
        saturated_chroma: float = 75.0,
    ) -> None:
        super().__init__()
        if saturated_chroma <= neutral_chroma:
            raise ValueError("saturated_chroma must be above neutral_chroma")
        self.neutral_weight, self.saturated_weight = neutral_weight, saturated_weight
        self.neutral_chroma, self.saturated_chroma = neutral_chroma, saturated_chroma
        self.to(device)

    @classmethod
    def of(cls, recipe: Recipe, device: torch.device | str | None = None) -> ColorizationWeightedLoss:
        """The loss with a recipe's weights."""
        return cls(
            device,
            neutral_weight=recipe.neutral_weight,
            saturated_weight=recipe.saturated_weight,
            neutral_chroma=recipe.neutral_chroma,
            saturated_chroma=recipe.saturated_chroma,
        )

    def forward(self, predicted_ab: Tensor, target_ab: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            predicted_ab, target_ab: (N, 2, H, W) floats in units of ab/50.

        Returns:
            A float32 scalar, computed in float32 under autocast too.
        """
        if predicted_ab.shape != target_ab.shape or predicted_ab.ndim != 4 or predicted_ab.shape[1] != 2:
            raise ValueError(f"expected two (N, 2, H, W), got {tuple(predicted_ab.shape)} and {tuple(target_ab.shape)}")
        with torch.autocast(predicted_ab.device.type, enabled=False):
            target = target_ab.float()
            return (self.weights(target.detach()) * (predicted_ab.float() - target).square()).mean()

    def weights(self, target_ab: Tensor) -> Tensor:
        """(N, 1, H, W) weight of each pixel, from the (N, 2, H, W) target in units of ab/50."""
        chroma = AB_UNIT * target_ab.square().sum(dim=1, keepdim=True).sqrt()
        rise = (chroma - self.neutral_chroma) / (self.saturated_chroma - self.neutral_chroma)
        return self.neutral_weight + (self.saturated_weight - self.neutral_weight) * rise.clamp(0, 1)


FEATURE_LEVELS = 4
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
        self.seen = LiteFeatures(FEATURE_LEVELS)
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
