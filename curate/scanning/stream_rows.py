"""The rows of one compressed tar: unique names, links, files beside photos, and the order of a listing.

Above ROW_GROUP_SIZE rows, they are kept on disk.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pyarrow as pa

from curate.manifest import KEY_FIELDS, ROW_GROUP_SIZE, SCAN_SCHEMA, open_parquet, open_writer
from curate.scanning.merge import merge_sorted, sort_rows
from curate.scanning.scorer import Record
from curate.scanning.work_dir import StreamCounts
from curate.sources import ListedPhoto
from curate.sources.listing.sorting import sort_photos
from curate.sources.sidecars import is_candidate
from curate.sources.tar.stream import TarStream

_TABLE_ROWS = 1024
_SIDECAR_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("tar_offset", pa.int64()), pa.field("bytes", pa.int64())])
_NO_ROW = -1
"""Marks files beside photos in `modified_ns`; links are marked by lower numbers."""


class StreamRows:
    """Collects the rows of a tar in the order in which they are measured.

    Args:
        counts: of the tar; members that are not a photo are counted there.
    """

    def __init__(self, counts: StreamCounts) -> None:
        self.counts = counts
        self._resources = ExitStack()
        self._rows = _Table(self._resources, SCAN_SCHEMA)
        self._others = _Table(self._resources, _SIDECAR_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def add(self, photo: ListedPhoto, record: Record | None) -> None:
        """Add the row of a photo; count what is not a photo, and remember it if it may belong to a photo."""
        if record is not None:
            self._rows.append(record.to_row())
            return
        self.counts.skipped += 1
        if is_candidate(photo.path.rpartition("/")[2]):
            entry = {"source": photo.source, "path": photo.path, "tar_offset": photo.offset, "bytes": photo.bytes}
            self._others.append(entry)

    def sorted(self, stream: TarStream) -> Iterator[pa.Table]:
        """All rows with unique names and the files beside them, and those of links, in listing order.

        Args:
            stream: of which all members have been read.
        """
        links = list(stream.resolve_links(self._entries()))
        for link in links:
            if link.error:  # it leads nowhere
                self._rows.append(Record(link, error=link.error).to_row())
        marked = (_mark_link(link) for link in links if not link.error)
        others = (
            ListedPhoto(source, path, size, _NO_ROW, None, offset)
            for source, path, offset, size in self._others.tuples()
        )
        with closing(sqlite3.connect("")) as database:
            database.execute("CREATE TABLE names (row, path, sidecars)")
            entries = sort_photos(itertools.chain(self._entries(), others, marked))
            database.executemany(
                "INSERT INTO names VALUES (?, ?, ?)",
                ((_row_of(entry), entry.path, json.dumps(entry.sidecars)) for entry in entries if _has_row(entry)),
            )
            database.execute("CREATE INDEX by_row ON names(row)")
            yield from self._merge(database)

    def _merge(self, database: sqlite3.Connection) -> Iterator[pa.Table]:
        """The rows under their names, sorted."""
        start = 0
        sorted_rows = _Table(self._resources, SCAN_SCHEMA)
        for table in self._rows.tables():
            named = sort_rows(_apply_names(database, table, start))
            start += table.num_rows
            if start == self._rows.count and not sorted_rows.files:
                yield named
                return
            sorted_rows.write(named)
        yield from merge_sorted(sorted_rows.files) if sorted_rows.files else ()

    def _entries(self) -> Iterator[ListedPhoto]:
        """One entry per row, for `resolve_links` and `sort_photos`; `modified_ns` is the number of the row."""
        for number, (source, path, offset, size) in enumerate(self._rows.tuples()):
            yield ListedPhoto(source, path, size, number, None, offset)


def _mark_link(link: ListedPhoto) -> ListedPhoto:
    row = link.modified_ns or 0
    return ListedPhoto(link.source, link.path, link.bytes, _NO_ROW - 1 - row, None, link.offset)


def _has_row(entry: ListedPhoto) -> bool:
    return entry.modified_ns != _NO_ROW


def _row_of(entry: ListedPhoto) -> int:
    """The number of the row of an entry, for a link that of its target."""
    number = entry.modified_ns or 0
    return number if number > _NO_ROW else _NO_ROW - 1 - number


def _apply_names(database: sqlite3.Connection, rows: pa.Table, start: int) -> pa.Table:
    """The rows under their names, with those of links.

    Args:
        database: has the table `names`.
        rows: in the scan schema.
        start: number of the first of them.
    """
    query = "SELECT row, path, sidecars FROM names WHERE row BETWEEN ? AND ? ORDER BY row"
    found = database.execute(query, [start, start + rows.num_rows - 1]).fetchall()
    sidecars = [[tuple(file) for file in json.loads(text)] or None for _, _, text in found]
    taken = rows.take([row - start for row, _, _ in found])
    for name, values in (("path", [path for _, path, _ in found]), ("sidecars", sidecars)):
        column = SCAN_SCHEMA.field(name)
        taken = taken.set_column(taken.column_names.index(name), column, pa.array(values, column.type))
    return taken


@dataclass(slots=True)
class _Table:
    """A growing table, of which whole row groups go to disk."""

    resources: ExitStack
    schema: pa.Schema
    count: int = 0
    files: list[Path] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _folder: Path | None = None

    def append(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= _TABLE_ROWS:
            self._tables.append(pa.Table.from_pylist(self._rows, self.schema))
            self._rows = []
            if sum(table.num_rows for table in self._tables) >= ROW_GROUP_SIZE:
                self.write(pa.concat_tables(self._tables))
                self._tables = []

    def write(self, rows: pa.Table) -> None:
        """Write rows to a file of their own."""
        if self._folder is None:
            self._folder = Path(self.resources.enter_context(TemporaryDirectory(prefix="vividset-")))
        self.files.append(self._folder / f"{len(self.files)}.parquet")
        with open_writer(self.files[-1], self.schema, durable=False) as out:
            out.write_table(rows)

    def tables(self) -> Iterator[pa.Table]:
        """All rows, some at a time."""
        for file in self.files:
            yield open_parquet(file).read()
        rest = [*self._tables, *([pa.Table.from_pylist(self._rows, self.schema)] if self._rows else [])]
        if rest:
            yield pa.concat_tables(rest)

    def tuples(self) -> Iterator[tuple[str, str, int | None, int | None]]:
        """The columns source, path, tar_offset and bytes of all rows."""
        for table in self.tables():
            columns = (table[name].to_pylist() for name in ("source", "path", "tar_offset", "bytes"))
            yield from zip(*columns, strict=True)
