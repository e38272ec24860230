"""`make` on machines that lack something, and after it was interrupted: it says what to install and goes on later."""

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


def stand_in(checkout: Path, body: str) -> Path:
    """A python3 that runs some lines before each command that it is given."""
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
def test_a_python_that_does_not_do_is_named_and_leaves_nothing(checkout: Path, body: str, line: str) -> None:
    done = make(checkout, stand_in(checkout, body))
    assert done.returncode == 2
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_without_python_the_package_is_named(checkout: Path) -> None:
    done = make(checkout, "no-such-python")
    assert "no-such-python not found: apt install python3, or name another one: make PYTHON=..." in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_named(checkout: Path) -> None:
    checkout.chmod(0o500)
    done = make(checkout)
    checkout.chmod(0o700)
    assert f"no permission to write to {checkout}" in done.stderr


def test_an_interrupted_environment_gets_pip_and_loses_unfinished_packages(checkout: Path) -> None:
    venv.create(checkout / ".venv", with_pip=False, symlinks=True)
    packages = next((checkout / ".venv").glob("lib/python*/site-packages"))
    unfinished = packages / "torch-2.13.0.dist-info"
    unfinished.mkdir()
    (unfinished / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
    done = make(checkout)
    subprocess.run([checkout / ".venv/bin/python", "-m", "pip", "--version"], check=True)
    assert "No module named pip" not in done.stderr
    assert "torch" in done.stderr  # by pip, which finds no package here: the unfinished one does not count
    assert not unfinished.exists()
