"""The calculations of the report page (logic.js) in a JavaScript engine, compared with Python; no browser needed."""

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
    """A function that evaluates a JavaScript expression over `args`, given as JSON."""
    engine = MiniRacer()
    engine.eval((files("curate.report") / "logic.js").read_text(encoding="utf-8"))

    def call(expression: str, *args: Any) -> Any:
        function = f"(() => {{ const args = {json.dumps(args)}; return JSON.stringify({expression}); }})()"
        return json.loads(str(engine.eval(function)))

    return call


def page(color: list[int], sepia: list[int], **more: Any) -> dict[str, Any]:
    """The data of a page, as page_data.py makes it."""
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
        "listed": [],
        "keepGraphics": False,
        "reasons": [],
        "unreadable": 0,
        "missing": 0,
    }
    return {**plain, "command": {"before": "curate filter scan.parquet", "after": "-o out.parquet"}, **more}


@given(BINS, BINS, st.integers(0, 500))
def test_bins_from_the_threshold_up_are_kept(js: Js, color: list[int], sepia: list[int], line: int) -> None:
    made = page(color, sepia)
    kept = js("keptCount(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    both = js("keptCount(prepared(args[0]), args[1], new Set(['color', 'sepia', null]))", made, line)
    below = js("belowCount(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    assert kept == sum(color[line:])
    assert both == sum(color[line:]) + sum(sepia[line:])
    assert kept + below == sum(color)


@given(BINS, BINS, st.integers(0, 500))
def test_reasons_are_counted_as_the_filter_counts_them(js: Js, color: list[int], sepia: list[int], line: int) -> None:
    made = page(color, sepia, unreadable=5, missing=2)
    counts = js("reasonCounts(prepared(args[0]), args[1], new Set(['color', null]))", made, line)
    expected = [
        (f"colorfulness < {js('lineText(args[0], 10)', line)}", sum(color[:line]) + sum(sepia[:line])),
        ("tone is sepia", sum(sepia)),
        ("unreadable", 3),
        ("missing", 2),
    ]
    assert [(reason["name"], reason["photos"]) for reason in counts] == [pair for pair in expected if pair[1]]


@given(BINS, BINS, st.integers(0, 500))
def test_graphics_count_by_their_tone_and_kind(js: Js, photos: list[int], graphics: list[int], line: int) -> None:
    made = page(photos, [])
    made["tones"].append({"name": "color", "graphic": True, "kept": True, "bins": graphics, "hues": []})
    kept = [
        js(f"keptCount(prepared(args[0]), args[1], new Set({keep}))", made, line)
        for keep in ("namesKept(args[0])", "['color', 'graphic', null]", "['sepia', 'graphic']")
    ]
    assert kept == [sum(photos[line:]), sum(photos[line:]) + sum(graphics[line:]), 0]
    reasons = js("reasonCounts(prepared(args[0]), args[1], new Set(namesKept(args[0])))", made, line)
    assert {"name": "kind is graphic", "photos": sum(graphics)} in reasons or not sum(graphics)
    command = js("commandFor(prepared(args[0]), 200, new Set(['color', 'graphic']))", made)
    assert command == "curate filter scan.parquet --min-colorfulness 20 --keep-kind graphic -o out.parquet"


@pytest.mark.parametrize(("line", "text"), [(0, "0"), (3, "0.3"), (200, "20"), (203, "20.3"), (1099, "109.9")])
def test_the_command_has_the_threshold_as_a_short_number(js: Js, line: int, text: str) -> None:
    typed = js("commandFor(prepared(args[0]), args[1], new Set(['color', 'sepia', null]))", page([1], [1]), line)
    assert typed == f"curate filter scan.parquet --min-colorfulness {text} --keep-tone sepia -o out.parquet"
    assert js("nearestBin(args[0], 10, 1200)", float(text)) == line


def test_a_threshold_out_of_range_or_nan_is_clamped(js: Js) -> None:
    assert [js(f"nearestBin({m}, 10, 1200)") for m in ("-5", "500", "NaN", "20.04", "20.06")] == [0, 1200, 0, 200, 201]


@given(st.lists(st.floats(0, 200), max_size=80))
def test_spread_keeps_every_photo_and_begins_with_both_ends(js: Js, values: list[float]) -> None:
    order = js("spread(args[0]).map((photo) => photo.m)", [{"m": m} for m in values])
    assert sorted(order) == sorted(values)
    if len(values) > 1:
        assert order[:2] == [min(values), max(values)]


@given(st.lists(st.integers(0, 9), min_size=36, max_size=36))
def test_shortest_half_has_half_of_the_photos_and_nothing_shorter_does(js: Js, counts: list[int]) -> None:
    half = js("shortestHalf(args[0])", counts)
    runs = {n: max(sum((counts * 2)[i : i + n]) for i in range(36)) for n in range(1, 37)}
    assert 2 * sum((counts * 2)[half["first"] : half["first"] + half["length"]]) >= sum(counts)
    assert all(2 * runs[n] < sum(counts) for n in range(1, half["length"]))


def test_every_sector_belongs_to_one_named_hue(js: Js) -> None:
    groups = js("hueGroups(36)")
    assert sorted(i for group in groups for i in group["sectors"]) == list(range(36))
    assert [group["name"] for group in groups] == [
        *("pink", "red", "orange", "yellow", "green", "teal", "blue", "violet")
    ]
    assert all(js("hueName(args[0])", group["middleDeg"]) == group["name"] for group in groups)


@given(BINS, st.sampled_from([1, 2]))
def test_bars_count_every_photo(js: Js, bins: list[int], m_per_bar: int) -> None:
    bars = js("barsOf([args[0]], 10, args[1], 20)", bins, m_per_bar)
    assert sum(bars) == sum(bins)
    assert bars[:-1] == [sum(bins[i * 10 * m_per_bar : (i + 1) * 10 * m_per_bar]) for i in range(len(bars) - 1)]


def test_reasons_of_a_photo_are_worded_as_by_the_filter(js: Js) -> None:
    photo = {
        "m": 17.36,
        "bin": 173,
        "tone": "sepia",
        "error": None,
        "blocked": True,
        "waived": [],
        "numbers": [["colorfulness", "17.36"]],
    }
    photo["reasons"] = ["colorfulness 17.3 < 20", "tone is sepia", "short side 100.0 < 256"]
    reasons = js("reasonsOf(args[0], prepared(args[1]), 250, new Set(['color', null]))", photo, page([], []))
    assert reasons == ["colorfulness 17.36 < 25", "tone is sepia", "short side 100.0 < 256"]
    assert js("reasonsOf(args[0], prepared(args[1]), 0, new Set(['sepia']))", photo, page([], [])) == reasons[2:]
    graphic = photo | {"kind": "graphic", "tone": "color", "bin": 300, "blocked": False}
    assert js("reasonsOf(args[0], {binsPerM: 10}, 250, new Set(['color']))", graphic) == ["kind is graphic"]
    assert js("reasonsOf(args[0], {binsPerM: 10}, 250, new Set(['color', 'graphic']))", graphic) == []
    broken = {"error": "BrokenPhoto: cut short"}
    assert js("reasonsOf(args[0], {}, 0, new Set())", broken) == ["unreadable: BrokenPhoto: cut short"]


def test_counts_percentages_and_levels_are_formatted(js: Js) -> None:
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


def test_a_photo_exactly_at_the_threshold_is_kept(js: Js) -> None:
    photos: list[dict[str, Any]] = [
        {"m": k / 10, "bin": k, "tone": "color", "blocked": False, "waived": []} for k in (198, 199, 200, 201)
    ]
    sides = js("sides({...args[0], photos: args[1]}, 200, new Set(['color']))", page([], []), photos)
    assert [photo["bin"] for photo in sides["below"]] == [199, 198]
    assert [photo["bin"] for photo in sides["above"]] == [200, 201]


def test_labels_that_would_overlap_are_put_into_further_rows(js: Js) -> None:
    labels = [{"left": left, "width": 40} for left in (0, 30, 50, 60, 70)]
    assert js("labelRows(args[0])", labels) == [0, 1, 0, 2, 1]


def test_the_list_of_ticked_photos_has_one_readable_line_per_photo(js: Js) -> None:
    photos = [
        {"source": "/photos/", "path": "a\nb\u2028.jpg", "numbers": [["sha256", "ab" * 32]]},
        {"source": "/photos", "path": "0.tar/c d.jpg", "numbers": []},
    ]
    lines = js("tickList(args[0], args[1])", photos, {"name": "my\nscan.parquet"}).split("\n")
    assert lines[0].startswith("# ")
    assert "my\\x0ascan.parquet" in lines[0]
    assert lines[2:] == ["ab" * 32 + "  /photos/a\\x0ab\\x2028.jpg", "/photos/0.tar/c d.jpg", ""]
    names = ("scan.parquet", "-my 'scan';.parquet", "réseau.parquet")
    shown = [js("tickFileName(args[0])", {"name": name}) for name in names]
    assert shown == ["scan-ticked.txt", "my-scan--ticked.txt", "réseau-ticked.txt"]
