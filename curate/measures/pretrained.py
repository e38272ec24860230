"""Ask a pretrained network about pictures on which cheap statistics are in doubt: toned or color, graphic or photo?

The network is EfficientNet-Lite0 with its ImageNet weights (Apache-2.0), cut after its last stage. Each question is
answered by a function of the mean and the standard deviation of every channel of its five stages: linear for tone, with
one hidden layer for kind. Only these functions are learned (benchmarks/pretrained.py). `pretrained.onnx` has the
weights in float16; OpenCV runs it in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.measures.names import ToneNetwork
from curate.measures.onnx import BATCH_PICTURES, PackageNetwork

Question = Literal["tone", "kind"]
"""What can be asked: toned or color, graphic or photo."""
OUTPUTS = ("tone", "tone_large", "kind")
"""The network's outputs in their order: toned against color at SIDE_PX, the same at LARGE_SIDE_PX, graphic against
photo at SIDE_PX."""

SIDE_PX, LARGE_SIDE_PX = 96, 224
"""The network reads squares of these sizes; the aspect ratio of the picture is not kept."""
COLORFULNESS_RANGE = (12.0, 15.0)
"""Below the first M the network is not asked, above the second it counts fully. A colorizer's training set has no such
pictures anyway."""
_network = PackageNetwork("curate.measures", len(OUTPUTS), "pretrained.onnx")
"""Input (n, 3, side, side) float32, output (n, outputs) log odds."""


class PretrainedOdds:
    """The network's log odds for the pictures of a batch. The network reads each copy at most once, when asked.

    Args:
        smalls: n pictures, (h, w, 3) uint8 sRGB each: the small copies of `curate.measures.measure.make_small_copy`.
        larges: n larger copies, from which the tone is answered at LARGE_SIDE_PX; None answers it at SIDE_PX.
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
        self._smalls, self._larges = smalls, larges
        self.share = (
            np.ones(len(smalls)) if colorfulness is None else np.interp(colorfulness, COLORFULNESS_RANGE, (0, 1))
        )
        """(n,) 0..1: how much the network counts for each picture; where it is 0, don't ask."""
        self.tone_network: ToneNetwork = "small" if larges is None else "large"
        self._outputs: dict[tuple[int, int], NDArray[np.float64]] = {}

    def evaluate(self, question: Question, pictures: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the log odds for some of the pictures, (k,).

        Args:
            question: `tone`: toned against color; `kind`: graphic against photo.
            pictures: (k,) indices of the pictures.

        Raises:
            VividsetError: the network's file is missing or damaged.
        """
        copies, side, output = self._smalls, SIDE_PX, OUTPUTS.index(question)
        if question == "tone" and self._larges is not None:
            copies, side, output = self._larges, LARGE_SIDE_PX, OUTPUTS.index("tone_large")
        asked = pictures.tolist()
        unknown = [index for index in asked if (side, index) not in self._outputs]
        batch = BATCH_PICTURES if side == SIDE_PX else 1
        outputs = _network.score([network_input(copies[index], side) for index in unknown], batch=batch)
        self._outputs.update(zip([(side, index) for index in unknown], outputs, strict=True))
        return np.array([self._outputs[side, index][output] for index in asked], np.float64)


def network_input(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return (3, side, side) float32: the picture resized to a square, as (x − 127)/128."""
    square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray((square.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
