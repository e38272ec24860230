"""Evaluate a pretrained network on pictures for which cheap statistics are in doubt: toned or color, graphic or photo.

The network is EfficientNet-Lite0 with its ImageNet weights (Apache-2.0), cut after its last stage. Each question is
answered by a function of the mean and the standard deviation of every channel of its five stages: a linear one, and for
kind at 224 px one with a hidden layer. Only these functions are learned (benchmarks/pretrained.py). `pretrained.onnx`
has the weights in float16; OpenCV runs it in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.onnx import BATCH_PICTURES, PackageNetwork

Output = Literal["tone", "tone_large", "kind", "kind_large"]
"""Log odds of toned against color, and of graphic against photo, at SIDE_PX and at LARGE_SIDE_PX."""
OUTPUTS: Sequence[Output] = get_args(Output)
"""The network's outputs in their order."""

SIDE_PX, LARGE_SIDE_PX = 96, 224
"""The network reads squares of these sizes; the aspect ratio of the picture is not kept. The larger one costs five
times as much."""
COLORFULNESS_RANGE = (12.0, 15.0)
"""Below the first M the network is not evaluated, above the second it counts fully. A colorizer's training set has no
such pictures anyway."""
_network = PackageNetwork("curate.measures", len(OUTPUTS), "pretrained.onnx")
"""Input (n, 3, side, side) float32, output (n, outputs) log odds."""


class PretrainedOdds:
    """The network's log odds for the pictures of a batch. It is evaluated on each copy at most once, when needed.

    Args:
        smalls: n pictures, (h, w, 3) uint8 sRGB each: the small copies of `curate.measures.measure.make_small_copy`.
        larges: n larger copies, for the outputs at LARGE_SIDE_PX; None uses the small ones.
        colorfulness: M of the n pictures; None if the network counts fully for all of them.

    Raises:
        ValueError: the number of larger copies or of M is not n.
    """

    def __init__(
        self,
        smalls: Sequence[NDArray[np.uint8]],
        larges: Sequence[NDArray[np.uint8]] | None = None,
        colorfulness: Sequence[float] | None = None,
    ) -> None:
        for name, given in (("larger copies", larges), ("values of M", colorfulness)):
            if given is not None and len(given) != len(smalls):
                raise ValueError(f"{len(given)} {name} for {len(smalls)} pictures; give one for each picture, or None")
        self._copies = {SIDE_PX: smalls, LARGE_SIDE_PX: smalls if larges is None else larges}
        self.share = (
            np.ones(len(smalls)) if colorfulness is None else np.interp(colorfulness, COLORFULNESS_RANGE, (0, 1))
        )
        """(n,) 0..1: how much the network counts for each picture; where it is 0, don't evaluate it."""
        self._outputs: dict[tuple[int, int], NDArray[np.float64]] = {}

    def evaluate(self, output: Output, pictures: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the log odds for some of the pictures, (k,).

        Args:
            output: which of the network's outputs.
            pictures: (k,) indices of the pictures.

        Raises:
            VividsetError: the network's file is missing or damaged.
        """
        side = LARGE_SIDE_PX if output.endswith("_large") else SIDE_PX
        wanted = pictures.tolist()
        unknown = [index for index in wanted if (side, index) not in self._outputs]
        batch = BATCH_PICTURES if side == SIDE_PX else 1
        outputs = _network.score([network_input(self._copies[side][index], side) for index in unknown], batch=batch)
        self._outputs.update(zip([(side, index) for index in unknown], outputs, strict=True))
        return np.array([self._outputs[side, index][OUTPUTS.index(output)] for index in wanted], np.float64)


def network_input(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return (3, side, side) float32: the picture resized to a square, as (x − 127)/128."""
    square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((square.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
