"""The training of the kind network runs on tiny inputs and prints its tables."""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks" / "kind"


@pytest.mark.filterwarnings("ignore:Constant folding:UserWarning", "ignore::DeprecationWarning")
def test_training_prints_tables_and_writes_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    monkeypatch.syspath_prepend(FOLDER)
    import train_network  # type: ignore[import-not-found]  # in this process: torch is imported already

    monkeypatch.setattr(train_network, "STEP_PICTURES", 4)
    options = ["--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path), "--epochs", "0.1", "--synthetic", "4"]
    monkeypatch.setattr(sys, "argv", ["train_network.py", str(tmp_path / "clones"), *options])
    threads = torch.get_num_threads()
    try:
        train_network.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "of the photos lost" in printed
    assert "| asked from |" in printed
    assert (tmp_path / "network.onnx").stat().st_size < 8e6
    assert (tmp_path / "weights.txt").read_text(encoding="utf-8").startswith("BIAS = ")
