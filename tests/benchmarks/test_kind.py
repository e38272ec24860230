"""The training of what decides about kinds runs on tiny inputs and prints its tables."""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curate.measures.kind.network import SIDES_PX
from curate.measures.onnx import load_network

FOLDER = Path(__file__).parents[2] / "benchmarks" / "kind"


def test_training_prints_the_share_that_is_kept_and_writes_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import train_kind  # in this process: torch is imported already

    write_pictures(tmp_path, monkeypatch)
    monkeypatch.setattr(train_kind, "STEP_PICTURES", 6)
    monkeypatch.setitem(train_kind.SETTINGS, "large", replace(train_kind.SETTINGS["large"], epochs=1))
    monkeypatch.setitem(SIDES_PX, "large", 32)
    made = tmp_path / "large.onnx"
    monkeypatch.setattr(sys, "argv", ["train_kind.py", "large", str(tmp_path / "clones"), "--out", str(made)])
    train_kind.main()
    printed = capsys.readouterr().out
    assert "0 of the labeled pictures are missing" in printed
    assert "repositories of labels.csv: 2 photos and 2 graphics" in printed
    assert "kept at 1.0% lost" in printed
    network = load_network(made.read_bytes())
    network.setInput(np.zeros((2, 3, 32, 32), np.float32))
    assert network.forward().shape == (2, 1)


def test_the_weights_of_two_networks_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import train_kind

    first, second = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    expected = 0.6 * first.weight + 0.4 * second.weight
    train_kind.average_weights(first, second, 0.6)
    assert torch.allclose(first.weight, expected)


def test_a_network_in_a_file_with_small_weights_returns_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import train_kind
    from lite_network import export

    torch.manual_seed(0)
    network = train_kind.KindNetwork(4)
    network.mean[:], network.deviation[:] = torch.rand_like(network.mean), 1 + torch.rand_like(network.deviation)
    pictures = np.random.default_rng(0).normal(0, 0.5, (4, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(pictures)).numpy()
    exact, small = (export(network, 64, small_weights=small) for small in (False, True))
    assert len(small) < 0.5 * len(exact)
    for file, tolerance in ((exact, 1e-4), (small, 0.05)):
        loaded = load_network(file)
        loaded.setInput(pictures)
        assert np.abs(loaded.forward() - expected).max() < tolerance * max(1, np.abs(expected).max())


def test_the_table_of_ranges_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import calibrate

    write_pictures(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["calibrate.py", str(tmp_path / "clones")])
    calibrate.main()
    printed = capsys.readouterr().out
    assert "6 pictures; range" in printed
    assert "folders, large: 0 of 0 photos lost" in printed
    assert "| 100% |" in printed


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
    monkeypatch.setattr(pictures, "PROCESSES", 1)


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
