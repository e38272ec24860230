"""Rows of scans in the order of listings: by source, then part by part of the path."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest import ROWS_A_GROUP, SCAN_SCHEMA, opened


def in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces of at least `ROWS_A_GROUP`, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(piece.num_rows for piece in waiting) >= ROWS_A_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def with_names(rows: pa.Table) -> pa.Table:
    """Rows and, as `names`, their paths as text that sorts as the parts of a path do."""
    return rows.append_column("names", pc.replace_substring(rows["path"], "/", "\0"))


def sort(rows: pa.Table) -> pa.Table:
    """Rows that have `names`, in order."""
    return rows.sort_by([("source", "ascending"), ("names", "ascending")])


def in_order(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of parts that are sorted each, sorted, with a piece of each part in memory."""
    parts = [_Part(file, max(1024, ROWS_A_GROUP // len(files))) for file in files]
    while parts := [part for part in parts if part.fill()]:
        settled = min(part.last_key() for part in parts)  # what comes later sorts behind this
        rows = pa.concat_tables([part.take_to(settled) for part in parts])
        yield sort(rows).select(SCAN_SCHEMA.names)


class _Part:
    """One part, read some rows at a time."""

    def __init__(self, file: Path, rows: int) -> None:
        self._batches = opened(file, pre_buffer=False).iter_batches(rows, columns=SCAN_SCHEMA.names)
        self._rows = SCAN_SCHEMA.empty_table()

    def fill(self) -> bool:
        """Read on where nothing is left; False at the end."""
        while not self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            rows = pa.Table.from_batches([batch]).cast(SCAN_SCHEMA)
            self._rows = with_names(rows)
        return True

    def last_key(self) -> tuple[str, str]:
        """Of the rows at hand."""
        return self._key(self._rows.num_rows - 1)

    def take_to(self, key: tuple[str, str]) -> pa.Table:
        """The rows up to a key, which are then gone from here."""
        count = bisect.bisect_right(range(self._rows.num_rows), key, key=self._key)
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken

    def _key(self, row: int) -> tuple[str, str]:
        return self._rows["source"][row].as_py(), self._rows["names"][row].as_py()
