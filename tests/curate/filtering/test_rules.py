"""Each rule rejects the right photos, with a true reason."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import manifest
from curate.errors import ManifestError, UsageError
from curate.filtering.filter import filter_manifest, filter_table
from curate.filtering.option_values import Bound, TopShare
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage


def make_scan(**columns: list[object]) -> pa.Table:
    """Make a scan of three readable colour photos, with the given columns, and of a broken one."""
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
    result = filter_table(table, FilterOptions(**options))  # type: ignore[arg-type]
    assert result.kept.num_rows + result.rejected.num_rows == table.num_rows
    rows = result.rejected.to_pylist()
    return {row["path"]: row["reject_reasons"] for row in rows if row["path"] != "d"}


def test_values_outside_the_bounds_are_rejected() -> None:
    table = make_scan(neutral_share=[0.25, 0.953, 0.951])
    bounds = (Bound("neutral_share", 0.95, is_min=False), Bound("colorfulness", 55.0, is_min=True))
    assert reasons(table, bounds=bounds) == {
        "a": ["colorfulness 50 < 55"],
        "b": ["neutral_share 0.96 > 0.95"],
        "c": ["neutral_share 0.96 > 0.95"],
    }


def test_a_value_equal_to_the_limit_passes() -> None:
    table = make_scan(sharpness=[5.0, 5.0, 4.0])
    assert reasons(table, bounds=(Bound("sharpness", 5.0, is_min=True),)) == {"c": ["sharpness 4 < 5"]}


def test_min_side_and_max_aspect() -> None:
    assert reasons(make_scan(), min_side_px=301) == {name: ["short side 300 < 301"] for name in "abc"}
    assert reasons(make_scan(), max_aspect=2.5) == {"c": ["aspect 3 > 2.5"]}


def test_an_sql_condition_rejects_photos_for_which_it_is_false_or_null() -> None:
    assert reasons(make_scan(), where="width > 350") == {"b": ["not (width > 350)"]}
    assert reasons(make_scan(sharpness=[1.0, None, 3.0]), where="sharpness < 2") == {
        "b": ["not (sharpness < 2)"],
        "c": ["not (sharpness < 2)"],
    }


@pytest.mark.parametrize("condition", ["nope > 3", "width >", "true; select 1", "true) from photos limit (1", ""])
def test_an_invalid_sql_condition_is_a_usage_error(condition: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        filter_table(make_scan(), FilterOptions(where=condition))


def test_an_unknown_column_in_a_condition_is_named_with_similar_ones() -> None:
    with pytest.raises(UsageError, match=r'"widht" not found.*Candidate bindings: "width"'):
        filter_table(make_scan(), FilterOptions(where="widht > 3"))


def test_bounds_that_no_photo_can_pass_are_refused() -> None:
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
def test_an_sql_condition_can_not_access_files(condition: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n", encoding="utf-8")
    with pytest.raises(UsageError, match="--where"):
        filter_table(make_scan(), FilterOptions(where=condition.format(here=tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["secret.csv"]


def test_an_unreadable_photo_has_only_the_reason_unreadable() -> None:
    bounds = (Bound("sharpness", 5.0, is_min=True),)
    result = filter_table(make_scan(), FilterOptions(bounds=bounds, min_side_px=10, max_aspect=2, where="width > 1"))
    (broken,) = [row for row in result.rejected.to_pylist() if row["path"] == "d"]
    assert broken["reject_reasons"] == ["unreadable: EmptyFile: the file has zero bytes"]


def test_a_rule_on_a_column_that_the_scan_lacks_is_an_error() -> None:
    options = FilterOptions(bounds=(Bound("sharpness", 5.0, is_min=True),))
    with pytest.raises(ManifestError, match="sharpness"):
        filter_table(make_scan().drop_columns(["sharpness"]), options)


@pytest.mark.parametrize("limit", [math.nan, math.inf])
def test_a_limit_must_be_a_finite_number(limit: float) -> None:
    with pytest.raises(UsageError, match="--max-neutral-share"):
        Bound("neutral_share", limit, is_min=False)


def test_a_max_aspect_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-aspect"):
        FilterOptions(max_aspect=0.5)


def test_reasons_are_true_for_random_values() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 3)
    for limit in (0.3, 0.333, 0.5, 1e-4):
        for is_min in (True, False):
            bound = Bound("neutral_share", limit, is_min=is_min)
            for texts in reasons(make_scan(neutral_share=list(values)), bounds=(bound,)).values():
                _, value, sign, shown_limit = texts[0].split()
                assert float(value) < float(shown_limit) if sign == "<" else float(value) > float(shown_limit)


@pytest.mark.parametrize("name", ["photo.jpg", "rejected.parquet", "folder"])
def test_a_filter_does_not_replace_other_files(tmp_path: Path, name: str) -> None:
    lineage = Lineage("scan", "curate scan", {})
    manifest.write_manifest(tmp_path / "scan.parquet", make_scan(), lineage)
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


def test_a_filter_replaces_its_earlier_output(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "scan.parquet", make_scan(), Lineage("scan", "curate scan", {}))
    for threshold, kept in ((20.0, 3), (65.0, 1)):
        filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", FilterOptions(threshold))
        assert manifest.read_manifest(tmp_path / "clean.parquet").table.num_rows == kept


def with_missing(table: pa.Table, *paths: str) -> pa.Table:
    """Return the same rows, with some photos marked as missing."""
    column = SCAN_SCHEMA.field("missing_since")
    times = [1_700_000_000_000_000 if path in paths else None for path in table["path"].to_pylist()]
    return table.set_column(table.column_names.index(column.name), column, pa.array(times, column.type))


def test_a_missing_photo_is_rejected_with_all_its_reasons() -> None:
    table = with_missing(make_scan(), "a", "b")
    assert reasons(table, min_colorfulness=55.0) == {"a": ["missing", "colorfulness 50 < 55"], "b": ["missing"]}
    assert filter_table(table, FilterOptions()).rejected_by_rule["missing"] == 2
    assert "missing" not in filter_table(make_scan(), FilterOptions()).rejected_by_rule


def test_dataset_rules_ignore_missing_photos() -> None:
    best_is_gone = with_missing(make_scan(sha256=[f"{1:064x}"] * 3), "c")
    assert reasons(best_is_gone, duplicates="drop-exact") == {
        "b": ["duplicate of a (same content)"],
        "c": ["missing"],
    }
    assert reasons(with_missing(make_scan(), "c"), keep_top=(TopShare("colorfulness", 50),)) == {
        "a": ["colorfulness 50 < 60"],
        "c": ["missing"],
    }
    left = filter_table(with_missing(make_scan(hue_peak_deg=[5.0] * 3), "a", "b"), FilterOptions(balance=1)).kept
    assert left["path"].to_pylist() == ["c"]


def test_sql_conditions_do_not_see_missing_photos() -> None:
    # colorfulness is 50, 60 and 70: without the missing photo the mean is 55, with it 60
    above_mean = "colorfulness > (SELECT avg(colorfulness) FROM photos)"
    assert reasons(with_missing(make_scan(), "c"), where=above_mean) == {"a": [f"not ({above_mean})"], "c": ["missing"]}
    assert reasons(with_missing(make_scan(), "c"), where="count(*) OVER () = 3") == {"c": ["missing"]}


def test_a_scan_without_the_column_missing_since_can_be_filtered(tmp_path: Path) -> None:
    old = make_scan(sha256=[f"{1:064x}"] * 3).drop_columns(["missing_since"])
    manifest.write_manifest(tmp_path / "scan.parquet", old, Lineage("scan", "", {}))
    options = FilterOptions(duplicates="drop-exact", keep_top=(TopShare("colorfulness", 90),))
    for dry_run in (True, False):
        result = filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", options, dry_run=dry_run)
        assert (result.kept, result.rejected) == (1, 3)


def test_machine_made_photos_are_rejected_by_what_their_metadata_say() -> None:
    types = ["trainedAlgorithmicMedia", "digitalCapture", None]
    rows = [
        {"source": "/s", "path": f"{number}.jpg", "sha256": f"{number:064x}", "colorfulness": 50.0, "tone": "color"}
        | {"digital_source_type": kind}
        for number, kind in enumerate(types)
    ]
    table = pa.Table.from_pylist(rows, SCAN_SCHEMA)
    batch = filter_table(table, FilterOptions())
    assert batch.rejected["reject_reasons"].to_pylist() == [["machine-made: trainedAlgorithmicMedia"]]
    assert batch.kept.num_rows == 2
    for kept in (
        filter_table(table, FilterOptions(keep_machine_made=True)).kept,
        filter_table(table.drop_columns(["digital_source_type"]), FilterOptions()).kept,  # of an older version
    ):
        assert kept.num_rows == 3
