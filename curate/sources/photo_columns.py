"""Read the columns that other files have for photos: the `metadata.csv` or `metadata.jsonl` of an imagefolder."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PhotoError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import Sidecar
from curate.sources.members import METADATA_NAMES
from curate.sources.sidecars import read_sidecar

FILE_NAME = "file_name"
"""The column of a metadata file that names the photo, below the folder of the file."""
_IS_METADATA = r"(^|/)(" + "|".join(name.replace(".", r"\.") for name in METADATA_NAMES) + ")$"
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_LEADING_ZERO = r"^-?0[0-9]"


@dataclass(frozen=True, slots=True)
class PhotoColumns:
    """Columns of other files for rows of a manifest."""

    table: pa.Table
    """One row for each row of the manifest, without columns of its own if no file says anything about these photos."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each file that could not be read; its values are null."""


def read_photo_columns(rows: pa.Table) -> PhotoColumns:
    """Read the columns that metadata files have for photos.

    Args:
        rows: of a manifest, with `source`, `path` and `sidecars`.
    """
    failed: list[tuple[str, str]] = []
    pieces: list[pa.Table] = []
    for (source, file), numbers in _group_by_metadata(rows).items():
        try:
            table = _parse(file.path, read_sidecar(source, file))
        except PhotoError as exc:
            failed.append((file.path, str(exc)))
            continue
        start = file.path.rfind("/") + 1
        names = pa.array([path[start:] for path in rows["path"].take(numbers).to_pylist()], pa.string())
        found = pc.index_in(names, value_set=table[FILE_NAME])
        values = table.drop_columns([FILE_NAME]).take(found)  # a photo without a row gets nulls
        pieces.append(values.append_column(_ROW, numbers))
    return PhotoColumns(_to_rows(pieces, rows.num_rows), failed)


_ROW = "\0row"
"""Name of the column with the row of the manifest, while pieces are put together."""


def _group_by_metadata(rows: pa.Table) -> dict[tuple[str, Sidecar], pa.Array]:
    """The rows that each metadata file belongs to, by the source and the file."""
    groups: dict[tuple[str, Sidecar], list[int]] = {}
    if "sidecars" not in rows.column_names:
        return {}
    start = 0
    for chunk in rows["sidecars"].chunks:
        files = pc.list_flatten(chunk)
        chosen = pc.match_substring_regex(files.field("path"), _IS_METADATA)
        numbers = pc.list_parent_indices(chunk).filter(chosen).to_pylist()
        for number, file in zip(numbers, files.filter(chosen).to_pylist(), strict=True):
            source = rows["source"][start + number].as_py()
            groups.setdefault((source, Sidecar(file["path"], file["offset"], file["bytes"])), []).append(start + number)
        start += len(chunk)
    return {key: pa.array(numbers, pa.int64()) for key, numbers in groups.items()}


def _to_rows(pieces: list[pa.Table], count: int) -> pa.Table:
    """Put pieces together in the order of the rows; columns of which the types differ become text."""
    if not pieces:
        return pa.table({_ROW: pa.nulls(count)}).drop_columns([_ROW])
    try:
        table = pa.concat_tables(pieces, promote_options="permissive")
    except pa.ArrowException:
        table = pa.concat_tables([_as_text(piece) for piece in pieces], promote_options="permissive")
    places = pc.index_in(pa.array(range(count), pa.int64()), value_set=table[_ROW])
    return table.drop_columns([_ROW]).take(places).combine_chunks()


def _as_text(table: pa.Table) -> pa.Table:
    """All columns as text, JSON where they have other values than text and numbers."""
    for number, name in enumerate(table.column_names):
        if name != _ROW and not pa.types.is_string(table.schema.types[number]):
            texts = [None if value is None else json.dumps(value) for value in table[name].to_pylist()]
            table = table.set_column(number, name, pa.array(texts, pa.string()))
    return table


def _parse(path: str, data: bytes) -> pa.Table:
    """The rows of a metadata file.

    Raises:
        PhotoError: it is not UTF-8 text of its format, or doesn't name photos.
    """
    try:
        text = data.decode("utf-8-sig")
        columns = _parse_csv(text) if path.endswith(".csv") else _parse_json_lines(text)
    except (ValueError, RecursionError, csv.Error) as exc:
        raise UnsupportedFormat(f"its rows can't be read: {exc}") from exc
    names = columns.pop(FILE_NAME, None)
    if names is None:
        raise UnsupportedFormat(f"it has no column {FILE_NAME}, so its rows belong to no photo")
    keys = [escape(posixpath.normpath(name)) if isinstance(name, str) else None for name in names]
    to_array = _csv_column if path.endswith(".csv") else _json_column
    arrays = {name: to_array(values) for name, values in columns.items()}
    return pa.table({FILE_NAME: pa.array(keys, pa.string()), **arrays})


def _parse_csv(text: str) -> dict[str, list[Any]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(rows, [])
    columns: dict[str, list[Any]] = {name: [] for name in header}
    for row in rows:
        if len(row) > len(header):
            raise ValueError(f"line {rows.line_num} has more values than the first line")
        for number, name in enumerate(header if row else ()):
            columns[name].append(row[number] if number < len(row) else "")
    return columns


def _parse_json_lines(text: str) -> dict[str, list[Any]]:
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a JSON object")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _csv_column(values: list[str]) -> pa.Array:
    """Numbers if all values are, without leading zeros, which only text keeps; otherwise text. Empty is null."""
    texts = pa.array([value or None for value in values], pa.string())
    if texts.null_count == len(texts):
        return texts
    if pc.all(pc.match_substring_regex(texts, _WHOLE_NUMBER)).as_py():
        return texts.cast(pa.int64())
    is_number = pc.all(pc.match_substring_regex(texts, _NUMBER)).as_py()
    if is_number and not pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py():
        return texts.cast(pa.float64())
    return texts


def _json_column(values: list[Any]) -> pa.Array:
    """An Arrow column; of values of different types, and of empty objects, each as JSON text."""
    with suppress(pa.ArrowException, OverflowError):
        column = pa.array(values)
        if "struct<>" not in str(column.type):  # an object without fields, which Parquet can't hold
            return column
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
