"""The commands run vividset's own `curate` and `train`, whatever else has these names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import vividset

ROOT = Path(__file__).parent.parent
STRANGER = "raise SystemExit('stranger')\n"
CONSOLE_SCRIPT = "import sys; sys.path[0] = 'bin'; import vividset; vividset.{}()"
"""What the installed commands do."""


def run(folder: Path, *words: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_python_dash_m_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    for module in ("random", "logging", "numpy", "curate", "click", "json"):
        (tmp_path / f"{module}.py").write_text(STRANGER)
    done = run(tmp_path, "-m", "train", "diagnose", "none")
    assert done.stderr.startswith("Error: none doesn't exist"), done.stderr


@pytest.mark.parametrize("command", ["curate", "train"])
def test_the_installed_commands_import_nothing_from_the_current_folder(tmp_path: Path, command: str) -> None:
    for module in ("random", "types", "curate", "train", "numpy"):
        (tmp_path / f"{module}.py").write_text(STRANGER)
    done = run(tmp_path, "-c", CONSOLE_SCRIPT.format(command), "inspect", "none")
    assert done.stderr.startswith("Error: none"), done.stderr


def test_no_process_of_a_command_imports_from_the_current_folder(tmp_path: Path) -> None:
    for module in ("select", "signal", "types"):
        (tmp_path / f"{module}.py").write_text(STRANGER)
    Image.linear_gradient("L").save(tmp_path / "a.png")
    words = ["scan", "a.png", "--engine", "processes", "--workers", "1", "-o", "s.parquet"]
    code = CONSOLE_SCRIPT.format("curate").replace("sys; ", f"sys; sys.argv = {['curate', *words]}; ")
    done = run(tmp_path, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_package_curate_is_named_by_python_dash_m_train(tmp_path: Path) -> None:
    (tmp_path / "site" / "curate").mkdir(parents=True)
    (tmp_path / "site" / "curate" / "__init__.py").write_text(STRANGER)
    done = run(tmp_path, "-m", "train", "recipe", path=Path(f"{tmp_path / 'site'}{os.pathsep}{ROOT}"))
    assert done.stderr.count("\n") == 1
    assert "is not vividset's package `curate`" in done.stderr


def test_another_package_that_comes_first_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "site" / "train").mkdir(parents=True)
    (tmp_path / "site" / "train" / "__init__.py").write_text(STRANGER)
    site = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"
    done = run(tmp_path, "-c", CONSOLE_SCRIPT.format("train"), "recipe", path=Path(site))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path / 'site' / 'train' / '__init__.py'} is not vividset's package `train`" in done.stderr


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like site-packages, with vividset's packages and the records of two distributions."""
    for name in ("curate", "train"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
    for owner in ("vividset", "curate-other"):
        record = tmp_path / f"{owner.replace('-', '_')}-1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.0\n")
        (record / "top_level.txt").write_text("curate\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(vividset, "HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_own_packages_are_accepted() -> None:
    assert [vividset.find_foreign_package(name) for name in ("curate", "train")] == ["", ""]


def make_file(folder: Path) -> None:
    (folder / "curate" / "__init__.py").write_text(STRANGER)


def remove_file(folder: Path) -> None:
    (folder / "curate" / "__init__.py").unlink()


def remove_package(folder: Path) -> None:
    shutil.rmtree(folder / "curate")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (make_file, "was overwritten (it belongs to the distribution curate-other): install vividset into"),
        (remove_file, "is not vividset's package `curate`"),  # the other one was uninstalled
        (remove_package, "is missing beside"),
    ],
)
def test_overwritten_and_removed_packages_are_named(installed: Path, change: Callable[[Path], None], said: str) -> None:
    change(installed)
    assert said in vividset.find_foreign_package("curate")
    assert vividset.find_foreign_package("train") == ""


def test_a_module_hidden_by_pythonpath_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "textwrap.py").touch()
    done = run(tmp_path, "-c", CONSOLE_SCRIPT.format("train"), "recipe", path=Path(f"{tmp_path}{os.pathsep}{ROOT}"))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {tmp_path / 'textwrap.py'} hides the Python module `textwrap`, which vividset needs: rename it, or "
        "remove its folder from PYTHONPATH\n"
    )


def test_the_script_folder_is_left_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/folder", "/other", vividset.HOME])
    monkeypatch.setattr(os, "environ", {})
    vividset.leave_script_folder()
    assert sys.path == ["/other", vividset.HOME]
    assert os.environ == {"PYTHONSAFEPATH": "1"}  # for the processes that the command starts
    monkeypatch.setattr(sys, "path", [vividset.HOME, "/other"])
    vividset.leave_script_folder()
    assert sys.path == [vividset.HOME, "/other"]  # a clone, from which `python -m` runs


def test_the_dependencies_are_those_of_the_project() -> None:
    names = {"pillow": "PIL", "opencv-python-headless": "cv2"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [re.split(r"[<>=]", text)[0] for text in project["dependencies"]]
    assert {names.get(name, name.replace("-", "_")) for name in required} == vividset.DEPENDENCIES
