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
from train import checkpoint
from train.cli import main
from train.inference.onnx_export import MARK, _evaluating, export
from train.models.unet import ColorUNet, build_network
from train.recipe import Recipe

Made = Callable[..., Path]
PAGE = Path(__file__).parents[3] / "docs" / "colorizing.md"


def test_the_model_computes_what_torch_does_at_any_size_and_names_its_teachers(
    checkpoint_file: Made, picture: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    path, out = checkpoint_file(), tmp_path / "model.onnx"
    result = CliRunner().invoke(main, ["export", str(path), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "from torch" in result.output
    network = checkpoint.load(path).network()
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 32, 32), (3, 1, 17, 50), (1, 1, 100, 33)):
        lightness = torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
        (ours,) = session.run(None, {"lightness": lightness.numpy()})
        with torch.no_grad():
            assert np.abs(ours - network(lightness).numpy()).max() < 1e-4
    told = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert told["vividset.checkpoint_sha256"] == sha256_of(path)
    assert told["vividset.manifest_sha256"] == "ab" * 32
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
    assert export(network.eval(), tmp_path / "model.onnx", 64, {MARK: "ab" * 32}) < 1e-3
    (lightness,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert (lightness.name, lightness.shape) == ("lightness", ["photos", 1, "height", "width"])


def test_a_network_goes_on_training_even_where_its_export_failed() -> None:
    network = ColorUNet(1).train()
    with _evaluating(network):
        assert not any(module.training for module in network.modules())
    with pytest.raises(RuntimeError), _evaluating(network):
        network(torch.zeros(1, 3, 32, 32))
    assert all(module.training for module in network.modules())


def test_a_foreign_file_is_left_alone(checkpoint_file: Made, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"mine")
    result = CliRunner().invoke(main, ["export", str(checkpoint_file()), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 2
    assert "is in the way" in result.stderr
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"


def test_a_missing_extra_is_one_line(checkpoint_file: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = CliRunner().invoke(main, ["export", str(checkpoint_file()), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 2
    assert result.stderr == "Error: train export needs onnxruntime: pip install 'vividset[onnx]'\n"
