"""Manifests from disk: checked first, then whole or some rows at a time."""

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
from curate.manifest.lineage import Lineage, merge_lineages
from curate.manifest.schema import ALL_COLUMNS, KEY_COLUMNS, ROW_GROUP_SIZE, SCHEMA_VERSION
from curate.text import describe_error
from curate.version import __version__


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in memory."""

    path: Path
    table: pa.Table
    lineage: Lineage | None
    """None: lineage unknown (another program saved the file)."""
    sha256: str
    """Of the file's bytes."""


def read_manifest(path: Path, *, need: tuple[str, ...] = (), columns: tuple[str, ...] | None = None) -> Manifest:
    """Read a manifest whole.

    Args:
        path: a Parquet file, or a folder of Parquet parts.
        need: columns that the caller can't do without.
        columns: read only these (those that are there); None reads all.

    Raises:
        ManifestError: missing, no Parquet, written by a newer version, or without a needed column.
    """
    schema, lineage = inspect_manifest(path, need=need)
    wanted = None if columns is None else [name for name in columns if name in schema.names]
    with _as_unreadable(path):
        table = pa.concat_tables(
            [open_parquet(part).read(columns=wanted) for part in list_parts(path)], promote_options="permissive"
        )
        return Manifest(path, to_schema_types(table), lineage, digest(path))


def open_parquet(path: Path, **how: Any) -> pq.ParquetFile:
    """A Parquet file, whatever bytes its name is made of; `how` goes to pyarrow."""
    return pq.ParquetFile(pa.OSFile(os.fsencode(path)), **how)  # of text, pyarrow wants UTF-8


def no_photos_message(read: Manifest) -> str:
    """Why a manifest has no photo to work on, and what to do."""
    if not read.table.num_rows:
        return f"{read.path} has no rows: filter less strictly, or scan other folders"
    return f"{read.path} holds no photo that could be read: look at its errors, or scan other folders"


def iter_tables(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A manifest's rows in order, at most ROW_GROUP_SIZE at a time; memory doesn't grow with their number.

    Args:
        path: a Parquet file, or a folder of Parquet parts, whose columns are brought to common types.
        columns: read only these; None reads all.

    Raises:
        ManifestError: it can't be read.
    """
    schema, _ = inspect_manifest(path)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    with _as_unreadable(path):
        for part in list_parts(path):
            file = open_parquet(part, pre_buffer=False)
            there = [name for name in wanted.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(ROW_GROUP_SIZE, columns=there):
                table = pa.Table.from_batches([batch])
                if table.schema != wanted:
                    table = pa.concat_tables([wanted.empty_table(), table], promote_options="permissive")
                yield to_schema_types(table.select(wanted.names))


def to_schema_types(table: pa.Table) -> pa.Table:
    """The same rows, our columns in our own types: other programs save text and whole numbers in other ones.

    Raises:
        pa.ArrowInvalid: a value has no place in our type.
    """
    for number, column in enumerate(table.schema):
        ours = ALL_COLUMNS.field(column.name).type if column.name in ALL_COLUMNS.names else column.type
        if column.type != ours:
            values = table[column.name]
            if pa.types.is_floating(column.type) and pa.types.is_integer(ours):  # pandas has no other null for these
                values = pc.if_else(pc.is_nan(values), None, values)
            try:
                table = table.set_column(number, ALL_COLUMNS.field(column.name), values.cast(ours))
            except pa.ArrowInvalid as exc:
                raise pa.ArrowInvalid(f"{exc} in its column {column.name!r}") from exc
    return table


def as_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as dicts. Times are in UTC without saying so: with a zone, pyarrow asks for a database of time zones."""
    for number, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            table = table.set_column(number, column.name, table[column.name].cast(pa.timestamp(column.type.unit)))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def inspect_manifest(path: Path, *, need: tuple[str, ...] = ()) -> tuple[pa.Schema, Lineage | None]:
    """A manifest's schema and lineage, without its rows.

    Args:
        path: a Parquet file, or a folder of Parquet parts.
        need: columns that the caller can't do without.

    Raises:
        ManifestError: missing, no Parquet, written by a newer version, or a column is not as it should be.
    """
    _check_place(path)
    files = [_opened(part) for part in list_parts(path)]
    with _as_unreadable(path):
        schema = pa.unify_schemas([file.schema_arrow for file in files], promote_options="permissive").remove_metadata()
        lineages = [Lineage.from_metadata(file.metadata.metadata) for file in files]
    _check_columns(path, schema, need)
    with _as_unreadable(path):
        unnamed = {name for name in need if name in KEY_COLUMNS and any(_has_nulls(file, name) for file in files)}
    if unnamed:
        raise ManifestError(
            f"{path} has rows without {' and '.join(sorted(unnamed))}: keep each as `curate scan` wrote it"
        )
    lineage = lineages[0]
    if len(kinds := sorted({part.kind if part else "unknown" for part in lineages})) > 1:
        raise ManifestError(f"{path} is a folder of different manifests ({', '.join(kinds)}): name one of them")
    if path.is_dir() and any(part and part.options.get("shard") for part in lineages):
        lineage = merge_lineages(list_parts(path), lineages)
    if lineage and lineage.schema_version > SCHEMA_VERSION:
        raise ManifestError(
            f"{path} was written by vividset {lineage.tool_version} in schema {lineage.schema_version}, "
            f"and this is {__version__} with schema {SCHEMA_VERSION}: upgrade vividset"
        )
    return schema, lineage


def _opened(part: Path) -> pq.ParquetFile:
    with _as_unreadable(part):
        return open_parquet(part)


def _check_place(path: Path) -> None:
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError as exc:
        raise ManifestError(
            f"{path} doesn't exist: make scans with `curate scan`, "
            "clean manifests with `curate filter`, or name another manifest"
        ) from exc
    except (OSError, ValueError) as exc:
        raise ManifestError(f"{path} can't be read: {describe_error(exc)}: name another manifest") from exc
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise ManifestError(f"{path} is no file: name a manifest that `curate` wrote")


def _has_nulls(file: pq.ParquetFile, name: str) -> bool:
    """Whether any row lacks a value, by looking: of a damaged file's statistics Arrow ends the process."""
    if name not in file.schema_arrow.names:
        return bool(file.metadata.num_rows)
    if not file.schema_arrow.field(name).nullable:
        return False
    return any(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))


def _check_columns(path: Path, schema: pa.Schema, need: tuple[str, ...]) -> None:
    if missing := [name for name in need if name not in schema.names]:
        raise ManifestError(f"{path} has no column {', '.join(repr(name) for name in missing)}: {_advice(missing)}")
    for name, found in zip(schema.names, schema.types, strict=True):
        if schema.names.count(name) > 1:
            raise ManifestError(f"{path} has two columns {name!r}: keep the one that `curate` wrote")
        expected = ALL_COLUMNS.field(name).type if name in ALL_COLUMNS.names else found
        if not pa.types.is_null(found) and _content(found) != (right := _content(expected)):
            belongs = "text belongs" if right == "text" else f"{right} belong"
            raise ManifestError(
                f"{path} has {found} in its column {name!r}, where {belongs}: keep it as `curate scan` wrote it"
            )


def _content(kind: pa.DataType) -> str:
    """What a column of some type holds, in a word."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"lists of {_content(kind.value_type)}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_timestamp(kind):
        return "times" if kind.tz else "times without a time zone"
    return "numbers" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else str(kind)


def count_values(path: Path, columns: Sequence[str]) -> dict[str, Counter[str]]:
    """How many rows hold each text of some columns; rows without one count as `""`.

    Raises:
        ManifestError: it can't be read.
    """
    there = [name for name in columns if name in inspect_manifest(path)[0].names]
    found: dict[str, Counter[str]] = {name: Counter() for name in columns}
    for table in iter_tables(path, there):
        for name in columns:
            texts = table[name].cast(pa.string()) if name in there else pa.nulls(table.num_rows, pa.string())
            for entry in pc.value_counts(texts).to_pylist():
                found[name][entry["values"] or ""] += entry["counts"]
    return found


def digest(path: Path) -> str:
    """Hex sha256 of a file; for a folder of several parts, of the parts' digests in order."""
    if path.is_dir():
        digests = [digest(part) for part in list_parts(path)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_parts(path: Path) -> list[Path]:
    """The Parquet files of a manifest: itself, or those in the folder, by name."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.parquet"))
    if not found:
        raise ManifestError(f"{path} is a folder without Parquet parts: name a manifest file")
    return found


def _advice(missing: list[str]) -> str:
    if {"split", "reject_reasons"} & set(missing):
        return "it is no filtered manifest: run `curate filter` on it first"
    return "it is no vividset manifest: make one with `curate scan` and `curate filter`"


@contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as exc:
        raise ManifestError(f"{path} can't be read: {describe_error(exc)}: is it a vividset manifest?") from exc


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One manifest of a chain back to the scan."""

    path: Path
    state: str
    """`as it was`, `changed since`, `not here`, or `lineage unknown`."""
    lineage: Lineage | None


def trace_lineage(path: Path) -> list[Ancestor]:
    """A manifest, the one that it was made from, and so on, as far as they can be followed.

    A parent is looked for where it was when the child was made, and beside the child.

    Raises:
        ManifestError: the first one can't be read.
    """
    _, lineage = inspect_manifest(path)
    chain = [Ancestor(path, "as it was" if lineage else "lineage unknown", lineage)]
    while lineage and lineage.parent_path:
        parent = _found(Path(lineage.parent_path), chain[-1].path)
        if parent is None:
            return [*chain, Ancestor(Path(lineage.parent_path), "not here", None)]
        same = digest(parent) == lineage.parent_sha256
        _, lineage = inspect_manifest(parent)
        chain.append(Ancestor(parent, "as it was" if same else "changed since", lineage))
        if not same:
            return chain
    return chain


def _found(parent: Path, child: Path) -> Path | None:
    return next((place for place in (parent, child.with_name(parent.name)) if place.is_file()), None)
