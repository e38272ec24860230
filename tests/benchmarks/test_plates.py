"""The benchmark on triple plates: splitting and aligning negatives, and judging a checkpoint on them."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.models.unet import ColorUNet
from train.recipe import Recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_script(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: Path) -> None:
    """Run a benchmark's script in this process, which has imported torch already."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(BENCHMARKS / name), run_name="__main__")


def drawn_scene() -> NDArray[np.uint8]:
    """A colorful picture of (300, 360) px with edges in all directions."""
    rng = np.random.default_rng(0)
    scene = np.full((300, 360, 3), 90, np.uint8)
    for _ in range(60):
        center = int(rng.integers(360)), int(rng.integers(300))
        color = rng.integers(0, 256, 3).tolist()
        cv2.circle(scene, center, int(rng.integers(8, 40)), color, -1)
    return scene


def test_negatives_are_split_and_aligned_and_a_checkpoint_is_judged_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    negatives, plates = tmp_path / "negatives", tmp_path / "plates"
    negatives.mkdir()
    red, green, blue = np.moveaxis(drawn_scene(), 2, 0)
    shifted = [np.roll(blue, (3, -4), (0, 1)), green, np.roll(red, (-2, 5), (0, 1))]
    Image.fromarray(np.vstack(shifted)).save(negatives / "scene.png")
    run_script(monkeypatch, "split_plates.py", negatives, plates)
    assert "scene.png: blue (4, -3), red (-5, 2) px" in capsys.readouterr().out
    with Image.open(plates / "scene-color.png") as opened:
        assert opened.size == (338, 281)
    torch.manual_seed(0)
    metadata = CheckpointMetadata(Recipe(channels=2, image_size=64), "clean.parquet", "ab" * 32, 5, 0.114)
    checkpoint.save(tmp_path / "gray.safetensors", checkpoint.network_tensors(ColorUNet(2)), metadata)
    run_script(monkeypatch, "plates.py", plates, tmp_path / "gray.safetensors")
    output = capsys.readouterr().out
    assert re.search(r"^truth +0\.000 +\d\.\d\d", output, re.MULTILINE)
    assert all(
        re.search(rf"^  from {kind} +1\.000 ", output, re.MULTILINE) for kind in ("green", "red", "blue", "luma")
    )


def test_a_folder_without_plates_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="has no complete set") as ended:
        run_script(monkeypatch, "plates.py", tmp_path, tmp_path / "run")
    assert "\n" not in str(ended.value)
