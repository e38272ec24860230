"""`make` reports in one line what is missing on a machine, and continues after an interrupted installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what `make` reads to install, and no environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(checkout: Path, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", ".venv/installed", f"PYTHON={python}"],
        cwd=checkout,
        env=os.environ | NO_PACKAGES,
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(checkout: Path, body: str) -> Path:
    """Make a python3 that runs `body` before each command."""
    path = checkout / "python3"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "$(printf "{body}\\n%s" "$2")"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("import sys; sys.version_info = (3, 9)", "vividset needs Python 3.11 or newer: make PYTHON=python3.11 ..."),
        (
            "import sys; sys.modules['ensurepip'] = None",
            "cannot make virtual environments: apt install python3-venv, then run make again",
        ),
    ],
)
def test_an_unsuitable_python_is_reported_and_no_environment_is_made(checkout: Path, body: str, line: str) -> None:
    result = make(checkout, fake_python(checkout, body))
    assert result.returncode == 2
    assert line in result.stderr
    assert "Traceback" not in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_missing_python_is_reported_with_the_package_to_install(checkout: Path) -> None:
    result = make(checkout, "no-such-python")
    assert "no-such-python not found: apt install python3, or name another one: make PYTHON=..." in result.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_reported(checkout: Path) -> None:
    checkout.chmod(0o500)
    result = make(checkout)
    checkout.chmod(0o700)
    assert f"no permission to write to {checkout}" in result.stderr


def test_an_interrupted_environment_gets_pip_and_loses_unfinished_packages(checkout: Path) -> None:
    venv.create(checkout / ".venv", with_pip=False, symlinks=True)
    packages = next((checkout / ".venv").glob("lib/python*/site-packages"))
    unfinished = packages / "torch-2.13.0.dist-info"
    unfinished.mkdir()
    (unfinished / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
    result = make(checkout)
    subprocess.run([checkout / ".venv/bin/python", "-m", "pip", "--version"], check=True)
    assert "No module named pip" not in result.stderr
    assert "torch" in result.stderr  # by pip, which finds no package here: the unfinished one does not count
    assert not unfinished.exists()
