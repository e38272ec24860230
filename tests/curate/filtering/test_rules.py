"""Every rule rejects what it says, with a sentence that is true."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import manifest
from curate.errors import ManifestError, UsageError
from curate.filtering.filter import filter_manifest, filter_table
from curate.filtering.options import Bound, FilterOptions, TopShare
from curate.manifest import SCAN_SCHEMA, Lineage


def scanned(**columns: list[object]) -> pa.Table:
    """Three readable colour photos and a broken one; some columns as given for the readable ones."""
    count = 4
    rows: dict[str, list[object]] = {name: [None] * count for name in SCAN_SCHEMA.names}
    rows |= {
        "source": ["/s"] * count,
        "path": ["a", "b", "c", "d"],
        "sha256": [f"{n:064x}" for n in range(3)] + [None],
        "colorfulness": [50.0, 60.0, 70.0, None],
        "tone": ["color"] * 3 + [None],
        "width": [400, 300, 900, None],
        "height": [300, 300, 300, None],
        "error": [None] * 3 + ["EmptyFile: the file has zero bytes"],
    }
    rows |= {name: [*values, None] for name, values in columns.items()}
    return pa.table(rows, schema=SCAN_SCHEMA)


def reasons(table: pa.Table, **options: object) -> dict[str, list[str]]:
    chosen = filter_table(table, FilterOptions(**options))  # type: ignore[arg-type]
    assert chosen.kept.num_rows + chosen.rejected.num_rows == table.num_rows
    rows = chosen.rejected.to_pylist()
    return {row["path"]: row["reject_reasons"] for row in rows if row["path"] != "d"}


def test_a_highest_and_a_lowest_value_are_held() -> None:
    table = scanned(neutral_share=[0.25, 0.953, 0.951])
    bounds = (Bound("neutral_share", 0.95, is_min=False), Bound("colorfulness", 55.0, is_min=True))
    assert reasons(table, bounds=bounds) == {
        "a": ["colorfulness 50 < 55"],
        "b": ["neutral_share 0.96 > 0.95"],
        "c": ["neutral_share 0.96 > 0.95"],
    }


def test_a_value_on_the_line_passes() -> None:
    table = scanned(sharpness=[5.0, 5.0, 4.0])
    assert reasons(table, bounds=(Bound("sharpness", 5.0, is_min=True),)) == {"c": ["sharpness 4 < 5"]}


def test_size_and_shape_are_judged_by_the_short_side() -> None:
    assert reasons(scanned(), min_side_px=301) == {name: ["short side 300 < 301"] for name in "abc"}
    assert reasons(scanned(), max_aspect=2.5) == {"c": ["aspect 3 > 2.5"]}


def test_a_condition_rejects_measured_photos_for_which_it_isnt_true() -> None:
    assert reasons(scanned(), where="width > 350") == {"b": ["not (width > 350)"]}
    assert reasons(scanned(sharpness=[1.0, None, 3.0]), where="sharpness < 2") == {
        "b": ["not (sharpness < 2)"],
        "c": ["not (sharpness < 2)"],
    }


@pytest.mark.parametrize("condition", ["nope > 3", "width >", "true; select 1", "true) from photos limit (1", ""])
def test_a_condition_that_isnt_one_is_a_usage_error(condition: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        filter_table(scanned(), FilterOptions(where=condition))


def test_an_unknown_column_is_told_with_those_that_are_near() -> None:
    with pytest.raises(UsageError, match=r'"widht" not found.*Candidate bindings: "width"'):
        filter_table(scanned(), FilterOptions(where="widht > 3"))


def test_lines_that_let_nothing_through_are_refused() -> None:
    both = (Bound("sharpness", 3.0, is_min=True), Bound("sharpness", 2.0, is_min=False))
    for options in (
        {"bounds": both},
        {"min_colorfulness": 40.0, "bounds": (Bound("colorfulness", 30.0, is_min=False),)},
    ):
        with pytest.raises(UsageError, match="no photo can have both --min-"):
            FilterOptions(**options)
    FilterOptions(40.0, bounds=(Bound("colorfulness", 40.0, is_min=False),))


@pytest.mark.parametrize(
    "condition",
    [
        "path IN (SELECT * FROM read_csv('{here}/secret.csv'))",
        "true) AS BOOLEAN) FROM photos; COPY photos TO '{here}/stolen.csv'; SELECT CAST((true",
        "true) AS BOOLEAN) FROM photos; ATTACH '{here}/other.db' AS other; --",
        "true) AS BOOLEAN) FROM photos; SET enable_external_access = true; --",
    ],
)
def test_a_condition_neither_reads_nor_writes_files(condition: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n", encoding="utf-8")
    with pytest.raises(UsageError, match="--where"):
        filter_table(scanned(), FilterOptions(where=condition.format(here=tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["secret.csv"]


def test_an_unreadable_photo_has_its_own_reason_and_no_other() -> None:
    bounds = (Bound("sharpness", 5.0, is_min=True),)
    chosen = filter_table(scanned(), FilterOptions(bounds=bounds, min_side_px=10, max_aspect=2, where="width > 1"))
    (broken,) = [row for row in chosen.rejected.to_pylist() if row["path"] == "d"]
    assert broken["reject_reasons"] == ["unreadable: EmptyFile: the file has zero bytes"]


def test_a_rule_on_a_column_that_an_older_scan_lacks_says_so() -> None:
    options = FilterOptions(bounds=(Bound("sharpness", 5.0, is_min=True),))
    with pytest.raises(ManifestError, match="sharpness"):
        filter_table(scanned().drop_columns(["sharpness"]), options)


@pytest.mark.parametrize("line", [math.nan, math.inf])
def test_a_line_is_a_number(line: float) -> None:
    with pytest.raises(UsageError, match="--max-neutral-share"):
        Bound("neutral_share", line, is_min=False)


def test_an_aspect_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-aspect"):
        FilterOptions(max_aspect=0.5)


def test_whatever_the_values_every_reason_is_true() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 3)
    for line in (0.3, 0.333, 0.5, 1e-4):
        for lowest in (True, False):
            found = reasons(scanned(neutral_share=list(values)), bounds=(Bound("neutral_share", line, is_min=lowest),))
            for texts in found.values():
                _, value, sign, said = texts[0].split()
                assert float(value) < float(said) if sign == "<" else float(value) > float(said)


@pytest.mark.parametrize("name", ["photo.jpg", "rejected.parquet", "folder"])
def test_a_filter_never_replaces_what_a_filter_didnt_make(tmp_path: Path, name: str) -> None:
    lineage = Lineage("scan", "curate scan", {})
    manifest.write_manifest(tmp_path / "scan.parquet", scanned(), lineage)
    victim = tmp_path / "out" / name
    victim.parent.mkdir()
    if name == "folder":
        victim.mkdir()
    else:
        victim.write_bytes(b"precious")
    out = victim if name != "rejected.parquet" else victim.with_name("clean.parquet")
    with pytest.raises(ManifestError, match=r"already exists|is a folder"):
        filter_manifest(tmp_path / "scan.parquet", out, FilterOptions())
    assert victim.is_dir() or victim.read_bytes() == b"precious"


def test_a_filter_replaces_its_own_earlier_manifests(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "scan.parquet", scanned(), Lineage("scan", "curate scan", {}))
    for line, kept in ((20.0, 3), (65.0, 1)):
        filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", FilterOptions(line))
        assert manifest.read_manifest(tmp_path / "clean.parquet").table.num_rows == kept


def with_missing(table: pa.Table, *paths: str) -> pa.Table:
    """The same rows, some of them of photos that the last scan didn't find."""
    column = SCAN_SCHEMA.field("missing_since")
    times = [1_700_000_000_000_000 if path in paths else None for path in table["path"].to_pylist()]
    return table.set_column(table.column_names.index(column.name), column, pa.array(times, column.type))


def test_a_missing_photo_is_rejected_and_keeps_its_other_reasons() -> None:
    table = with_missing(scanned(), "a", "b")
    assert reasons(table, min_colorfulness=55.0) == {"a": ["missing", "colorfulness 50 < 55"], "b": ["missing"]}
    assert filter_table(table, FilterOptions()).rejected_by_rule["missing"] == 2
    assert "missing" not in filter_table(scanned(), FilterOptions()).rejected_by_rule


def test_a_missing_photo_is_no_photo_to_the_rules_on_the_whole_set() -> None:
    best_is_gone = with_missing(scanned(sha256=[f"{1:064x}"] * 3), "c")
    assert reasons(best_is_gone, duplicates="drop-exact") == {
        "b": ["duplicate of a (same content)"],
        "c": ["missing"],
    }
    assert reasons(with_missing(scanned(), "c"), keep_top=(TopShare("colorfulness", 50),)) == {
        "a": ["colorfulness 50 < 60"],
        "c": ["missing"],
    }
    left = filter_table(with_missing(scanned(hue_peak_deg=[5.0] * 3), "a", "b"), FilterOptions(balance=1)).kept
    assert left["path"].to_pylist() == ["c"]


def test_a_scan_of_an_older_version_has_no_missing_photos(tmp_path: Path) -> None:
    old = scanned(sha256=[f"{1:064x}"] * 3).drop_columns(["missing_since"])
    manifest.write_manifest(tmp_path / "scan.parquet", old, Lineage("scan", "", {}))
    options = FilterOptions(duplicates="drop-exact", keep_top=(TopShare("colorfulness", 90),))
    for dry_run in (True, False):
        chosen = filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", options, dry_run=dry_run)
        assert (chosen.kept, chosen.rejected) == (1, 3)
