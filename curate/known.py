"""Rows that an earlier scan measured, found and taken by walking both sorted lists side by side."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import PASSING_KINDS
from curate.manifest import SCAN_SCHEMA, opened
from curate.sources import Listed

ROWS_AT_ONCE = 4096
OUT_OF_REACH = ("Vanished", "ReadFailed")
"""Kinds of problem that a lost mount gives what was listed of it by name."""
Key = tuple[str, tuple[str, ...]]
"""See `Listed.key`."""


class KnownRows:
    """Finds the rows of photos that are asked for in listing order, in a manifest of the same order."""

    def __init__(self, path: Path, roots: frozenset[str], retry_errors: bool) -> None:
        self._rows = self._read(path)
        self._roots = roots
        self._retry_errors = retry_errors
        self._head = next(self._rows, None)
        self._last: Key | None = None
        self.gone = 0
        """Rows that were passed by without being asked for."""
        self.lost = Counter[str]()
        """Those among them of a root of which no photo at all was asked for, by root."""
        self.emptied = Counter[str]()
        """Those of which a photo of the root was asked for, but none of a folder in it, by the outermost such."""
        self.out_of_reach = Counter[str]()
        """Photos that were measured and can't be looked at now, of sources where that is so of all, by source."""
        self._reached: str | None = None

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
            self._pass_by(photo.key)
        self._last = photo.key
        if photo.problem is None:
            self._reached = photo.source
            self.out_of_reach.pop(photo.source, None)
        if self._head is None or self._head[2] != photo.key:
            return None
        number, row, _ = self._head
        if photo.problem is not None:
            measured = row["error"] is None and photo.problem.partition(":")[0] in OUT_OF_REACH
            self.out_of_reach[photo.source] += measured and self._reached != photo.source
            return None
        unchanged = (row["bytes"], row["modified_ns"]) == (photo.bytes, photo.modified_ns)
        return number if unchanged and not self._again(row["error"]) else None

    def end(self) -> None:
        """Nothing more will be asked for."""
        while self._head is not None:
            self._pass_by(None)

    def _pass_by(self, coming: Key | None) -> None:
        """Go on to the next row; `coming` is the photo that is asked for."""
        if self._head and self._head[2] != self._last:
            self.gone += 1
            source, parts = self._head[2]
            shared = max(_shared(self._head[2], other) for other in (self._last, coming))
            if source in self._roots and not shared:
                self.lost[source] += 1
            elif source in self._roots and shared < len(parts):
                self.emptied["/".join((source.rstrip("/"), *parts[:shared]))] += 1
        self._head = next(self._rows, None)

    def _again(self, error: str | None) -> bool:
        return error is not None and (self._retry_errors or error.partition(":")[0] in PASSING_KINDS)


def _shared(one: Key, other: Key | None) -> int:
    """How many names two keys begin with alike: the source, and folders in it."""
    if other is None or one[0] != other[0]:
        return 0
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one[1], other[1], strict=False))
    return 1 + sum(1 for _ in alike)


def with_unreached(found: Iterable[Listed], known: Sequence[Path]) -> Iterator[Listed]:
    """A listing, and behind a folder or tar that can't be read now the photos that are known of it.

    They are as they were, for all that one can tell, and stay known until it can be read again.

    Args:
        found: in listing order.
        known: files of rows measured before, in the same order; not opened if all could be read.
    """
    merged = heapq.merge(*map(_photos, known), key=_key_of)
    rows = (next(alike) for _, alike in itertools.groupby(merged, key=_key_of))
    head = None
    closed: Key | None = None
    for photo in itertools.chain(found, [None]):
        while closed and (head := head or next(rows, None)) and (photo is None or head.key <= photo.key):
            if (photo is None or head.key < photo.key) and _is_below(head.key, closed):
                yield head
            head = None
        if photo is not None:
            yield photo
            if photo.problem is not None and photo.problem.partition(":")[0] in PASSING_KINDS:
                closed = photo.key


def _is_below(key: Key, above: Key) -> bool:
    return key != above and _shared(key, above) > len(above[1])


def _photos(path: Path) -> Iterator[Listed]:
    """Rows as a listing has them."""
    for batch in _batches(path, ["source", "path", "bytes", "modified_ns", "tar_offset"]):
        for row in batch.to_pylist():
            yield Listed(row["source"], row["path"], row["bytes"], row["modified_ns"], offset=row["tar_offset"])


def _key_of(photo: Listed) -> Key:
    return photo.key


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
    file = opened(path, pre_buffer=False, buffer_size=1 << 16)
    yield from file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False)
