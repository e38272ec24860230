"""A subset spread over hues and colourfulness: as even as the photos allow, the same in any order."""

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
from curate.filtering.options import FilterOptions, Split
from curate.manifest import SCAN_SCHEMA
from curate.measures.measure import measure


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 400))
def test_shares_are_as_even_as_can_be_and_add_up(found: list[int], keep: int) -> None:
    quota = water_fill(np.array(found), keep)
    assert quota.sum() == min(keep, sum(found))
    assert (quota <= found).all()
    cut = [kept for kept, there in zip(quota, found, strict=True) if kept < there]
    assert all(kept >= max(quota) - 1 for kept in cut)


def test_strata_are_sectors_of_hue_times_the_papers_levels() -> None:
    hues, colorfulness = np.array([0, 29.9, 30, 359.9, 360, 5]), np.array([0, 14.9, 15, 33, 109, 400])
    assert assign_strata(hues, colorfulness).tolist() == [0, 0, 13, 35, 72, 72]


def sunsets_and_others(sunsets: int = 900, others: int = 100) -> list[dict[str, Any]]:
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
    chosen = filter_table(pa.Table.from_pylist(rows, SCAN_SCHEMA), FilterOptions(**options))
    return chosen.kept.to_pylist(), chosen.rejected.to_pylist()


def test_ten_thousand_sunsets_make_room() -> None:
    kept, rejected = kept_and_rejected(sunsets_and_others(), balance=120)
    assert len(kept) == 120
    found, stay = (
        np.bincount([int(row["hue_peak_deg"] // 30) for row in rows], minlength=12)
        for rows in ([*kept, *rejected], kept)
    )
    assert found[1] > 900
    assert stay[stay < found].min() >= stay.max() - 1
    (said,) = {row["reject_reasons"][0] for row in rejected if row["hue_peak_deg"] == 45}
    share = f"{stay[1]} of {found[1]} with hue 30 to 60, colorfulness 45 to 59 stay"
    assert said == f"over its share of --balance 120: {share}"


def test_the_choice_is_the_same_in_any_order_and_for_any_splits() -> None:
    rows = sunsets_and_others()
    first, _ = kept_and_rejected(rows, balance=120)
    again, _ = kept_and_rejected(rows[::-1], balance=120)
    assert {row["path"] for row in first} == {row["path"] for row in again}
    drawn = [row["split"] for row in kept_and_rejected(rows, balance=400, split=Split(34, 33, 33))[0]]
    assert drawn.count("train") == pytest.approx(136, abs=38)  # four standard deviations


def test_only_photos_that_pass_are_balanced_and_fewer_are_all_kept() -> None:
    rows = sunsets_and_others(90, 10)
    rows[0]["tone"] = "sepia"
    kept, rejected = kept_and_rejected(rows, balance=99)
    assert len(kept) == 99
    assert [row["reject_reasons"] for row in rejected] == [["tone is sepia"]]
    assert len(kept_and_rejected(rows, balance=98)[0]) == 98


@pytest.mark.parametrize(
    ("color", "hue_deg"), [((255, 0, 0), 40.0), ((0, 255, 0), 136.0), ((0, 0, 255), 306.3), ((128, 128, 128), 0)]
)
def test_the_hue_most_seen_is_measured(color: tuple[int, int, int], hue_deg: float) -> None:
    pixels = np.full((60, 80, 3), color, np.uint8)
    pixels[:10] = (120, 200, 200)
    if hue_deg == 0:
        pixels[:] = color
    seen = measure(pixels).appearance.hue_peak_deg
    assert seen == pytest.approx(hue_deg, abs=6)  # CIELAB hues of the sRGB primaries (D65); bins are 10 degrees wide
