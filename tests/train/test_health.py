from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from curate.cli import main as curate
from train.cli import main as train
from train.health import REMEDIES, Finding, Kind, Validation, examine, history, rung
from train.recipe import Recipe

BAD_TRACE = (0.12, 0.15, 0.09, 0.13)
"""Of the documents: means of 100 steps."""
STEPS = 5000
WARMUP = 500


def kinds(ratios: list[float], validations: tuple[Validation, ...] = (), warmup: int = WARMUP) -> list[Kind]:
    return [finding.kind for finding in examine(ratios, warmup, validations)]


def healthy_trace(seed: int) -> list[float]:
    """From neutral down the whole ladder, with batches' noise of 15 to 25 % a step."""
    chance = np.random.default_rng(seed)
    noise = 1 + chance.normal(0, chance.uniform(0.15, 0.25), STEPS)
    trace: list[float] = (0.33 ** (np.arange(STEPS) / STEPS) * noise).tolist()
    return trace


@pytest.mark.parametrize("seed", range(20))
def test_the_documents_bad_trace_is_oscillation(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.02, 400)
    trace = (np.repeat(BAD_TRACE, 100) + noise) / 0.12
    (finding,) = examine(trace.tolist(), 40)
    assert finding.kind == "oscillation"
    assert finding.step == 400
    assert "--lr 2e-5" in finding.remedy


def test_oscillation_shows_the_means_on_the_documented_scale() -> None:
    (finding,) = examine((np.repeat(BAD_TRACE, 100) / 0.12).tolist(), 40)
    assert "0.12, 0.15, 0.09, 0.13" in finding.evidence


def test_healthy_traces_raise_no_alarm() -> None:
    alarmed = 0
    for seed in range(200):
        trace = healthy_trace(seed)
        alarmed += any(examine(trace[:step], WARMUP) for step in range(100, STEPS + 1, 100))
    assert alarmed / 200 < 0.01


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_flat_trace_high_up_is_a_plateau(noise: float) -> None:
    trace = 0.95 + np.random.default_rng(1).normal(0, noise, 2000)
    assert kinds(trace.tolist()) == ["plateau"]


def test_a_plateau_during_warmup_is_none() -> None:
    assert kinds([0.95] * 1000, warmup=500) == []
    assert kinds([0.95] * 1500, warmup=500) == ["plateau"]


def test_a_flat_trace_low_down_is_a_finished_training() -> None:
    assert kinds([0.30] * 3000) == []


def test_a_slow_fall_is_no_plateau() -> None:
    assert kinds(np.linspace(1.0, 0.84, 2500).tolist()) == []


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_divergence(last: float) -> None:
    assert kinds([1.0, 0.9, last]) == ["divergence"]


def test_a_loss_far_above_where_it_was_is_divergence() -> None:
    assert kinds([0.8] * 300 + [3.0] * 100)[0] == "divergence"


def test_an_untrained_start_is_no_divergence() -> None:
    assert kinds([1.0, 1.02, 0.98] * 100) == []


@pytest.mark.parametrize("steps", [0, 1, 99, 100, 399])
def test_short_traces_are_not_judged(steps: int) -> None:
    assert kinds(np.resize([1.6, 0.4], steps).tolist()) == []


@pytest.mark.parametrize(("ratio", "expected"), [(0.34, ["gray output"]), (0.9, [])])
def test_pale_pictures_are_gray_output_only_once_the_loss_is_low(ratio: float, expected: list[Kind]) -> None:
    seen = Validation(500, ratio, colorfulness_share=0.1, tones={"grayscale": 3})
    assert kinds([ratio] * 500, (seen,)) == expected


@pytest.mark.parametrize(("ratio", "expected"), [(0.34, ["sepia output"]), (0.9, [])])
def test_sepia_pictures_are_sepia_output_only_once_the_loss_is_low(ratio: float, expected: list[Kind]) -> None:
    seen = Validation(500, ratio, colorfulness_share=0.6, tones={"sepia": 3, "color": 1})
    assert kinds([ratio] * 500, (seen,)) == expected


def test_colourful_pictures_are_nothing_to_worry_about() -> None:
    seen = Validation(500, 0.3, colorfulness_share=0.8, tones={"color": 9, "sepia": 1})
    assert kinds([0.3] * 500, (seen,)) == []


def test_only_the_last_validation_counts() -> None:
    pale = Validation(400, 0.3, colorfulness_share=0.1)
    better = Validation(500, 0.3, colorfulness_share=0.9)
    assert kinds([0.3] * 500, (pale, better)) == []


@pytest.mark.parametrize("kind", REMEDIES)
def test_every_remedy_names_options_that_exist(kind: Kind) -> None:
    fit, filters = (
        CliRunner().invoke(group, [name, "--help"]).output for group, name in ((train, "fit"), (curate, "filter"))
    )
    said = REMEDIES[kind]
    to_filter = set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"`(curate filter[^`]*)`", said))))
    named = set(re.findall(r"--[a-z-]+", said)) - to_filter - {"--keep-tone"}
    assert named
    assert all(re.search(rf"{option}\b", fit) for option in named)
    assert all(re.search(rf"{option}\b", filters) for option in to_filter | {"--keep-tone"})


@pytest.mark.parametrize("kind", REMEDIES)
def test_every_remedy_gives_values_that_can_be_trained_with(kind: Kind) -> None:
    pairs = re.findall(r"--(lr|batch-size|warmup|channels|epochs) ([\d.e-]*\d)", REMEDIES[kind])
    assert pairs
    changes = {name.replace("-", "_"): float(value) for name, value in pairs}
    changed = Recipe(**changes)  # type: ignore[arg-type]
    assert all(getattr(changed, name) != getattr(Recipe(), name) for name in changes)


def test_a_finding_reads_as_what_when_why_and_what_to_do() -> None:
    said = str(Finding("plateau", 1200, "the loss stays"))
    assert said == f"plateau at step 1,200: the loss stays. What to do: {REMEDIES['plateau']}"


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (1.0, "above 0.10"),
        (0.84, "above 0.10"),
        (0.83, "below 0.10"),
        (0.6, "below 0.08"),
        (0.4, "below 0.06"),
        (0.33, "below 0.04"),
        (0.01, "below 0.04"),
    ],
)
def test_a_ratio_stands_on_a_rung_of_the_documented_ladder(ratio: float, said: str) -> None:
    assert rung(ratio) == said


def test_health_needs_no_network_to_be_judged() -> None:
    source = (Path(__file__).parents[2] / "train" / "health.py").read_text(encoding="utf-8")
    assert "import torch" not in source


def test_a_loss_above_neutral_for_two_windows_is_divergence() -> None:
    """A run at a learning rate of 3, as means of 100 steps: 1.19, 1.47, 1.28, 1.39 of neutral."""
    noise = np.random.default_rng(0).normal(1, 0.35, 400)
    (finding,) = history(list(np.repeat([1.19, 1.47, 1.28, 1.39], 100) * noise), 150)
    assert (finding.kind, finding.step) == ("divergence", 200)


def test_a_start_that_hovers_above_neutral_is_no_divergence() -> None:
    """As measured on a tiny network at the documented rate: batches of other crops than the baseline's."""
    noise = np.random.default_rng(1).normal(1, 0.35, 600)
    assert history(list(np.repeat([1.09, 1.1, 1.07, 1.09, 1.07, 1.01], 100) * noise), 250) == []
