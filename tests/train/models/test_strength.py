"""The strength of predicted colors: range, the automatic factor, and its loss."""

from __future__ import annotations

import math

import pytest
import torch

from curate.errors import UsageError
from curate.measures.colorfulness import colorfulness
from train.models.colorspace import join_lab, split_lab
from train.models.losses import ColorizationWeightedLoss
from train.models.strength import StrengthSamples, check_strength, loss_at, match_colorfulness


def mean_colorfulness(lightness: torch.Tensor, ab: torch.Tensor) -> float:
    pictures = join_lab(lightness, ab).numpy()
    return sum(map(colorfulness, pictures)) / len(pictures)


@pytest.fixture
def predicted() -> tuple[torch.Tensor, torch.Tensor]:
    """Lightness and ab/50 of 20 pictures with colors of moderate chroma."""
    torch.manual_seed(3)
    return torch.rand(20, 1, 16, 16) - 0.4, torch.randn(20, 2, 16, 16) * 0.25


@pytest.mark.parametrize("share", [0.4, 0.9, 1.0, 1.1, 1.6])
def test_the_automatic_strength_gives_the_wanted_colorfulness(
    predicted: tuple[torch.Tensor, torch.Tensor], share: float
) -> None:
    target = share * mean_colorfulness(*predicted)
    strength = match_colorfulness(*predicted, target)
    assert strength is not None
    lightness, ab = predicted
    assert mean_colorfulness(lightness, strength * ab) == pytest.approx(target, rel=0.005)
    assert (strength > 1) == (share > 1) or share == 1


def test_samples_of_large_pictures_give_the_strength_of_all_their_pixels() -> None:
    torch.manual_seed(5)
    rgb = torch.randint(0, 256, (6, 40, 60, 3), dtype=torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    lightness, target = split_lab(rgb)
    samples = StrengthSamples()
    for part in (slice(0, 2), slice(2, 6)):
        samples.add(lightness[part], 0.7 * target[part], rgb[part])
    strength = samples.automatic_strength()
    assert strength == pytest.approx(1 / 0.7, abs=0.03)


def test_it_is_at_most_2_and_0_for_gray_originals(predicted: tuple[torch.Tensor, torch.Tensor]) -> None:
    lightness, ab = predicted
    assert match_colorfulness(lightness, ab, 250.0) == 2
    assert match_colorfulness(lightness, 0 * ab, 30.0) == 2
    assert match_colorfulness(lightness, ab, 0.0) == pytest.approx(0, abs=0.002)
    assert match_colorfulness(lightness, torch.full_like(ab, math.nan), 30.0) is None


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.7])
def test_the_loss_at_a_strength_is_that_of_multiplied_predictions(strength: float) -> None:
    torch.manual_seed(4)
    criterion = ColorizationWeightedLoss()
    target, ab = torch.randn(3, 2, 8, 8), torch.randn(3, 2, 8, 8)
    loss, neutral = float(criterion(ab, target)), float(criterion(0 * ab, target))
    energy = float((criterion.weights(target) * ab.square()).mean())
    assert loss_at(strength, loss, neutral, energy) == pytest.approx(float(criterion(strength * ab, target)), rel=1e-5)


@pytest.mark.parametrize("strength", [-0.1, 4.1, math.nan, math.inf])
def test_other_numbers_are_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="give 0 to 4, or auto"):
        check_strength(strength)
