"""The Parquet files between the stages: lineage, versions, whole-or-nothing writing."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.files import write_atomic
from curate.image.decode import Header
from curate.manifest import SCAN_SCHEMA, SCHEMA_VERSION, Lineage
from curate.measures.measure import measure
from curate.scanning.scorer import Record
from curate.sources import ListedPhoto

LINEAGE = Lineage("scan", "curate scan 'my photos'", {"sources": ["/photos"], "max_pixels": 5}, counts={"scanned": 2})

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text, st.lists, max_leaves=5)


def table(*names: str) -> pa.Table:
    rows = [{"source": "/photos", "path": name, "error": "EmptyFile: zero bytes"} for name in names]
    return pa.Table.from_pylist(rows, SCAN_SCHEMA)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read_again_with_its_lineage(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "m.parquet"
    manifest.write_manifest(path, table("a.jpg", "b.jpg"), LINEAGE)
    read = manifest.read_manifest(path)
    assert read.table.equals(table("a.jpg", "b.jpg"))
    assert read.table.schema.equals(SCAN_SCHEMA)
    assert read.lineage == replace(LINEAGE, rows=2)
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@given(command=text, options=st.dictionaries(text, json_values, max_size=4), parent=st.none() | text)
def test_lineage_survives_as_metadata(command: str, options: dict[str, Any], parent: str | None) -> None:
    lineage = Lineage("clean", command, options, parent_sha256=parent, rows=3, counts={"kept": 3})
    stored = {key.encode(): value.encode() for key, value in lineage.to_metadata().items()}
    assert Lineage.from_metadata(stored | {b"pandas": b"\xff"}) == lineage


def test_lineage_says_what_made_the_numbers() -> None:
    assert LINEAGE.metric == "hasler-susstrunk-2003-m3-signed"
    assert {"vividset.tool_version", "vividset.scorer_version", "vividset.command"} <= LINEAGE.to_metadata().keys()


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(
        path, table("a.jpg"), replace(LINEAGE, schema_version=SCHEMA_VERSION + 1, tool_version="9.9")
    )
    with pytest.raises(
        ManifestError, match=rf"written by vividset 9\.9 in schema {SCHEMA_VERSION + 1}.*upgrade vividset"
    ):
        manifest.read_manifest(path)


def test_what_a_newer_version_adds_to_the_lineage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    metadata = LINEAGE.to_metadata() | {"vividset.invented_later": "1"}
    pq.write_table(table("a.jpg").replace_schema_metadata(metadata), path)
    assert manifest.read_manifest(path).lineage == LINEAGE


@pytest.mark.parametrize("spoiled", [{"vividset.kind": '"scan"'}, {**LINEAGE.to_metadata(), "vividset.kind": "{"}])
def test_lineage_that_cannot_be_understood_is_one_line(spoiled: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(table("a.jpg").replace_schema_metadata(spoiled), path)
    with pytest.raises(ManifestError, match="can't be read") as caught:
        manifest.read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_parts_is_read_in_order_of_their_names(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "parts" / "part-1.parquet", table("c.jpg"), LINEAGE)
    manifest.write_manifest(tmp_path / "parts" / "part-0.parquet", table("a.jpg", "b.jpg"), LINEAGE)
    read = manifest.read_manifest(tmp_path / "parts")
    assert read.table["path"].to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert read.lineage is not None
    before = read.sha256
    manifest.write_manifest(tmp_path / "parts" / "part-1.parquet", table("d.jpg"), LINEAGE)
    assert manifest.read_manifest(tmp_path / "parts").sha256 != before


def test_a_folder_without_parts_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="folder without Parquet files"):
        manifest.read_manifest(tmp_path)


def test_a_manifest_that_pandas_saved_reads_with_its_lineage_unknown(tmp_path: Path) -> None:
    ours, saved = tmp_path / "ours.parquet", tmp_path / "saved.parquet"
    manifest.write_manifest(ours, table("a.jpg", "b.jpg"), LINEAGE)
    pd.read_parquet(ours).to_parquet(saved)
    read = manifest.read_manifest(saved, required=("source", "path"))
    assert read.lineage is None
    assert read.table["path"].to_pylist() == ["a.jpg", "b.jpg"]


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": ["a.jpg"]}), path)
    with pytest.raises(ManifestError, match=r"no column 'source', 'tone': it is not a vividset manifest"):
        manifest.read_manifest(path, required=("source", "path", "tone"))


def test_an_undecided_manifest_is_sent_to_the_filter(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, table("a.jpg"), LINEAGE)
    with pytest.raises(ManifestError, match="run `curate filter`"):
        manifest.read_manifest(path, required=("split",))


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, table("a.jpg"), LINEAGE)
    assert manifest.read_manifest(path, columns=("path", "not there", "error")).table.column_names == ["path", "error"]


def test_what_is_missing_or_no_parquet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.parquet").touch()
    for name, said in (("text", "can't be read"), ("empty", "can't be read"), ("none", "doesn't exist")):
        with pytest.raises(ManifestError, match=said) as caught:
            manifest.read_manifest(tmp_path / f"{name}.parquet")
        assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest.write_manifest(path, table("old.jpg"), LINEAGE)

    def write_half_of_it() -> None:
        with manifest.open_writer(path, SCAN_SCHEMA) as out:
            out.write_table(table("new.jpg"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half_of_it()
    assert files_in(tmp_path) == ["m.parquet"]
    assert manifest.read_manifest(path).table["path"].to_pylist() == ["old.jpg"]


def test_a_write_that_ends_well_leaves_no_draft(tmp_path: Path) -> None:
    manifest.write_manifest(tmp_path / "m.parquet", table("a.jpg"), LINEAGE)
    assert files_in(tmp_path) == ["m.parquet"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match=r"can't be written.*choose another place"):
        manifest.write_manifest(tmp_path / "file" / "m.parquet", table("a.jpg"), LINEAGE)
    (tmp_path / "m.parquet").mkdir()
    with pytest.raises(ManifestError, match="can't be written"):
        manifest.write_manifest(tmp_path / "m.parquet", table("a.jpg"), LINEAGE)
    assert files_in(tmp_path) == ["file", "m.parquet"]


PHOTO = ListedPhoto("/photos", "a.jpg", 10, 20)
HEADER = Header(4, 4, "PNG", "RGB", 1, None)


def test_a_record_has_measures_or_an_error_never_both_or_neither(vivid: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO)
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO, "00", HEADER, measure(vivid), error="BrokenPhoto: cut")
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", measures=measure(vivid))
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", HEADER, error="BrokenPhoto: cut")


def test_a_record_survives_as_a_row(tmp_path: Path, real_photo: Callable[[str], NDArray[np.uint8]]) -> None:
    measures = measure(real_photo("coffee"))
    rows = [Record(PHOTO, "ab" * 32, HEADER, measures).to_row(), Record(PHOTO, error="EmptyFile: zero bytes").to_row()]
    assert rows[0].keys() == set(SCAN_SCHEMA.names)
    manifest.write_manifest(tmp_path / "m.parquet", pa.Table.from_pylist(rows, SCAN_SCHEMA), LINEAGE)
    good, bad = manifest.read_manifest(tmp_path / "m.parquet").table.to_pylist()
    assert good["colorfulness"] == measures.colorfulness
    assert good["tone"] == measures.tone.tone
    assert (good["width"], good["format"], good["bytes"], good["modified_ns"]) == (4, "PNG", 10, 20)
    assert {name for name, value in bad.items() if value is not None} == {
        *("source", "path", "bytes", "modified_ns", "error")
    }


def interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def test_a_file_is_whole_or_not_there_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_atomic(b"old", tmp_path / "a.bin")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(b"new", tmp_path / "folder")
    slow = bytes(100_000_000)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_atomic(slow, tmp_path / "a.bin")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "folder"]
