"""Fit the tone regression and the heads of the pretrained network: curate/measures/tone/weights.py and HEADS.npz.

    python benchmarks/tone/train_regression.py DATA.parquet ODDS.npy FEATURES.npy LARGE.npy HEADS.npz [--out FILE]
    python benchmarks/tone/write_pretrained.py HEADS.npz               # writes curate/measures/tone/pretrained.onnx

Logistic regression on standardised log(1 + feature) and on a few products of two. Its threshold is set on scores of
regressions that were trained without the photo's source, as in evaluate.py. ODDS.npy has the log odds of small
networks that were trained without the photo (train_network.py). FEATURES.npy and LARGE.npy have the pretrained
network's features (pool.py); heads are fitted to them and to scores of regressions that were trained without the photo.
The same data give the same file, up to the arithmetic of the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from counting import cross_validated_odds, cross_validated_scores
from regression import (
    NETWORK_RANGES,
    NETWORK_WEIGHT,
    Regression,
    fit,
    fit_head,
    head_threshold,
    out_of_source,
    read_measured,
    threshold,
)

from curate.measures.tone.features import compute_features

WEIGHTS = Path(__file__).parents[2] / "curate/measures/tone/weights.py"
"""In the checkout of this script, which may not be the installed one."""
PAGE = '''"""Weights of the tone regression, from benchmarks/tone/train_regression.py (data: docs/results/tone.md)."""

from __future__ import annotations

from collections.abc import Mapping

from curate.measures.names import NetworkSize

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

NETWORK_RANGES: Mapping[NetworkSize, tuple[float, float, float, float]] = {{
    "small": {ranges[small]},
    "large": {ranges[large]},
}}
"""Log odds of the regression: between the middle two, the regression is in doubt and the networks' log odds are added.
Towards the outer two, their share falls linearly to 0."""

NETWORK_WEIGHT = {network_weight}
"""Factor of the small network's log odds; those of the pretrained network have the factor 1."""
'''


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("odds", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("large", type=Path)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read_measured(options.data, compute_features)
    everything = np.ones(len(table), bool)
    line = threshold(table, out_of_source(table, everything))
    options.out.write_text(page(fit(table).with_threshold(line)), encoding="utf-8")
    print(f"{options.out.name}: learned from {table.truth.isin(['color', 'toned']).sum()} pictures")
    table["network"] = np.load(options.odds)
    first, heads = cross_validated_scores(table, everything), []
    for name, path in (("small", options.features), ("large", options.large)):
        features = np.load(path).astype(np.float32)
        # the head in use learns from all photos; its threshold is that of heads which learned from other photos
        line = head_threshold(table, first, cross_validated_odds(table, features, first), NETWORK_RANGES[name])
        head = fit_head(table, features, first)
        heads.append((head.weights.astype(np.float32), np.float32(head.bias - line)))
    (tone_weights, tone_bias), (large_weights, large_bias) = heads
    np.savez(
        options.heads,
        tone_weights=tone_weights,
        tone_bias=tone_bias,
        tone_large_weights=large_weights,
        tone_large_bias=large_bias,
    )


def page(learned: Regression) -> str:
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
        ranges=NETWORK_RANGES,
        network_weight=NETWORK_WEIGHT,
    )


if __name__ == "__main__":
    main()
