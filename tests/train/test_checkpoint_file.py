"""Commands refuse a wrong checkpoint or manifest before they import torch; `ready` names the package's weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import train
from curate.errors import CheckpointError
from train import checkpoint_file
from train.cli import main

COMMANDS = (
    ("evaluate", "NONE", "FILE"),
    ("evaluate", "FILE", "FILE"),
    ("inspect", "NONE"),
    ("export", "NONE", "-o", "x.onnx"),
    ("colorize", "NONE", "FILE", "-o", "out"),
    ("fit", "NONE"),
    ("fit", "FILE", "--root", "NONE"),
)
PROGRAM = f"""
import contextlib, io, sys
from train.cli import main
for words in {COMMANDS!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([{{"NONE": "runs/nothing", "FILE": "text.txt"}}.get(word, word) for word in words])
    print("torch" in sys.modules, said.getvalue().strip())
"""


def test_a_wrong_checkpoint_or_manifest_is_refused_without_importing_torch(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a diary")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(done) == len(COMMANDS)
    for words, line in zip(COMMANDS, done, strict=True):
        assert line.startswith("False Error: "), words
        assert "runs/nothing" in line or "text.txt" in line, words


@pytest.fixture
def ready_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this build's ready weights are; there are none yet."""
    path = tmp_path / "package" / "ready.safetensors"
    path.parent.mkdir()
    monkeypatch.setattr(checkpoint_file, "READY_FILE", path)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.usefixtures("ready_file")
def test_a_build_without_ready_weights_says_so_in_one_line(tmp_path: Path) -> None:
    for words in (["inspect", "ready"], ["colorize", "ready", "a.jpg", "-o", "out"], ["fit", "x", "--init", "ready"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert result.stderr == (
            "Error: this build of vividset has no ready weights: train your own with `train fit`, and give its folder\n"
        )
    (tmp_path / "ready").mkdir()
    for call in (train.load_checkpoint, train.Colorizer.load):
        with pytest.raises(CheckpointError, match=r"; \./ready means the file or folder of that name here$"):
            call("ready")
    assert "ready/best.safetensors doesn't exist" in CliRunner().invoke(main, ["inspect", "./ready"]).stderr


def test_ready_is_the_packages_file_and_a_path_of_that_name_is_a_path(
    ready_file: Path, checkpoint_file: Callable[..., Path]
) -> None:
    own = checkpoint_file()
    ready_file.write_bytes(own.read_bytes())
    assert train.load_checkpoint("ready").path == ready_file
    assert train.Colorizer.load("ready", device="cpu").path == ready_file
    result = CliRunner().invoke(main, ["inspect", "ready"])
    assert result.stdout.startswith(f"{ready_file}: ")
    assert not result.stderr
    ready_file.with_name("MODEL_CARD.md").write_text("# Ready weights")
    assert (
        f"model card {ready_file.with_name('MODEL_CARD.md')}" in CliRunner().invoke(main, ["inspect", "ready"]).stdout
    )
    own.rename("ready")
    assert train.load_checkpoint(Path("ready")).path == Path("ready")
    assert CliRunner().invoke(main, ["inspect", "./ready"]).stdout.startswith("ready: ")
    assert "write ./ready for the one in this folder" in CliRunner().invoke(main, ["inspect", "ready"]).stderr
    assert "nowhere/ready doesn't exist" in CliRunner().invoke(main, ["inspect", "nowhere/ready"]).stderr
