"""Unusual arguments and file names: clear messages, and no control characters in the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from curate.cli import main as curate
from train.cli import main as train


def typed(program: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


@pytest.fixture
def photo_with_control_characters(tmp_path: Path) -> Path:
    path = tmp_path / "new\nline\x1b[31m.png"
    colours = np.array([[(200, 30, 30), (30, 160, 40)], [(40, 60, 200), (220, 200, 40)]], np.uint8)
    Image.fromarray(colours.repeat(16, axis=0).repeat(16, axis=1)).save(path)
    return path


def test_control_characters_in_names_are_escaped(photo_with_control_characters: Path) -> None:
    shown = typed(curate, "explain", photo_with_control_characters, "--keep-kind", "graphic").output
    assert shown.splitlines()[0].endswith(r"new\x0aline\x1b[31m.png: kept")
    assert "\x1b" not in shown
    missing = typed(curate, "explain", f"{photo_with_control_characters}.gone").stderr
    assert missing.count("\n") == 1
    assert "\x1b" not in missing


@pytest.mark.parametrize("command", [["scan"], ["explain"], ["scan", "photos", "-o"]])
def test_an_empty_path_is_not_the_current_folder(command: list[str]) -> None:
    result = typed(curate, *command, "")
    assert result.exit_code == 2
    assert "is a shell variable not set?" in result.stderr


def test_explain_checks_all_paths_before_it_measures(photo_with_control_characters: Path, tmp_path: Path) -> None:
    result = typed(curate, "explain", photo_with_control_characters, tmp_path)
    assert result.exit_code == 1
    assert not result.stdout


def test_a_folder_as_output_of_filter_is_refused(photo_with_control_characters: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.parquet"
    made = typed(curate, "scan", photo_with_control_characters.parent, "-o", scan, "--workers", "1")
    assert made.exit_code == 0, made.output
    (tmp_path / "out").mkdir()
    result = typed(curate, "filter", scan, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'out'} is a folder" in result.stderr
    assert not (tmp_path / "rejected.parquet").exists()


def test_a_url_scheme_without_its_package_names_the_package() -> None:
    program = "import sys; sys.modules['gcsfs'] = None; from curate.cli import main; main(['scan', 'gs://bucket/x'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install gcsfs" in done.stderr


@pytest.mark.parametrize("program", [curate, train])
def test_the_list_of_commands_is_not_truncated(program: click.Command) -> None:
    listed = CliRunner(env={"COLUMNS": "80"}).invoke(program, ["--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed
