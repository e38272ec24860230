"""ONNX export: the model computes the same as torch, and the documented example program works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from curate.files import sha256_of
from curate.measures.colorfulness import colorfulness
from curate.text import install_hint
from train import checkpoint
from train.cli import main
from train.inference.onnx_export import CHECKPOINT_KEY, _eval_mode, export
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe

Made = Callable[..., Path]
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "export-to-onnx.md"


def test_the_model_agrees_with_torch_at_any_size_and_has_its_provenance(
    checkpoint_file: Made, picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    path, out = checkpoint_file(), tmp_path / "model.onnx"
    exported = CliRunner().invoke(main, ["export", str(path), "-o", str(out)])
    assert exported.exit_code == 0, exported.output
    assert "from torch" in exported.output
    network = checkpoint.load(path).network()
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 32, 32), (3, 1, 17, 50), (1, 1, 100, 33)):
        lightness = torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
        (result,) = session.run(None, {"lightness": lightness.numpy()})
        with torch.no_grad():
            assert np.abs(result - network(lightness).numpy()).max() < 1e-4
    metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert metadata["vividset.checkpoint_sha256"] == sha256_of(path)
    assert metadata["vividset.manifest_sha256"] == "ab" * 32
    assert [entry.name for entry in tmp_path.glob(".*")] == []
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    Image.fromarray(picture(height=40, width=50)).convert("L").save(tmp_path / "old-photo.jpg")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "colored.png") as colored, Image.open(tmp_path / "old-photo.jpg") as old:
        assert colored.size == (50, 40)
        assert colorfulness(np.asarray(colored)) > 10 * colorfulness(np.asarray(old.convert("RGB")))


def test_an_encoder_and_group_norm_are_exported_too(tmp_path: Path) -> None:
    torch.manual_seed(7)
    network = build_network(Recipe(channels=2, image_size=64, encoder="efficientnet-lite0", norm="group"))
    torch.nn.init.normal_(network.head.weight)
    assert export(network.eval(), tmp_path / "model.onnx", 64, {CHECKPOINT_KEY: "ab" * 32}) < 1e-3
    (lightness,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (lightness.name, lightness.shape) == ("lightness", ["photos", 1, "height", "width"])


def test_a_network_is_back_in_training_mode_even_after_a_failed_export() -> None:
    network = ColorUNet(1).train()
    with _eval_mode(network):
        assert not any(module.training for module in network.modules())
    with pytest.raises(RuntimeError), _eval_mode(network):
        network(torch.zeros(1, 3, 32, 32))
    assert all(module.training for module in network.modules())


def test_a_foreign_file_is_not_replaced(checkpoint_file: Made, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"mine")
    result = CliRunner().invoke(main, ["export", str(checkpoint_file()), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 2
    assert "already exists and is not a model" in result.stderr
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"


def test_a_missing_library_is_an_error(checkpoint_file: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = CliRunner().invoke(main, ["export", str(checkpoint_file()), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 2
    assert result.stderr == f"Error: train export needs onnxruntime: {install_hint('onnx')}\n"
