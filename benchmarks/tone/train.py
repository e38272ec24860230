"""Learn the tone regression and write curate/measures/tone_weights.py.

    python benchmarks/tone/train.py DATA.parquet [--out FILE]

Logistic regression on standardised log(1 + feature) and on a few products of two, which a score test picks. The same
data give the same file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from regression import Regression, fit, read

from curate.measures import tone_weights
from curate.measures.tone import features

PAGE = '''"""Weights of the tone regression, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

BIAS = {bias:.4f}
THRESHOLD = {threshold:.4f}
"""Log odds at which 0.35 % of the colourful colour photos that were learned from lie above."""

FEATURES: Mapping[str, tuple[float, float, float]] = {{
{features}
}}
"""Mean and standard deviation of log(1 + feature) over the photos learned from, and the weight."""

PRODUCTS: Mapping[tuple[str, str], float] = {{
{products}
}}
"""Weights of products of two standardised features."""
'''


def main() -> None:
    """Write one file of plain numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tone_weights.__file__))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read(options.data, features)
    options.out.write_text(page(fit(table)), encoding="utf-8")
    print(f"{options.out.name}: learned from {table.truth.isin(['color', 'toned']).sum()} pictures")


def page(learned: Regression) -> str:
    """The file's text."""
    rows = (
        f'    "{name}": ({mean:.4f}, {deviation:.4f}, {weight:+.4f}),'
        for name, (mean, deviation, weight) in learned.features.items()
    )
    products = (f'    ("{one}", "{other}"): {weight:+.4f},' for (one, other), weight in learned.products.items())
    return PAGE.format(
        bias=learned.bias, threshold=learned.threshold, features="\n".join(rows), products="\n".join(products)
    )


if __name__ == "__main__":
    main()
