"""Commands refuse a wrong checkpoint or manifest before they import torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
