"""Tests of the Ray engine. They run in a separate process, because a process that has used Ray should not be forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).with_name("ray_cluster.py")


def test_the_tests_on_a_ray_cluster_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_without_ray_the_error_says_how_to_install_it(photos: Path, tmp_path: Path) -> None:
    arguments = ["scan", str(photos), "-o", str(tmp_path / "m.parquet"), "--engine", "ray"]
    program = f"import sys; sys.modules['ray'] = None; from curate.cli import main; main({arguments})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: the ray engine needs Ray on every node: pip install 'vividset[ray]', "
        "or pip install '.[ray]' in a clone of vividset\n"
    )
