"""Score a picture's kind with a convolutional network: photo or graphic.

The network is EfficientNet-Lite0, pretrained on ImageNet (Apache-2.0), fine-tuned on labeled pictures of public
repositories by benchmarks/kind/train_network.py (data and accuracy: docs/results/kind.md). `network.onnx` has its
weights in float16; OpenCV runs it in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.onnx import Network, PackageNetwork

SIDE_PX = 96
"""The network reads squares of this size; the aspect ratio of the picture is not kept."""

_network = PackageNetwork(__package__)
"""Input (1, 3, SIDE_PX, SIDE_PX) float32, output (1, 1) log odds."""


def network_log_odds(smalls: Sequence[NDArray[np.uint8]], network: Network | None = None) -> NDArray[np.float64]:
    """Compute the network's log odds of graphic against photo, (n,).

    Args:
        smalls: one array per picture, (h, w, 3) uint8 sRGB: the small copy of
            `curate.measures.measure.make_small_copy`.
        network: from `curate.measures.onnx.load_network`; None uses the network in this package.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    return _network.score(list(map(kind_network_inputs, smalls)), network)


def kind_network_inputs(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (3, SIDE_PX, SIDE_PX) float32: the picture resized to a square, as (x − 127)/128."""
    square = cv2.resize(small, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((square.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
