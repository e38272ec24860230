"""Judge the whole tone rule on photos that its weights have not seen, and print the tables as Markdown.

    python benchmarks/tone/evaluate.py DATA.parquet > tables.md

The rule is the shipped one: gray, else one ratio R : G : B, else the regression. Weights are learned anew from the
training part of every split, the threshold from photos of other folds, each judged by weights that saw nothing of its
source; other lines, the features and the products are the project's.
`caught` is called anything but color; `leak` is called color with M >= 20: it would reach a training set.
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
from numpy.typing import NDArray
from regression import (
    COLORFUL_M,
    FOLDS,
    Mask,
    Matrix,
    Regression,
    fit,
    loud_originals,
    out_of_fold,
    out_of_source,
    read,
    shipped,
    threshold,
)
from rules import gray_rule, one_ratio_rule, verdicts
from tables import show, wilson
from toning import TONING
from variants import GRAY

from curate.measures.tone import (
    tone,
)
from curate.measures.tone_features import GRID_COLUMNS, GRID_ROWS, features

PRINTS = ("print", "print_crop", "print_rot", "print_crop_rot")
FOUND_TONED, FOUND_GRAY = "original (toned, by eye)", "original (gray)"
KINDS = (*PRINTS, *TONING, *GRAY, FOUND_TONED, FOUND_GRAY, "tinted")
COLOUR_SOURCES = ("imagenet", "imagenette", "flowers", "clothing", "weather", "other")
SCORE_CUTS = (1.0, 0.5, 0.0, -0.5, -1.0, -1.16, -2.0, -3.0)
BASELINE_FALSE_ALARMS = 0.005


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = read(options.data, measured)
    report_agreement(table)
    everything = np.ones(len(table), bool)
    table["score"] = judged(table, everything)
    table["verdict"] = verdicts(table, table.score.to_numpy())
    report_whole_rule(table)
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
    """Features, the baselines' numbers, and for one picture in 32 what the project itself says of it alone."""
    found: dict[str, Any] = dict(features(smalls))
    grids = [cv2.resize(small, (GRID_COLUMNS, GRID_ROWS), interpolation=cv2.INTER_AREA) for small in smalls]
    labs = [cv2.cvtColor(grid.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for grid in grids]
    found["hue_concentration"] = [np.hypot(*lab[..., 1:].mean(axis=(0, 1))) for lab in labs]
    found["hue_concentration"] /= found["all_chroma_ab"] + 1e-3
    found["mean_saturation"] = [cv2.cvtColor(grid, cv2.COLOR_RGB2HSV)[..., 1].mean() for grid in grids]
    said = [tone(small) if int(small.sum()) % 32 == 0 else None for small in smalls]
    found["said"] = [each and each.tone for each in said]
    found["said_score"] = [each.tone_score if each else math.nan for each in said]
    return found


def judged(table: pd.DataFrame, learn: Mask) -> Matrix:
    """(n,) out-of-fold scores, learned from rows in `learn`; the line of a fold comes from photos of the others."""
    unseen = out_of_source(table, learn)
    lines = [threshold(table[table.fold != fold], unseen[table.fold != fold]) for fold in range(FOLDS)]
    return out_of_fold(table, learn) - np.array(lines)[table.fold]


def caught_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of picture that is to be caught: how many, the share caught, and the leak."""
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
    """Colour pictures with M >= 20 called anything but color."""
    chosen = (table.truth == "color") & (table.colorfulness >= COLORFUL_M)
    if originals_only:
        chosen &= table.kind == "original"
    wrong = (table.verdict != "color")[chosen].groupby(table[by])
    return wrong.agg(n="size", wrong="sum", rate="mean")


def report_agreement(table: pd.DataFrame) -> None:
    """That the vectorised rule here and the project's own say the same, with the project's weights."""
    sample = table[table.said.notna()]
    scores = shipped().scores(sample)
    differ = int((verdicts(sample, scores) != sample.said).sum())
    apart = float(np.abs(scores - sample.said_score).max())
    print(f"{len(table)} pictures. Of {len(sample)} judged by the project too, {differ} verdicts differ;", end=" ")
    print(f"scores differ by at most {apart:.1e}.")


def report_whole_rule(table: pd.DataFrame) -> None:
    """Cross-validation of the whole rule: confusion, recall, leak, false alarms."""
    show(pd.crosstab(truth_names(table), table.verdict), "Confusion table, out of fold")
    found = caught_by_kind(table)
    show(found, "Caught, by kind, out of fold")
    low, high = wilson(int(found.leaked["print"]), int(found.n["print"]))
    print(f"\nLeak of prints: {found.leaked['print']} of {found.n['print']}, 95 % interval {low:.1%} to {high:.1%}.")
    show(false_alarms(table, "source", originals_only=True), "False alarms on colour originals with M >= 20, by source")
    originals = false_alarms(table, "kind").loc["original"]
    low, high = wilson(int(originals.wrong), int(originals.n))
    print(f"\nAll: {int(originals.wrong)} of {int(originals.n)} = {originals.rate:.2%},", end=" ")
    print(f"95 % interval {low:.2%} to {high:.2%}.")
    show(false_alarms(table, "kind"), "False alarms on colour with M >= 20, by variant")


def truth_names(table: pd.DataFrame) -> pd.Series[str]:
    """(n,) what a picture is, in words; probes, and what is learned from only, are left out (NaN)."""
    names = table.truth.where(table.truth != "probe")
    names = names.where(table.truth != "tinted", "hand-tinted")
    dull = (table.truth == "color") & (table.colorfulness < COLORFUL_M)
    toned = table.truth == "toned"
    names = names.where(table.truth != "color", "color, M >= 20").where(~dull, "color, M < 20")
    names = names.where(~toned, "other synthetic toning").where(~(toned & (table.kind == "sepia")), "sepia matrix")
    names = names.where(~(toned & (table.kind == "original")), "toned, found among the colour sources")
    names = names.where(table.source != "prints", "real prints (4 forms)").rename("truth")
    return names.where(~table.kind.str.startswith("more"))


def report_parts(table: pd.DataFrame) -> None:
    """What the one-ratio rule adds to the regression."""
    gray, ratio, score = gray_rule(table), one_ratio_rule(table), table.score.to_numpy() > 0
    parts = {"gray, regression": gray | score, "gray, one ratio": gray | ratio, "all three": gray | score | ratio}
    show(
        pd.DataFrame({name: summary(table, called) for name, called in parts.items()}).T.rename_axis("rules"),
        "The rules apart",
    )


def summary(table: pd.DataFrame, called: Mask) -> dict[str, float]:
    """The shares that matter of one way to call pictures not color."""
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


def report_wrong_calls(table: pd.DataFrame) -> None:
    """The photos by name."""
    colour = (table.truth == "color") & (table.kind == "original") & (table.colorfulness >= COLORFUL_M)
    named = table.assign(rule=np.where(table.score > 0, "regression", "one ratio")).set_index("base")
    lost = named[(colour & (table.verdict != "color")).to_numpy()].sort_values("score")
    show(lost[["colorfulness", "score", "rule", "verdict"]], "Colour originals with M >= 20 not called color")
    missed = named[((table.truth == "toned") & (table.verdict == "color")).to_numpy()]
    leaked = missed[missed.kind.isin(["print", "original"])].sort_values("score")
    show(leaked[["colorfulness", "score"]], "Real prints, and toned photos among the colour sources, called color")


def report_matrix(table: pd.DataFrame) -> None:
    """The sepia matrix by strength and encoding, out of fold."""
    probes = table[table.truth == "probe"]
    kind = [f"{strength} {encoding}" for strength in PROBED_STRENGTHS for encoding in PROBED_ENCODINGS]
    groups = probes.assign(caught=probes.verdict != "color").groupby(["source", "kind"]).caught
    found = groups.mean().unstack()[kind]
    found.insert(0, "photos", groups.size().unstack()[kind[0]])
    show(found, "The sepia matrix at strength 0.5 and 1, by encoding (JPEG quality and subsampling): caught")


def report_cuts(table: pd.DataFrame) -> None:
    """Other lines on tone_score."""
    fixed = gray_rule(table) | one_ratio_rule(table)
    rows = {f"{cut:+.2f}": summary(table, fixed | (table.score > cut).to_numpy()) for cut in SCORE_CUTS}
    show(pd.DataFrame(rows).T.rename_axis("toned if tone_score is above"), "Other lines on tone_score, out of fold")


def report_prints_left_out(table: pd.DataFrame) -> None:
    """Learned from synthetic toning only: all real prints are unseen."""
    others = (table.source != "prints").to_numpy()
    again = table.assign(verdict=verdicts(table, judged(table, others)))
    show(caught_by_kind(again[~others]), "Learned without any print: prints caught")
    show(false_alarms(again, "kind").loc[["original"]], "Learned without any print: false alarms, out of fold")


def report_kinds_left_out(table: pd.DataFrame) -> None:
    """Each kind of toning or damage unseen, and the photos too."""
    rows = []
    for kind in TONING:
        chosen = ((table.kind == kind) & (table.truth == "toned")).to_numpy()
        again = table.assign(
            verdict=verdicts(table, judged(table, ~chosen & (table.kind != f"more {kind}").to_numpy()))
        )
        rows.append(caught_by_kind(again[chosen]))
    show(pd.concat(rows)[["n", "caught", "leak"]], "Learned without one kind of toning or damage")


def report_confidence(table: pd.DataFrame) -> None:
    """How many of the wrong calls among photos as they are (colour and prints) stand among the least confident."""
    photos = table[loud_originals(table) | (table.kind == "print").to_numpy()]
    score = photos.score.to_numpy()
    sure = 1 / (1 + np.exp(-np.minimum(np.abs(score), 50)))
    sure = np.where(gray_rule(photos) | (one_ratio_rule(photos) & (score <= 0)), 0.5, sure)
    wrong = (photos.verdict == "color").to_numpy() == (photos.truth == "toned").to_numpy()
    order = np.argsort(sure)
    rows = {f"{share:.0%}": wrong[order[: round(share * len(photos))]].sum() for share in (0.01, 0.05, 0.1)}
    print(f"\nOf {int(wrong.sum())} wrong calls among {len(photos)} photos, among the least confident", rows)


def report_sources_left_out(table: pd.DataFrame) -> None:
    """Each colour source unseen by the weights, with everything made from it; and unseen by the line too."""
    rows, scores = [], out_of_source(table, np.ones(len(table), bool))
    for source in COLOUR_SOURCES:
        held = (table.source == source).to_numpy()
        learned = fit(table[~held])
        row: dict[str, Any] = {"source": source}
        for name, line in (("", threshold(table, scores)), (", line too", threshold(table[~held], scores[~held]))):
            row |= {f"{column}{name}": share for column, share in left_out(table[held], learned.less(line)).items()}
        rows.append(row)
    found = pd.DataFrame(rows).set_index("source")
    found = found.drop(columns="n, line too")
    show(found, "Learned without a colour source: false alarms on its originals, and the rest")
    for column in ("wrong", "wrong, line too"):
        print(f"\nAll, {column}: {found[column].sum()} of {found.n.sum()} = {found[column].sum() / found.n.sum():.2%}.")


def left_out(unseen: pd.DataFrame, learned: Regression) -> dict[str, float]:
    """What a regression says of a source that it hasn't seen."""
    unseen = unseen.assign(verdict=verdicts(unseen, learned.scores(unseen)))
    alarms = false_alarms(unseen, "kind")
    variants = alarms.drop(index="original").sum()
    toned = unseen[unseen.kind.isin(list(TONING))]
    return {
        "n": int(alarms.n["original"]),
        "wrong": int(alarms.wrong["original"]),
        "variants wrong": variants.wrong / variants.n,
        "toning caught": (toned.verdict != "color").mean(),
    }


def report_baselines(table: pd.DataFrame) -> None:
    """Single numbers, each with the best line for these very photos."""
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
    show(
        pd.DataFrame(rows).T.rename_axis("judged by"),
        "Baselines, with the gray rule, at 0.5 % false alarms on these photos",
    )


if __name__ == "__main__":
    main()
