"""The rule --balance: a subset spread evenly over hues and colourfulness, independent of the order."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.filtering.balance import assign_strata, water_fill
from curate.filtering.filter import filter_table
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 400))
def test_quotas_are_as_even_as_possible_and_add_up(available: list[int], keep: int) -> None:
    quota = water_fill(np.array(available), keep)
    assert quota.sum() == min(keep, sum(available))
    assert (quota <= available).all()
    cut = [kept for kept, there in zip(quota, available, strict=True) if kept < there]
    assert all(kept >= max(quota) - 1 for kept in cut)


def test_strata_are_hue_sectors_times_colourfulness_levels() -> None:
    hues, colorfulness = np.array([0, 29.9, 30, 359.9, 360, 5]), np.array([0, 14.9, 15, 33, 109, 400])
    assert assign_strata(hues, colorfulness).tolist() == [0, 0, 13, 35, 72, 72]


def make_sunsets_and_others(sunsets: int = 900, others: int = 100) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    hues = [45.0] * sunsets + rng.choice(np.arange(5.0, 360, 10), others).tolist()
    return [
        {
            "source": "/s",
            "path": f"{n}.jpg",
            "sha256": hashlib.sha256(str(n).encode()).hexdigest(),
            "colorfulness": 50.0,
            "tone": "color",
            "hue_peak_deg": hue,
        }
        for n, hue in enumerate(hues)
    ]


def kept_and_rejected(rows: list[dict[str, Any]], **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    result = filter_table(pa.Table.from_pylist(rows, SCAN_SCHEMA), FilterOptions(**options))
    return result.kept.to_pylist(), result.rejected.to_pylist()


def test_many_sunsets_are_reduced_and_rare_hues_are_kept() -> None:
    kept, rejected = kept_and_rejected(make_sunsets_and_others(), balance=120)
    assert len(kept) == 120
    available, quota = (
        np.bincount([int(row["hue_peak_deg"] // 30) for row in rows], minlength=12)
        for rows in ([*kept, *rejected], kept)
    )
    assert available[1] > 900
    assert quota[quota < available].min() >= quota.max() - 1
    (reason,) = {row["reject_reasons"][0] for row in rejected if row["hue_peak_deg"] == 45}
    share = f"{quota[1]} of {available[1]} with hue 30 to 60, colorfulness 45 to 59 stay"
    assert reason == f"over its share of --balance 120: {share}"


def test_the_choice_ignores_the_order_and_is_independent_of_the_split() -> None:
    rows = make_sunsets_and_others()
    first, _ = kept_and_rejected(rows, balance=120)
    again, _ = kept_and_rejected(rows[::-1], balance=120)
    assert {row["path"] for row in first} == {row["path"] for row in again}
    drawn = [row["split"] for row in kept_and_rejected(rows, balance=400, split=Split(34, 33, 33))[0]]
    assert drawn.count("train") == pytest.approx(136, abs=38)  # four standard deviations


def test_only_photos_that_pass_other_rules_count() -> None:
    rows = make_sunsets_and_others(90, 10)
    rows[0]["tone"] = "sepia"
    kept, rejected = kept_and_rejected(rows, balance=99)
    assert len(kept) == 99
    assert [row["reject_reasons"] for row in rejected] == [["tone is sepia"]]
    assert len(kept_and_rejected(rows, balance=98)[0]) == 98
