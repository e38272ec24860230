"""Fixtures: small colourful photos, clean manifests, tiny training runs and checkpoints."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch reads it: two shared cores

import colorsys
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.manifest import DECISION_FIELDS, SCAN_SCHEMA, Lineage
from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.data import dataset
from train.models.unet import ColorUNet
from train.recipe import Recipe
from train.trainer.callbacks import FitResult
from train.trainer.fabric import DeviceConfig
from train.trainer.loop import run_training

QUICK = Recipe(image_size=32, channels=2, epochs=2, batch_size=2, lr=1e-3)
CLEAN_SCHEMA = pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS])


def colorful(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """A picture of saturated hues whose lightness pattern depends on the seed."""
    rows = [
        [
            colorsys.hsv_to_rgb((0.17 * seed + 0.4 * x / width) % 1, 0.9, 0.3 + 0.65 * ((seed * y) % height) / height)
            for x in range(width)
        ]
        for y in range(height)
    ]
    return (np.array(rows) * 255).round().astype(np.uint8)


@pytest.fixture
def picture() -> Callable[..., NDArray[np.uint8]]:
    def make(seed: int = 1, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
        return colorful(seed, height, width)

    return make


@pytest.fixture(scope="session")
def clean_manifest_in() -> Callable[..., Path]:
    """Photos `p00.png`, `p01.png`, ... below `photos` in a folder, and their manifest as `curate filter` writes it."""

    def make(
        place: Path, splits: Sequence[str] = ("train",) * 4, *, tone: str = "color", schema_version: int = 1
    ) -> Path:
        folder = place / "photos"
        folder.mkdir(exist_ok=True)
        rows = [_row(folder, index, split, tone) for index, split in enumerate(splits)]
        path = place / "clean.parquet"
        lineage = replace(Lineage("clean", "curate filter", {}), schema_version=schema_version)
        manifest.write_manifest(path, pa.Table.from_pylist(rows, schema=CLEAN_SCHEMA), lineage)
        return path

    return make


@pytest.fixture
def clean_manifest(clean_manifest_in: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """As `clean_manifest_in`, in `tmp_path`."""
    return partial(clean_manifest_in, tmp_path)


def _row(folder: Path, index: int, split: str, tone: str) -> dict[str, Any]:
    path = folder / f"p{index:02d}.png"
    Image.fromarray(colorful(index + 1, 40, 48)).save(path)
    return {
        "source": str(folder),
        "path": path.name,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "width": 48,
        "height": 40,
        "colorfulness": 80.0,
        "tone": tone,
        "split": split,
        "reject_reasons": [],
    }


def quiet(_line: str) -> None:
    """Print nothing."""


@pytest.fixture
def train_on(tmp_path: Path) -> Callable[..., FitResult]:
    """`run_training` on the CPU with a tiny recipe; keywords change the recipe."""

    def run(path: Path, folder: str = "run", say: Callable[[str], None] = quiet, **changes: Any) -> FitResult:
        found = dataset.load_datasets(path)
        run_dir = tmp_path / folder
        run_dir.mkdir(exist_ok=True)
        return run_training(found, replace(QUICK, **changes), DeviceConfig("cpu", "32-true", 0), run_dir, say=say)

    return run


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint whose network doesn't predict gray, as `best.safetensors` of a run."""

    def make(channels: int = 2, image_size: int = 32, strength: float = 2.0) -> Path:
        torch.manual_seed(7)
        network = ColorUNet(channels)
        torch.nn.init.normal_(network.head.weight, std=strength)
        metadata = CheckpointMetadata(
            Recipe(channels=channels, image_size=image_size), "clean.parquet", "ab" * 32, 5, 0.114
        )
        path = tmp_path / "parent-run" / "best.safetensors"
        path.parent.mkdir(exist_ok=True)
        checkpoint.save(path, checkpoint.network_tensors(network), metadata)
        return path

    return make
