"""Ready weights are made from a run without paths of a machine, and checked on photos that are not training photos."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import curate
from train import checkpoint
from train.checkpoint import CheckpointMetadata, Parent
from train.checkpoint_file import READY_FILE
from train.inference.colorizer import Colorizer
from train.models.unet import ColorUNet
from train.recipe import Recipe

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ready_weights.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ready_weights", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)  # as if it was run, so that it finds the other scripts
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with averaged weights and paths of this machine in its metadata."""
    torch.manual_seed(7)
    network, average = ColorUNet(2), ColorUNet(2)
    torch.nn.init.normal_(average.head.weight, std=2.0)
    command = f"train fit {tmp_path}/clean.parquet --run-dir {tmp_path}/run"
    path = str(tmp_path / "clean.parquet")
    parent = Parent(f"{tmp_path}/parent/best.safetensors", "cd" * 32, 9, path, "ab" * 32, command=command)
    metadata = CheckpointMetadata(
        recipe=Recipe(channels=2, image_size=32, ema=0.9),
        manifest_path=path,
        manifest_sha256="ab" * 32,
        step=5,
        neutral_loss=0.1,
        command=command,
        auto_strength=1.25,
        manifest_ancestors=[{"kind": "scan", "path": str(tmp_path / "scan.parquet"), "sha256": "ef" * 32}],
        parent=parent,
    )
    tensors = checkpoint.network_tensors(network) | checkpoint.network_tensors(average, "ema")
    (tmp_path / "run").mkdir()
    checkpoint.save(tmp_path / "run" / "best.safetensors", tensors, metadata)
    return tmp_path / "run"


def test_ready_weights_are_float16_averages_without_paths(script: ModuleType, run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "ready" / "ready.safetensors"
    script.convert(run_dir, out)
    ready, source = checkpoint.load(out), checkpoint.load(run_dir)
    assert str(tmp_path).encode() not in out.read_bytes()
    assert ready.metadata.auto_strength == 1.25
    assert ready.metadata.command == "train fit clean.parquet --run-dir run"
    assert {name.partition("/")[0] for name in ready.tensors} == {"model"}
    assert ready.tensors["model/head.weight"].dtype == torch.float16
    assert ready.tensors["model/decoder.0.1.running_var"].dtype == torch.float32
    lightness = torch.rand(1, 1, 32, 32)
    assert torch.allclose(ready.network()(lightness), source.network()(lightness), atol=0.02)
    assert ready.network()(lightness).abs().max() > 0.1
    card = out.with_name("MODEL_CARD.md")
    card.write_text(card.read_text(encoding="utf-8").replace("(What these weights can't do.)", "None."), "utf-8")
    script.convert(run_dir, out, 1.5)
    text = card.read_text(encoding="utf-8")
    assert "None." in text
    assert "automatic strength 1.5." in text
    assert str(tmp_path) not in text


def test_training_photos_are_left_out(
    script: ModuleType, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("photos", "trained", "plates"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC)
        picture.save(tmp_path / "photos" / f"{number}.png")
        if number == 0:
            picture.save(tmp_path / "trained" / "same.png")
        elif number == 1:
            picture.resize((90, 68)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "trained" / "like.jpg")
        else:
            picture.save(tmp_path / "plates" / f"{number}-color.png")
            for plate in ("red", "green", "blue"):
                picture.getchannel(plate[0].upper()).save(tmp_path / "plates" / f"{number}-{plate}.png")
    scans = [tmp_path / f"{folder}.parquet" for folder in ("photos", "trained")]
    for scan in scans:
        curate.scan_photos(tmp_path / scan.stem, scan, engine="serial")
    curate.filter_manifest(
        scans[0], tmp_path / "clean.parquet", min_colorfulness=0, split="0/0/100", keep_kind=["graphic"]
    )
    ready = tmp_path / "ready" / "ready.safetensors"
    script.convert(run_dir, ready)
    options = argparse.Namespace(
        checkpoint=str(ready),
        held_out=tmp_path / "clean.parquet",
        trained_on=[scans[1]],
        split="test",
        image_size=None,
        root=(),
        plates=tmp_path / "plates",
    )
    capsys.readouterr()
    assert not script.check(options)
    printed = capsys.readouterr().out
    assert printed.startswith("2 photos of clean.parquet (sha256 ")
    assert "2 others were left out, because the weights were trained on them" in printed
    assert "| loss ÷ neutral loss on 2 plates of about 1910 (green) |" in printed
    assert "| NO |" in printed
    assert printed.strip() in ready.with_name("MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not READY_FILE.exists(), reason="this build has no ready weights")
def test_the_ready_weights_of_this_build_color_a_photo_and_have_a_card() -> None:
    assert READY_FILE.stat().st_size <= 12_000_000
    assert "(What these weights can't do.)" not in READY_FILE.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    gray = np.repeat(np.linspace(20, 230, 96).astype(np.uint8)[:, None], 96, axis=1)
    picture = Colorizer.load("ready", device="cpu").colorize(np.repeat(gray[..., None], 3, axis=2), strength="auto")
    assert np.ptp(np.asarray(picture).astype(int), axis=2).mean() > 3
