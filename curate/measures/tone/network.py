"""Score a photo's tone with a small convolutional network, for photos on which the regression is in doubt.

The network reads the same grid of cells as the regression, but it uses where in the picture a color is: a mount, a
stain, colored light, a shirt in front of a sheet. Its 415,000 weights, in `network.onnx`, were learned by
benchmarks/tone/train_network.py (data and effect: docs/results/tone.md). OpenCV runs it, in about 0.7 ms per photo.
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

Network = Any
"""OpenCV's `dnn.Net`: (1, 5, 32, 40) float32 to (1, 1) log odds."""
_lock = threading.Lock()
"""A `dnn.Net` holds its input and output, so only one thread at a time can use it."""


def log_odds(lab: NDArray[np.float32], network: Network | None = None) -> float:
    """Compute the network's log odds of toned against color.

    Args:
        lab: (3, 32, 40) float32 CIELAB of a photo's cells, see `curate.measures.tone.features.make_grids`.
        network: from `load_network`; None uses the network in this package.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    inputs = network_inputs(lab)[None]
    with _lock:
        network = network or _package_network()
        network.setInput(inputs)
        return float(network.forward().item())


def network_inputs(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute what the network reads: lightness, (a, b), and (a, b) relative to the photo's own chroma.

    Args:
        lab: (3, rows, columns) float32 CIELAB.

    Returns:
        (5, rows, columns) float32.
    """
    ab = lab[1:]
    chroma = np.sqrt((ab * ab).sum(axis=0).mean())
    return np.concatenate([lab[:1] / 25 - 2, ab / 20, ab / (chroma + 3)])


def load_network(onnx: bytes) -> Network:
    """Load a network from the bytes of an ONNX file."""
    return cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))


@functools.cache
def _package_network() -> Network:
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
