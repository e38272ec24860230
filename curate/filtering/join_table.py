"""Read the table of `--join` in pieces: its key column as text, and the columns to add to the scan."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from curate import manifest
from curate.errors import UsageError
from curate.files import check_readable, local_copy, sha256_of
from curate.filtering.options import JOIN_KEYS
from curate.locations import Location, parse_location
from curate.manifest import ALL_COLUMNS
from curate.text import advise, describe_error

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
_BATCH_ROWS = 1 << 14
_BLOCK_BYTES = 8 << 20
"""Text is parsed in blocks of this size."""
_TEXT_TYPES = (pa.int64(), pa.float64(), pa.bool_(), pa.string())
"""Types of the columns of a CSV; the first one that all values have."""


@dataclass(frozen=True, slots=True)
class JoinTable:
    """A table whose columns are added to a scan."""

    path: Location
    on: str
    """The key column, one of `JOIN_KEYS`."""
    schema: pa.Schema
    """The columns to add, without the key."""
    sha256: str
    """Hex sha256 of the file; of a folder see `curate.manifest.digest`."""
    bytes: int
    read: Callable[[], Iterator[pa.RecordBatch]]
    """Reads the rows in pieces, the key and the columns to add."""

    def iter_tables(self) -> Iterator[pa.Table]:
        """Yield all rows that have a key, in pieces: the key as text and then the columns of `schema`.

        Raises:
            UsageError: the table can't be read.
        """
        with _read_errors(self.path):
            for batch in self.read():
                table = pa.Table.from_batches([batch])
                keys = table[self.on].cast(pa.string())
                columns = [table[column.name].cast(column.type) for column in self.schema]
                full = pa.table([keys, *columns], schema=pa.schema([(self.on, pa.string()), *self.schema]))
                yield full.filter(keys.is_valid())


def open_join_table(path: str, on: str, names: Sequence[str], scan_names: Sequence[str]) -> JoinTable:
    """Open the table of `--join`.

    Args:
        path: a Parquet file, a folder of them, CSV, TSV or JSON lines, by suffix; a path or URL.
        on: the key column, one of `JOIN_KEYS`.
        names: the columns to add; empty: all but the key.
        scan_names: the columns of the scan, which must not be replaced.

    Raises:
        UsageError: the table can't be read, lacks a column, or has one that the scan has, too.
    """
    location = parse_location(path)
    with _read_errors(location):
        local = local_copy(location)
        files = [local]
        if local.is_dir():
            files = manifest.list_parts(local)
        for file in files:
            check_readable(file)
        schema, read = _open_files(location, files)
        size = sum(file.stat().st_size for file in files)
        digest = manifest.digest(local) if local.is_dir() else sha256_of(local)
    chosen = _choose_columns(location, schema, on, names, scan_names)
    added = pa.schema([(name, _plain_type(schema.field(name).type)) for name in chosen])
    return JoinTable(location, on, added, digest, size, partial(read, [on, *chosen]))


def _choose_columns(
    path: Location, schema: pa.Schema, on: str, names: Sequence[str], scan_names: Sequence[str]
) -> list[str]:
    """Return the columns to add, after all checks."""
    for name in (on, *names):
        if name not in schema.names:
            hint = ": compute it, or join by another column with --on" if name == on else ""
            raise UsageError(f"{path} has no column {name!r}, only {_list_names(schema.names)}{hint}")
        if schema.names.count(name) > 1:
            raise UsageError(f"{path} has two columns {name!r}: rename one of them")
    if not _is_text(schema.field(on).type):
        raise UsageError(f"{path} has {schema.field(on).type} in its column {on!r} instead of text: convert it")
    chosen = list(dict.fromkeys(names or [name for name in schema.names if name != on]))
    if on in chosen:
        raise UsageError(f"--join-column {on} is the key, which the scan has: leave it out")
    if not chosen:
        raise UsageError(f"{path} has no column besides {on!r}: there is nothing to add")
    taken = {name.lower() for name in (*scan_names, *ALL_COLUMNS.names)}
    if doubled := [name for name in chosen if name.lower() in taken]:
        raise UsageError(
            f"{path} has columns that scans have, too: {_list_names(doubled)}: "
            "choose the columns to add with --join-column, or rename these"
        )
    if len({name.lower() for name in chosen}) < len(chosen):
        raise UsageError(f"{path} has two columns of one name: choose the columns to add with --join-column")
    return chosen


def _open_files(
    path: Location, files: Sequence[Path]
) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    """Return the schema of a table, and the function that reads some of its columns."""
    suffix = files[0].suffix.lower()
    if suffix == ".parquet":
        schemas = [manifest.open_parquet(file).schema_arrow.remove_metadata() for file in files]
        if any(other.names != schemas[0].names for other in schemas):
            raise UsageError(f"{path} is a folder of tables with different columns: name one of them")
        if len(set(schemas[0].names)) < len(schemas[0].names):  # types can't be unified; the check of names refuses it
            return schemas[0], lambda _: iter(())
        return pa.unify_schemas(schemas, promote_options="permissive"), partial(_read_parquet, files)
    if suffix in (".csv", ".tsv"):
        schema = _csv_schema(files[0])
        return schema, partial(_read_csv, files[0], schema)
    if suffix in (".jsonl", ".ndjson"):
        schema = reduce(_unify, (table.schema for table in _read_json(files[0], None)), pa.schema([]))
        return schema, partial(_read_json_columns, files[0], schema)
    raise UsageError(f"{path} is not a table that --join can read: name a file that ends in {', '.join(SUFFIXES)}")


def _read_parquet(files: Sequence[Path], names: list[str]) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from manifest.open_parquet(file, pre_buffer=False).iter_batches(_BATCH_ROWS, columns=names)


def _csv_schema(file: Path) -> pa.Schema:
    """Return the narrowest types that hold all values: pyarrow alone looks only at the first block."""
    with _open_csv(file, None) as reader:
        names = reader.schema.names
    if len(set(names)) < len(names):
        return pa.schema([(name, pa.string()) for name in names])
    types = dict.fromkeys(names, 0)
    with _open_csv(file, pa.schema([(name, pa.string()) for name in names])) as reader:
        for batch in reader:
            for name in names:
                types[name] = _first_type(batch.column(name), types[name])
    return pa.schema([(name, pa.string() if name in JOIN_KEYS else _TEXT_TYPES[types[name]]) for name in names])


def _first_type(texts: pa.Array, start: int) -> int:
    """Return the number of the first of `_TEXT_TYPES`, from `start` on, to which all texts can be cast."""
    for number in range(start, len(_TEXT_TYPES)):
        try:
            texts.cast(_TEXT_TYPES[number])
        except pa.ArrowInvalid:
            continue
        return number
    return len(_TEXT_TYPES) - 1


def _read_csv(file: Path, schema: pa.Schema, names: list[str]) -> Iterator[pa.RecordBatch]:
    texts = pa.schema([(name, pa.string()) for name in schema.names])
    with _open_csv(file, texts) as reader:
        for batch in reader:
            columns = [batch.column(name).cast(schema.field(name).type) for name in names]
            yield pa.RecordBatch.from_arrays(columns, names)


def _open_csv(file: Path, schema: pa.Schema | None) -> pa_csv.CSVStreamingReader:
    """Open a CSV or TSV; with a schema, its columns have these types. An empty field is null."""
    return pa_csv.open_csv(
        file,
        pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
        pa_csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True),
        pa_csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=["", "nan"]
        ),
    )


def _read_json(file: Path, schema: pa.Schema | None) -> Iterator[pa.Table]:
    """Yield the rows of a file of JSON lines, in blocks."""
    options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    with open(file, "rb") as source:
        while block := source.read(_BLOCK_BYTES) + source.readline():
            if block.strip():
                read = pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
                yield pa_json.read_json(io.BytesIO(block), read, options)


def _read_json_columns(file: Path, schema: pa.Schema, names: list[str]) -> Iterator[pa.RecordBatch]:
    chosen = pa.schema([schema.field(name) for name in names])
    for table in _read_json(file, chosen):
        yield from table.select(names).to_batches(_BATCH_ROWS)


def _unify(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([schema, other], promote_options="permissive")


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type that all of Arrow's functions accept, for views and columns without a value."""
    if pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain_type(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


@contextmanager
def _read_errors(path: Location) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise UsageError(f"the table {path} doesn't exist: name a file with --join") from exc
    except (OSError, ValueError, pa.ArrowException) as exc:
        advice = advise(exc) or f"name a table that ends in {', '.join(SUFFIXES)} with --join"
        raise UsageError(f"the table {path} can't be read: {describe_error(exc)}: {advice}") from exc
