"""Compute the network's features for the pictures of build_dataset.py on which the regression may be in doubt.

    python benchmarks/tone/pool.py DATA.parquet FEATURES.npy [--large]

Writes (n, features) float16, with NaN for the other pictures: those that score below POOLED_FROM by the weights in the
package. With --large, from the larger copies, which only unchanged photos have. Needs `pip install '.[encoder,onnx]'`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from regression import POOLED_FROM, batches

from curate.measures.onnx import BATCH_PICTURES, load_network, square_input
from curate.measures.tone.classify import regression_log_odds
from curate.measures.tone.features import compute_features
from curate.measures.tone.pretrained import SIDES_PX

sys.path.insert(0, str(Path(__file__).parents[1]))
from lite_network import PooledFeatures, export, feature_count


def main() -> None:
    """Write the features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    side = SIDES_PX["large" if options.large else "small"]
    network, pieces = load_network(export(PooledFeatures(), side)), []
    for batch in batches(options.data):
        odds = regression_log_odds(compute_features([small for _, small in batch]))
        copies = [large_copy(row["large"]) if options.large else small for row, small in batch]
        doubtful = np.flatnonzero(odds > POOLED_FROM).tolist()
        known = [(i, copy) for i in doubtful if (copy := copies[i]) is not None]
        piece = np.full((len(batch), feature_count()), np.nan, np.float16)
        for first in range(0, len(known), BATCH_PICTURES):
            chosen = known[first : first + BATCH_PICTURES]
            network.setInput(np.stack([square_input(copy, side) for _, copy in chosen]))
            piece[[i for i, _ in chosen]] = network.forward()
        pieces.append(piece)
    np.save(options.out, np.concatenate(pieces))


def large_copy(stored: bytes | None) -> NDArray[np.uint8] | None:
    """(side, side, 3) uint8 from the column `large`."""
    side = SIDES_PX["large"]
    return None if stored is None else np.frombuffer(stored, np.uint8).reshape(side, side, 3)


if __name__ == "__main__":
    main()
