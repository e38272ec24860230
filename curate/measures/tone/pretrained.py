"""Score a photo's tone with a pretrained network, for photos on which the regression is in doubt.

The network is EfficientNet-Lite0 with its ImageNet weights (Apache-2.0), cut after its last stage. The log odds are a
linear function of the mean and the standard deviation of every channel of its five stages, one for each size of the
input. Only these functions are learned. In `pretrained.onnx`, from benchmarks/tone/write_pretrained.py, the weights of
large convolutions are in int8 and the others in float16; OpenCV computes in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.measures.names import NetworkSize
from curate.measures.onnx import BATCH_PICTURES, PackageNetwork, square_input

SIDES_PX: Mapping[NetworkSize, int] = {"small": 96, "large": 224}
"""The network reads squares of these sizes; the larger one costs five times as much."""
COLORFULNESS_RANGE = (12.0, 15.0)
"""Below the first M the network is not evaluated, above the second it counts fully. A colorizer's training set has no
such pictures anyway."""
_network = PackageNetwork(__package__, len(SIDES_PX), "pretrained.onnx")
"""Input (n, 3, side, side) float32, output (n, 2) log odds: one column for each of SIDES_PX."""


def pretrained_log_odds(copies: Sequence[NDArray[np.uint8]], size: NetworkSize = "small") -> NDArray[np.float64]:
    """Compute the network's log odds of toned against color, (n,).

    Args:
        copies: one array per photo, (h, w, 3) uint8 sRGB: for `small` its small copy, for `large` the larger one.
        size: of the network's input.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    inputs = [square_input(copy, SIDES_PX[size]) for copy in copies]
    outputs = _network.score(inputs, batch=BATCH_PICTURES if size == "small" else 1)
    return outputs[:, list(SIDES_PX).index(size)]
