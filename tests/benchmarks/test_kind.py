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
    from pretrained import PooledFeatures

    write_pictures(tmp_path, monkeypatch)
    monkeypatch.setattr(fine_tune, "STEP_PICTURES", 6)
    made = tmp_path / "made"
    options = ["--side", "32", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", str(tmp_path / "clones"), str(made), *options])
    fine_tune.main()
    printed = capsys.readouterr().out
    assert "repositories of labels.csv: 2 photos and 2 graphics that the other rules keep" in printed
    assert "kept at 1.0% lost" in printed
    tuned, averaged = (torch.load(made / f"{name}.pt") for name in ("fine_tuned", "averaged"))
    original = PooledFeatures().state_dict()
    last, frozen = (f"lite.blocks.{block}._project_conv.weight" for block in (15, 2))
    assert torch.equal(tuned[f"features.{frozen}"], original[frozen])
    assert not torch.equal(tuned[f"features.{last}"], original[last])
    assert torch.allclose(
        averaged[f"features.{last}"], 0.6 * tuned[f"features.{last}"] + 0.4 * original[last], atol=1e-6
    )


def test_captions_and_their_bands_cover_more_than_the_definition_of_a_photo_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import synthetic

    gray = np.full((240, 320, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(40):
        captioned = synthetic.make_captioned([gray], rng)
        ground = np.median(captioned, axis=(0, 1))  # the photo, tinted or not, unless a band fills half of it
        assert (np.abs(captioned - ground).max(axis=2) >= 20).mean() > 0.05


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
