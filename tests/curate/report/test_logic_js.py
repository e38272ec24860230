"""The page's arithmetic (logic.js) in a JavaScript engine, against the same counted in Python; no browser needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_mini_racer import MiniRacer

Js = Callable[..., Any]
BINS = st.lists(st.integers(0, 50), max_size=400)


@pytest.fixture(scope="module")
def js() -> Js:
    """Evaluate an expression over `args`; Sets are written in the expression."""
    engine = MiniRacer()
    engine.eval((files("curate.report") / "logic.js").read_text(encoding="utf-8"))

    def call(expression: str, *args: Any) -> Any:
        function = f"(() => {{ const args = {json.dumps(args)}; return JSON.stringify({expression}); }})()"
        return json.loads(str(engine.eval(function)))

    return call


def page(color: list[int], sepia: list[int], **more: Any) -> dict[str, Any]:
    """As payload.py makes it."""
    tones = [
        {"name": "color", "kept": True, "photos": sum(color), "bins": color, "hues": []},
        {"name": "sepia", "kept": False, "photos": sum(sepia), "bins": sepia, "hues": []},
        {"name": None, "kept": True, "photos": 0, "bins": [], "hues": []},
    ]
    plain = {
        "binsPerM": 10,
        "lineBin": 200,
        "tones": tones,
        "blocked": [],
        "reasons": [],
        "unreadable": 0,
        "missing": 0,
    }
    return {**plain, "command": {"before": "curate filter scan.parquet", "after": "-o out.parquet"}, **more}


@given(BINS, BINS, st.integers(0, 500))
def test_kept_are_the_bins_from_the_line_up(js: Js, color: list[int], sepia: list[int], line: int) -> None:
    made = page(color, sepia)
    kept = js("keptCount(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    both = js("keptCount(prepared(args[0]), args[1], new Set(['color', 'sepia', null]))", made, line)
    below = js("belowCount(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    assert kept == sum(color[line:])
    assert both == sum(color[line:]) + sum(sepia[line:])
    assert kept + below == sum(color)


@given(BINS, BINS, st.integers(0, 500))
def test_reasons_add_up_as_the_filter_counts_them(js: Js, color: list[int], sepia: list[int], line: int) -> None:
    made = page(color, sepia, unreadable=5, missing=2)
    counts = js("reasonCounts(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    expected = [
        (f"colorfulness < {js('lineText(args[0], 10)', line)}", sum(color[:line]) + sum(sepia[:line])),
        ("tone is sepia", sum(sepia)),
        ("unreadable", 3),
        ("missing", 2),
    ]
    assert [(reason["name"], reason["photos"]) for reason in counts] == [pair for pair in expected if pair[1]]


@pytest.mark.parametrize(("line", "text"), [(0, "0"), (3, "0.3"), (200, "20"), (203, "20.3"), (1099, "109.9")])
def test_the_command_names_the_line_as_one_types_it(js: Js, line: int, text: str) -> None:
    typed = js("commandFor(prepared(args[0]), args[1], new Set(['color', 'sepia', null]))", page([1], [1]), line)
    assert typed == f"curate filter scan.parquet --min-colorfulness {text} --keep-tone sepia -o out.parquet"
    assert js("nearestBin(args[0], 10, 1200)", float(text)) == line


def test_an_m_beyond_the_ends_or_none_is_brought_back(js: Js) -> None:
    assert [js(f"nearestBin({m}, 10, 1200)") for m in ("-5", "500", "NaN", "20.04", "20.06")] == [0, 1200, 0, 200, 201]


@given(st.lists(st.floats(0, 200), max_size=80))
def test_spreading_keeps_every_photo_and_begins_at_both_ends(js: Js, values: list[float]) -> None:
    order = js("spread(args[0]).map((photo) => photo.m)", [{"m": m} for m in values])
    assert sorted(order) == sorted(values)
    if len(values) > 1:
        assert order[:2] == [min(values), max(values)]


@given(st.lists(st.integers(0, 9), min_size=36, max_size=36))
def test_the_shortest_half_holds_half_and_nothing_shorter_does(js: Js, counts: list[int]) -> None:
    half = js("shortestHalf(args[0])", counts)
    runs = {n: max(sum((counts * 2)[i : i + n]) for i in range(36)) for n in range(1, 37)}
    assert 2 * sum((counts * 2)[half["first"] : half["first"] + half["length"]]) >= sum(counts)
    assert all(2 * runs[n] < sum(counts) for n in range(1, half["length"]))


def test_every_sector_has_one_named_hue_whose_middle_lies_among_its_own(js: Js) -> None:
    groups = js("hueGroups(36)")
    assert sorted(i for group in groups for i in group["sectors"]) == list(range(36))
    assert [group["name"] for group in groups] == [
        *("pink", "red", "orange", "yellow", "green", "teal", "blue", "violet")
    ]
    assert all(js("hueName(args[0])", group["middleDeg"]) == group["name"] for group in groups)


@given(BINS, st.sampled_from([1, 2]))
def test_bars_hold_every_photo(js: Js, bins: list[int], m_per_bar: int) -> None:
    bars = js("barsOf([args[0]], 10, args[1], 20)", bins, m_per_bar)
    assert sum(bars) == sum(bins)
    assert bars[:-1] == [sum(bins[i * 10 * m_per_bar : (i + 1) * 10 * m_per_bar]) for i in range(len(bars) - 1)]


def test_a_photo_says_why_in_the_filters_words(js: Js) -> None:
    photo = {
        "m": 17.36,
        "bin": 173,
        "tone": "sepia",
        "error": None,
        "blocked": True,
        "numbers": [["colorfulness", "17.36"]],
    }
    photo["reasons"] = ["colorfulness 17.3 < 20", "tone is sepia", "short side 100.0 < 256"]
    reasons = js("reasonsOf(args[0], prepared(args[1]), 250, new Set(['color', null]))", photo, page([], []))
    assert reasons == ["colorfulness 17.36 < 25", "tone is sepia", "short side 100.0 < 256"]
    assert js("reasonsOf(args[0], prepared(args[1]), 0, new Set(['sepia']))", photo, page([], [])) == reasons[2:]
    broken = {"error": "BrokenPhoto: cut short"}
    assert js("reasonsOf(args[0], {}, 0, new Set())", broken) == ["unreadable: BrokenPhoto: cut short"]


def test_words_and_counts_as_people_read_them(js: Js) -> None:
    assert [js("grouped(args[0])", n) for n in (0, 999, 1000, 1234567)] == ["0", "999", "1,000", "1,234,567"]
    assert [js("percent(args[0], args[1])", *pair) for pair in ((1, 3), (1, 5000), (0, 5), (0, 0))] == [
        *("33.3 %", "< 0.1 %", "0.0 %", "")
    ]
    levels = [[0, "not"], [15, "slightly"], [33, "moderately"]]
    assert [js("levelAt(args[0], args[1])", levels, m) for m in (0, 14.9, 15, 99)] == [
        "not",
        "not",
        "slightly",
        "moderately",
    ]


def test_a_photo_on_the_very_line_is_kept(js: Js) -> None:
    photos = [{"m": k / 10, "bin": k, "tone": "color", "blocked": False} for k in (198, 199, 200, 201)]
    sides = js("sides({...args[0], photos: args[1]}, 200, new Set(['color']))", page([], []), photos)
    assert [photo["bin"] for photo in sides["below"]] == [199, 198]
    assert [photo["bin"] for photo in sides["above"]] == [200, 201]
