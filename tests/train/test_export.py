from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from train import checkpoint
from train.cli import main
from train.export import _evaluating
from train.model import ColorUNet

Made = Callable[..., Path]


def test_the_model_computes_what_torch_does_at_any_size_and_names_its_teachers(
    checkpoint_file: Made, tmp_path: Path
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
    assert told["vividset.checkpoint_sha256"] == checkpoint.sha256_of(path)
    assert told["vividset.manifest_sha256"] == "ab" * 32
    assert [entry.name for entry in tmp_path.glob(".*")] == []


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
