"""Counts on a table with verdicts: detected, leaked and false alarms; cross-validated scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from regression import COLORFUL_M, FOLDS, Floats, Mask, Matrix, fit, fit_head, out_of_source, threshold
from toning import TONING
from variants import GRAY

PRINTS = ("print", "print_crop", "print_rot", "print_crop_rot")
FOUND_TONED, FOUND_GRAY = "original (toned, by eye)", "original (gray)"
KINDS = (*PRINTS, *TONING, *GRAY, FOUND_TONED, FOUND_GRAY, "tinted")


def cross_validated_scores(table: pd.DataFrame, learn: Mask) -> Matrix:
    """(n,) scores by regressions that were trained on rows in `learn`, without the photo and everything made from it.

    The threshold of a fold is set on photos of the other folds.
    """
    unseen, scores = out_of_source(table, learn), np.zeros(len(table))
    for fold in range(FOLDS):
        held = (table.fold == fold).to_numpy()
        line = threshold(table[~held], unseen[~held])
        scores[held] = fit(table[learn & ~held]).with_threshold(line).scores(table[held])
    return scores


def cross_validated_odds(table: pd.DataFrame, features: Floats, first: Matrix) -> Matrix:
    """(n,) log odds of heads that were fitted to the other folds; `first` has scores of such regressions."""
    odds = np.zeros(len(table))
    for fold in range(FOLDS):
        held = (table.fold == fold).to_numpy()
        odds[held] = fit_head(table[~held], features[~held], first[~held]).odds(features[held])
    return odds


def caught_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """One row per kind of toned or gray picture: how many, the share detected, and the leak."""
    kind = table.kind.where(table.kind != "original", table.truth.map({"toned": FOUND_TONED, "grayscale": FOUND_GRAY}))
    missed = table.verdict == "color"
    rows = pd.DataFrame(
        {
            "n": 1,
            "caught": ~missed,
            "as grayscale": table.verdict == "grayscale",
            "leak": missed & (table.colorfulness >= COLORFUL_M),
        }
    ).groupby(kind)
    found = rows.agg({"n": "size", "caught": "mean", "as grayscale": "mean", "leak": "mean"})
    found["leaked"] = rows.leak.sum()
    return found.reindex([name for name in KINDS if name in found.index])


def false_alarms(table: pd.DataFrame, by: str, originals_only: bool = False) -> pd.DataFrame:
    """Colour pictures with M >= 20 that are classified as anything but color, by the column `by`."""
    chosen = (table.truth == "color") & (table.colorfulness >= COLORFUL_M)
    if originals_only:
        chosen &= table.kind == "original"
    wrong = (table.verdict != "color")[chosen].groupby(table[by])
    return wrong.agg(["size", "sum", "mean"]).set_axis(["n", "wrong", "rate"], axis="columns")


def summary(table: pd.DataFrame, called: Mask) -> dict[str, float]:
    """The main rates of one detector; `called` says which pictures it classifies as not color."""
    kind, leaking = table.kind, ~called & (table.colorfulness >= COLORFUL_M).to_numpy()
    colour = ((table.truth == "color") & (table.colorfulness >= COLORFUL_M)).to_numpy()
    synthetic = kind.isin(list(TONING)).to_numpy() & (table.truth == "toned").to_numpy()
    return {
        "false alarms": called[colour & (kind == "original")].mean(),
        "faded colour wrong": called[colour & (kind == "c_faded")].mean(),
        "clothing wrong": called[colour & (kind == "original") & (table.source == "clothing")].mean(),
        "synthetic caught": called[synthetic].mean(),
        **{f"{name} caught": called[kind == name].mean() for name in ("sepia", "noisy", "stained")},
        "prints caught": called[kind == "print"].mean(),
        **{f"{name} leak": leaking[kind == name].mean() for name in PRINTS[:3]},
    }
