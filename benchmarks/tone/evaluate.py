"""Evaluate the whole tone rule on photos that its weights were not trained on, and print tables in Markdown.

    python benchmarks/tone/evaluate.py DATA.parquet ODDS.npy FEATURES.npy > tables.md

The rule is that of the package: gray, else one ratio R : G : B, else the regression and, where it is in doubt, the
networks. For each split, the weights are fitted to its training part, the threshold is set on photos of other folds;
the features and products are those of the package. ODDS.npy has the log odds of small networks that were trained
without the photo (train_network.py), FEATURES.npy the pretrained network's features (pool.py). Evaluations without
prints, kinds or sources use the regression alone.
`caught`: classified as anything but color. `leak`: classified as color with M >= 20, so it would reach a training set.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from build_dataset import PROBED_ENCODINGS, PROBED_STRENGTHS
from counting import caught_by_kind, cross_validated_odds, cross_validated_scores, false_alarms, summary
from numpy.typing import NDArray
from regression import (
    ARCHIVES,
    COLORFUL_M,
    NETWORK_RANGES,
    colorful_originals,
    combine,
    head_threshold,
    package_regression,
    read_measured,
)
from result_tables import print_table, wilson
from rules import gray_rule, one_ratio_rule, verdicts
from unseen import report_archives, report_kinds_left_out, report_prints_left_out, report_sources_left_out

from curate.measures.tone.classify import classify_tone, tone_network_share
from curate.measures.tone.features import GRID_COLUMNS, GRID_ROWS, compute_features, make_grids
from curate.measures.tone.network import network_log_odds
from curate.measures.tone.pretrained import pretrained_log_odds
from curate.measures.tone.weights import NETWORK_WEIGHT

SCORE_CUTS = (1.0, 0.5, 0.0, -0.5, -1.0, -1.16, -2.0, -3.0)
BASELINE_FALSE_ALARMS = 0.005


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("odds", type=Path)
    parser.add_argument("features", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read_measured(options.data, measured)
    report_agreement(table)
    table["network"] = np.load(options.odds)
    first = cross_validated_scores(table, np.ones(len(table), bool))
    odds = cross_validated_odds(table, np.load(options.features).astype(np.float32), first)
    table["regression"], ends = first, NETWORK_RANGES["small"]
    table["score"] = combine(table, first, odds - head_threshold(table, first, odds, ends), ends)
    table["verdict"] = verdicts(table, table.score.to_numpy())
    report_whole_rule(table)
    report_archives(table)
    report_parts(table)
    report_wrong_calls(table)
    report_matrix(table)
    report_cuts(table)
    report_prints_left_out(table)
    report_kinds_left_out(table)
    report_sources_left_out(table)
    report_confidence(table)
    report_baselines(table)


def measured(smalls: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Features, the baselines' numbers, and for one picture in 32 the result of the package for it alone."""
    found: dict[str, Any] = dict(compute_features(smalls))
    grids = [cv2.resize(small, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_AREA) for small in smalls]
    labs = [cv2.cvtColor(grid.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for grid in grids]
    found["hue_concentration"] = [np.hypot(*lab[..., 1:].mean(axis=(0, 1))) for lab in labs]
    found["hue_concentration"] /= found["all_chroma_ab"] + 1e-3
    found["mean_saturation"] = [cv2.cvtColor(grid, cv2.COLOR_RGB2HSV)[..., 1].mean() for grid in grids]
    said = [classify_tone(small) if int(small.sum()) % 32 == 0 else None for small in smalls]
    found["said"] = [each and each.tone for each in said]
    found["said_score"] = [each.tone_score if each else math.nan for each in said]
    found["said_network"] = [
        network_log_odds(list(make_grids([small]).lab))[0] if each else math.nan
        for small, each in zip(smalls, said, strict=True)
    ]
    found["said_pretrained"] = [
        pretrained_log_odds([small])[0] if each else math.nan for small, each in zip(smalls, said, strict=True)
    ]
    return found


def report_agreement(table: pd.DataFrame) -> None:
    """Compare the rule on a table, with the weights of the package, with the package's own classification."""
    sample = table[table.said.notna()]
    scores = package_regression().scores(sample)
    added = NETWORK_WEIGHT * sample.said_network.to_numpy() + sample.said_pretrained.to_numpy()
    scores += tone_network_share(scores) * added
    differ = int((verdicts(sample, scores) != sample.said).sum())
    apart = float(np.abs(scores - sample.said_score).max())
    print(f"{len(table)} pictures. Of {len(sample)} classified by the package, too, {differ} verdicts differ;", end=" ")
    print(f"scores differ by at most {apart:.1e}.")


def report_whole_rule(table: pd.DataFrame) -> None:
    """Cross-validation of the whole rule: confusion, recall, leak, false alarms."""
    print_table(pd.crosstab(truth_names(table), table.verdict), "Confusion table, out of fold")
    found = caught_by_kind(table)
    print_table(found, "Caught, by kind, out of fold")
    low, high = wilson(int(found.leaked["print"]), int(found.n["print"]))
    print(f"\nLeak of prints: {found.leaked['print']} of {found.n['print']}, 95 % interval {low:.1%} to {high:.1%}.")
    print_table(
        false_alarms(table, "source", originals_only=True), "False alarms on colour originals with M >= 20, by source"
    )
    alarms = false_alarms(table, "kind")
    wrong, originals = int(alarms.wrong["original"]), int(alarms.n["original"])
    low, high = wilson(wrong, originals)
    print(f"\nAll: {wrong} of {originals} = {wrong / originals:.2%},", end=" ")
    print(f"95 % interval {low:.2%} to {high:.2%}.")
    print_table(alarms, "False alarms on colour with M >= 20, by variant")


def truth_names(table: pd.DataFrame) -> pd.Series[str]:
    """(n,) the truth of a picture in words; NaN for probes and pictures that are for training only."""
    names = table.truth.where(table.truth != "probe")
    names = names.where(table.truth != "tinted", "hand-tinted")
    dull = (table.truth == "color") & (table.colorfulness < COLORFUL_M)
    toned = table.truth == "toned"
    names = names.where(table.truth != "color", "color, M >= 20").where(~dull, "color, M < 20")
    names = names.where(~toned, "other synthetic toning").where(~(toned & (table.kind == "sepia")), "sepia matrix")
    names = names.where(~(toned & (table.kind == "original")), "toned, found among the colour sources")
    names = names.where(table.source != "prints", "real prints (4 forms)").rename("truth")
    names = names.where(table.source != ARCHIVES, "archives, " + table.truth)
    return names.where(~table.kind.str.startswith("more"))


def report_parts(table: pd.DataFrame) -> None:
    """Rates without the one-ratio rule or the network."""
    gray, ratio, score = gray_rule(table), one_ratio_rule(table), table.score.to_numpy() > 0
    first = table.regression.to_numpy() > 0
    parts = {
        "gray, regression": gray | first,
        "gray, one ratio": gray | ratio,
        "gray, ratio, regression": gray | ratio | first,
    }
    parts["gray, regression and network"] = gray | score
    parts["all"] = gray | score | ratio
    print_table(
        pd.DataFrame({name: summary(table, called) for name, called in parts.items()}).T.rename_axis("rules"),
        "The rules apart",
    )


def report_wrong_calls(table: pd.DataFrame) -> None:
    """List the wrongly classified photos by name."""
    colour = (table.truth == "color") & (table.kind == "original") & (table.colorfulness >= COLORFUL_M)
    named = table.assign(rule=np.where(table.score > 0, "regression", "one ratio")).set_index("base")
    lost = named[(colour & (table.verdict != "color")).to_numpy()].sort_values("score")
    print_table(lost[["colorfulness", "score", "rule", "verdict"]], "Colour originals with M >= 20 not called color")
    missed = named[((table.truth == "toned") & (table.verdict == "color")).to_numpy()]
    leaked = missed[missed.kind.isin(["print", "original"])].sort_values("score")
    print_table(
        leaked[["colorfulness", "score"]], "Real prints, and toned photos among the colour sources, called color"
    )


def report_matrix(table: pd.DataFrame) -> None:
    """The sepia matrix by strength and encoding, out of fold."""
    probes = table[table.truth == "probe"]
    kind = [f"{strength} {encoding}" for strength in PROBED_STRENGTHS for encoding in PROBED_ENCODINGS]
    groups = probes.assign(caught=probes.verdict != "color").groupby(["source", "kind"]).caught
    found = groups.mean().unstack()[kind]
    found.insert(0, "photos", groups.size().unstack()[kind[0]])
    print_table(found, "The sepia matrix at strength 0.5 and 1, by encoding (JPEG quality and subsampling): caught")


def report_cuts(table: pd.DataFrame) -> None:
    """Rates with other thresholds on tone_score."""
    fixed = gray_rule(table) | one_ratio_rule(table)
    rows = {f"{cut:+.2f}": summary(table, fixed | (table.score > cut).to_numpy()) for cut in SCORE_CUTS}
    print_table(
        pd.DataFrame(rows).T.rename_axis("toned if tone_score is above"), "Other lines on tone_score, out of fold"
    )


def report_confidence(table: pd.DataFrame) -> None:
    """How many of the errors on unchanged photos (colour and prints) are among the least confident."""
    photos = table[colorful_originals(table) | (table.kind == "print").to_numpy()]
    score = photos.score.to_numpy()
    sure = 1 / (1 + np.exp(-np.minimum(np.abs(score), 50)))
    sure = np.where(gray_rule(photos) | (one_ratio_rule(photos) & (score <= 0)), 0.5, sure)
    wrong = (photos.verdict == "color").to_numpy() == (photos.truth == "toned").to_numpy()
    order = np.argsort(sure)
    rows = {f"{share:.0%}": wrong[order[: round(share * len(photos))]].sum() for share in (0.01, 0.05, 0.1)}
    print(f"\nOf {int(wrong.sum())} wrong calls among {len(photos)} photos, among the least confident", rows)


def report_baselines(table: pd.DataFrame) -> None:
    """Single numbers as detectors, each with the best threshold for these photos."""
    numbers = {
        "relative lightness-bin residual": -table.all_bin_rms_ab / (table.all_chroma_ab + 1e-3),
        "mean saturation": -table.mean_saturation,
        "hue concentration": table.hue_concentration,
    }
    loud = ((table.truth == "color") & (table.kind == "original") & (table.colorfulness >= COLORFUL_M)).to_numpy()
    gray = gray_rule(table)
    rows = {"the whole rule, out of fold": summary(table, (table.verdict != "color").to_numpy())}
    for name, values in numbers.items():
        line = np.quantile(values[loud], 1 - BASELINE_FALSE_ALARMS)
        rows[name] = summary(table, gray | (values > line).to_numpy())
    print_table(
        pd.DataFrame(rows).T.rename_axis("judged by"),
        "Baselines, with the gray rule, at 0.5 % false alarms on these photos",
    )


if __name__ == "__main__":
    main()
