"""Tests on a Ray cluster, in a process of their own: a process that has used Ray should not be forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).with_name("ray_cluster.py")


def test_on_a_cluster() -> None:
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_missing_ray_says_how_to_install_it(photos: Path, tmp_path: Path) -> None:
    arguments = ["scan", str(photos), "-o", str(tmp_path / "m.parquet"), "--engine", "ray"]
    program = f"import sys; sys.modules['ray'] = None; from curate.cli import main; main({arguments})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: the ray engine needs Ray: pip install 'vividset[ray]' on every node\n"
