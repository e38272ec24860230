"""Losses: `ColorizationWeightedLoss`, the documented weighted squared error, and the optional `PerceptualLoss`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from curate.files import sha256_of
from train.models.colorspace import AB_UNIT, lab_to_srgb
from train.models.efficientnet import LiteFeatures, load_weights
from train.recipe import Recipe


class ColorizationWeightedLoss(nn.Module):
    """Weighted mean squared error of ab: saturated target colors have a higher weight than gray and sepia ones.

    loss = mean of w · (predicted − target)²

    w = neutral_weight + (saturated_weight − neutral_weight) · clip((C − neutral_chroma) / (saturated_chroma −
    neutral_chroma), 0, 1), where C is the target's CIELAB chroma √(a² + b²). With the defaults, w is 0.5 up to C = 20
    (a gray photo through the usual sepia matrix has C = 21) and 1.5 from C = 75.

    Args:
        device: accepted because the documented recipe passes it; the loss has no tensors to move.
        neutral_weight, saturated_weight: the lowest and the highest weight.
        neutral_chroma, saturated_chroma: CIELAB chroma up to which, and from which, they apply.

    Raises:
        ValueError: `saturated_chroma` isn't above `neutral_chroma`.

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
    def from_recipe(cls, recipe: Recipe, device: torch.device | str | None = None) -> ColorizationWeightedLoss:
        """Return the loss with the weights of a recipe."""
        return cls(
            device,
            neutral_weight=recipe.neutral_weight,
            saturated_weight=recipe.saturated_weight,
            neutral_chroma=recipe.neutral_chroma,
            saturated_chroma=recipe.saturated_chroma,
        )

    def forward(self, predicted_ab: Tensor, target_ab: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            predicted_ab, target_ab: (N, 2, H, W) floats, ab/50.

        Returns:
            A float32 scalar, computed in float32 also under autocast.

        Raises:
            ValueError: the shapes differ, or aren't (N, 2, H, W).
        """
        if predicted_ab.shape != target_ab.shape or predicted_ab.ndim != 4 or predicted_ab.shape[1] != 2:
            raise ValueError(f"expected two (N, 2, H, W), got {tuple(predicted_ab.shape)} and {tuple(target_ab.shape)}")
        with torch.autocast(predicted_ab.device.type, enabled=False):
            target = target_ab.float()
            return (self.weights(target.detach()) * (predicted_ab.float() - target).square()).mean()

    def weights(self, target_ab: Tensor) -> Tensor:
        """Return the (N, 1, H, W) weight of each pixel, for an (N, 2, H, W) target, ab/50."""
        chroma = AB_UNIT * target_ab.square().sum(dim=1, keepdim=True).sqrt()
        saturation = (chroma - self.neutral_chroma) / (self.saturated_chroma - self.neutral_chroma)
        return self.neutral_weight + (self.saturated_weight - self.neutral_weight) * saturation.clamp(0, 1)


FEATURE_LEVELS = 4
"""Features at 1/2, 1/4, 1/8 and 1/16 of the size; those at 1/32 hardly say where in the picture something is."""


class PerceptualLoss(nn.Module):
    """Mean squared difference of EfficientNet-Lite0's features, averaged over four scales; its weights are fixed.

    Args:
        weights: a .pth or .safetensors file of EfficientNet-Lite0; None takes the package's of the extra `[encoder]`.
        device: where it runs.

    Raises:
        UsageError: the extra isn't installed.
        CheckpointError: the file can't be read, or has other weights.
    """

    def __init__(self, weights: Path | None, device: torch.device | str) -> None:
        super().__init__()
        self.extractor = LiteFeatures(FEATURE_LEVELS)
        self.weights_sha256 = sha256_of(load_weights(self.extractor, weights))
        self.requires_grad_(False).eval().to(device)

    def forward(self, lightness: Tensor, predicted_ab: Tensor, target_ab: Tensor) -> Tensor:
        """Return the perceptual loss of a batch.

        Args:
            lightness: (N, 1, H, W), as from `split_lab`.
            predicted_ab, target_ab: (N, 2, H, W) floats, ab/50.

        Returns:
            A float32 scalar, computed in float32 also under autocast.
        """
        with torch.autocast(lightness.device.type, enabled=False):
            with torch.no_grad():
                target = self._features(lightness, target_ab)
            predicted = self._features(lightness, predicted_ab)
            return torch.stack([functional.mse_loss(*pair) for pair in zip(predicted, target, strict=True)]).mean()

    def _features(self, lightness: Tensor, ab: Tensor) -> list[Tensor]:
        return self.extractor.features((lab_to_srgb(lightness, ab) * 255 - 127) / 128)
