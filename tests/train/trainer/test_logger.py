"""The run logger: log.jsonl, console lines, health checks, and continuing the log of an earlier run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import TrainingError
from curate.measures.hue_spread import HueSpread
from train.health.curve import LossCurve, Validation
from train.trainer.logger import RunLogger
from train.trainer.step import StepResult


def open_log(folder: Path, after_step: int = 0, console: list[str] | None = None, total_steps: int = 2000) -> RunLogger:
    printed: list[str] = [] if console is None else console
    return RunLogger(
        folder, LossCurve((), 10), neutral=0.1, total_steps=total_steps, after_step=after_step, say=printed.append
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in (folder / "log.jsonl").read_text().splitlines()]


def write_steps(folder: Path, steps: int, loss: float = 0.09) -> None:
    logger = open_log(folder)
    for step in range(1, steps + 1):
        logger.log_step(step, 0, StepResult(loss, 0.1), 1e-3, 2)
    logger.close()


def test_a_step_is_a_line_with_loss_and_loss_over_neutral(tmp_path: Path) -> None:
    console: list[str] = []
    logger = open_log(tmp_path, console=console)
    logger.log_step(1, 0, StepResult(0.08, 0.1), 2e-6, 16, 0.012)
    logger.close()
    (line,) = lines(tmp_path)
    assert line == {
        "event": "step",
        "step": 1,
        "epoch": 0,
        "loss": 0.08,
        "neutral": 0.1,
        "ratio": pytest.approx(0.8),
        "lr": 2e-6,
        "wait_share": 0.012,
    }
    assert "loss 0.0800  0.80 of neutral" in console[0]


def test_the_console_shows_the_mean_loss_of_the_last_100_steps_and_its_ratio_to_gray_on_their_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.trainer.logger.PRINT_INTERVAL_S", 0.0)
    console: list[str] = []
    logger = open_log(tmp_path, console=console)
    neutrals = np.random.default_rng(0).uniform(0.02, 0.3, 300)  # batches differ; the manifest's neutral is 0.1
    losses = [neutrals[0], *neutrals[1:] * 0.5]
    for step, (loss, neutral) in enumerate(zip(losses, neutrals, strict=True), 1):
        logger.log_step(step, 0, StepResult(loss, neutral), 1e-3, 2)
        if step == 200:
            logger.log_step(200, 0, None, 1e-3, 0)  # none of its photos can be read
            logger.log_step(200, 0, StepResult(math.nan, neutral), 1e-3, 2)
    logger.close()
    assert f"loss {losses[0]:.4f}  1.00 of neutral" in console[0]
    second = f"loss {sum(losses[:2]) / 2:.4f}  {sum(losses[:2]) / sum(neutrals[:2]):.2f} of neutral"
    assert second in console[1]
    assert f"loss {sum(losses[-100:]) / 100:.4f}  0.50 of neutral" in console[-1]
    assert logger.verdict().startswith("ending at 0.50 times the neutral loss")


def test_a_resumed_run_shows_the_same_mean_as_an_uninterrupted_one(tmp_path: Path) -> None:
    results: list[StepResult | None] = [StepResult(0.08 + step / 1000, 0.1 + step / 500) for step in range(40)]
    results[10], results[11] = None, StepResult(math.nan, 0.1)
    shown = []
    for stop_at in (len(results), 25):
        console: list[str] = []
        logger = open_log(tmp_path, console=console, total_steps=len(results))
        for step, result in enumerate(results, 1):
            if step == stop_at + 1:
                logger.close()
                logger = open_log(tmp_path, after_step=stop_at, console=console, total_steps=len(results))
            logger.log_step(step, 0, result, 1e-3, 2)
        logger.close()
        shown.append((console[-1].split(" of neutral")[0], logger.ratios[:10], logger.ratios[12:], logger.neutrals))
    assert shown[0] == shown[1]


@pytest.mark.parametrize(("ratio", "noted"), [(1.23, True), (1.0, False)])
def test_a_validation_loss_above_gray_is_noted_but_is_no_finding(tmp_path: Path, ratio: float, noted: bool) -> None:
    console: list[str] = []
    write_steps(tmp_path, 500, loss=0.05)
    logger = open_log(tmp_path, 500, console)
    logger.log_validation(Validation(500, ratio, 0.9, {"color": 4}, 0.1, 4))
    assert not logger.check_health()
    logger.close()
    assert ("(worse than gray)" in console[0]) == noted
    assert "no trouble seen" in logger.verdict()
    assert ("on held-out photos the loss is 1.23 times that of predicting gray" in logger.verdict()) == noted


def test_the_first_and_the_last_step_are_always_printed(tmp_path: Path) -> None:
    console: list[str] = []
    logger = open_log(tmp_path, console=console, total_steps=50)
    for step in range(1, 51):
        logger.log_step(step, 0, StepResult(0.1, 0.1), 1e-3, 2)
    logger.close()
    assert console[0].split()[1] == "1/50"
    assert console[-1].split()[1] == "50/50"


def test_nan_and_infinity_become_null(tmp_path: Path) -> None:
    logger = open_log(tmp_path)
    logger.log_step(1, 0, StepResult(math.nan, 0.1), 1e-3, 2)
    logger.log_event("start", mean_color_loss=math.inf)
    logger.close()
    step, start = lines(tmp_path)
    assert (step["loss"], step["ratio"], start["mean_color_loss"]) == (None, None, None)


def test_a_resumed_log_keeps_lines_up_to_the_checkpoint_and_drops_later_ones(tmp_path: Path) -> None:
    write_steps(tmp_path, 10)
    logger = open_log(tmp_path, after_step=6)
    logger.log_step(7, 0, StepResult(0.05, 0.1), 1e-3, 2)
    logger.close()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert logger.ratios == pytest.approx([0.9] * 6 + [0.5])


def test_a_line_that_was_cut_short_by_a_crash_is_dropped(tmp_path: Path) -> None:
    write_steps(tmp_path, 3)
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"event": "step", "step": 4, "lo')
    open_log(tmp_path, after_step=3).close()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_log_that_lacks_steps_before_the_checkpoint_is_refused(tmp_path: Path) -> None:
    write_steps(tmp_path, 3)
    with pytest.raises(TrainingError, match=r"lacks steps before the checkpoint's 5.*--run-dir"):
        open_log(tmp_path, after_step=5)


def test_a_new_run_starts_an_empty_log(tmp_path: Path) -> None:
    write_steps(tmp_path, 3)
    open_log(tmp_path).close()
    assert lines(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "tensorboard"}


@pytest.mark.parametrize(
    "validation",
    [
        Validation(1, 0.5, 0.7, {"color": 3}, 0.06, 3),
        Validation(1, math.inf, 0.0, {"grayscale": 1}, 0.06, 1),
        Validation(
            1,
            0.5,
            0.7,
            {"color": 3},
            0.06,
            3,
            HueSpread(3.7, 0.8, 0.1, 0, 0.1),
            HueSpread(4.6, 0.6, 0.2, 0.2, 0),
            1.4,
            0.6,
        ),
    ],
    ids=["log of an earlier version", "gray photos held out", "usual"],
)
def test_validations_are_restored_on_resume(tmp_path: Path, validation: Validation) -> None:
    logger = open_log(tmp_path)
    logger.log_step(1, 0, StepResult(0.09, 0.1), 1e-3, 2)
    logger.log_validation(validation)
    logger.close()
    resumed = open_log(tmp_path, after_step=1)
    resumed.close()
    (restored,) = resumed.validations
    assert restored == validation


def test_a_finding_is_reported_once_even_across_a_resume(tmp_path: Path) -> None:
    console: list[str] = []
    logger = open_log(tmp_path, console=console)
    for step in range(1, 1201):
        logger.log_step(step, 0, StepResult(0.095, 0.1), 1e-3, 2)
        if step % 100 == 0:
            logger.check_health()
    logger.close()
    resumed = open_log(tmp_path, after_step=1200, console=console)
    resumed.check_health()
    resumed.close()
    assert [line.split()[1] for line in console if line.startswith("!")] == ["plateau"]
    (finding,) = [line for line in lines(tmp_path) if line["event"] == "finding"]
    assert finding["kind"] == "plateau"
    assert "--channels 128" in finding["remedy"]
    assert "plateau" in resumed.verdict()


def test_the_verdict_of_a_healthy_run_gives_ratio_documented_level_and_no_trouble(tmp_path: Path) -> None:
    write_steps(tmp_path, 5, loss=0.06)
    logger = open_log(tmp_path, after_step=5)
    logger.close()
    assert (
        "ending at 0.60 times the neutral loss (mean of the last 5 losses; below 0.08 on the documented scale)"
        in logger.verdict()
    )
    assert logger.verdict().endswith("too few steps to judge (under 400)")
    write_steps(tmp_path, 400, loss=0.06)
    logger = open_log(tmp_path, after_step=400)
    logger.close()
    assert logger.verdict().endswith("no trouble seen")


def test_a_closed_log_takes_no_more_lines(tmp_path: Path) -> None:
    logger = open_log(tmp_path)
    logger.close()
    with pytest.raises(ValueError, match="closed file"):
        logger.log_event("step")
