"""The tone regression: its training rows and weights, the fit, and scores for a whole table."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from curate.measures.tone import weights
from curate.measures.tone.classify import MAX_TONING_SPREAD_AB

NOT_INPUTS = ("all_chroma_p99_ab", "all_bin_rms_ab", "brightness_spread_levels", "all_hue_deg")
"""Features of `curate.measures.tone.features` that only the other rules or the manifest use."""
CLIP = 4.0
"""Standardised inputs are clipped to ± this, as in `curate.measures.tone.classify.regression_log_odds`."""
COLORFUL_M = 20.0
"""Threshold of a colorizer's training set: only colour photos above it can be lost, and only toned ones can leak."""
PRINT_WEIGHT, ARCHIVE_WEIGHT, COLORFUL_WEIGHT, DULL_WEIGHT = 20.0, 10.0, 40.0, 0.1
"""Weights of rows: high for real prints, toned photos of the archives and real colour with M >= 20, which are few and
matter most; low for colour below M 20."""
PRODUCTS = (
    ("mid_smooth_rms_ab", "mid_smooth_p98_ab"),
    ("noise_ab", "all_curve_p90_ab"),
    ("mid_smooth_p98_ab", "core_smooth_kept_minor_ab"),
    ("all_bin_minor_ab", "all_bin_minor_ab"),
    ("core_chroma_ab", "core_chroma_ab"),
    ("noise_ab", "all_major_ab"),
    ("all_chroma_ab", "all_curve_p90_ab"),
    ("ratio_p90_levels", "mid_smooth_p98_ab"),
    ("ratio_p90_levels", "ratio_p90_levels"),
    ("all_chroma_ab", "all_chroma_ab"),
    ("all_bin_minor_ab", "core_smooth_kept_minor_ab"),
    ("ratio_p90_levels", "all_curve_p90_ab"),
    ("mid_major_ab", "mid_smooth_p98_ab"),
    ("ratio_p70_levels", "core_across_p75_ab"),
)
"""Selected once, one after another by a score test, on two fifths of the photos and none of the real prints, with an
earlier list of features; two more were removed with their features."""
REGRESSION_FALSE_ALARMS = 0.0045
"""Share of colour photos with M >= 20 that may score above the threshold of the regression alone, by weights learned
without their source."""
FALSE_ALARMS = 0.0075
"""The same for the score with the network, by weights learned without the photo or its repository."""
NETWORK_RANGES = {"small": (-5.5, -4.0, 2.0, 5.0), "large": (-7.0, -5.5, 2.0, 5.0)}
"""Between the middle two of these log odds of the regression the networks' log odds are added. Towards the outer two
their share falls to 0, so that the score has no steps."""
POOLED_FROM = -9.0
"""Log odds of the regression from which a head learns."""
NETWORK_WEIGHT = 0.4
"""Factor of the small network's log odds beside those of the regression."""
HEAD_CLIP, HEAD_RIDGE, OTHERS_SCALE = 5.0, 0.003, 0.5
"""Standardised features are clipped to ± HEAD_CLIP while a head learns; its ridge (sklearn's C); the factor of what
regression and small network say among its inputs."""
MADE_WEIGHT, FAINT_WEIGHT, TONED_WEIGHT, REAL_COLOUR_WEIGHT = 0.3, 0.4, 6.0, 1.5
"""Weights of rows for a head: changed copies, M below 20, toned photos of archives, colorful originals."""
ARCHIVES = "archives"
"""The source of photos from many repositories, with bases `archives/OWNER/NAME/path`."""
FOLDS = 5
ROUNDS = 12
"""Newton steps; the last ones change almost nothing."""

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Regression:
    """The contents of `curate/measures/tone/weights.py`."""

    bias: float
    """The threshold is subtracted."""
    features: Mapping[str, tuple[float, float, float]]
    """Mean and standard deviation of log(1 + feature), and weight."""
    products: Mapping[tuple[str, str], float]

    def scores(self, table: pd.DataFrame) -> Matrix:
        """(n,) log odds minus the threshold, as from `curate.measures.tone.classify.regression_log_odds`."""
        mean, deviation, weight = (np.array(column) for column in zip(*self.features.values(), strict=True))
        names = list(self.features)
        inputs = np.clip((_logs(table, names) - mean) / deviation, -CLIP, CLIP)
        total = inputs @ weight + self.bias
        for (i, j), factor in self.products.items():
            total = total + factor * inputs[:, names.index(i)] * inputs[:, names.index(j)]
        return np.asarray(np.minimum(total, MAX_TONING_SPREAD_AB - table.all_major_ab), np.float64)

    def with_threshold(self, threshold: float) -> Regression:
        """The same with another threshold."""
        return replace(self, bias=self.bias - threshold)


def package_regression() -> Regression:
    """The weights in the package."""
    return Regression(weights.BIAS, weights.FEATURES, weights.PRODUCTS)


@dataclass(frozen=True, slots=True)
class Head:
    """Log odds of toned against colour from features of the pretrained network, added to those of the others."""

    weights: Matrix
    """(FEATURES,)"""
    bias: float

    def odds(self, features: Floats) -> Matrix:
        """(n,) log odds of (n, FEATURES) features; the bias where they were not computed."""
        odds: Matrix = np.nan_to_num(features.astype(np.float64)) @ self.weights + self.bias
        return odds


def combine(table: pd.DataFrame, first: Matrix, odds: Matrix, ends: Sequence[float]) -> Matrix:
    """(n,) scores of the whole rule from the log odds of the regression and of the pretrained network.

    Args:
        table: with the small network's log odds as `network`.
        first: (n,) scores of regressions.
        odds: (n,) log odds of heads.
        ends: one of NETWORK_RANGES.
    """
    added = NETWORK_WEIGHT * table.network.to_numpy() + odds
    scores: Matrix = first + np.interp(first, ends, (0, 1, 1, 0)) * added
    return scores


def head_threshold(table: pd.DataFrame, first: Matrix, odds: Matrix, ends: Sequence[float]) -> float:
    """What to subtract from the heads' log odds, so that FALSE_ALARMS of the colorful originals score above 0."""
    chosen = colorful_originals(table)
    low, high = -30.0, 30.0
    for _ in range(30):
        middle = (low + high) / 2
        scores = combine(table[chosen], first[chosen], odds[chosen] - middle, ends)
        too_many = (scores > 0).mean() > FALSE_ALARMS
        low, high = (middle, high) if too_many else (low, middle)
    return high


def fit_head(table: pd.DataFrame, features: Floats, first: Matrix) -> Head:
    """Fit a head to the colour and toned pictures for which the networks may be evaluated.

    Args:
        table: n pictures, with the small network's log odds as `network`.
        features: (n, FEATURES); NaN where they were not computed.
        first: (n,) scores of regressions that were trained without the picture.
    """
    used = table.truth.isin(["color", "toned"]).to_numpy() & ~np.isnan(features[:, 0]) & (first > POOLED_FROM)
    inputs, toned = features[used].astype(np.float64), (table.truth == "toned").to_numpy()[used]
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    standard = np.clip((inputs - mean) / deviation, -HEAD_CLIP, HEAD_CLIP)
    others = first[used] + NETWORK_WEIGHT * table.network.to_numpy()[used]
    learned = LogisticRegression(C=HEAD_RIDGE, max_iter=400)
    learned.fit(np.column_stack([standard, others * OTHERS_SCALE]), toned, _head_row_weights(table)[used])
    *weights, factor = learned.coef_[0]
    weights = np.array(weights) / deviation
    scale = factor * OTHERS_SCALE  # the sum of the others has the factor 1 in the score
    return Head(weights / scale, float(learned.intercept_[0] - mean @ weights) / scale)


def read_measured(path: Path, measure: Callable[[Sequence[NDArray[np.uint8]]], Mapping[str, Any]]) -> pd.DataFrame:
    """Measure every picture of build_dataset.py's file.

    Args:
        path: the Parquet file.
        measure: n pictures, each (h, w, 3) uint8 sRGB, to (n,) columns by name.

    Returns:
        One row per picture: source, base, kind, truth, colorfulness, fold, the measured columns. The fold is that
        of the base photo; for archives, that of the repository, so that out of fold means out of repository.
    """
    pieces = []
    for batch in batches(path):
        rows, smalls = zip(*batch, strict=True)
        pieces.append(pd.DataFrame(rows).assign(**measure(smalls)))
    return pd.concat(pieces, ignore_index=True)


def batches(path: Path) -> Iterator[list[tuple[dict[str, Any], NDArray[np.uint8]]]]:
    """Rows of build_dataset.py's file, each with its fold, and their (h, w, 3) uint8 small copies, 500 at a time."""
    for batch in pq.ParquetFile(path).iter_batches(batch_size=500):
        rows = batch.to_pylist()
        pixels = [np.frombuffer(row.pop("rgb"), np.uint8) for row in rows]
        smalls = [
            flat.reshape(row.pop("height_px"), row.pop("width_px"), 3) for row, flat in zip(rows, pixels, strict=True)
        ]
        yield [(row | {"fold": fold_of(row)}, small) for row, small in zip(rows, smalls, strict=True)]


def fold_of(row: Mapping[str, Any]) -> int:
    """0 to FOLDS - 1: of the base photo; for archives, of the repository."""
    together = "/".join(row["base"].split("/")[:3]) if row["source"] == ARCHIVES else str(row["base"])
    return zlib.crc32(together.encode()) % FOLDS


def colorful_originals(table: pd.DataFrame) -> Mask:
    """(n,) bool: unchanged colour photos with M >= 20, on which false alarms are counted."""
    return ((table.truth == "color") & (table.kind == "original") & (table.colorfulness >= COLORFUL_M)).to_numpy()


def out_of_source(table: pd.DataFrame, learn: Mask) -> Matrix:
    """(n,) scores of the colorful originals by regressions trained without their source; NaN for other rows.

    For the archives, one fold of repositories at a time is left out.
    """
    scores = np.full(len(table), np.nan)
    loud = colorful_originals(table)
    sources = table.source.where(table.source != ARCHIVES, ARCHIVES + table.fold.astype(str))
    for source in sources[loud].unique():
        held = (sources == source).to_numpy()
        scores[held & loud] = fit(table[learn & ~held]).scores(table[held & loud])
    return scores


def threshold(table: pd.DataFrame, scores: Matrix) -> float:
    """The score that a share of REGRESSION_FALSE_ALARMS of the colorful originals exceeds."""
    return float(np.quantile(scores[colorful_originals(table)], 1 - REGRESSION_FALSE_ALARMS))


def fit(table: pd.DataFrame) -> Regression:
    """Fit a regression to the rows whose truth is color or toned; other rows are ignored. Its threshold is 0."""
    table = table[table.truth.isin(["color", "toned"])]
    names = [name for name in table.columns if name.endswith(("_ab", "_levels")) and name not in NOT_INPUTS]
    logs = _logs(table, names)
    mean, deviation = logs.mean(axis=0), logs.std(axis=0)
    inputs = np.clip((logs - mean) / deviation, -CLIP, CLIP).astype(np.float32)
    toned, counts = (table.truth == "toned").to_numpy().astype(np.float32), _row_weights(table)
    pairs = [inputs[:, names.index(one)] * inputs[:, names.index(other)] for one, other in PRODUCTS]
    bias, *weights = _newton(np.column_stack([np.ones_like(toned), inputs, *pairs]), toned, counts).tolist()
    return Regression(
        bias=bias,
        features={name: (float(mean[i]), float(deviation[i]), weights[i]) for i, name in enumerate(names)},
        products=dict(zip(PRODUCTS, weights[len(names) :], strict=True)),
    )


def _row_weights(table: pd.DataFrame) -> Floats:
    counts = np.ones(len(table), np.float32)
    counts[(table.source == "prints").to_numpy()] = PRINT_WEIGHT
    counts[((table.source == ARCHIVES) & (table.truth == "toned")).to_numpy()] = ARCHIVE_WEIGHT
    counts[colorful_originals(table)] = COLORFUL_WEIGHT
    counts[((table.truth == "color") & (table.colorfulness < COLORFUL_M)).to_numpy()] = DULL_WEIGHT
    return counts


def _head_row_weights(table: pd.DataFrame) -> Matrix:
    counts = np.where(table.kind.isin(["original", "archive", "print"]), 1, MADE_WEIGHT)
    counts *= np.where(table.colorfulness >= COLORFUL_M, 1, FAINT_WEIGHT)
    counts *= np.where((table.source == ARCHIVES) & (table.truth == "toned"), TONED_WEIGHT, 1)
    weights: Matrix = counts * np.where(colorful_originals(table), REAL_COLOUR_WEIGHT, 1)
    return weights


def _newton(columns: Floats, toned: Floats, counts: Floats) -> Matrix:
    """Weights of a logistic regression with a unit ridge on all but the first column, the bias."""
    weights, ridge = np.zeros(columns.shape[1]), np.eye(columns.shape[1])
    ridge[0, 0] = 1e-6
    for _ in range(ROUNDS):
        odds = 1 / (1 + np.exp(-np.clip(columns @ weights.astype(np.float32), -12, 12)))
        slope = columns.T @ (counts * (toned - odds)) - ridge @ weights
        bend = counts * np.maximum(odds * (1 - odds), np.float32(1e-4))
        step = np.linalg.solve((columns * bend[:, None]).T @ columns + ridge, slope)
        weights = weights + step * min(1.0, 4 / float(np.abs(step).max()))
    return weights


def _logs(table: pd.DataFrame, names: list[str]) -> Matrix:
    logs: Matrix = np.log1p(table[names].to_numpy(np.float64))
    return logs
