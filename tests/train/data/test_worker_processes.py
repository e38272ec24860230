"""Worker processes ignore SIGTERM, and must still end when the trainer is ended or killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE_S = 40


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_worker_outlives_a_trainer_that_is_ended(
    clean_manifest: Callable[..., Path], tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    """`communicate` returns only when no worker holds the other end of the pipe any more."""
    options = "--image-size 64 --channels 8 --batch-size 4 --max-steps 100000 --workers 3 --device cpu"
    log = tmp_path / "run" / "log.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "train", "fit", str(clean_manifest()), "--run-dir", str(log.parent), *options.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as trainer:
        until = time.monotonic() + PATIENCE_S
        while not (log.exists() and '"step"' in log.read_text(encoding="utf-8")):
            assert trainer.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.5)
        trainer.send_signal(number)
        said, _ = trainer.communicate(timeout=PATIENCE_S)
    assert trainer.returncode == exit_code
    assert "Warning" not in said
    assert "Traceback" not in said
