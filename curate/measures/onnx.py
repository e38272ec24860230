"""Run the small convolutional networks of this package, ONNX files, with OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import VividsetError

Network = Any
"""OpenCV's `dnn.Net` with a fixed number of output values per picture."""

BATCH_PICTURES = 8
"""Pictures that a network reads at a time, for which it takes about 10 MB."""


def square_input(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return (3, side, side) float32: a picture resized to a square, as (x − 127)/128. Its aspect ratio is not kept.

    Args:
        picture: (h, w, 3) uint8 sRGB.
        side: of the square, in pixels.
    """
    square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((square.transpose(2, 0, 1).astype(np.float32) - 127) / 128)


def load_network(onnx: bytes) -> Network:
    """Load a network from the bytes of an ONNX file."""
    return cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))


class PackageNetwork:
    """An ONNX file of a package, loaded once per process, at its first use.

    Args:
        package: name of the package that contains the file, such as `curate.measures.tone`.
        outputs: numbers that the network returns for each picture.
        name: of the file.
    """

    def __init__(self, package: str, outputs: int = 1, name: str = "network.onnx") -> None:
        self._package, self._outputs, self._name = package, outputs, name
        self._network: Network | None = None
        # a dnn.Net holds its input and output, so only one thread at a time can use it
        self._lock = threading.Lock()

    def score(
        self, inputs: Sequence[NDArray[np.float32]], network: Network | None = None, batch: int = BATCH_PICTURES
    ) -> NDArray[np.float64]:
        """Return the network's outputs for several pictures, (n, outputs).

        The pictures do not influence each other's numbers. Several at a time take four fifths of the time, because the
        weights are read from memory once.

        Args:
            inputs: one array per picture, (channels, rows, columns) float32.
            network: from `load_network`; None uses the network in the package.
            batch: pictures that are given to the network at a time.

        Raises:
            VividsetError: the network's file is missing or damaged.
        """
        with self._lock:
            outputs = np.empty((len(inputs), self._outputs))
            for first in range(0, len(inputs), batch):
                network = network or self._load()
                chosen = slice(first, first + batch)
                network.setInput(np.stack(inputs[chosen]))
                outputs[chosen] = network.forward()
            return outputs

    def _load(self) -> Network:
        if self._network is None:
            file = files(self._package) / self._name
            try:
                self._network = load_network(file.read_bytes())
            except (OSError, cv2.error) as exc:
                if isinstance(exc, cv2.error) and exc.code >= 0:  # std::bad_alloc; errors of OpenCV are negative
                    raise MemoryError from exc
                raise VividsetError(
                    f"{file} is missing or damaged: pip install --force-reinstall --no-deps vividset, or . in a clone"
                    " of it"
                ) from exc
        return self._network
