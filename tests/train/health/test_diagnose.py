"""`train diagnose` on finished runs and on CSV files of other trainers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from curate.errors import TrainingError, UsageError
from train.cli import main
from train.health.curve import LossCurve
from train.health.detectors import detect_all
from train.health.diagnose import diagnose_curve, read_loss_curve

BROWN = {"entropy_bits": 3.7, "warm": 0.85, "green": 0.02, "blue": 0.0, "magenta": 0.13}


def csv(path: Path, losses: list[float]) -> Path:
    path.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in enumerate(losses)), encoding="utf-8")
    return path


def falling(steps: int = 3000) -> list[float]:
    noise = np.random.default_rng(3).normal(1, 0.2, steps)
    return list((0.04 + 0.08 * np.exp(-np.arange(steps) / 900)) * noise)


def oscillating() -> list[float]:
    """The documents' example of an unstable run, as means of 100 steps."""
    noise = np.random.default_rng(4).normal(0, 0.01, 400)
    return list(np.repeat([0.12, 0.15, 0.09, 0.13], 100) + noise)


def test_a_falling_curve_is_healthy(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diagnose", str(csv(tmp_path / "losses.csv", falling()))])
    assert result.exit_code == 0, result.output
    assert "no trouble seen" in result.output


def test_the_documented_unstable_run_is_oscillation_with_its_remedies(tmp_path: Path) -> None:
    path = csv(tmp_path / "losses.csv", oscillating())
    result = CliRunner().invoke(main, ["diagnose", str(path), "--neutral", "0.12", "--json"])
    assert result.exit_code == 1, result.output
    (finding,) = json.loads(result.output)["findings"]
    assert set(finding) == {"kind", "step", "evidence", "remedy", "documented"}
    assert (finding["kind"], finding["documented"]) == ("oscillation", True)
    assert finding["step"] == 399  # as the file counts
    assert (
        finding["remedy"].index("2e-5") < finding["remedy"].index("--batch-size 8") < finding["remedy"].index("warmup")
    )


@pytest.mark.parametrize("steps", [(100, 200, 300, 400), (0, 100, 200, 300)])
def test_four_alternating_rows_are_oscillation_only_with_the_option_means(
    tmp_path: Path, steps: tuple[int, ...]
) -> None:
    path = tmp_path / "losses.csv"
    rows = zip(steps, (0.12, 0.15, 0.09, 0.13), strict=True)
    path.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in rows), encoding="utf-8")
    alone = CliRunner().invoke(main, ["diagnose", str(path), "--neutral", "0.12"])
    assert alone.exit_code == 0
    assert "too few steps" in alone.output
    assert alone.output.endswith("read as the loss of one step: if rows are means of N steps, give --means N\n")
    as_means = CliRunner().invoke(main, ["diagnose", str(path), "--neutral", "0.12", "--means", "100"])
    assert as_means.exit_code == 1
    assert (
        f"! oscillation at step {steps[-1]}: successive means of 100 steps go up and down: 0.12, 0.15, 0.09, 0.13"
        in as_means.output
    )
    assert "--lr 2e-5, then --batch-size 8, then a longer --warmup 0.2" in as_means.output


@pytest.mark.parametrize("means_of", [10, 25, 100, 101])
def test_means_of_a_healthy_run_raise_no_alarm(tmp_path: Path, means_of: int) -> None:
    chance = np.random.default_rng(5)
    for _ in range(10):
        level = 0.04 + 0.08 * np.exp(-np.arange(6000) / 1500)
        losses = (level * chance.normal(1, 0.33, 6000)).clip(0)[: 6000 // means_of * means_of]
        path = csv(tmp_path / "losses.csv", list(losses.reshape(-1, means_of).mean(axis=1)))
        assert not diagnose_curve(read_loss_curve(path, 0.12, means_of)).findings


def test_means_keep_their_values(tmp_path: Path) -> None:
    trace = read_loss_curve(csv(tmp_path / "losses.csv", [0.5, 0.25]), 1.0, 7)
    assert np.reshape(trace.ratios, (2, 7)).mean(axis=1) == pytest.approx([0.5, 0.25])


def test_means_is_refused_for_a_runs_own_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(UsageError, match="leave out --means"):
        read_loss_curve(tmp_path, means_of=100)


def test_rows_in_reverse_order_give_the_same_diagnosis(tmp_path: Path) -> None:
    path = csv(tmp_path / "losses.csv", falling())
    head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "back.csv").write_text(head + "".join(reversed(lines)), encoding="utf-8")
    assert diagnose_curve(read_loss_curve(path)) == diagnose_curve(read_loss_curve(tmp_path / "back.csv"))


def test_a_finding_has_the_step_of_its_first_report() -> None:
    ratios = [1 - 0.0005 * step for step in range(1000)] + [loss / 0.12 for loss in oscillating()] * 3
    seen = {finding.kind: finding.step for finding in detect_all(LossCurve(ratios, 100))}
    assert 1300 <= seen["oscillation"] <= 1500


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "step,loss\n", "step,loss\n1,x\n", "step,loss\n1,0\n", "step,loss,neutral\n1,2,inf\n"]
)
def test_a_file_that_is_not_a_loss_curve_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"losses\.csv"):
        read_loss_curve(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_loss_curves_are_read_in_the_encodings_of_windows(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_bytes(
        '#TYPE Verlust\r\n"step","loss"\r\n1,0.5\r\n2,0.25\r\n'.encode(encoding)
    )  # PowerShell's Export-Csv
    assert list(read_loss_curve(path, neutral=0.5).ratios) == [1.0, 0.5]
    path.write_bytes("# größe\nstep,loss\n1,0.5\n".encode("cp1252"))
    with pytest.raises(TrainingError, match="line 1 is not UTF-8 text: save it as UTF-8"):
        read_loss_curve(path)


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diagnose", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "doesn't exist" in result.output


def read_text(path: Path, text: str) -> LossCurve:
    path.write_text(text, encoding="utf-8")
    return read_loss_curve(path, neutral=1.0)


@pytest.mark.parametrize(
    ("rows", "losses", "labels"),
    [
        ("3,.3 1,.1 2,.2", [0.1, 0.2, 0.3], [1, 2, 3]),  # unordered
        ("1,.1 2,.2 2,.3 3,.4", [0.1, 0.2, 0.3, 0.4], [1, 2, 2, 3]),  # two processes that log
        ("0,.1 1,.2 0,.3 1,.4 0,.5", [0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, 1, 2, 2]),  # a counter per epoch
        ("1,.1 2, 2,.3", [0.1, 0.3], [1, 2]),  # a row of another metric
        ("1,.1 2,NaN 3,none 4,inf 5,.5", [0.1, math.nan, math.nan, math.inf, 0.5], [1, 2, 3, 4, 5]),
    ],
)
def test_tables_as_other_loggers_write_them(tmp_path: Path, rows: str, losses: list[float], labels: list[int]) -> None:
    trace = read_text(tmp_path / "losses.csv", "step,loss\n" + rows.replace(" ", "\n"))
    assert list(trace.ratios) == pytest.approx(losses, nan_ok=True)
    assert list(trace.labels) == labels


def test_a_resumed_curve_counts_once(tmp_path: Path) -> None:
    steps = [*range(100), *range(90, 130)]
    rows = "".join(f"{step},{row}\n" for row, step in enumerate(steps))
    trace = read_text(tmp_path / "losses.csv", "step,loss\n" + rows)
    assert list(trace.labels) == list(range(130))
    assert list(trace.ratios[88:92]) == [88, 89, 100, 101]


def test_a_million_rows_are_judged_as_means(tmp_path: Path) -> None:
    losses = np.random.default_rng(0).normal(0.96, 0.3, 1_000_000)
    path = tmp_path / "losses.csv"
    pd.DataFrame({"loss": losses}).to_csv(path, index_label="step")
    trace = read_loss_curve(path, neutral=1.0)
    assert len(trace.ratios) == 20_000
    (finding,) = diagnose_curve(trace).findings
    assert finding.kind == "plateau"
    assert finding.step < 200_000  # the first tenth counts as warm-up


@pytest.mark.parametrize("smoothing", [0.9, 0.98])
def test_smoothed_losses_raise_no_alarm(tmp_path: Path, smoothing: float) -> None:
    for seed in range(10):
        noise = np.random.default_rng(seed).lognormal(0, 0.33, 3000)
        losses = pd.Series(0.1 * 0.6 ** np.linspace(0, 1, 3000) * noise).ewm(alpha=1 - smoothing, adjust=False).mean()
        assert diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", list(losses)))).findings == []


def means(path: Path, values: list[float], apart: int) -> Path:
    rows = "".join(f"{(row + 1) * apart},{value}\n" for row, value in enumerate(values))
    path.write_text("step,loss\n" + rows, encoding="utf-8")
    return path


@pytest.mark.parametrize("apart", [100, 150, 200])
def test_oscillation_of_smooth_rows_is_found_if_they_are_means(tmp_path: Path, apart: int) -> None:
    smooth = list(np.linspace(0.12, 0.115, 20) * np.random.default_rng(2).normal(1, 0.01, 20))
    path = means(tmp_path / "losses.csv", [*smooth, 0.12, 0.15, 0.09, 0.13], apart)
    read = diagnose_curve(read_loss_curve(path, 0.2, apart))
    assert [finding.kind for finding in read.findings] == ["oscillation"]
    assert "--means" not in read.verdict
    means(path, [*smooth, *smooth[::-1]], apart)
    assert not diagnose_curve(read_loss_curve(path, 0.2, apart)).findings


@pytest.mark.parametrize("apart", [10, 50, 100])
def test_losses_logged_every_nth_step_are_not_read_as_means(tmp_path: Path, apart: int) -> None:
    for seed in range(40):
        level = 0.04 + 0.08 * np.exp(-np.arange(0, 6000, apart) / 1500)
        losses = level * np.random.default_rng(seed).lognormal(0, 0.33, len(level))
        trace = read_loss_curve(means(tmp_path / "losses.csv", list(losses), apart))
        assert (len(trace.ratios), detect_all(trace)) == (len(losses), [])


def test_rows_are_single_losses_unless_the_option_means_is_given(tmp_path: Path) -> None:
    losses = list(np.linspace(0.12, 0.09, 30) * np.random.default_rng(9).normal(1, 0.02, 30))
    path = means(tmp_path / "losses.csv", losses, 100)
    assert [len(read_loss_curve(path, means_of=count).ratios) for count in (None, 1, 100)] == [30, 30, 3000]
    assert [bool(read_loss_curve(path, means_of=count).assumption) for count in (None, 1, 100)] == [True, False, False]


@pytest.mark.parametrize("lost", ["nan", "inf"])
def test_a_curve_that_ends_without_finite_losses_is_divergence_alone(tmp_path: Path, lost: str) -> None:
    path = csv(tmp_path / "losses.csv", [*falling(1000), *[float(lost)] * 1500])
    read = diagnose_curve(read_loss_curve(path, 0.12))
    assert [(finding.kind, finding.step) for finding in read.findings] == [("divergence", 1000)]
    assert "every loss from there on is NaN or infinite" in read.findings[0].evidence
    assert "without a finite value among the last 100 losses" in read.verdict
    assert "1,500 losses are NaN or infinite, the first at step 1,000" in read.verdict


def test_a_plateau_that_ends_in_nan_is_divergence_first(tmp_path: Path) -> None:
    stuck = list(0.115 * np.random.default_rng(6).lognormal(0, 0.33, 3000))
    read = diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", [*stuck, *[math.nan] * 30]), 0.12))
    assert [finding.kind for finding in read.findings] == ["divergence", "plateau"]


@pytest.mark.parametrize(("count", "step"), [(1, 1), (3, 1), (60, 1)])
def test_a_table_of_nan_is_divergence(tmp_path: Path, count: int, step: int) -> None:
    rows = "".join(f"{row + 1},nan\n" for row in range(count))
    (finding,) = diagnose_curve(read_text(tmp_path / "losses.csv", "step,loss\n" + rows)).findings
    assert (finding.kind, finding.step) == ("divergence", step)


def test_nonfinite_losses_are_counted_and_ten_in_a_row_are_divergence(tmp_path: Path) -> None:
    few, many = falling(1000), falling(1000)
    few[600] = few[700] = math.nan
    read = diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", few)))
    assert not read.findings
    assert read.verdict.endswith("2 losses are NaN or infinite, the first at step 600")
    many[603:615] = [math.inf] * 12
    (finding,) = diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", many))).findings
    assert (finding.kind, finding.step, finding.evidence) == ("divergence", 603, "12 losses in a row are not finite")


def test_consequences_of_divergence_are_not_reported(tmp_path: Path) -> None:
    """To three times gray in 100 steps, and staying there: no plateau of its own."""
    losses = [*falling(800), *np.geomspace(0.08, 0.36, 100), *[0.36] * 1500]
    noise = np.random.default_rng(7).normal(1, 0.1, len(losses))
    read = diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", list(np.multiply(losses, noise))), 0.12))
    assert [finding.kind for finding in read.findings] == ["divergence"]


@pytest.mark.parametrize("hold", [50, 60, 75, 100, 150, 200])
def test_a_square_wave_is_oscillation_and_nothing_else(tmp_path: Path, hold: int) -> None:
    wave = np.repeat(np.resize([0.12, 0.15, 0.09, 0.13], 3000 // hold), hold)
    noise = np.random.default_rng(8).normal(1, 0.12, len(wave))
    found = diagnose_curve(read_loss_curve(csv(tmp_path / "losses.csv", list(wave * noise)), 0.2)).findings
    assert [finding.kind for finding in found] == ["oscillation"]
    if hold < 100:
        return  # a mean of 10 steps may be 10 % off: shorter waves can't be distinguished from noise
    as_means = means(tmp_path / "means.csv", [float(part.mean()) for part in wave.reshape(-1, 10)], 10)
    found = diagnose_curve(read_loss_curve(as_means, 0.2, 10)).findings
    assert [finding.kind for finding in found] == ["oscillation"]


def test_a_finished_run_with_brown_predictions_has_sepia_output(tmp_path: Path) -> None:
    def diagnose_at(step: int) -> list[str]:
        start: dict[str, Any] = {"event": "start", "neutral_loss": 0.1, "mean_color_loss": 0.088, "total_steps": 500}
        start["recipe"] = {"batch_size": 16, "warmup": 0.1, "lr": 5e-5}
        steps = [
            {"event": "step", "step": number, "loss": 0.1 - 4e-5 * number, "neutral": 0.1} for number in range(1, 501)
        ]
        spread = {"hue": BROWN, "original_hue": {**BROWN, "entropy_bits": 4.6, "warm": 0.6}}
        validation = {"event": "validation", "step": step, "ratio": 0.71, "colorfulness_share": 0.6, "photos": 133}
        events = [start, *steps, validation | spread | {"tones": {"color": 64}, "loss": 0.07}]
        (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
        return [finding.kind for finding in diagnose_curve(read_loss_curve(tmp_path)).findings]

    assert diagnose_at(500) == ["sepia output"]
    assert diagnose_at(450) == []
