"""Does it hold on what it hasn't seen: archives, prints, kinds of damage and colour sources left out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from counting import caught_by_kind, false_alarms, judged
from regression import ARCHIVES, COLORFUL_M, Mask, Regression, fit, loud_originals, out_of_source, threshold
from rules import verdicts
from tables import show, wilson
from toning import TONING

COLOUR_SOURCES = ("imagenet", "imagenette", "flowers", "clothing", "weather", "other", ARCHIVES)
M_BANDS = (20.0, 33.0, 45.0, np.inf)


def report_archives(table: pd.DataFrame) -> None:
    """The photos of the repositories: out of repository, and learned without any; leaks and false alarms by M."""
    held = (table.source == ARCHIVES).to_numpy()
    without = table.assign(score=judged(table, ~held))
    without["verdict"] = verdicts(without, without.score.to_numpy())
    for name, each in (("out of repository", table[held]), ("regression learned without any archive", without[held])):
        show(by_band(each), f"Archives, {name}: leaked of toned, wrong of colour, by M")
        for wrong in (leaks(each), loud_originals(each) & (each.verdict != "color").to_numpy()):
            show(each[wrong].sort_values("score").set_index("base")[["colorfulness", "score", "verdict"]], name)


def leaks(table: pd.DataFrame) -> Mask:
    """(n,) toned photos as they are, called color, that would reach a training set."""
    toned = (table.truth == "toned") & table.kind.isin(["archive", "print"]) & (table.colorfulness >= COLORFUL_M)
    return (toned & (table.verdict == "color")).to_numpy()


def by_band(table: pd.DataFrame) -> pd.DataFrame:
    """Leaks and false alarms among the archives' photos as they are, by M, with 95 % intervals of all."""
    table = table.assign(leaked=leaks(table), wrong=loud_originals(table) & (table.verdict != "color").to_numpy())
    rows = []
    for low, high in (*pairwise(M_BANDS), (M_BANDS[0], np.inf)):
        here = table[(table.colorfulness >= low) & (table.colorfulness < high)]
        toned, colour = (here.kind == "archive") & (here.truth == "toned"), loud_originals(here)
        row: dict[str, Any] = {"M": f"{low:g} to {high:g}", "toned": int(toned.sum()), "leaked": int(here.leaked.sum())}
        row |= {"leak, 95 %": interval(row["leaked"], row["toned"])}
        row |= {"colour": int(colour.sum()), "wrong": int(here.wrong.sum())}
        rows.append(row | {"wrong, 95 %": interval(row["wrong"], row["colour"])})
    return pd.DataFrame(rows).set_index("M")


def interval(hits: int, n: int) -> str:
    """A share's 95 % interval in words."""
    return "{:.1%} to {:.1%}".format(*wilson(hits, n))


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
        "variants wrong": variants.wrong / variants.n if variants.n else np.nan,
        "toning caught": (toned.verdict != "color").mean(),
    }
