"""Fit the tone regression and write curate/measures/tone/weights.py.

    python benchmarks/tone/train.py DATA.parquet ODDS.npy [--out FILE]

Logistic regression on standardised log(1 + feature) and on a few products of two. The threshold is set on scores of
regressions that were trained without the photo's source, as in evaluate.py. ODDS.npy has the log odds of networks that
were trained without the photo (train_network.py); the combination of both is fitted to such scores. The same data give
the same file, up to the arithmetic of the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from counting import cross_validated_scores
from regression import (
    NETWORK_RANGE,
    Combination,
    Regression,
    fit,
    fit_combination,
    out_of_source,
    read_measured,
    threshold,
)

from curate.measures.tone.features import compute_features

WEIGHTS = Path(__file__).parents[2] / "curate/measures/tone/weights.py"
"""In the checkout of this script, which may not be the installed one."""
PAGE = '''"""Weights of the tone regression, written by benchmarks/tone/train.py (data: docs/results/tone.md)."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = {bias:.4f}
"""Includes the threshold: by weights learned without their source, 0.45 % of color photos with M >= 20 exceed 0."""

FEATURES: Mapping[str, tuple[float, float, float]] = {{
{features}
}}
"""For each feature: mean and standard deviation of log(1 + feature) over the training photos, and its weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {{
{products}
}}
"""Weights of products of two standardised features."""

NETWORK_RANGE = {network_range}
"""Log odds of the regression: between the middle two, the regression is in doubt and the score is the combined one.
Towards the outer two, the score changes linearly to that of the regression alone."""

COMBINED_WEIGHTS = ({second.bias:.4f}, {second.regression:.4f}, {second.network:.4f})
"""The combined score is the first number, plus the second times the regression's log odds, plus the third times the
network's."""
'''


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("odds", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read_measured(options.data, compute_features)
    table["network"] = np.load(options.odds)
    everything = np.ones(len(table), bool)
    line = threshold(table, out_of_source(table, everything))
    second = fit_combination(table, cross_validated_scores(table, everything))
    options.out.write_text(page(fit(table).with_threshold(line), second), encoding="utf-8")
    print(f"{options.out.name}: learned from {table.truth.isin(['color', 'toned']).sum()} pictures")


def page(learned: Regression, second: Combination) -> str:
    """The text of weights.py."""
    rows = (
        f'    "{name}": ({mean:.4f}, {deviation:.4f}, {weight:+.4f}),'
        for name, (mean, deviation, weight) in learned.features.items()
    )
    products = (f'    ("{one}", "{other}"): {weight:+.4f},' for (one, other), weight in learned.products.items())
    return PAGE.format(
        bias=learned.bias,
        features="\n".join(rows),
        products="\n".join(products),
        network_range=NETWORK_RANGE,
        second=second,
    )


if __name__ == "__main__":
    main()
