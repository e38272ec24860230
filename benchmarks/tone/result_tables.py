"""Print tables in Markdown; confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share."""
    z = 1.96
    middle, reach = hits + z * z / 2, z * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return float((middle - reach) / (n + z * z)), float((middle + reach) / (n + z * z))


def print_table(frame: pd.DataFrame, title: str) -> None:
    """Print a Markdown table with the index as its first column."""
    flat = frame.reset_index()
    print(f"\n### {title}\n")
    print("\n".join(lines(flat, lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))), flush=True)


def lines(flat: pd.DataFrame, cell: Callable[[Any], str]) -> Iterator[str]:
    """The table's lines."""
    yield "| " + " | ".join(map(str, flat.columns)) + " |"
    yield "|" + "---|" * len(flat.columns)
    for row in flat.itertuples(index=False):
        yield "| " + " | ".join(map(cell, row)) + " |"
