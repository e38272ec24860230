"""Check manifests and read them: schema and lineage only, whole, or in pieces."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import ManifestError
from curate.files import local_copy, sha256_of
from curate.locations import Location, RemotePath, to_location
from curate.manifest.lineage import Lineage, merge_lineages
from curate.manifest.schema import ALL_COLUMNS, KEY_COLUMNS, ROW_GROUP_SIZE, SCHEMA_VERSION
from curate.text import advise, describe_error
from curate.version import __version__

_CHECK_STORE = "check the address, the credentials and the connection"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in memory."""

    path: Location
    table: pa.Table
    lineage: Lineage | None
    """None if unknown, because another program saved the file."""
    sha256: str
    """Hex sha256 of the file's bytes; see `digest`."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One manifest in the chain from a manifest back to its scan."""

    path: Location
    state: str
    """`unchanged`, `changed since`, `not found` or `lineage unknown`."""
    lineage: Lineage | None


def read_manifest(
    path: Location, *, required: tuple[str, ...] = (), columns: tuple[str, ...] | None = None
) -> Manifest:
    """Read a whole manifest into memory.

    Args:
        path: a Parquet file, or a folder of Parquet parts; or the URL of one.
        required: columns that must be there.
        columns: read only these, as far as they are there; None reads all.

    Raises:
        ManifestError: the file is missing, is not Parquet, was written by a newer version, or lacks a required column.
    """
    schema, lineage = read_schema_and_lineage(path, required=required)
    names = None if columns is None else [name for name in columns if name in schema.names]
    with _read_errors(path):
        table = pa.concat_tables(
            [to_schema_types(open_parquet(part).read(columns=names)) for part in list_parts(path)],
            promote_options="permissive",
        )
        return Manifest(path, to_schema_types(table), lineage, digest(path))


def read_schema_and_lineage(path: Location, *, required: tuple[str, ...] = ()) -> tuple[pa.Schema, Lineage | None]:
    """Check a manifest and return its schema and lineage, without reading its rows.

    Args:
        path: a Parquet file, or a folder of Parquet parts; or the URL of one.
        required: columns that must be there; of these, `source` and `path` must have a value in every row.

    Returns:
        The schema, without metadata, see `_read_schema`; and the lineage, None if unknown.

    Raises:
        ManifestError: the file is missing, is not Parquet, was written by a newer version, lacks a required column, or
            a column has the wrong type.
    """
    local = _check_path(path)
    files = []
    for part in list_parts(path):
        with _read_errors(part if isinstance(path, Path) else path):
            files.append(open_parquet(part))
    with _read_errors(path):
        schema = pa.unify_schemas(list(map(_read_schema, files)), promote_options="permissive").remove_metadata()
        lineages = [Lineage.from_metadata(file.metadata.metadata) for file in files]
    with _read_errors(path):  # the names of damaged types are damaged too
        _check_columns(path, schema, required)
        incomplete = {name for name in required if name in KEY_COLUMNS and any(_has_nulls(f, name) for f in files)}
    if incomplete:
        raise ManifestError(
            f"{path} has rows without {' and '.join(sorted(incomplete))}: keep what `curate scan` wrote"
        )
    lineage = lineages[0]
    if len(kinds := sorted({part.kind if part else "unknown" for part in lineages})) > 1:
        raise ManifestError(f"{path} is a folder of different kinds of manifest ({', '.join(kinds)}): name one of them")
    if local.is_dir() and any(part and part.options.get("shard") for part in lineages):
        lineage = merge_lineages(part_locations(path), lineages)
    if lineage and lineage.schema_version > SCHEMA_VERSION:
        raise ManifestError(
            f"{path} was written by vividset {lineage.tool_version} in schema {lineage.schema_version}, "
            f"and this is {__version__} with schema {SCHEMA_VERSION}: upgrade vividset"
        )
    return schema, lineage


def iter_tables(path: Location, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield a manifest's rows in order, at most ROW_GROUP_SIZE at a time; memory doesn't grow with the row count.

    Args:
        path: a Parquet file, or a folder of Parquet parts, whose columns are converted to common types; or a URL.
        columns: read only these; None reads all.

    Raises:
        ManifestError: the manifest can't be read.
    """
    schema, _ = read_schema_and_lineage(path)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    with _read_errors(path):
        no_rows = to_schema_types(schema.empty_table())
        for part in list_parts(path):
            file = open_parquet(part, pre_buffer=False)
            present = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROW_GROUP_SIZE, columns=present):
                table = to_schema_types(pa.Table.from_batches([batch]))
                if table.schema != no_rows.schema:
                    table = pa.concat_tables([no_rows, table], promote_options="permissive")
                yield to_schema_types(table.select(schema.names))


def count_values(path: Location, columns: Sequence[str]) -> dict[str, Counter[str]]:
    """Count the rows of a manifest by the value of each of some text columns; a missing value counts as `""`.

    Raises:
        ManifestError: the manifest can't be read.
    """
    present = [name for name in columns if name in read_schema_and_lineage(path)[0].names]
    counts: dict[str, Counter[str]] = {name: Counter() for name in columns}
    for table in iter_tables(path, present):
        for name in columns:
            texts = table[name].cast(pa.string()) if name in present else pa.nulls(table.num_rows, pa.string())
            for entry in pc.value_counts(texts).to_pylist():
                counts[name][entry["values"] or ""] += entry["counts"]
    return counts


def trace_lineage(path: Location) -> list[Ancestor]:
    """Return a manifest, the one that it was made from, and so on, as far as the files are found.

    A parent is looked for at the path where it was when the child was made, then in the child's folder. The trace ends
    at a parent that has changed: what it was made from then is not known.

    Raises:
        ManifestError: the first manifest can't be read.
    """
    _, lineage = read_schema_and_lineage(path)
    trace = [Ancestor(path, "unchanged" if lineage else "lineage unknown", lineage)]
    while lineage and lineage.parent_path:
        recorded = to_location(lineage.parent_path)
        candidates = (recorded, trace[-1].path.with_name(recorded.name))
        parent = next((candidate for candidate in candidates if _is_file(candidate)), None)
        if parent is None:
            return [*trace, Ancestor(recorded, "not found", None)]
        same = digest(parent) == lineage.parent_sha256
        _, lineage = read_schema_and_lineage(parent)
        trace.append(Ancestor(parent, "unchanged" if same else "changed since", lineage))
        if not same:
            return trace
    return trace


def digest(path: Location) -> str:
    """Return the hex sha256 of a manifest; for a folder of several parts, of the parts' digests in order."""
    with _read_errors(path):
        local = local_copy(path)
    if not local.is_dir():
        return sha256_of(local)
    digests = [sha256_of(part) for part in list_parts(path)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def list_parts(path: Location) -> list[Path]:
    """Return the Parquet files of a manifest: the file itself, or those of the folder, sorted by name.

    Those of a URL are copies on this machine.

    Raises:
        ManifestError: the folder has no Parquet files, or the URL can't be read.
    """
    with _read_errors(path):
        local = local_copy(path)
    if not local.is_dir():
        return [local]
    parts = sorted(local.glob("*.parquet"))
    if not parts:
        raise ManifestError(f"{path} is a folder without Parquet files: name a manifest")
    return parts


def part_locations(path: Location) -> list[Location]:
    """Return the path or URL of each Parquet file of a manifest, in the order of `list_parts`.

    Raises:
        ManifestError: the folder has no Parquet files, or the URL can't be read.
    """
    parts = list_parts(path)
    if isinstance(path, Path) or (len(parts) == 1 and not path.is_dir()):
        return [path] if isinstance(path, RemotePath) else [*parts]
    return [path / part.name for part in parts]


def open_parquet(path: Path, **how: Any) -> pq.ParquetFile:
    """Open a Parquet file, whatever bytes its name has; `how` are the options of `pyarrow.parquet.ParquetFile`."""
    return pq.ParquetFile(pa.OSFile(os.fsencode(path)), **how)  # a path as text must be UTF-8 for pyarrow


def to_schema_types(table: pa.Table) -> pa.Table:
    """Return the same rows with the manifest's columns in the types of `ALL_COLUMNS`; other programs change these.

    Raises:
        pa.ArrowInvalid: a value doesn't fit into its type.
    """
    for number, column in enumerate(table.schema):
        target = ALL_COLUMNS.field(column.name).type if column.name in ALL_COLUMNS.names else column.type
        if column.type != target:
            values = table[column.name]
            if pa.types.is_floating(column.type) and pa.types.is_integer(target):  # pandas writes NaN for a null here
                values = pc.if_else(pc.is_nan(values), None, values)
            elif _describe_type(column.type) != _describe_type(target) and not _has_values(values):
                values = pa.nulls(len(values), target)
            try:
                table = table.set_column(number, ALL_COLUMNS.field(column.name), values.cast(target))
            except pa.ArrowInvalid as exc:
                raise pa.ArrowInvalid(f"{exc} in its column {column.name!r}") from exc
    return table


def as_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dicts. Times are UTC without a time zone, for which pyarrow would need a time zone database."""
    for number, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            table = table.set_column(number, column.name, table[column.name].cast(pa.timestamp(column.type.unit)))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def no_photos_message(read: Manifest) -> str:
    """Say why a manifest has no photo to work on, and what to do."""
    if not read.table.num_rows:
        return f"{read.path} has no rows: filter less strictly, or scan other folders"
    return f"{read.path} has no photo that could be read: look at its column `error`, or scan other folders"


def _check_path(path: Location) -> Path:
    """Return the path of a manifest on this machine, which exists and is a file or a folder."""
    try:
        local = local_copy(path)
        mode = os.stat(local).st_mode
    except FileNotFoundError as exc:
        where = " here, or these credentials don't show it" if isinstance(path, RemotePath) else ""
        raise ManifestError(
            f"{path} doesn't exist{where}: make scans with `curate scan`, "
            "clean manifests with `curate filter`, or name another manifest"
        ) from exc
    except (OSError, ValueError) as exc:
        advice = advise(exc) or ("name another manifest" if isinstance(path, Path) else _CHECK_STORE)
        raise ManifestError(f"{path} can't be read: {describe_error(exc)}: {advice}") from exc
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ManifestError(f"{path} is not a regular file: name a manifest that `curate` wrote")
    return local


def _is_file(path: Location) -> bool:
    try:
        return path.is_file()
    except OSError:  # a store that can't be reached
        return False


def _check_columns(path: Location, schema: pa.Schema, required: tuple[str, ...]) -> None:
    if missing := [name for name in required if name not in schema.names]:
        if {"split", "reject_reasons"} & set(missing):
            advice = "it was not filtered: run `curate filter` on it first"
        else:
            advice = "it is not a vividset manifest: make one with `curate scan` and `curate filter`"
        raise ManifestError(f"{path} has no column {', '.join(repr(name) for name in missing)}: {advice}")
    for name, kind in zip(schema.names, schema.types, strict=True):
        if schema.names.count(name) > 1:
            raise ManifestError(f"{path} has two columns {name!r}: keep the one that `curate` wrote")
        expected = _describe_type(ALL_COLUMNS.field(name).type if name in ALL_COLUMNS.names else kind)
        if not pa.types.is_null(kind) and _describe_type(kind) != expected:
            raise ManifestError(
                f"{path} has {kind} in its column {name!r} instead of {expected}: "
                "keep the column as `curate scan` wrote it"
            )


def _describe_type(kind: pa.DataType) -> str:
    """Return a word for what a column holds; types with the same word can be converted to each other."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"lists of {_describe_type(kind.value_type)}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_struct(kind):
        return "records"
    if pa.types.is_timestamp(kind):
        return "times" if kind.tz else "times without a time zone"
    return "numbers" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else str(kind)


def _read_schema(file: pq.ParquetFile) -> pa.Schema:
    """Return the schema of a file, with the types of `ALL_COLUMNS` for what a way through CSV changes.

    That is the type of columns without a value, and times, which become text.
    """
    schema = file.schema_arrow
    for name in set(schema.names) & set(ALL_COLUMNS.names):
        number, target = schema.get_field_index(name), ALL_COLUMNS.field(name).type
        kinds = (_describe_type(schema.field(number).type), _describe_type(target)) if number >= 0 else ("", "")
        if kinds[0] != kinds[1] and (
            kinds == ("text", "times") or not any(_has_values(b.column(0)) for b in file.iter_batches(columns=[name]))
        ):
            schema = schema.set(number, schema.field(number).with_type(target))
    return schema


def _has_values(column: Any) -> bool:
    """Return whether an Arrow column has a value other than null and NaN."""
    if pa.types.is_floating(column.type):
        column = column.filter(pc.invert(pc.is_nan(column)), null_selection_behavior="drop")
    return int(column.null_count) < len(column)


def _has_nulls(file: pq.ParquetFile, name: str) -> bool:
    """Return whether any row has no value, by reading the column: statistics of a damaged file crash Arrow."""
    if name not in file.schema_arrow.names:
        return bool(file.metadata.num_rows)
    if not file.schema_arrow.field(name).nullable:
        return False
    return any(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))


@contextmanager
def _read_errors(path: Location) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as exc:
        raise ManifestError(
            f"{path} can't be read: {describe_error(exc)}: {advise(exc) or 'is it a vividset manifest?'}"
        ) from exc
