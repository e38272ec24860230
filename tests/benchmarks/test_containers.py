"""The benchmark of containers runs on a few members, and finds as many as the containers' own libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONTAINERS = Path(__file__).parents[2] / "benchmarks" / "containers.py"


def test_listing_is_compared_with_the_library() -> None:
    options = ["--containers", "2", "--members", "3", "--rounds", "1", "--kinds", "zip", "tar.gz"]
    done = subprocess.run([sys.executable, str(CONTAINERS), *options], check=True, capture_output=True, text=True)
    _, _, *rows = done.stdout.splitlines()
    assert [row.split("|")[1:4] for row in rows] == [[f" {kind} ", " 2 ", " 3 "] for kind in ("zip", "tar.gz")]
