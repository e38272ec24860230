"""`train diagnose`: a verdict on a finished run, or on somebody else's loss curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from curate.errors import TrainingError
from train.cli import main
from train.diagnose import diagnose, read_trace
from train.health import Trace, history


def csv(path: Path, losses: list[float]) -> Path:
    path.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in enumerate(losses)), encoding="utf-8")
    return path


def falling(steps: int = 3000) -> list[float]:
    noise = np.random.default_rng(3).normal(1, 0.2, steps)
    return list((0.04 + 0.08 * np.exp(-np.arange(steps) / 900)) * noise)


def bouncing() -> list[float]:
    """The documents' own bad trace, as means of 100 steps."""
    noise = np.random.default_rng(4).normal(0, 0.01, 400)
    return list(np.repeat([0.12, 0.15, 0.09, 0.13], 100) + noise)


def test_a_falling_curve_is_healthy(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diagnose", str(csv(tmp_path / "losses.csv", falling()))])
    assert result.exit_code == 0, result.output
    assert "no trouble seen" in result.output


def test_the_documents_bad_trace_is_named_with_its_remedies(tmp_path: Path) -> None:
    path = csv(tmp_path / "losses.csv", bouncing())
    result = CliRunner().invoke(main, ["diagnose", str(path), "--neutral", "0.12", "--json"])
    assert result.exit_code == 1, result.output
    (finding,) = json.loads(result.output)["findings"]
    assert set(finding) == {"kind", "step", "evidence", "remedy"}
    assert finding["kind"] == "oscillation"
    assert finding["step"] == 400
    assert (
        finding["remedy"].index("2e-5") < finding["remedy"].index("--batch-size 8") < finding["remedy"].index("warmup")
    )


def test_steps_are_judged_in_their_order_whatever_the_files(tmp_path: Path) -> None:
    path = csv(tmp_path / "losses.csv", falling())
    head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "back.csv").write_text(head + "".join(reversed(lines)), encoding="utf-8")
    assert diagnose(read_trace(path)) == diagnose(read_trace(tmp_path / "back.csv"))


def test_a_finding_is_dated_to_where_it_was_first_seen() -> None:
    ratios = [1 - 0.0005 * step for step in range(1000)] + [loss / 0.12 for loss in bouncing()] * 3
    seen = {finding.kind: finding.step for finding in history(Trace(ratios, 100))}
    assert 1300 <= seen["oscillation"] <= 1500


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,loss\n", "step,loss\n1,x\n", "step,loss\n1,0\n"])
def test_what_is_no_curve_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"losses\.csv"):
        read_trace(path)


def test_a_missing_run_is_said_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diagnose", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "doesn't exist" in result.output
