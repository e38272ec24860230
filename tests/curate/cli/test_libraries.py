"""A required library that can't be imported is a one-line error, in every command and in worker processes too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from train.checkpoint_file import METADATA_KEY

ROOT = Path(__file__).parents[3]
LIBXCB = "libxcb.so.1: cannot open shared object file: No such file or directory"
CV2 = (
    f"Error: cv2 (opencv-python) can't be imported: {LIBXCB}: the system library libxcb.so.1 is missing: install it "
    "with the system's package manager, or install opencv-python-headless in place of opencv-python, which needs it\n"
)
DAMAGED = "Error: {0} can't be imported: it is damaged: reinstall it: pip install --force-reinstall {0}\n"


def run(command: str, broken: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the modules in `broken` first on the import path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(broken), str(ROOT)])}
    words = [sys.executable, "-P", "-m", *command.split()]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)


def write_header(folder: Path) -> Path:
    """A checkpoint that is refused only after torch was imported."""
    path = folder / "checkpoint.safetensors"
    save_file({}, path, {METADATA_KEY: "{}"})
    return path


@pytest.mark.parametrize(
    "command",
    [
        "curate scan PHOTOS -o OUT",
        "curate scan PHOTOS -o OUT --engine serial",
        "curate pack SCAN -o OUT",
        "curate report SCAN -o OUT",
        "curate explain PHOTOS/a-vivid.png",
        "train fit SCAN --run-dir OUT",
        "train evaluate CHECKPOINT SCAN",
    ],
)
def test_a_missing_system_library_is_a_one_line_error(
    command: str, photos: Path, scanned: tuple[Path, object], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cv2.py").write_text(f"raise ImportError({LIBXCB!r})", encoding="utf-8")
    for word, place in {
        "CHECKPOINT": write_header(tmp_path),
        "PHOTOS": photos,
        "OUT": tmp_path / "out.parquet",
        "SCAN": scanned[0],
    }.items():
        command = command.replace(word, str(place))
    done = run(command, broken)
    assert (done.returncode, done.stderr) == (1, CV2)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("module", ["torch", "pyarrow", "numpy", "simplejpeg"])
def test_a_damaged_package_is_a_one_line_error(module: str, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / module).mkdir(parents=True)
    (broken / module / "__init__.py").write_text("raise ImportError('it is damaged')", encoding="utf-8")
    out = tmp_path / "out"
    torch, other = f"train colorize {write_header(tmp_path)} {photos} -o {out}", f"curate scan {photos} -o {out}"
    done = run(torch if module == "torch" else other, broken)
    assert (done.returncode, done.stderr) == (1, DAMAGED.format(module))


def test_a_missing_shared_library_of_torch_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file: No')", "utf-8")
    done = run(f"train colorize {write_header(tmp_path)} {photos} -o {tmp_path / 'y'}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: torch can't be imported: libcudart.so.12: cannot open shared object file: No")


def test_a_package_that_is_not_installed_is_named(photos: Path, tmp_path: Path) -> None:
    program = "import sys; sys.modules['pebble'] = None; from curate.cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", program, "scan", str(photos), "-o", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: pebble can't be imported: ")
    assert done.stderr.endswith(": reinstall it: pip install --force-reinstall pebble\n")


def test_an_import_error_in_vividset_itself_keeps_its_traceback() -> None:
    program = (
        "import sys, types; sys.modules['curate.explain'] = types.ModuleType('curate.explain')\n"
        "from curate.cli import main; main(['explain', 'x.jpg'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ImportError: cannot import name" in done.stderr
