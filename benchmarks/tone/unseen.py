"""Evaluate with archives, prints, kinds of damage or colour sources left out of training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from counting import caught_by_kind, cross_validated_scores, false_alarms
from regression import ARCHIVES, COLORFUL_M, Mask, Regression, colorful_originals, fit, out_of_source, threshold
from result_tables import print_table, wilson
from rules import verdicts
from toning import TONING

COLOUR_SOURCES = ("imagenet", "imagenette", "flowers", "clothing", "weather", "other", ARCHIVES)
M_BANDS = (20.0, 33.0, 45.0, np.inf)


def report_archives(table: pd.DataFrame) -> None:
    """Leaks and false alarms on the archives, by M: out of repository, and trained without any archive."""
    held = (table.source == ARCHIVES).to_numpy()
    without = table.assign(score=cross_validated_scores(table, ~held))
    without["verdict"] = verdicts(without, without.score.to_numpy())
    for name, each in (("out of repository", table[held]), ("regression learned without any archive", without[held])):
        print_table(by_band(each), f"Archives, {name}: leaked of toned, wrong of colour, by M")
        for wrong in (leaks(each), colorful_originals(each) & (each.verdict != "color").to_numpy()):
            print_table(each[wrong].sort_values("score").set_index("base")[["colorfulness", "score", "verdict"]], name)


def leaks(table: pd.DataFrame) -> Mask:
    """(n,) bool: unchanged toned photos that are classified as color and would reach a training set."""
    toned = (table.truth == "toned") & table.kind.isin(["archive", "print"]) & (table.colorfulness >= COLORFUL_M)
    return (toned & (table.verdict == "color")).to_numpy()


def by_band(table: pd.DataFrame) -> pd.DataFrame:
    """Leaks and false alarms among the unchanged photos of the archives, by M, with 95 % intervals."""
    table = table.assign(leaked=leaks(table), wrong=colorful_originals(table) & (table.verdict != "color").to_numpy())
    rows = []
    for low, high in (*pairwise(M_BANDS), (M_BANDS[0], np.inf)):
        here = table[(table.colorfulness >= low) & (table.colorfulness < high)]
        toned, colour = (here.kind == "archive") & (here.truth == "toned"), colorful_originals(here)
        row: dict[str, Any] = {"M": f"{low:g} to {high:g}", "toned": int(toned.sum()), "leaked": int(here.leaked.sum())}
        row |= {"leak, 95 %": interval(row["leaked"], row["toned"])}
        row |= {"colour": int(colour.sum()), "wrong": int(here.wrong.sum())}
        rows.append(row | {"wrong, 95 %": interval(row["wrong"], row["colour"])})
    return pd.DataFrame(rows).set_index("M")


def interval(hits: int, n: int) -> str:
    """A share's 95 % interval as text."""
    return "{:.1%} to {:.1%}".format(*wilson(hits, n))


def report_prints_left_out(table: pd.DataFrame) -> None:
    """Train on synthetic toning only, without any real print."""
    others = (table.source != "prints").to_numpy()
    again = table.assign(verdict=verdicts(table, cross_validated_scores(table, others)))
    print_table(caught_by_kind(again[~others]), "Learned without any print: prints caught")
    print_table(false_alarms(again, "kind").loc[["original"]], "Learned without any print: false alarms, out of fold")


def report_kinds_left_out(table: pd.DataFrame) -> None:
    """Train without one kind of toning or damage, and evaluate on other photos with it."""
    rows = []
    for kind in TONING:
        chosen = ((table.kind == kind) & (table.truth == "toned")).to_numpy()
        again = table.assign(
            verdict=verdicts(table, cross_validated_scores(table, ~chosen & (table.kind != f"more {kind}").to_numpy()))
        )
        rows.append(caught_by_kind(again[chosen]))
    print_table(pd.concat(rows)[["n", "caught", "leak"]], "Learned without one kind of toning or damage")


def report_sources_left_out(table: pd.DataFrame) -> None:
    """Train without one colour source and everything made from it; and set the threshold without it, too."""
    rows, scores = [], out_of_source(table, np.ones(len(table), bool))
    for source in COLOUR_SOURCES:
        held = (table.source == source).to_numpy()
        learned = fit(table[~held])
        row: dict[str, Any] = {"source": source}
        for name, line in (("", threshold(table, scores)), (", line too", threshold(table[~held], scores[~held]))):
            row |= {
                f"{column}{name}": share
                for column, share in left_out(table[held], learned.with_threshold(line)).items()
            }
        rows.append(row)
    found = pd.DataFrame(rows).set_index("source")
    found = found.drop(columns="n, line too")
    print_table(found, "Learned without a colour source: false alarms on its originals, and the rest")
    for column in ("wrong", "wrong, line too"):
        print(f"\nAll, {column}: {found[column].sum()} of {found.n.sum()} = {found[column].sum() / found.n.sum():.2%}.")


def left_out(unseen: pd.DataFrame, learned: Regression) -> dict[str, float]:
    """Rates of a regression on a source that was left out of its training."""
    unseen = unseen.assign(verdict=verdicts(unseen, learned.scores(unseen)))
    alarms = false_alarms(unseen, "kind")
    variants = alarms.drop(index="original").sum()
    toned = unseen[unseen.kind.isin(list(TONING))]
    return {
        "n": int(alarms.n["original"]),
        "wrong": int(alarms.wrong["original"]),
        "variants wrong": variants.wrong / variants.n if variants.n else np.nan,
        "toning caught": (toned.verdict != "color").mean(),
    }
