"""Learn the tone network and write curate/measures/tone_weights.py.

    python benchmarks/tone/train.py DATA.parquet RECIPES.parquet [--out FILE]

The threshold comes from networks that have not seen the photo judged, so that what is committed has the false alarms
that evaluate.py reports. The same data give the same file, up to the arithmetic of the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from network import Network, fit, out_of_fold, read, threshold

from curate.measures import tone_weights
from curate.measures.tone import features

PAGE = '''"""Weights of the tone network, learned by benchmarks/tone/train.py; docs/results/tone.md tells on what."""

from __future__ import annotations

from collections.abc import Mapping

CLIP = 4.0
"""Standardised inputs stay within this."""

FEATURES: Mapping[str, tuple[float, float]] = {{
{features}
}}
"""Mean and standard deviation of log(1 + feature) over the photos learned from."""

# fmt: off
HIDDEN: tuple[tuple[float, ...], ...] = (
{hidden}
)
"""A row a feature, a column a unit."""

HIDDEN_BIAS: tuple[float, ...] = (
{hidden_bias}
)
OUTPUT: tuple[float, ...] = (
{output}
)
# fmt: on
OUTPUT_BIAS = {output_bias:.4f}
"""Less the threshold, above which 0.45 % of colour photos with M >= 20 lie, judged out of fold."""
'''
NUMBERS_A_LINE = 12


def main() -> None:
    """Write one file of plain numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path(tone_weights.__file__))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read(options.data, features)
    everything = np.ones(len(table), bool)
    line = threshold(table, out_of_fold(table, everything))
    options.out.write_text(page(fit(table).less(line)), encoding="utf-8")
    print(f"{options.out.name}: learned from {table.truth.isin(['color', 'toned']).sum()} pictures")


def page(learned: Network) -> str:
    """The file's text."""
    rows = (f'    "{name}": ({mean:.4f}, {spread:.4f}),' for name, (mean, spread) in learned.features.items())
    return PAGE.format(
        features="\n".join(rows),
        hidden="\n".join(f"    (\n{_lines(row, 8)}\n    )," for row in learned.hidden),
        hidden_bias=_lines(learned.hidden_bias, 4),
        output=_lines(learned.output, 4),
        output_bias=learned.output_bias,
    )


def _lines(numbers: Iterable[float], indent: int) -> str:
    texts = [f"{number:.3f}," for number in numbers]
    parts = (texts[i : i + NUMBERS_A_LINE] for i in range(0, len(texts), NUMBERS_A_LINE))
    return "\n".join(" " * indent + " ".join(part) for part in parts)


if __name__ == "__main__":
    main()
