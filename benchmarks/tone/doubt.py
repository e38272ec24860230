"""Count the photos for which the network is evaluated, and how far it moves the score at the ends of its range.

    python benchmarks/tone/doubt.py FOLDER ...

For each folder of photos: the share of the photos for which the network counts at all, and the share for which it
counts fully. The second table has photos whose regression is within 0.5 of the two values between which the network
counts fully: the median of the combined score minus that of the regression, the step that the score would have if the
network began there at once, and the same for the score that the package gives, at the outer values.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from result_tables import print_table

from curate.errors import PhotoError
from curate.image.decode import decode_bytes
from curate.measures.measure import make_small_copy
from curate.measures.tone import network
from curate.measures.tone.classify import BATCH_PHOTOS, regression_log_odds, tone_network_share
from curate.measures.tone.features import compute_features, make_grids
from curate.measures.tone.pretrained import pretrained_log_odds
from curate.measures.tone.weights import NETWORK_RANGES, NETWORK_WEIGHT

NEAR = 0.5
"""Distance from an end of the range, in log odds, of the photos from which a step is measured."""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    cv2.setNumThreads(1)
    table = pd.concat([measured(folder) for folder in parser.parse_args().folders])
    share = tone_network_share(table.regression.to_numpy())
    doubt = table.assign(evaluated=share > 0, fully=share == 1).groupby("folder")
    ends = NETWORK_RANGES["small"]
    counts = doubt.agg(photos=("regression", "size"), evaluated=("evaluated", "mean"), fully=("fully", "mean"))
    print_table(counts.round(3), "Share of the photos for which the network is evaluated, and counts fully")
    print_table(pd.DataFrame([steps(table, *ends) for ends in (ends[:2], ends[:1:-1])]), "Steps")


def measured(folder: Path) -> pd.DataFrame:
    """Log odds of the regression and of the network for each photo of a folder that can be decoded."""
    smalls = []
    for path in sorted(folder.iterdir()):
        try:
            smalls.append(make_small_copy(decode_bytes(path.read_bytes()).pixels)[0])
        except PhotoError:
            continue
    rows: list[tuple[float, float, float]] = []
    for first in range(0, len(smalls), BATCH_PHOTOS):
        batch = smalls[first : first + BATCH_PHOTOS]
        grids = make_grids(batch)
        pretrained = pretrained_log_odds(batch)
        odds = (
            regression_log_odds(compute_features(batch, grids)),
            network.network_log_odds(list(grids.lab)),
            pretrained,
        )
        rows += zip(*odds, strict=True)
    return pd.DataFrame(rows, columns=["regression", "network", "pretrained"]).assign(folder=folder.name)


def steps(table: pd.DataFrame, outer: float, inner: float) -> dict[str, float]:
    """Medians of what the network adds to the score near one end of its range."""
    near = table[(table.regression - inner).abs() <= NEAR]
    added = NETWORK_WEIGHT * near.network + near.pretrained
    side = np.sign(inner - outer) * 1e-6
    steps = added * tone_network_share(np.full(len(near), outer + side))
    return {
        "at": inner,
        "photos": len(near),
        "if at once, median": added.median(),
        "if at once, median size": added.abs().median(),
        "in the package, median size": steps.abs().median(),
    }


if __name__ == "__main__":
    main()
