"""Manifests: reading and checking, lineage, versions, and writing whole or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import ALL_COLUMNS, SCAN_SCHEMA, SCHEMA_VERSION, Lineage

LINEAGE = Lineage("scan", "curate scan 'my photos'", {"sources": ["/photos"], "max_pixels": 5}, counts={"scanned": 2})

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
any_json = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | any_text, st.lists, max_leaves=5)


def make_table(*names: str) -> pa.Table:
    rows = [{"source": "/photos", "path": name, "error": "EmptyFile: zero bytes"} for name in names]
    return pa.Table.from_pylist(rows, SCAN_SCHEMA)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_manifest_is_read_back_with_its_lineage(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "m.parquet"
    manifest.write_manifest(path, make_table("a.jpg", "b.jpg"), LINEAGE)
    read = manifest.read_manifest(path)
    assert read.table.equals(make_table("a.jpg", "b.jpg"))
    assert read.table.schema.equals(SCAN_SCHEMA)
    assert read.lineage == replace(LINEAGE, rows=2)
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@given(command=any_text, options=st.dictionaries(any_text, any_json, max_size=4), parent=st.none() | any_text)
def test_lineage_is_read_back_from_metadata(command: str, options: dict[str, Any], parent: str | None) -> None:
    lineage = Lineage("clean", command, options, parent_sha256=parent, rows=3, counts={"kept": 3})
    stored = {key.encode(): value.encode() for key, value in lineage.to_metadata().items()}
    assert Lineage.from_metadata(stored | {b"pandas": b"\xff"}) == lineage


def test_lineage_has_the_metric_and_the_versions() -> None:
    assert LINEAGE.metric == "hasler-susstrunk-2003-m3-signed"
    assert {"vividset.tool_version", "vividset.scorer_version", "vividset.command"} <= LINEAGE.to_metadata().keys()


def test_a_newer_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(
        path, make_table("a.jpg"), replace(LINEAGE, schema_version=SCHEMA_VERSION + 1, tool_version="9.9")
    )
    with pytest.raises(
        ManifestError, match=rf"written by vividset 9\.9 in schema {SCHEMA_VERSION + 1}.*upgrade vividset"
    ):
        manifest.read_manifest(path)


def test_lineage_fields_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    metadata = LINEAGE.to_metadata() | {"vividset.invented_later": "1"}
    pq.write_table(make_table("a.jpg").replace_schema_metadata(metadata), path)
    assert manifest.read_manifest(path).lineage == LINEAGE


@pytest.mark.parametrize("damaged", [{"vividset.kind": '"scan"'}, {**LINEAGE.to_metadata(), "vividset.kind": "{"}])
def test_damaged_lineage_is_a_one_line_error(damaged: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(make_table("a.jpg").replace_schema_metadata(damaged), path)
    with pytest.raises(ManifestError, match="can't be read") as caught:
        manifest.read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_parts_is_read_in_order_of_their_names(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "parts" / "part-1.parquet", make_table("c.jpg"), LINEAGE)
    manifest.write_manifest(tmp_path / "parts" / "part-0.parquet", make_table("a.jpg", "b.jpg"), LINEAGE)
    read = manifest.read_manifest(tmp_path / "parts")
    assert read.table["path"].to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert read.lineage is not None
    before = read.sha256
    manifest.write_manifest(tmp_path / "parts" / "part-1.parquet", make_table("d.jpg"), LINEAGE)
    assert manifest.read_manifest(tmp_path / "parts").sha256 != before


def test_a_folder_without_parquet_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="folder without Parquet files"):
        manifest.read_manifest(tmp_path)


def test_a_manifest_saved_by_pandas_has_no_lineage(tmp_path: Path) -> None:
    ours, saved = tmp_path / "ours.parquet", tmp_path / "saved.parquet"
    manifest.write_manifest(ours, make_table("a.jpg", "b.jpg"), LINEAGE)
    pd.read_parquet(ours).to_parquet(saved)
    read = manifest.read_manifest(saved, required=("source", "path"))
    assert read.lineage is None
    assert read.table["path"].to_pylist() == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("parts", [1, 2])
def test_a_manifest_that_went_through_csv_is_read(parts: int, tmp_path: Path) -> None:
    # pandas.read_csv gives float64 for a column without values, and for integers with a gap
    since = pd.Timestamp("2026-11-30T12:00:00.5", tz="UTC")
    rows = [
        {"source": "/p", "path": "a.jpg", "width": 640, "bytes": 7},
        {"source": "/p", "path": "b.jpg", "width": None, "bytes": 8, "missing_since": since},
    ]
    folder = tmp_path / "m"
    folder.mkdir()
    for number, table in enumerate([rows] if parts == 1 else [rows[:1], rows[1:]]):
        pa.Table.from_pylist(table, ALL_COLUMNS).to_pandas().to_csv(tmp_path / "m.csv", index=False)
        pd.read_csv(tmp_path / "m.csv").to_parquet(folder / f"{number}.parquet")
    read = manifest.read_manifest(folder).table
    assert read.schema.equals(ALL_COLUMNS, check_metadata=False)
    assert read.select(["path", "width", "bytes", "missing_since", "error", "reject_reasons"]).to_pylist() == [
        {"path": "a.jpg", "width": 640, "bytes": 7, "missing_since": None, "error": None, "reject_reasons": None},
        {"path": "b.jpg", "width": None, "bytes": 8, "missing_since": since, "error": None, "reject_reasons": None},
    ]
    assert pa.concat_tables(manifest.iter_tables(folder)).equals(read)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": ["a.jpg"]}), path)
    with pytest.raises(ManifestError, match=r"no column 'source', 'tone': it is not a vividset manifest"):
        manifest.read_manifest(path, required=("source", "path", "tone"))


def test_without_a_split_the_message_advises_curate_filter(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, make_table("a.jpg"), LINEAGE)
    with pytest.raises(ManifestError, match="run `curate filter`"):
        manifest.read_manifest(path, required=("split",))


def test_only_the_requested_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, make_table("a.jpg"), LINEAGE)
    assert manifest.read_manifest(path, columns=("path", "not there", "error")).table.column_names == ["path", "error"]


def test_missing_files_and_other_formats_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.parquet").touch()
    for name, message in (("text", "can't be read"), ("empty", "can't be read"), ("none", "doesn't exist")):
        with pytest.raises(ManifestError, match=message) as caught:
            manifest.read_manifest(tmp_path / f"{name}.parquet")
        assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, make_table("old.jpg"), LINEAGE)

    def write_half_of_it() -> None:
        with manifest.open_writer(path, SCAN_SCHEMA) as out:
            out.write_table(make_table("new.jpg"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half_of_it()
    assert files_in(tmp_path) == ["m.parquet"]
    assert manifest.read_manifest(path).table["path"].to_pylist() == ["old.jpg"]


def test_a_successful_write_leaves_no_draft(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "m.parquet", make_table("a.jpg"), LINEAGE)
    assert files_in(tmp_path) == ["m.parquet"]


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match=r"can't be written.*choose another place"):
        manifest.write_manifest(tmp_path / "file" / "m.parquet", make_table("a.jpg"), LINEAGE)
    (tmp_path / "m.parquet").mkdir()
    with pytest.raises(ManifestError, match="can't be written"):
        manifest.write_manifest(tmp_path / "m.parquet", make_table("a.jpg"), LINEAGE)
    assert files_in(tmp_path) == ["file", "m.parquet"]


def test_a_manifest_without_read_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_path: Path, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "scan.parquet"
    pq.write_table(pa.table({"path": ["a.jpg"]}), path)
    monkeypatch.setattr("curate.manifest.reader.open_parquet", deny)
    with pytest.raises(ManifestError, match="can't be read: Permission denied: check the permissions"):
        manifest.read_manifest(path)
