"""Benchmarks run tiny, so that they can't rot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def printed(name: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_feeding_is_compared_with_others(tmp_path: Path) -> None:
    for number in range(8):
        colors = np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(colors).resize((90, 72)).save(tmp_path / f"{number}.jpg", quality=95)
    said = printed("feed.py", str(tmp_path), "--size", "64", "--rounds", "1")
    assert re.search(r"8 JPEGs, 64 px crops .* ratio \d+\.\d\d .*CIEDE2000 .* mean \d", said)
    rates = re.findall(r"^ *([\d,]+) photos a CPU second   (\w+)", said, re.MULTILINE)
    assert {who for _, who in rates} == {"raw", "JPEG", "WebDataset", "ImageFolder"}
    assert all(float(rate.replace(",", "")) > 0 for rate, _ in rates)
