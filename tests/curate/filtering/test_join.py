"""`--join`: which rows of a table a photo gets, bounds on its columns, and tables that can't be used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import curate
from curate import manifest
from curate.cli import main
from curate.errors import UsageError
from curate.filtering import join
from curate.filtering.filter import filter_table
from curate.filtering.options import FilterOptions, build_options, load_preset, settings_to_toml
from curate.manifest import SCAN_SCHEMA, Lineage


def make_hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def make_scan(*paths: str, **columns: Any) -> pa.Table:
    rows = [
        {"source": "/s", "path": path, "sha256": make_hash(path), "colorfulness": 50.0, "tone": "color", **columns}
        for path in paths
    ]
    return pa.Table.from_pylist(rows, SCAN_SCHEMA)


def write_scan(table: pa.Table, path: Path) -> Path:
    with manifest.open_writer(path, table.schema) as out:
        out.write_table(table)
        out.add_key_value_metadata(Lineage("scan", "test", {}, rows=table.num_rows).to_metadata())
    return path


def write(path: Path, /, **columns: Any) -> str:
    """Write a table in the format of the suffix."""
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), encoding="utf-8")
    return str(path)


def settings(**values: Any) -> FilterOptions:
    return build_options({name.replace("_", "-"): value for name, value in values.items()})


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("on", ["sha256", "path"])
def test_columns_of_a_table_are_added_by_key_and_null_where_the_table_has_no_row(
    tmp_path: Path, suffix: str, on: str
) -> None:
    keys = {"sha256": [make_hash("c").upper(), make_hash("a"), make_hash("other")], "path": ["c", "a", "other"]}
    table = write(tmp_path / f"m{suffix}", **{on: keys[on]}, score=[0.5, 2.0, 9.0], caption=["cat, ä", None, "x"])
    kept = filter_table(make_scan("a", "b", "c"), settings(join=table, on=on)).kept
    assert kept["score"].to_pylist() == [2.0, None, 0.5]
    assert kept["caption"].to_pylist() == [None, None, "cat, ä"]


def test_bounds_reject_photos_without_a_value(tmp_path: Path) -> None:
    table = write(tmp_path / "m.parquet", path=["a", "b", "c"], pwatermark=[0.4, 0.6, float("nan")])
    options = settings(join=table, on="path", max_column={"pwatermark": 0.5})
    batch = filter_table(make_scan("a", "b", "c", "d"), options)
    assert batch.kept["path"].to_pylist() == ["a"]
    reasons = [["pwatermark 0.6 > 0.5"], ["pwatermark has no value"], ["pwatermark has no value"]]
    assert batch.rejected["reject_reasons"].to_pylist() == reasons


def test_any_column_with_numbers_of_the_scan_can_have_bounds() -> None:
    assert filter_table(make_scan("a", width=5, height=5), settings(min_column={"width": 6})).kept.num_rows == 0


def test_large_tables_go_through_a_file_and_copies_of_a_photo_share_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "PENDING_BYTES", 1000)
    names = [f"{number}.jpg" for number in range(300)]
    scan = pa.concat_tables([make_scan(*names), make_scan(*names[:50])])
    folder = tmp_path / "scan"
    folder.mkdir()
    for number, start in enumerate(range(0, 350, 90)):  # several pieces, of other sizes than those of the table
        write_scan(scan.slice(start, 90), folder / f"{number}.parquet")
    order = np.random.default_rng(0).permutation(300)
    table = write(tmp_path / "m.parquet", sha256=[make_hash(names[n]) for n in order], number=order)
    where = "number % 2 = 0 AND number < (SELECT max(number) FROM photos)"
    result = curate.filter_manifest(folder, tmp_path / "clean.parquet", join=table, where=where)
    kept = curate.read_manifest(tmp_path / "clean.parquet").table
    assert kept["path"].to_pylist() == [f"{number}.jpg" for number in kept["number"].to_pylist()]
    assert (result.kept, result.joined) == (150 + 25, 350)


def test_the_lineage_records_the_table(tmp_path: Path) -> None:
    scan = write_scan(make_scan("a"), tmp_path / "scan.parquet")
    table = write(tmp_path / "m.csv", path=["a"], n=[1])
    curate.filter_manifest(scan, tmp_path / "clean.parquet", join=table, on="path", max_column={"n": 2})
    lineage = curate.read_manifest(tmp_path / "clean.parquet").lineage
    assert lineage is not None
    content = Path(table).read_bytes()
    expected = {"path": table, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "on": "path"}
    assert lineage.options["join"] == expected
    assert lineage.options["bounds"] == {"--max-column n": 2.0}


def test_a_type_holds_for_the_whole_file_not_only_its_first_lines(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(3)]
    (tmp_path / "m.csv").write_text("path,a,b,c\n0,1,2,007\n1,,x,1\n2,1.5,3,nan\n", encoding="utf-8")
    kept = filter_table(make_scan(*names), settings(join=str(tmp_path / "m.csv"), on="path")).kept
    assert kept.select(["a", "b", "c"]).to_pydict() == {"a": [1, None, 1.5], "b": ["2", "x", "3"], "c": [7, 1, None]}
    (tmp_path / "m.jsonl").write_text('{"path": "0", "a": 1}\n{"path": "1", "b": "x"}\n{"path": "2", "a": 1.5}\n')
    kept = filter_table(make_scan(*names), settings(join=str(tmp_path / "m.jsonl"), on="path")).kept
    assert kept.select(["a", "b"]).to_pydict() == {"a": [1, None, 1.5], "b": [None, "x", None]}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"path": ["a", "a"], "n": [1, 2]}, {}, "two rows with the path 'a': keep one row for each photo"),
        ({"file": ["a"]}, {}, "no column 'path', only file: compute it, or join by another column with --on"),
        ({"path": [1]}, {}, "int64 in its column 'path' instead of text"),
        ({"path": ["a"], "Width": [1]}, {}, "columns that scans have, too: Width: choose the columns to add"),
        ({"path": ["a"], "split": [1]}, {}, "columns that scans have, too: split"),
        ({"path": ["a"], "n": ["x"]}, {"max_column": {"n": 1}}, "--max-column n: the column has string instead of num"),
        ({"path": ["a"]}, {}, "no column besides 'path': there is nothing to add"),
        (
            {"path": ["a"], "m": [1]},
            {"min_column": {"n": 1}},
            "--min-column n: neither the scan nor a table of --join has",
        ),
        ({"path": ["a"]}, {"join_column": ["n"]}, "no column 'n', only path"),
    ],
)
def test_a_table_that_does_not_fit_is_one_clear_line(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    table = write(tmp_path / "m.parquet", **columns)
    with pytest.raises(UsageError, match=message):
        filter_table(make_scan("a"), settings(join=table, on="path", **options))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, content in (
        ("m.parquet", b"x"),
        ("m.csv", b"a,b\n1\n"),
        ("m.jsonl", b"{"),
        ("m.txt", b"a"),
        ("e.csv", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=name):
            filter_table(make_scan("a"), settings(join=str(tmp_path / name)))
    with pytest.raises(UsageError, match=r"none.csv doesn't exist: name a file with --join"):
        filter_table(make_scan("a"), settings(join=str(tmp_path / "none.csv")))


def test_presets_hold_these_options(tmp_path: Path) -> None:
    chosen = {"join": "m.csv", "on": "path", "join-column": ["n"], "max-column": {"a b": 0.5}}
    (tmp_path / "mine.toml").write_text("\n".join(settings_to_toml(chosen)), encoding="utf-8")
    loaded = load_preset(str(tmp_path / "mine.toml"))
    assert {name: loaded[name] for name in chosen} == chosen


def test_the_commands_name_the_share_found_and_the_photo_explained(tmp_path: Path) -> None:
    scan = write_scan(make_scan("a", "b"), tmp_path / "scan.parquet")
    table = write(tmp_path / "m.csv", path=["a"], score=[3])
    arguments = ["filter", str(scan), "--join", table, "--on", "path", "--min-column", "score", "2", "--dry-run"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "--join: the table has 1 of 2 photos" in result.output
    again = CliRunner().invoke(main, [*arguments, "--min-column", "score", "3"])
    assert again.exit_code == 2
    assert "give it once per column" in again.output
    other = CliRunner().invoke(
        main, ["filter", str(scan), "--join", write(tmp_path / "o.csv", sha256=["0"], n=[1]), "--dry-run"]
    )
    assert "Warning: no photo was found in" in other.output


def test_explain_finds_the_row_of_a_photo(photos: Path, tmp_path: Path) -> None:
    photo = photos / "a-vivid.png"
    table = write(tmp_path / "m.csv", sha256=[hashlib.sha256(photo.read_bytes()).hexdigest()], score=[1.5])
    result = CliRunner().invoke(main, ["explain", str(photo), "--join", table, "--min-column", "score", "2"])
    assert "rejected: score 1.5 < 2" in result.output
    assert ["score", "1.5"] in [line.split() for line in result.output.splitlines()]
