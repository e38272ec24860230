"""The rows of one compressed tar: unique names, rows of links, and the order of a listing, whatever their number."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.manifest import ROW_GROUP_SIZE, SCAN_SCHEMA, open_parquet, open_writer
from curate.scanning.merge import merge_sorted, sort_rows
from curate.scanning.scorer import Record
from curate.scanning.work_dir import StreamCounts
from curate.sources import ListedPhoto
from curate.sources.path_lists import sort_photos
from curate.sources.tar_stream import TarStream

_TABLE_ROWS = 1024
_LINK = 1
"""Marks the entry of a link in `bytes`."""


class StreamRows:
    """Collects the rows of a tar in the order in which they are measured; above ROW_GROUP_SIZE they go to disk.

    Args:
        counts: of the tar; members that are not a photo are counted there.
    """

    def __init__(self, counts: StreamCounts) -> None:
        self.counts = counts
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._files: list[Path] = []
        self._resources = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def add(self, record: Record | None) -> None:
        """Add the row of a photo; count what is not a photo."""
        if record is None:
            self.counts.skipped += 1
            return
        self._rows.append(record.to_row())
        if len(self._rows) == _TABLE_ROWS:
            self._end_table()

    def sorted(self, stream: TarStream) -> Iterator[pa.Table]:
        """The rows with unique names and those of links, in listing order.

        Args:
            stream: of which all members have been read.
        """
        self._end_table()
        links = list(stream.resolve_links(self._entries()))
        for link in links:
            if link.error and link.modified_ns is None:  # it leads nowhere
                self.add(Record(link, error=link.error))
        self._end_table()
        names = self._unique_names([link for link in links if link.modified_ns is not None])
        files: list[Path] = []
        start = 0
        for table in self._batches():
            named = sort_rows(names.apply(table, start))
            start += table.num_rows
            if start == table.num_rows and not self._files:
                yield named
                return
            files.append(self._write_file(f"sorted-{len(files)}", named))
        yield from merge_sorted(files) if files else ()

    def _end_table(self) -> None:
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, SCAN_SCHEMA))
            self._rows = []
        if sum(table.num_rows for table in self._tables) >= ROW_GROUP_SIZE:
            self._files.append(self._write_file(f"rows-{len(self._files)}", pa.concat_tables(self._tables)))
            self._tables = []

    def _write_file(self, name: str, rows: pa.Table) -> Path:
        if self._folder is None:
            self._folder = Path(self._resources.enter_context(TemporaryDirectory(prefix="vividset-")))
        path = self._folder / f"{name}.parquet"
        with open_writer(path, SCAN_SCHEMA, durable=False) as out:
            out.write_table(rows)
        return path

    def _batches(self) -> Iterator[pa.Table]:
        for file in self._files:
            yield open_parquet(file).read()
        if self._tables:
            yield pa.concat_tables(self._tables)

    def _entries(self) -> Iterator[ListedPhoto]:
        """One entry per row, for `resolve_links` and `sort_photos`: `modified_ns` is its number, `error` its path."""
        number = itertools.count()
        for table in self._batches():
            columns = (table[name].to_pylist() for name in ("source", "path", "tar_offset"))
            for source, path, offset in zip(*columns, strict=True):
                yield ListedPhoto(source, path, None, next(number), path, offset)

    def _unique_names(self, links: list[ListedPhoto]) -> _Names:
        """Number members of one name; see `sort_photos`."""
        names = _Names(np.zeros(sum(table.num_rows for table in self._batches()), bool))
        marked = (replace(link, bytes=_LINK) for link in links)
        for entry in sort_photos(itertools.chain(self._entries(), marked)):
            row = entry.modified_ns or 0
            if entry.bytes == _LINK:
                names.links[row].append(entry.path)
            else:
                names.kept[row] = True
                if entry.path != entry.error:
                    names.renamed[row] = entry.path
        return names


@dataclass(frozen=True, slots=True)
class _Names:
    """The changes of names in the rows of a tar, by the number of the row."""

    kept: NDArray[np.bool_]
    """Which rows are no copies of others."""
    renamed: dict[int, str] = field(default_factory=dict)
    links: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Paths of links to the row."""

    def apply(self, rows: pa.Table, start: int) -> pa.Table:
        """The rows under their new names, and with those of links.

        Args:
            rows: in the scan schema.
            start: number of the first of them.
        """
        numbers = range(start, start + rows.num_rows)
        linked = [(row - start, path) for row in numbers if row in self.links for path in self.links[row]]
        copies = _rename(rows.take([row for row, _ in linked]), [path for _, path in linked]) if linked else None
        if self.renamed:
            paths = rows["path"].to_pylist()
            rows = _rename(rows, [self.renamed.get(row, path) for row, path in zip(numbers, paths, strict=True)])
        rows = rows.filter(pa.array(self.kept[start : start + rows.num_rows]))
        return rows if copies is None else pa.concat_tables([rows, copies])


def _rename(rows: pa.Table, paths: list[str]) -> pa.Table:
    number = rows.column_names.index("path")
    return rows.set_column(number, SCAN_SCHEMA.field("path"), pa.array(paths, pa.string()))
