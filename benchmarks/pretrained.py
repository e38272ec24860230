"""Build curate/measures/pretrained.onnx from ImageNet weights and heads, and the features that heads learn from.

    python benchmarks/pretrained.py HEADS.npz ... [--out curate/measures/pretrained.onnx]

HEADS.npz has the arrays NAME_weights (FEATURES,) and NAME_bias for some of OUTPUTS; `kind_large` also has the hidden
layer that is added: kind_hidden (FEATURES, HIDDEN), kind_hidden_bias and kind_hidden_weights (HIDDEN,). What no file
has is kept from the file that is replaced. Needs `pip install '.[encoder,onnx]'`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from curate.measures.pretrained import OUTPUTS, SIDE_PX
from train.models.efficientnet import STAGES, LiteFeatures, load_weights

FEATURES = 2 * sum(channels for _, channels in STAGES)
"""Means and standard deviations of the channels of five stages."""
HIDDEN = 192


class PooledFeatures(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights: (n, 3, side, side) to (n, FEATURES)."""

    def __init__(self) -> None:
        super().__init__()
        self.lite = LiteFeatures()
        load_weights(self.lite, None)
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """For each stage the means of its channels, then their standard deviations."""
        parts: list[Tensor] = []
        for stage in self.lite.features(pictures):
            mean = stage.mean((2, 3), keepdim=True)
            off = stage - mean
            variance = (off * off).mean((2, 3), keepdim=True)
            parts += [mean, (variance + 1e-8).sqrt()]  # at 0 the gradient would be infinite
        return torch.cat(parts, 1).flatten(1)


class WithHeads(nn.Module):
    """Pooled features, a linear function of them for each output, and a hidden layer that is added for `kind_large`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = PooledFeatures()
        self.heads = nn.Linear(FEATURES, len(OUTPUTS))
        self.kind_hidden = nn.Linear(FEATURES, HIDDEN)
        self.kind_last = nn.Linear(HIDDEN, len(OUTPUTS))

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, outputs) log odds."""
        features = self.features(pictures)
        odds: Tensor = self.heads(features) + self.kind_last(functional.relu(self.kind_hidden(features)))
        return odds

    @torch.no_grad()
    def set_heads(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the heads that are in `arrays`; see the top of this file."""
        for row, name in enumerate(OUTPUTS):
            if f"{name}_weights" in arrays:
                self.heads.weight[row] = torch.tensor(arrays[f"{name}_weights"])
                self.heads.bias[row] = float(arrays[f"{name}_bias"])
        if "kind_hidden" in arrays:
            self.kind_hidden.weight[:] = torch.tensor(arrays["kind_hidden"].T)
            self.kind_hidden.bias[:] = torch.tensor(arrays["kind_hidden_bias"])
            self.kind_last.weight[:] = 0
            self.kind_last.bias[:] = 0
            self.kind_last.weight[OUTPUTS.index("kind_large")] = torch.tensor(arrays["kind_hidden_weights"])

    @torch.no_grad()
    def copy_heads(self, file: bytes) -> None:
        """Take all heads from an ONNX file that `export` made."""
        arrays = {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(file).graph.initializer}
        layers = {"heads": self.heads, "kind_hidden": self.kind_hidden, "kind_last": self.kind_last}
        for name, layer in layers.items():
            for part, values in layer.named_parameters():
                kept = torch.from_numpy(arrays[f"{name}.{part}"].astype(np.float32))
                values[: len(kept)] = kept  # a file of an older version has fewer outputs


def features_onnx() -> bytes:
    """The network without heads as an ONNX file, whose outputs are the features as a scan computes them."""
    return export(PooledFeatures())


def export(network: nn.Module) -> bytes:
    """An ONNX file with weights in float16, which OpenCV reads as float32; linear heads stay float32."""
    example = (torch.zeros(1, 3, SIDE_PX, SIDE_PX),)
    with tempfile.TemporaryDirectory() as folder:
        path, outputs = f"{folder}/network.onnx", ["outputs"]
        torch.onnx.export(
            network, example, path, input_names=["pictures"], output_names=outputs, opset_version=12, dynamo=False
        )
        model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 8 and not tensor.name.startswith("heads."):
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    return bytes(model.SerializeToString())


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "curate/measures/pretrained.onnx")
    options = parser.parse_args()
    network = WithHeads()
    if options.out.exists():
        network.copy_heads(options.out.read_bytes())
    for path in options.heads:
        with np.load(path) as arrays:
            network.set_heads({name: np.asarray(arrays[name], np.float32) for name in arrays.files})
    options.out.write_bytes(export(network))


if __name__ == "__main__":
    main()
