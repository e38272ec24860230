"""A second look at a photo's tone by a small convolutional network, where the regression is in doubt.

It reads the same grid of cells, but sees where what colour lies: a mount, a stain, coloured light, a shirt on a sheet.
`benchmarks/tone/train_network.py` learned its 415,000 weights, in `network.onnx`; docs/results/tone.md tells on
what, and what it is worth. OpenCV runs it, in about 0.7 ms.
"""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import VividsetError
from curate.measures.tone.features import GRID_COLUMNS, GRID_ROWS

Network = Any
"""OpenCV's `dnn.Net`: (1, 5, 32, 40) float32 to (1, 1) log odds."""


def log_odds(small: NDArray[np.uint8], network: Network | None = None) -> float:
    """Log odds of toned against colour.

    Args:
        small: (h, w, 3) uint8 sRGB, a small copy as `curate.measures.make_small_copy` makes it.
        network: another one than the shipped one.

    Raises:
        VividsetError: the shipped one is missing or damaged.
    """
    network = network or _shipped()
    cells = cv2.resize(small, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_AREA).astype(np.float32)
    lab = np.asarray(cv2.cvtColor(cells * np.float32(1 / 255), cv2.COLOR_RGB2LAB), np.float32)
    network.setInput(inputs(lab.transpose(2, 0, 1))[None])
    return float(network.forward().item())


def inputs(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network reads: (5, rows, columns) lightness, (a, b), and (a, b) in units of the photo's own chroma.

    Args:
        lab: (3, rows, columns) float32 CIELAB.
    """
    ab = lab[1:]
    chroma = np.sqrt((ab * ab).sum(axis=0).mean())
    return np.concatenate([lab[:1] / 25 - 2, ab / 20, ab / (chroma + 3)])


def load_network(onnx: bytes) -> Network:
    """A network from an ONNX file's bytes."""
    return cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))


@functools.cache
def _shipped() -> Network:
    file = files(__package__) / "network.onnx"
    try:
        return load_network(file.read_bytes())
    except (OSError, cv2.error) as exc:
        if isinstance(exc, cv2.error) and exc.code >= 0:  # std::bad_alloc, which has no code of OpenCV's
            raise MemoryError from exc
        raise VividsetError(f"{file} is missing or damaged: pip install --force-reinstall --no-deps vividset") from exc
