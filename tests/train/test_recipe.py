"""The recipe: documented defaults, allowed values, number of steps."""

from __future__ import annotations

import dataclasses
import math

import pytest

from curate.errors import UsageError
from train.recipe import Recipe

DOCUMENTED = {
    "image_size": 256,
    "channels": 96,
    "epochs": 100,
    "batch_size": 16,
    "lr": 5e-5,
    "weight_decay": 1e-5,
    "beta1": 0.9,
    "beta2": 0.999,
    "warmup": 0.1,
    "norm": "batch",
    "encoder": "plain",
    "neutral_weight": 0.5,
    "saturated_weight": 1.5,
    "neutral_chroma": 20.0,
    "saturated_chroma": 75.0,
    "max_steps": None,
    "seed": 0,
}


EXTRAS = {"accumulate": 1, "devices": 1, "perceptual_weight": 0.0, "augment": "none", "crop_borders": False}
EXTRAS |= {"clip_grad": None, "ema": None}
"""Hyper-parameters that are not in the documented recipe; their defaults turn them off."""


def test_defaults_are_the_documented_recipe_and_nothing_else() -> None:
    assert dataclasses.asdict(Recipe()) == DOCUMENTED | EXTRAS


def test_every_hyper_parameter_has_a_value_and_a_reason() -> None:
    described = Recipe(lr=2e-5).describe()
    assert {name: value for name, value, _ in described} == DOCUMENTED | EXTRAS | {"lr": 2e-5}
    assert all(len(reason) > 10 and reason.endswith(".") for _, _, reason in described)


def test_a_recipe_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "bad",
    [
        {"channels": 0},
        {"epochs": 0},
        {"batch_size": -1},
        {"image_size": 31},
        {"lr": 0.0},
        {"lr": -1e-3},
        {"lr": math.nan},
        {"lr": math.inf},
        {"accumulate": 0},
        {"devices": 0},
        {"ema": 1.0},
        {"ema": 0.0},
        {"perceptual_weight": -0.01},
        {"perceptual_weight": math.nan},
        {"clip_grad": 0.0},
        {"clip_grad": math.nan},
        {"weight_decay": -1e-9},
        {"weight_decay": math.nan},
        {"warmup": -0.1},
        {"warmup": 1.0},
        {"warmup": math.nan},
        {"norm": "layer"},
        {"augment": "sepia"},
        {"max_steps": 0},
        {"seed": -1},
        {"seed": 2**63},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_option(bad: dict[str, float]) -> None:
    option = "--" + next(iter(bad)).replace("_", "-")
    with pytest.raises(UsageError, match=option):
        Recipe(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "edge", [{"channels": 1}, {"image_size": 32}, {"weight_decay": 0.0}, {"warmup": 0.0}, {"max_steps": 1}], ids=str
)
def test_the_smallest_allowed_values_are_accepted(edge: dict[str, int]) -> None:
    recipe = Recipe(**edge)  # type: ignore[arg-type]
    assert all(getattr(recipe, name) == value for name, value in edge.items())


@pytest.mark.parametrize(("photos", "steps"), [(1, 1), (15, 1), (16, 1), (17, 2), (160, 10)])
def test_an_epoch_includes_its_smaller_last_batch(photos: int, steps: int) -> None:
    assert Recipe().steps_per_epoch(photos) == steps


def test_fewer_photos_than_a_batch_make_one_step_an_epoch() -> None:
    assert Recipe(epochs=7).total_steps(3) == 7


def test_max_steps_shortens_a_run_but_never_lengthens_it() -> None:
    assert Recipe(epochs=2, max_steps=5).total_steps(160) == 5
    assert Recipe(epochs=2, max_steps=500).total_steps(160) == 20
