"""Rows that an earlier scan measured, found and taken by walking both sorted lists side by side."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import PASSING_KINDS
from curate.manifest import SCAN_SCHEMA
from curate.sources import Listed

ROWS_AT_ONCE = 4096


class KnownRows:
    """Finds the rows of photos that are asked for in listing order, in a manifest of the same order."""

    def __init__(self, path: Path, roots: frozenset[str], retry_errors: bool) -> None:
        self._rows = self._read(path)
        self._roots = roots
        self._retry_errors = retry_errors
        self._head = next(self._rows, None)
        self._is_there = False
        self._source: str | None = None
        self.gone = 0
        """Rows of the roots that were passed by without being asked for."""
        self.lost = Counter[str]()
        """Those among them of which no other photo of the same source was asked for, by source."""

    @staticmethod
    def _read(path: Path) -> Iterator[tuple[int, dict[str, Any], Any]]:
        columns = ["source", "path", "bytes", "modified_ns", "error"]
        number = itertools.count()
        for batch in _batches(path, columns):
            for row in batch.to_pylist():
                yield next(number), row, (row["source"], tuple(row["path"].split("/")))

    def row_of(self, photo: Listed) -> int | None:
        """The number of the row that still holds of a photo; None if it is to be measured."""
        while self._head is not None and self._head[2] < photo.key:
            self._pass_by(photo.source)
        self._source = photo.source
        self._is_there = self._head is not None and self._head[2] == photo.key
        if self._head is None or not self._is_there or photo.problem is not None:
            return None
        number, row, _ = self._head
        unchanged = (row["bytes"], row["modified_ns"]) == (photo.bytes, photo.modified_ns)
        return number if unchanged and not self._again(row["error"]) else None

    def end(self) -> None:
        """Nothing more will be asked for."""
        while self._head is not None:
            self._pass_by(None)

    def _pass_by(self, coming: str | None) -> None:
        """Go on to the next row; `coming` is the source of the photo that is asked for."""
        source = self._head[1]["source"] if self._head else None
        if source in self._roots and not self._is_there:
            self.gone += 1
            if source not in (self._source, coming):
                self.lost[source] += 1
        self._head, self._is_there = next(self._rows, None), False

    def _again(self, error: str | None) -> bool:
        return error is not None and (self._retry_errors or error.partition(":")[0] in PASSING_KINDS)


class RowReader:
    """Takes rows by number from a manifest, numbers ever growing, holding a few at a time."""

    def __init__(self, path: Path) -> None:
        self._batches = _batches(path, SCAN_SCHEMA.names)
        self._start = self._end = 0
        self._table = SCAN_SCHEMA.empty_table()

    def take(self, rows: Sequence[int]) -> pa.Table:
        """Some rows, in the scan schema."""
        pieces = []
        rest = list(rows)
        while rest:
            while rest[0] >= self._end:
                self._next()
            here = [row - self._start for row in rest if row < self._end]
            pieces.append(self._table.take(here))
            rest = rest[len(here) :]
        return pa.concat_tables(pieces) if pieces else SCAN_SCHEMA.empty_table()

    def _next(self) -> None:
        batch = next(self._batches)
        self._start, self._end = self._end, self._end + batch.num_rows
        self._table = pa.Table.from_batches([batch]).cast(SCAN_SCHEMA)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a file, few at a time, read as they are wanted."""
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
    yield from file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False)
