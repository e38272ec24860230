"""The training of the kind network runs on tiny inputs and prints its table."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_training_prints_a_table_and_writes_a_network(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for number in range(16):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        path = tmp_path / "clones" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        small.resize((160, 120), Image.Resampling.NEAREST if number % 2 else Image.Resampling.BICUBIC).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((f"owner/{number // 2}", path.name, digest, "graphic" if number % 2 else "photo"))
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("repository", "path", "sha256", "label"), *rows])
    script = ROOT / "benchmarks" / "kind" / "train_network.py"
    options = ["--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path), "--epochs", "0.1", "--synthetic", "4"]
    done = subprocess.run(
        [sys.executable, script, tmp_path / "clones", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of the photos lost" in done.stdout
    assert (tmp_path / "network.onnx").stat().st_size < 8e6
    assert (tmp_path / "weights.txt").read_text(encoding="utf-8").startswith("BIAS = ")
