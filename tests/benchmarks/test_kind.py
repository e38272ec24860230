"""The training of what decides about kinds runs on tiny inputs and prints its tables."""

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


def test_training_prints_tables_and_writes_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import train_kind  # in this process: torch is imported already

    write_pictures(tmp_path, monkeypatch)
    monkeypatch.setattr(train_kind, "EPOCHS", 1)
    monkeypatch.setattr(train_kind, "SYNTHETIC", dict.fromkeys(train_kind.SYNTHETIC, 2))
    monkeypatch.setattr(sys, "argv", ["train_kind.py", str(tmp_path / "clones"), "--out", str(tmp_path)])
    threads = torch.get_num_threads()
    try:
        train_kind.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "0 of the labeled pictures are missing" in printed
    assert "| 96 px | from | 224 px |" in printed
    assert "sources of weak.csv: 0 photos and 2 graphics" in printed
    with np.load(tmp_path / "kind_heads.npz") as arrays:
        assert arrays["kind_hidden"].shape == (1024, train_kind.SEEDS * train_kind.HIDDEN)
    assert (tmp_path / "weights.txt").read_text(encoding="utf-8").startswith("BIAS = ")


def test_fine_tuning_prints_the_share_that_is_kept_and_writes_two_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import fine_tune

    write_pictures(tmp_path, monkeypatch)
    monkeypatch.setattr(fine_tune, "EPOCHS", 1)
    monkeypatch.setattr(fine_tune, "STEP_PICTURES", 6)
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", str(tmp_path / "clones"), str(tmp_path), "--side", "32"])
    fine_tune.main()
    assert "fine-tuned: sources of weak.csv: 0 photos and 2 graphics" in capsys.readouterr().out
    tuned, averaged = (torch.load(tmp_path / f"{name}.pt") for name in ("fine_tuned", "averaged"))
    name = "features.lite.blocks.15._project_conv.weight"
    assert torch.isfinite(tuned[name]).all()
    assert not torch.equal(tuned[name], averaged[name])
    frozen = "features.lite.blocks.2._project_conv.weight"
    assert torch.equal(tuned[frozen], averaged[frozen])


def test_captions_cover_more_than_the_definition_of_a_photo_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import synthetic

    gray = np.full((240, 320, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(40):
        drawn = np.abs(synthetic.make_captioned([gray], rng).astype(int) - 128).max(axis=2) >= 20
        assert drawn.mean() > 0.05


def write_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos and graphics in eight repositories, and the lists that name them."""
    import pictures

    rng, rows = np.random.default_rng(0), []
    for number in range(16):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        path = folder / "clones" / f"owner/{number // 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((160, 120), Image.Resampling.NEAREST if number % 2 else Image.Resampling.BICUBIC).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append((f"owner/{number // 2}", path.name, digest, "graphic" if number % 2 else "photo"))
    weak = ("drawings", "owner/0", "png$", "graphic", "drawing", "2", "test")
    write_csv(folder / "labels.csv", [("repository", "path", "sha256", "label"), *rows])
    write_csv(folder / "weak.csv", [("source", "repository", "rule", "label", "class", "most", "use"), weak])
    monkeypatch.setattr(pictures, "HERE", folder)
    monkeypatch.setattr(pictures, "PHOTO_LISTS", [])
    monkeypatch.setattr(pictures, "MIN_BYTES", 0)


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
