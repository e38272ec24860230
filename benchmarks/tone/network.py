"""The tone network: what it learns from, how it is fitted, and how a whole table is scored by it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.measures import tone_weights

NOT_INPUTS = ("chroma_p99_ab", "curve_rms_ab", "tone_hue_deg")
"""What `curate.measures.tone.features` measures for the other rules, the name and the manifest only."""
CLIP = 4.0
COLORFUL_M = 20.0
"""The threshold of a colorizer's training set: only colour photos above it can be lost, only toned ones can leak."""
FALSE_ALARMS = 0.0045
"""Share of the colour photos with M >= 20 that may lie above the threshold, each judged by a network without it."""
FOLDS = 5
NETS, UNITS, EPOCHS, BATCH = 2, 16, 60, 256
"""Two networks from other seeds are averaged, which is one network of 32 units."""
RATE, DECAY = 4e-3, 1e-2

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Network:
    """What `curate/measures/tone_weights.py` holds."""

    features: Mapping[str, tuple[float, float]]
    """Mean and standard deviation of log(1 + feature)."""
    hidden: Floats
    """(features, units)."""
    hidden_bias: Floats
    output: Floats
    output_bias: float
    """Less the threshold."""

    def scores(self, table: pd.DataFrame) -> Matrix:
        """(n,) log odds less the threshold, as `curate.measures.tone.log_odds` gives them one by one."""
        mean, deviation = np.array(list(self.features.values())).T
        inputs = np.clip((_logs(table, list(self.features)) - mean) / deviation, -CLIP, CLIP)
        return np.asarray(np.tanh(inputs @ self.hidden + self.hidden_bias) @ self.output + self.output_bias, np.float64)

    def less(self, threshold: float) -> Network:
        """The same with another line."""
        return replace(self, output_bias=self.output_bias - threshold)


def shipped() -> Network:
    """The weights as the project has them."""
    tables = (tone_weights.HIDDEN, tone_weights.HIDDEN_BIAS, tone_weights.OUTPUT)
    return Network(tone_weights.FEATURES, *(np.array(table, np.float32) for table in tables), tone_weights.OUTPUT_BIAS)


def read(paths: Sequence[Path], measure: Callable[[NDArray[np.uint8]], Mapping[str, Any]]) -> pd.DataFrame:
    """Measure every picture of build_dataset.py's and build_recipes.py's files.

    Args:
        paths: the Parquet files.
        measure: (h, w, 3) uint8 sRGB to columns by name.

    Returns:
        One row a picture: source, base, kind, truth, colorfulness, fold (of the base photo), the measured columns.
    """
    rows = []
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                small = np.frombuffer(row.pop("rgb"), np.uint8).reshape(row.pop("height_px"), row.pop("width_px"), 3)
                rows.append(row | {"fold": zlib.crc32(row["base"].encode()) % FOLDS} | dict(measure(small)))
    return pd.DataFrame(rows)


def loud_originals(table: pd.DataFrame) -> NDArray[np.bool_]:
    """(n,) real colour photos with M >= 20, as they are: what false alarms are counted on."""
    return ((table.truth == "color") & (table.kind == "original") & (table.colorfulness >= COLORFUL_M)).to_numpy()


def out_of_fold(table: pd.DataFrame, learn: NDArray[np.bool_]) -> Matrix:
    """(n,) scores, before any threshold, by networks that saw neither the photo nor anything made from it."""
    scores = np.zeros(len(table))
    for fold in range(FOLDS):
        unseen = (table.fold == fold).to_numpy()
        scores[unseen] = fit(table[learn & ~unseen]).scores(table[unseen])
    return scores


def threshold(table: pd.DataFrame, scores: Matrix) -> float:
    """The score that FALSE_ALARMS of the loud originals lie above."""
    return float(np.quantile(scores[loud_originals(table)], 1 - FALSE_ALARMS))


def fit(table: pd.DataFrame) -> Network:
    """Learn from the rows whose truth is color or toned; the others are passed over. Its threshold is 0."""
    table = table[table.truth.isin(["color", "toned"])]
    names = [name for name in tone_columns(table) if name not in NOT_INPUTS]
    logs = _logs(table, names)
    mean, deviation = logs.mean(axis=0), logs.std(axis=0) + 1e-9
    inputs = np.clip((logs - mean) / deviation, -CLIP, CLIP).astype(np.float32)
    signs = np.where(table.truth == "toned", 1, -1).astype(np.float32)
    nets = [_descend(inputs, signs, _counts(table), seed) for seed in range(NETS)]
    hidden, hidden_bias, output, output_bias = zip(*nets, strict=True)
    return Network(
        features={name: (float(mean[i]), float(deviation[i])) for i, name in enumerate(names)},
        hidden=np.concatenate(hidden, axis=1),
        hidden_bias=np.concatenate(hidden_bias),
        output=np.concatenate(output) / NETS,
        output_bias=float(np.mean(output_bias)),
    )


def tone_columns(table: pd.DataFrame) -> list[str]:
    """The measured features, in the order in which they are measured."""
    return [name for name in table.columns if name.endswith(("_ab", "_levels", "_spread", "_deg"))]


def _counts(table: pd.DataFrame) -> Floats:
    """(n,) what each row counts: real prints and real loud colour much, since they are few and what matters."""
    counts = np.ones(len(table), np.float32)
    counts[(table.source == "prints").to_numpy()] = 20
    counts[loud_originals(table)] = 10
    counts[table.kind.isin(["damaged_colour", "filtered_colour"]).to_numpy()] = 0.4
    counts[(table.kind == "c_faded").to_numpy()] = 0.5
    counts[((table.truth == "color") & (table.colorfulness < COLORFUL_M)).to_numpy()] = 0.1
    return counts


def _descend(inputs: Floats, signs: Floats, counts: Floats, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """AdamW with a cosine schedule on the weighted logistic loss of one layer of tanh."""
    rng = np.random.default_rng(seed)
    n, width = inputs.shape
    weights: list[Floats] = [
        (rng.normal(0, 1, (width, UNITS)) / np.sqrt(width)).astype(np.float32),
        np.zeros(UNITS, np.float32),
        rng.normal(0, 0.3, UNITS).astype(np.float32),
        np.zeros(1, np.float32),
    ]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    order, steps = np.arange(n), EPOCHS * (n // BATCH)
    for step in range(1, steps + 1):
        at = (step - 1) % (n // BATCH)
        order = rng.permutation(n) if at == 0 else order
        rows = order[at * BATCH : (at + 1) * BATCH]
        slopes = _slopes(inputs[rows], signs[rows], counts[rows], weights)
        rate = RATE * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for i, slope in enumerate(slopes):
            first[i] += 0.1 * (slope - first[i])
            second[i] += 0.002 * (slope**2 - second[i])
            move = first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.998**step)) + 1e-7)
            weights[i] -= (rate * (move + (DECAY * weights[i] if i in (0, 2) else 0))).astype(np.float32)
    return weights[0], weights[1], weights[2], weights[3]


def _slopes(inputs: Floats, signs: Floats, counts: Floats, weights: list[Floats]) -> list[Floats]:
    units = np.tanh(inputs @ weights[0] + weights[1])
    odds = units @ weights[2] + weights[3]
    pull = -signs * counts / (1 + np.exp(np.clip(signs * odds, -30, 30))) / len(signs)
    back = np.outer(pull, weights[2]) * (1 - units * units)
    return [inputs.T @ back, back.sum(axis=0), units.T @ pull, pull.sum(keepdims=True)]


def _logs(table: pd.DataFrame, names: list[str]) -> Matrix:
    return np.log1p(np.maximum(table[names].to_numpy(np.float64), 0))
