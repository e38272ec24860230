"""Metadata files of imagefolders: rows found by photo, types of columns, files that can't be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.manifest import SCAN_SCHEMA
from curate.sources.photo_columns import PhotoColumns, read_photo_columns


def read(folder: Path, metadata: dict[str, str], photos: dict[str, str]) -> PhotoColumns:
    """The columns of photos, given as path and metadata file."""
    for name, text in metadata.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    rows: list[dict[str, Any]] = [
        {"source": str(folder), "path": path, "sidecars": [{"path": name}] if name else None}
        for path, name in photos.items()
    ]
    return read_photo_columns(pa.Table.from_pylist(rows, SCAN_SCHEMA))


def test_rows_of_a_csv_are_found_and_only_safe_numbers_are_numbers(tmp_path: Path) -> None:
    text = '\ufefffile_name,n,f,zip,text\r\nb.jpg,2,0.5,012,"two\nlines, ""so"""\r\nx/a.jpg,1,,3,\r\n'
    photos = {"x/a.jpg": "metadata.csv", "b.jpg": "metadata.csv", "c.jpg": "metadata.csv", "d.jpg": ""}
    columns = read(tmp_path, {"metadata.csv": text}, photos)
    assert columns.failed == []
    assert columns.table.to_pydict() == {
        "n": [1, 2, None, None],
        "f": [None, 0.5, None, None],
        "zip": ["3", "012", None, None],
        "text": [None, 'two\nlines, "so"', None, None],
    }


def test_rows_of_json_lines_keep_their_types_and_mixed_ones_become_json(tmp_path: Path) -> None:
    text = '{"file_name": "./a.jpg", "tags": ["x"], "mixed": 1, "when": "2020-01-01"}\n\n'
    text += '{"file_name": "b.jpg", "mixed": "one", "box": {"w": 1.5}}\n'
    columns = read(
        tmp_path, {"in/metadata.jsonl": text}, {"in/b.jpg": "in/metadata.jsonl", "in/a.jpg": "in/metadata.jsonl"}
    )
    assert columns.table.to_pylist() == [
        {"tags": None, "mixed": '"one"', "when": None, "box": {"w": 1.5}},
        {"tags": ["x"], "mixed": "1", "when": "2020-01-01", "box": None},
    ]


def test_a_file_that_only_names_photos_gives_no_columns(tmp_path: Path) -> None:
    columns = read(tmp_path, {"metadata.csv": "file_name\na.jpg\n"}, {"a.jpg": "metadata.csv", "b.jpg": ""})
    assert (columns.table.num_rows, columns.table.num_columns, columns.failed) == (2, 0, [])


def test_columns_of_several_files_are_one_table(tmp_path: Path) -> None:
    files = {"a/metadata.csv": "file_name,n\n1.jpg,5\n", "b/metadata.jsonl": '{"file_name": "1.jpg", "n": "x"}\n'}
    columns = read(tmp_path, files, {"b/1.jpg": "b/metadata.jsonl", "a/1.jpg": "a/metadata.csv"})
    assert columns.table.to_pydict() == {"n": ["x", "5"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("n\n1\n", "has no column file_name"),
        ("file_name,n\na.jpg,1,2\n", "line 2 has more values"),
        ('file_name\n"a', "rows can't be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, reason: str) -> None:
    columns = read(tmp_path, {"metadata.csv": text}, {"a.jpg": "metadata.csv"})
    ((path, error),) = columns.failed
    assert columns.table.num_columns == 0
    assert path == "metadata.csv"
    assert error.startswith("UnsupportedFormat: ")
    assert re.search(reason, error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ((path, error),) = read(tmp_path, {}, {"a.jpg": "metadata.jsonl"}).failed
    assert (path, error.partition(":")[0]) == ("metadata.jsonl", "Vanished")
