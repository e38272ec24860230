"""Text fits the width of the terminal; errors and warnings are one line where there is no terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curate.cli import common
from curate.cli.common import echo_data, echo_lines, echo_message, output_width

LINE = "step 1: " + "many words of a long message that a terminal would break anywhere " * 3


@pytest.fixture(autouse=True)
def real_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the fixture of all tests that makes lines wide."""
    monkeypatch.setattr(common, "output_width", output_width)


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("132", 132), ("10", 40), ("0", 80)])
def test_the_width_is_that_of_the_terminal_or_80(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "__stdout__", None)  # no terminal, whoever runs the tests
    assert output_width() == width


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_text_is_wrapped_and_data_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    echo_lines([LINE])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) > 1
    assert " ".join(line.strip() for line in lines) == LINE.strip()
    assert all(line.startswith("  ") for line in lines[1:])
    echo_data([LINE])
    assert capsys.readouterr().out == LINE + "\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_messages_are_wrapped_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    echo_message(LINE)
    assert (len(capsys.readouterr().err.splitlines()) > 1) == terminal


def test_a_path_stays_beside_its_label_and_long_words_stay_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = tmp_path / ("a" * 60) / "clean.parquet"
    echo_lines([f"written: {path} and something else"])
    assert capsys.readouterr().out == f"written: {path}\n  and something else\n"
