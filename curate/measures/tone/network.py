"""Score a photo's tone with a small convolutional network of its own, for photos on which the regression is in doubt.

The network reads the same grid of cells as the regression, but it uses where in the picture a color is: a mount, a
stain, colored light, a shirt in front of a sheet. Its 415,000 weights, in `network.onnx`, were learned by
benchmarks/tone/train_network.py (data and effect: docs/results/tone.md). OpenCV runs it, in about 0.7 ms per photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.measures.onnx import Network, PackageNetwork

_network = PackageNetwork(__package__)
"""Input (1, 5, 32, 40) float32, output (1, 1) log odds."""


def network_log_odds(labs: Sequence[NDArray[np.float32]], network: Network | None = None) -> NDArray[np.float64]:
    """Compute the network's log odds of toned against color, (n,).

    Args:
        labs: one array per photo, (3, 32, 40) float32 CIELAB of its cells, see
            `curate.measures.tone.features.make_grids`.
        network: from `curate.measures.onnx.load_network`; None uses the network in this package.

    Raises:
        VividsetError: the network's file is missing or damaged.
    """
    return _network.score(list(map(tone_network_inputs, labs)), network)[:, 0]


def tone_network_inputs(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute what the network reads: lightness, (a, b), and (a, b) relative to the photo's own chroma.

    Args:
        lab: (3, rows, columns) float32 CIELAB.

    Returns:
        (5, rows, columns) float32.
    """
    ab = lab[1:]
    chroma = np.sqrt((ab * ab).sum(axis=0).mean())
    return np.concatenate([lab[:1] / 25 - 2, ab / 20, ab / (chroma + 3)])
