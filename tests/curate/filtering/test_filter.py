"""Filtering: no row is lost, reasons are complete and true, splits are stable, outputs are written safely."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from curate import manifest
from curate.cli import main
from curate.errors import ManifestError, UsageError
from curate.filtering.filter import assign_split, filter_manifest, filter_table
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.measures.names import TONES

LINEAGE = Lineage("scan", "curate scan", {"sources": ["/photos"]})


def make_hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def photo(number: int, colorfulness: float, tone: str = "color") -> dict[str, Any]:
    return {
        "source": "/photos",
        "path": f"{number}.jpg",
        "sha256": make_hash(number),
        "colorfulness": colorfulness,
        "tone": tone,
        "error": None,
    }


def broken(number: int, error: str = "BrokenPhoto: cut") -> dict[str, Any]:
    return {"source": "/photos", "path": f"{number}.jpg", "sha256": None, "error": error}


def make_scan(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCAN_SCHEMA)


def reasons(
    *rows: dict[str, Any], threshold: float = 20.0, keep: frozenset[str] = frozenset({"color"})
) -> list[list[str]]:
    result = filter_table(make_scan(*rows), FilterOptions(threshold, keep))
    return [list(texts) for texts in result.rejected["reject_reasons"].to_pylist()]


random_row = st.tuples(st.booleans(), st.floats(0, 230), st.sampled_from(TONES))
random_rows = st.lists(random_row, max_size=30).map(
    lambda drawn: [photo(i, m, tone) if fine else broken(i) for i, (fine, m, tone) in enumerate(drawn)]
)


@given(random_rows, st.floats(-1, 240), st.sets(st.sampled_from(TONES)))
def test_every_row_is_kept_or_rejected_in_order(rows: list[dict[str, Any]], threshold: float, keep: set[str]) -> None:
    table = make_scan(*rows)
    result = filter_table(table, FilterOptions(threshold, frozenset(keep)))
    kept, rejected = result.kept["path"].to_pylist(), result.rejected["path"].to_pylist()
    assert sorted(kept + rejected) == sorted(table["path"].to_pylist())
    in_order = [row["path"] for row in rows]
    assert kept == [path for path in in_order if path in set(kept)]
    assert rejected == [path for path in in_order if path in set(rejected)]
    for part in (result.kept, result.rejected):
        assert part.schema.names == [*SCAN_SCHEMA.names, "split", "reject_reasons", "waived_reasons"]


@given(random_rows, st.floats(0, 230), st.sets(st.sampled_from(TONES)))
def test_each_rejected_row_has_all_reasons_that_apply(
    rows: list[dict[str, Any]], threshold: float, keep: set[str]
) -> None:
    result = filter_table(make_scan(*rows), FilterOptions(threshold, frozenset(keep)))
    texts = dict(zip(result.rejected["path"].to_pylist(), result.rejected["reject_reasons"].to_pylist(), strict=True))
    for row in rows:
        expected = []
        if row["error"]:
            expected.append(f"unreadable: {row['error']}")
        elif row["colorfulness"] < threshold:
            expected.append("colorfulness ")
        if row.get("tone") and row["tone"] not in keep:
            expected.append(f"tone is {row['tone']}")
        got = [re.sub(r"(?<=^colorfulness ).*", "", reason) for reason in texts.get(row["path"], [])]
        assert got == expected


@given(st.floats(0, 230), st.floats(0, 230))
@example(19.999999999999996, 20.0)
@example(19.96, 20.0)
@example(17.34, 17.35)
@example(math.nextafter(0.3, 0), 0.3)
@example(20.000000001, 20.00000001)
def test_the_comparison_in_a_reason_is_true_after_rounding(m: float, threshold: float) -> None:
    for texts in reasons(photo(0, m), threshold=threshold):
        shown = re.fullmatch(r"colorfulness (\S+) < (\S+)", texts[0])
        assert shown is not None
        assert float(shown[1]) < float(shown[2])


def test_the_text_of_reasons() -> None:
    rows = (photo(0, 17.34), photo(1, 17.3, "sepia"), photo(2, 40, "toned"), broken(3, "EmptyFile: zero bytes"))
    assert reasons(*rows) == [
        ["colorfulness 17.3 < 20"],
        ["colorfulness 17.3 < 20", "tone is sepia"],
        ["tone is toned"],
        ["unreadable: EmptyFile: zero bytes"],
    ]


def test_a_value_equal_to_the_threshold_is_kept() -> None:
    assert filter_table(make_scan(photo(0, 20.0)), FilterOptions(20.0)).kept.num_rows == 1


@pytest.mark.parametrize("tone", TONES[1:])
def test_a_tone_is_rejected_unless_it_is_kept(tone: str) -> None:
    rows = [photo(i, 50, each) for i, each in enumerate(TONES)]
    assert filter_table(make_scan(*rows), FilterOptions()).kept["tone"].to_pylist() == ["color"]
    kept = filter_table(make_scan(*rows), FilterOptions(keep_tones=frozenset({"color", tone}))).kept
    assert kept["tone"].to_pylist() == ["color", tone]


@pytest.mark.parametrize("row", [broken(0), photo(0, math.nan), {**photo(0, 50), "colorfulness": None}])
def test_photos_without_measures_are_rejected_with_any_options(row: dict[str, Any]) -> None:
    result = filter_table(make_scan(row), FilterOptions(-1e9, frozenset(TONES)))
    assert (result.kept.num_rows, result.rejected.num_rows) == (0, 1)
    assert result.rejected["reject_reasons"].to_pylist()[0][0].startswith("unreadable: ")


def test_a_photo_counts_at_every_rule_that_rejects_it() -> None:
    result = filter_table(make_scan(photo(0, 50), photo(1, 1, "sepia"), photo(2, 1), broken(3)), FilterOptions())
    assert dict(result.rejected_by_rule) == {"unreadable": 1, "colorfulness < 20": 2, "tone": 1, "kind": 0}


def test_decision_columns_have_types_without_rows() -> None:
    result = filter_table(make_scan(), FilterOptions())
    for part in (result.kept, result.rejected):
        assert part.num_rows == 0
        assert part.schema.field("split").type == pa.string()
        assert part.schema.field("reject_reasons").type == pa.list_(pa.string())


def test_kept_photos_have_a_split_and_no_reasons_and_rejected_ones_have_no_split() -> None:
    result = filter_table(make_scan(photo(0, 50), photo(1, 1)), FilterOptions())
    (kept,), (rejected,) = result.kept.to_pylist(), result.rejected.to_pylist()
    assert kept["split"] in {"train", "val", "test"}
    assert kept["reject_reasons"] is None
    assert rejected["split"] is None


def test_a_filtered_table_can_be_filtered_again() -> None:
    first = filter_table(make_scan(photo(0, 50), photo(1, 30)), FilterOptions()).kept
    again = filter_table(first, FilterOptions(40))
    assert again.kept["path"].to_pylist() == ["0.jpg"]
    assert again.kept.schema == first.schema


def test_split_shares_are_about_right_for_10000_photos() -> None:
    hashes = pa.chunked_array([[make_hash(i) for i in range(10_000)]])
    shares = Counter(assign_split(hashes, Split(80, 15, 5)).to_pylist())
    assert shares["train"] == pytest.approx(8000, abs=160)  # four standard deviations
    assert shares["val"] == pytest.approx(1500, abs=143)
    assert shares["test"] == pytest.approx(500, abs=88)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_share_of_100_gets_all_photos(name: str) -> None:
    hashes = pa.chunked_array([["00" * 32, "ff" * 32, *(make_hash(i) for i in range(200))]])
    whole = Split(**{each: 100.0 if each == name else 0.0 for each in ("train", "val", "test")})
    assert set(assign_split(hashes, whole).to_pylist()) == {name}


def test_the_split_of_a_photo_does_not_depend_on_other_photos() -> None:
    few = [photo(i, 50) for i in range(0, 300, 3)]
    many = [photo(i, 50 if i % 2 else 90) for i in range(300)]

    def splits(rows: list[dict[str, Any]]) -> dict[str, str]:
        kept = filter_table(make_scan(*rows), FilterOptions()).kept
        return dict(zip(kept["path"].to_pylist(), kept["split"].to_pylist(), strict=True))

    later = splits(many[::-1])
    assert splits(few) == {path: later[path] for path in splits(few)}


def test_exact_copies_have_the_same_split() -> None:
    copies = [{**photo(5, 50), "path": f"copy-{i}.jpg"} for i in range(20)]
    kept = filter_table(make_scan(*copies), FilterOptions(split=Split(34, 33, 33))).kept
    assert len(set(kept["split"].to_pylist())) == 1


@pytest.mark.parametrize("text", ["", "90", "90/5", "90/5/5/0", "a/b/c", "90/5/6", "110/-5/-5", "nan/5/5", "inf/0/0"])
def test_an_invalid_split_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="90/5/5"):
        Split.parse(text)


def test_split_shares_may_have_fractions() -> None:
    assert Split.parse("99.5/0.25/0.25") == Split(99.5, 0.25, 0.25)


def test_invalid_options_are_refused() -> None:
    with pytest.raises(UsageError, match="finite"):
        FilterOptions(math.nan)
    with pytest.raises(UsageError, match="unknown tone purple"):
        FilterOptions(keep_tones=frozenset({"purple"}))
    with pytest.raises(UsageError, match="unknown kind map: choose from photo, graphic"):
        FilterOptions(keep_kinds=frozenset({"map"}))


def test_graphics_are_rejected_unless_they_are_kept() -> None:
    rows = [photo(0, 50) | {"kind": "photo"}, photo(1, 50) | {"kind": "graphic"}, photo(2, 50)]
    result = filter_table(make_scan(*rows), FilterOptions())
    assert result.kept["path"].to_pylist() == ["0.jpg", "2.jpg"]
    assert result.rejected["reject_reasons"].to_pylist() == [["kind is graphic"]]
    kept = filter_table(make_scan(*rows), FilterOptions(keep_kinds=frozenset({"photo", "graphic"}))).kept
    assert kept.num_rows == 3


def test_a_scan_without_kinds_is_filtered_without_that_rule_and_with_a_warning(tmp_path: Path) -> None:
    scan, clean = tmp_path / "scan.parquet", tmp_path / "clean.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50)).drop_columns(["kind", "kind_score"]), LINEAGE)
    assert filter_manifest(scan, clean, FilterOptions()).without_kind
    assert filter_manifest(scan, clean, FilterOptions(), dry_run=True).kept == 1
    assert not filter_manifest(scan, clean, FilterOptions(keep_kinds=frozenset({"photo", "graphic"}))).without_kind
    near = filter_manifest(scan, clean, FilterOptions(duplicates="drop-exact"))
    assert (near.kept, near.rejected) == (1, 0)
    result = CliRunner().invoke(main, ["filter", str(scan), "-o", str(clean)])
    assert result.stderr.count("Warning: the scan has no column 'kind'") == 1


def test_both_manifests_have_the_lineage_of_the_filter(tmp_path: Path) -> None:
    scan, clean = tmp_path / "scan.parquet", tmp_path / "out" / "clean.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50), photo(1, 1), broken(2)), LINEAGE)
    filter_manifest(scan, clean, FilterOptions(), command="curate filter")
    for path, kind, rows in ((clean, "clean", 1), (clean.with_name("rejected.parquet"), "rejected", 2)):
        read = manifest.read_manifest(path)
        assert read.lineage is not None
        assert (read.lineage.kind, read.lineage.rows, read.table.num_rows) == (kind, rows, rows)
        assert read.lineage.parent_sha256 == manifest.digest(scan)
        assert read.lineage.command == "curate filter"
        assert read.lineage.options == {
            "min_colorfulness": 20.0,
            "keep_tones": ["color"],
            "keep_kinds": ["photo"],
            "keep_machine_made": False,
            "split": "90/5/5",
            "bounds": {},
            "min_side_px": 0,
            "max_aspect": None,
            "join": None,
            "where": None,
            "keep_top": {},
            "duplicates": "keep",
            "balance": 0,
            "reject_lists": [],
            "keep_lists": [],
        }
        assert read.lineage.counts == {"scanned": 3, "kept": 1, "rejected": 2}


def test_a_scan_saved_by_pandas_can_be_filtered(tmp_path: Path) -> None:
    ours, saved = tmp_path / "scan.parquet", tmp_path / "saved.parquet"
    for rows in ([photo(0, 50), photo(1, 1)], [photo(0, 50), photo(1, 1, "sepia"), broken(2)]):
        manifest.write_manifest(ours, make_scan(*rows), LINEAGE)
        pd.read_parquet(ours).to_parquet(saved)
        result = filter_manifest(saved, tmp_path / "clean.parquet", FilterOptions())
        assert manifest.read_manifest(tmp_path / "clean.parquet").table["path"].to_pylist() == ["0.jpg"]
        assert (result.kept, result.rejected) == (1, len(rows) - 1)


def test_the_scan_is_never_overwritten(tmp_path: Path) -> None:
    scan = tmp_path / "scan.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50)), LINEAGE)
    before = scan.read_bytes()
    with pytest.raises(ManifestError, match="is the scan itself"):
        filter_manifest(scan, scan, FilterOptions())
    with pytest.raises(ManifestError, match=r"rejected\.parquet is the name for the rejected photos"):
        filter_manifest(scan, tmp_path / "rejected.parquet", FilterOptions())
    scan.rename(tmp_path / "rejected.parquet")
    with pytest.raises(ManifestError, match="is the scan itself"):
        filter_manifest(tmp_path / "rejected.parquet", tmp_path / "clean.parquet", FilterOptions())
    assert (tmp_path / "rejected.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rejected.parquet"]


def test_outputs_in_one_folder_have_separate_rejected_manifests(tmp_path: Path) -> None:
    scan = tmp_path / "scan.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50), photo(1, 1)), LINEAGE)
    for _ in range(2):  # each may replace its own
        filter_manifest(scan, tmp_path / "clean.parquet", FilterOptions())
        filter_manifest(scan, tmp_path / "strict.parquet", FilterOptions(60.0))
    assert manifest.read_manifest(tmp_path / "rejected.parquet").table["path"].to_pylist() == ["1.jpg"]
    assert manifest.read_manifest(tmp_path / "strict.rejected.parquet").table["path"].to_pylist() == ["0.jpg", "1.jpg"]
    with pytest.raises(ManifestError, match=r"strict.rejected.parquet already exists and is not a clean manifest"):
        filter_manifest(scan, tmp_path / "strict.rejected.parquet", FilterOptions())


def test_a_second_filter_that_writes_the_same_output_is_refused(tmp_path: Path) -> None:
    scan, clean = tmp_path / "scan.parquet", tmp_path / "clean.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50), photo(1, 1)), LINEAGE)
    with (
        manifest.open_writers([clean], SCAN_SCHEMA),
        pytest.raises(ManifestError, match=r"another run is writing .*clean"),
    ):
        filter_manifest(scan, clean, FilterOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.parquet", "scan.parquet"]
    assert filter_manifest(scan, tmp_path / "other.parquet", FilterOptions()).kept == 1


def test_a_folder_with_different_kinds_of_manifest_is_refused(tmp_path: Path) -> None:
    scan = tmp_path / "m" / "scan.parquet"
    manifest.write_manifest(scan, make_scan(photo(0, 50), photo(1, 1)), LINEAGE)
    with pytest.raises(ManifestError, match=r"clean.parquet would be among the parts of the scan"):
        filter_manifest(tmp_path / "m", tmp_path / "m" / "clean.parquet", FilterOptions())
    filter_manifest(scan, tmp_path / "m" / "clean.parquet", FilterOptions())
    with pytest.raises(ManifestError, match=r"different kinds of manifest \(clean, rejected, scan\): name one of them"):
        filter_manifest(tmp_path / "m", tmp_path / "o" / "clean.parquet", FilterOptions())


def test_a_fraction_in_an_integer_column_is_named(tmp_path: Path) -> None:
    scan = tmp_path / "scan.parquet"
    table = make_scan(photo(0, 50))
    wide = table.set_column(table.column_names.index("width"), "width", pa.array([10.5]))
    pq.write_table(wide, scan)
    with pytest.raises(ManifestError, match=r"scan.parquet can't be read: Float value 10.50* was truncated"):
        filter_manifest(scan, tmp_path / "clean.parquet", FilterOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["scan.parquet"]
