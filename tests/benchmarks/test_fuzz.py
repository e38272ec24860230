"""The benchmark of damaged containers runs on a few of each kind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def test_damaged_containers_give_measures_or_errors(tmp_path: Path) -> None:
    command = [sys.executable, str(FUZZ), "--containers", "--mutants", "12"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    lines = re.findall(r"^(x\.\S+) +12: (.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in lines] == ["x.zip", "x.tar", "x.tar.gz", "x.tar.zst"]
    assert all("measured" in outcomes and "Broken" in outcomes for _, outcomes in lines)
    assert not list(tmp_path.iterdir())
