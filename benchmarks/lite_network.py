"""EfficientNet-Lite0 with pooled features, and how networks are written to the ONNX files of the package.

Used by benchmarks/tone and benchmarks/kind. Needs `pip install '.[encoder,onnx]'`.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import make_node
from torch import Tensor, nn

from train.models.efficientnet import STAGES, LiteFeatures, load_weights

INT8_WEIGHTS = 20_000
"""Convolutions with more weights than this are written in int8: 93 % of the weights of EfficientNet-Lite0."""


def feature_count(levels: int = len(STAGES)) -> int:
    """Means and standard deviations of the channels of the first stages."""
    return 2 * sum(channels for _, channels in STAGES[:levels])


class PooledFeatures(nn.Module):
    """EfficientNet-Lite0 with ImageNet weights: (n, 3, side, side) to (n, feature_count).

    Args:
        levels: how many of its stages are used.
    """

    def __init__(self, levels: int = len(STAGES)) -> None:
        super().__init__()
        whole = LiteFeatures()
        load_weights(whole, None)
        self.lite = LiteFeatures(levels)
        self.lite.load_state_dict({name: whole.state_dict()[name] for name in self.lite.state_dict()})
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


def export(network: nn.Module, side: int, *, small_weights: bool = True) -> bytes:
    """Return a network as an ONNX file that OpenCV 4.11 and newer can run.

    With small weights only OpenCV reads it: ONNX demands a Cast between float16 weights and float32 values.

    Args:
        network: (n, 3, side, side) float32 to (n, outputs).
        side: of the square, in pixels.
        small_weights: write large convolutions in int8, with one scale for each output channel, and the other weights
            in float16. Linear layers stay float32. False writes everything in float32.
    """
    example = (torch.zeros(1, 3, side, side),)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs one more package, onnxscript
        path, inputs, outputs = f"{folder}/network.onnx", ["pictures"], ["outputs"]
        torch.onnx.export(
            network.eval(),
            example,
            path,
            input_names=inputs,
            output_names=outputs,
            opset_version=13,
            dynamo=False,
        )
        model = onnx.load(path)
    if small_weights:
        _shrink_weights(model)
    return bytes(model.SerializeToString())


def _shrink_weights(model: onnx.ModelProto) -> None:
    graph = model.graph
    convolutions = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    linear = {name for node in graph.node if node.op_type in ("Gemm", "MatMul") for name in node.input}
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size <= 8 or tensor.name in linear:  # constants, and the heads
            continue
        if tensor.name not in convolutions or values.size <= INT8_WEIGHTS:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
            continue
        name = tensor.name
        levels, scales = _quantize(values)
        names = [f"{name}.{part}" for part in ("int8", "scale", "zero")]
        arrays: tuple[NDArray[Any], ...] = (levels, scales, np.zeros(len(scales), np.int8))
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            numpy_helper.from_array(array, part) for array, part in zip(arrays, names, strict=True)
        )
        graph.node.insert(0, make_node("DequantizeLinear", names, [name], axis=0))


def _quantize(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Levels −127..127 of the shape of `weights`, and the scale of each output channel."""
    flat = weights.reshape(len(weights), -1)
    scales = np.maximum(np.abs(flat).max(axis=1), 1e-12) / 127
    levels = np.rint(flat / scales[:, None]).astype(np.int8).reshape(weights.shape)
    return levels, scales.astype(np.float32)
