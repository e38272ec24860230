"""The tone regression: its inputs, how it is fitted, and how a whole table is scored by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from curate.measures import tone_weights

INPUTS = (
    "noise_ab",
    "ratio_p70_levels",
    "ratio_p90_levels",
    "detail_l",
    "all_chroma_ab",
    "all_curve_p90_ab",
    "all_major_ab",
    "all_bin_minor_ab",
    "all_smooth_kept_minor_ab",
    "all_smooth_kept_rms_ab",
    "all_smooth_p90_ab",
    "mid_major_ab",
    "mid_bin_minor_ab",
    "mid_smooth_kept_minor_ab",
    "mid_smooth_rms_ab",
    "mid_smooth_p98_ab",
    "core_chroma_ab",
    "core_across_p75_ab",
    "core_smooth_kept_minor_ab",
    "core_smooth_rms_ab",
    "tile_minor_ab",
)
"""What `curate.measures.tone.features` measures, less what is for the other rules, the name and the manifest."""
CLIP = 4.0
"""Standardised inputs stay within this, as in `curate.measures.tone.log_odds`."""
COLORFUL_M = 20.0
"""The threshold of a colorizer's training set: only colour photos above it can be lost, only toned ones can leak."""
DULL_WEIGHT = 0.15
"""What a colour photo below that counts."""
PRODUCTS = 8
FALSE_ALARMS = 0.0035
"""Share of the colour photos learned from that may lie above the threshold: 0.5 % is promised of unseen ones."""
THRESHOLD_KINDS = ("original", "c_jpeg", "c_resized")

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Regression:
    """What `curate/measures/tone_weights.py` holds."""

    bias: float
    threshold: float
    features: Mapping[str, tuple[float, float, float]]
    """Mean and standard deviation of log(1 + feature), and weight."""
    products: Mapping[tuple[str, str], float]

    def scores(self, table: pd.DataFrame) -> Matrix:
        """(n,) log odds less the threshold, as `curate.measures.tone.log_odds` gives them one by one."""
        mean, deviation, weight = (np.array(column) for column in zip(*self.features.values(), strict=True))
        names = list(self.features)
        inputs = np.clip((_logs(table, names) - mean) / deviation, -CLIP, CLIP)
        total = inputs @ weight + self.bias - self.threshold
        for (i, j), factor in self.products.items():
            total = total + factor * inputs[:, names.index(i)] * inputs[:, names.index(j)]
        return np.asarray(total, np.float64)


def shipped() -> Regression:
    """The weights as the project has them."""
    return Regression(tone_weights.BIAS, tone_weights.THRESHOLD, tone_weights.FEATURES, tone_weights.PRODUCTS)


def read(path: Path, measure: Callable[[NDArray[np.uint8]], Mapping[str, Any]]) -> pd.DataFrame:
    """Measure every picture of build_dataset.py's file.

    Args:
        path: the Parquet file.
        measure: (h, w, 3) uint8 sRGB to columns by name.

    Returns:
        One row a picture: source, base, kind, truth, colorfulness and the measured columns.
    """
    rows = []
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1000):
        for row in batch.to_pylist():
            small = np.frombuffer(row.pop("rgb"), np.uint8).reshape(row.pop("height_px"), row.pop("width_px"), 3)
            rows.append(row | dict(measure(small)))
    return pd.DataFrame(rows)


def fit(table: pd.DataFrame) -> Regression:
    """Learn from the rows whose truth is color or toned; the others are passed over."""
    table = table[table.truth.isin(["color", "toned"])]
    logs = _logs(table, list(INPUTS))
    mean, deviation = logs.mean(axis=0), logs.std(axis=0)
    inputs = np.clip((logs - mean) / deviation, -CLIP, CLIP)
    toned = (table.truth == "toned").to_numpy().astype(int)
    dull = ((table.truth == "color") & (table.colorfulness < COLORFUL_M)).to_numpy()
    counts = np.where(dull, DULL_WEIGHT, 1.0)
    columns, pairs = inputs, list[tuple[int, int]]()
    for _ in range(PRODUCTS):
        pairs.append(_best_pair(inputs, columns, toned, counts, pairs))
        columns = np.c_[columns, inputs[:, pairs[-1][0]] * inputs[:, pairs[-1][1]]]
    model = _logistic(columns, toned, counts)
    weights, bias = model.coef_[0], float(model.intercept_[0])
    quiet = ((table.truth == "color") & ~dull & table.kind.isin(THRESHOLD_KINDS)).to_numpy()
    return Regression(
        bias=bias,
        threshold=float(np.quantile((columns @ weights + bias)[quiet], 1 - FALSE_ALARMS)),
        features={name: (float(mean[i]), float(deviation[i]), float(weights[i])) for i, name in enumerate(INPUTS)},
        products={(INPUTS[i], INPUTS[j]): float(weights[len(INPUTS) + k]) for k, (i, j) in enumerate(pairs)},
    )


def _best_pair(
    inputs: Matrix, columns: Matrix, toned: NDArray[np.int_], counts: Matrix, taken: list[tuple[int, int]]
) -> tuple[int, int]:
    """The product of two inputs with the highest score test, given the columns that are in the model already."""
    odds = _logistic(columns, toned, counts).predict_proba(columns)[:, 1]
    slope, bend = (toned - odds) * counts, odds * (1 - odds) * counts
    known = np.c_[np.ones(len(columns)), columns]
    inverse = np.linalg.inv((known * bend[:, None]).T @ known + 1e-3 * np.eye(known.shape[1]))
    best = (0.0, (0, 0))
    for i in range(inputs.shape[1]):
        for j in range(i, inputs.shape[1]):
            if (i, j) in taken:
                continue
            product = inputs[:, i] * inputs[:, j]
            product = (product - product.mean()) / product.std()
            shared = known.T @ (bend * product)
            information = (bend * product * product).sum() - shared @ inverse @ shared
            best = max(best, (float((slope @ product) ** 2 / max(information, 1e-3)), (i, j)))
    return best[1]


def _logistic(columns: Matrix, toned: NDArray[np.int_], counts: Matrix) -> LogisticRegression:
    return LogisticRegression(C=1, max_iter=500).fit(columns, toned, sample_weight=counts)


def _logs(table: pd.DataFrame, names: list[str]) -> Matrix:
    return np.log1p(np.maximum(table[names].to_numpy(np.float64), 0))
