"""Score a picture's kind with a convolutional network: photo or graphic.

The network is EfficientNet-Lite0, pretrained on ImageNet (Apache-2.0), fine-tuned on labeled pictures of public
repositories by benchmarks/kind/train_network.py (data and accuracy: docs/results/kind.md). `network.onnx` has its
weights in float16; OpenCV runs it in float32.
"""

from __future__ import annotations

import functools
import threading
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import VividsetError
from curate.measures.tone.network import load_network

SIDE_PX = 96
"""The network reads squares of this size; the aspect ratio of the picture is not kept."""

_lock = threading.Lock()
"""A `dnn.Net` holds its input and output, so only one thread at a time can use it."""


def log_odds(small: NDArray[np.uint8], network: Any = None) -> float:
    """Compute the network's log odds of graphic against photo.

    Args:
        small: (h, w, 3) uint8 sRGB, the small copy from `curate.measures.measure.make_small_copy`.
        network: from `curate.measures.tone.network.load_network`; None uses the network in this package.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    inputs = network_inputs(small)[None]
    with _lock:
        network = network or _package_network()
        network.setInput(inputs)
        return float(network.forward()[0, 0])


def network_inputs(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (3, SIDE_PX, SIDE_PX) float32: the picture resized to a square, as (x − 127)/128."""
    square = cv2.resize(small, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((square.transpose(2, 0, 1).astype(np.float32) - 127) / 128)


@functools.cache
def _package_network() -> Any:
    """The network in this package, loaded once per process."""
    file = files(__package__) / "network.onnx"
    try:
        return load_network(file.read_bytes())
    except (OSError, cv2.error) as exc:
        if isinstance(exc, cv2.error) and exc.code >= 0:  # std::bad_alloc; errors of OpenCV have negative codes
            raise MemoryError from exc
        raise VividsetError(
            f"{file} is missing or damaged: pip install --force-reinstall --no-deps vividset, or . in a clone of it"
        ) from exc
