"""Compute log odds of graphic against photo with two convolutional networks.

Both are EfficientNet-Lite0, fine-tuned from its ImageNet weights (Apache-2.0) by benchmarks/kind/train_kind.py. The
log odds are a linear function of the mean and the standard deviation of every channel of its stages: of the first four
in `small.onnx`, of all five in `large.onnx`. Large convolutions have weights in int8 and the others in float16; OpenCV
computes in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.measures.names import NetworkSize
from curate.measures.onnx import BATCH_PICTURES, PackageNetwork, square_input

SIDES_PX: Mapping[NetworkSize, int] = {"small": 64, "large": 224}
"""The networks read squares of these sizes."""
_networks = {size: PackageNetwork(__package__, 1, f"{size}.onnx") for size in SIDES_PX}
"""Input (n, 3, side, side) float32, output (n, 1) log odds."""


def kind_log_odds(copies: Sequence[NDArray[np.uint8]], size: NetworkSize) -> NDArray[np.float64]:
    """Compute the log odds of graphic against photo, (n,), without a threshold.

    Args:
        copies: one array per picture, (h, w, 3) uint8 sRGB: for `small` its small copy, for `large` the larger one.
        size: of the network.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    inputs = [square_input(copy, SIDES_PX[size]) for copy in copies]
    return _networks[size].score(inputs, batch=BATCH_PICTURES if size == "small" else 1)[:, 0]
