"""Read the columns that other files have for photos.

These are the rows of an imagefolder's `metadata.csv`, `metadata.jsonl` or `metadata.parquet`, and the other columns of
the Parquet or Arrow file in which a photo is.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import ChangedSinceScan, PhotoError, UnsupportedFormat, Vanished
from curate.manifest import escape
from curate.sources.entry import Sidecar
from curate.sources.names import FILE_NAME, IN_TABLE, METADATA_NAMES, parse_row_path
from curate.sources.reader import locate_photo
from curate.sources.sidecars import read_sidecar
from curate.sources.tables.reader import read_features, read_other_columns
from curate.text import describe_error

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
    features: dict[str, Any] = field(default_factory=dict)
    """Features of Hugging Face `datasets` that a Parquet or Arrow file records for its columns, such as names of
    labels."""


def read_photo_columns(rows: pa.Table) -> PhotoColumns:
    """Read the columns that metadata files, and the Parquet and Arrow files of photos, have for them.

    Args:
        rows: of a manifest, with `source`, `path` and `sidecars`.
    """
    failed: list[tuple[str, str]] = []
    pieces: list[pa.Table] = []
    features: list[dict[str, Any]] = []
    for (source, file), numbers in _group_by_metadata(rows).items():
        try:
            table = _parse(file.path, read_sidecar(source, file))
        except PhotoError as exc:
            failed.append((file.path, str(exc)))
            continue
        if table.num_columns == 1:  # only the names of the photos
            continue
        start = file.path.rfind("/") + 1
        names = pa.array([path[start:] for path in rows["path"].take(numbers).to_pylist()], pa.string())
        found = pc.index_in(names, value_set=table[FILE_NAME])
        values = table.drop_columns([FILE_NAME]).take(found)  # a photo without a row gets nulls
        pieces.append(values.append_column(_ROW, numbers))
    for (source, container), photos in _group_by_table(rows).items():
        try:
            table, known = _read_table(source, photos)
        except PhotoError as exc:
            failed.append((container, str(exc)))
            continue
        pieces.append(table)
        features.append(known)
    return PhotoColumns(_to_rows(pieces, rows.num_rows), failed, _common(features))


_ROW = "\0row"
"""Name of the column with the row of the manifest, while pieces are put together."""


class _TablePhoto(NamedTuple):
    """A photo in a Parquet or Arrow file."""

    row: int
    """In the file."""
    number: int
    """Of its row in the manifest."""
    path: str
    offset: int


def _group_by_table(rows: pa.Table) -> dict[tuple[str, str], list[_TablePhoto]]:
    """The photos in each Parquet or Arrow file, by the source and the path of the file."""
    groups: dict[tuple[str, str], list[_TablePhoto]] = {}
    if "tar_offset" not in rows.column_names:
        return groups
    may_be = pc.match_substring_regex(rows["path"], IN_TABLE, ignore_case=True)
    numbers = pc.indices_nonzero(pc.and_(may_be, pc.is_valid(rows["tar_offset"])))
    chosen = rows.select(["source", "path", "tar_offset"]).take(numbers)
    for number, photo in zip(numbers.to_pylist(), chosen.to_pylist(), strict=True):
        place = parse_row_path(photo["path"])
        if place is not None:
            key = photo["source"], place.container
            groups.setdefault(key, []).append(_TablePhoto(place.row, number, photo["path"], photo["tar_offset"]))
    return groups


def _read_table(source: str, photos: list[_TablePhoto]) -> tuple[pa.Table, dict[str, Any]]:
    """The other columns of photos in one file, with the column `_ROW`, and the features that the file records.

    Raises:
        PhotoError: the file can't be read.
    """
    photos = sorted(photos)
    location = locate_photo(source, photos[0].path, offset=photos[0].offset)
    if location is None:
        raise Vanished("the file no longer exists")
    try:
        table, features = read_other_columns(location, [photo.row for photo in photos]), read_features(location)
    except ValueError as exc:
        raise ChangedSinceScan("the file isn't what was scanned: scan again") from exc
    double = {name for name in table.column_names if table.column_names.count(name) > 1}
    table = table.select([number for number, name in enumerate(table.column_names) if name not in double])
    columns = [_to_common_type(column) for column in table.columns]
    numbers = pa.array([photo.number for photo in photos], pa.int64())
    return pa.table([*columns, numbers], names=[*table.column_names, _ROW]), features


def _to_common_type(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in a type that other programs know: no views, dictionaries and maps."""
    kind = column.type
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_binary_view(kind):
        return column.cast(pa.binary())
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_map(kind):
        return column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    return column


def _common(features: list[dict[str, Any]]) -> dict[str, Any]:
    """The features that all files with such a column have in common."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for known in features for name in known):
        values = [known[name] for known in features if name in known]
        if all(value == values[0] for value in values):
            found[name] = values[0]
    return found


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
    """Put pieces together in the order of the rows; a column of which the types differ becomes text."""
    pieces = [piece for piece in pieces if piece.num_columns > 1]
    if not pieces:
        return pa.table({_ROW: pa.nulls(count)}).drop_columns([_ROW])
    for name in dict.fromkeys(name for piece in pieces for name in piece.column_names):
        schemas = [pa.schema([piece.schema.field(name)]) for piece in pieces if name in piece.column_names]
        try:
            pa.unify_schemas([schema.remove_metadata() for schema in schemas], promote_options="permissive")
        except pa.ArrowException:
            pieces = [_as_text(piece, name) for piece in pieces]
    table = pa.concat_tables(pieces, promote_options="permissive")
    places = pc.index_in(pa.array(range(count), pa.int64()), value_set=table[_ROW])
    return table.drop_columns([_ROW]).take(places).combine_chunks()


def _as_text(table: pa.Table, name: str) -> pa.Table:
    """The table with a column as text: as JSON, where it has other values than text."""
    if name not in table.column_names or pa.types.is_string(table[name].type):
        return table
    texts = [None if value is None else json.dumps(value, default=str) for value in table[name].to_pylist()]
    return table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))


def _parse(path: str, data: bytes) -> pa.Table:
    """The rows of a metadata file.

    Raises:
        PhotoError: it is damaged, not UTF-8 text, or doesn't name photos.
    """
    if path.endswith(".parquet"):
        return _parse_parquet(data)
    try:
        text = data.decode("utf-8-sig")
        columns = _parse_csv(text) if path.endswith(".csv") else _parse_json_lines(text)
    except (ValueError, RecursionError, csv.Error) as exc:
        raise UnsupportedFormat(f"its rows can't be read: {exc}") from exc
    names = columns.pop(FILE_NAME, None)
    if names is None:
        raise _no_file_names()
    to_array = _csv_column if path.endswith(".csv") else _json_column
    arrays = {name: to_array(values) for name, values in columns.items()}
    return pa.table({FILE_NAME: _keys(names), **arrays})


def _no_file_names() -> PhotoError:
    return UnsupportedFormat(f"it has no column {FILE_NAME}, so its rows belong to no photo")


def _keys(names: list[Any]) -> pa.Array:
    """The paths of photos below the folder of a metadata file, as manifest text."""
    keys = [escape(posixpath.normpath(name)) if isinstance(name, str) else None for name in names]
    return pa.array(keys, pa.string())


def _parse_parquet(data: bytes) -> pa.Table:
    """The rows of a metadata file in Parquet; columns of a name that occurs twice are left out."""
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise UnsupportedFormat(f"its rows can't be read: {describe_error(exc)}") from exc
    if FILE_NAME not in table.column_names:
        raise _no_file_names()
    keys = _keys(table[table.column_names.index(FILE_NAME)].to_pylist())
    once = [name for name in table.column_names if name != FILE_NAME and table.column_names.count(name) == 1]
    columns = {name: _to_common_type(table[name]).combine_chunks() for name in once}
    return pa.table({FILE_NAME: keys, **columns})


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
