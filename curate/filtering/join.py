"""Add the columns of another table to a scan, by content hash or path, in memory that doesn't grow with the table.

The keys of the scan are held as 64-bit hashes. The table is read once. Rows whose key may be in the scan are
written to a temporary file, grouped by the piece of the scan that they belong to. Then each piece takes its rows; their
keys are compared as text first.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.files import write_errors
from curate.filtering.columns import JoinedScan, PathOrTable, column_names, read_tables
from curate.filtering.join_table import JoinTable, open_join_table
from curate.filtering.options import FilterOptions

PENDING_BYTES = 32 << 20
"""Found rows are kept in memory until they take this much."""
_ROW = "vividset_row"


@contextmanager
def join_scan(scan: PathOrTable, options: FilterOptions) -> Iterator[PathOrTable]:
    """Yield the scan with the columns of the table of `--join`; the scan itself without that option.

    Raises:
        UsageError: the table can't be read, lacks a column, has one that the scan has, too, or a key twice.
    """
    if options.join is None:
        yield scan
        return
    table = open_join_table(options.join, options.join_on, options.join_columns, column_names(scan))
    with tempfile.TemporaryDirectory(prefix="vividset-") as folder:
        target = Path(folder, "joined.parquet")
        with write_errors(target, UsageError, "the environment variable TMPDIR"):
            found = _write_joined(scan, table, target)
        yield JoinedScan(scan, target, table.schema, _describe(table), found)


def _describe(table: JoinTable) -> dict[str, str | int]:
    """Return what the lineage records of a table."""
    return {"path": str(table.path.absolute()), "sha256": table.sha256, "bytes": table.bytes, "on": table.on}


def _write_joined(scan: PathOrTable, table: JoinTable, target: Path) -> int:
    """Write the columns of a table in the order of the scan, and return how many of its rows have a photo's key."""
    with tempfile.TemporaryFile(dir=target.parent) as file:
        pieces = _find_rows(_ScanKeys.read(scan, table.on), table, cast(BinaryIO, file))
        found = 0
        with pq.ParquetWriter(target, table.schema, compression="lz4") as out:
            start = 0
            for number, keys in enumerate(read_tables(scan, [table.on])):
                matches = pieces.read(number)
                index = _match_exactly(keys[table.on], matches, table, start) if matches else None
                out.write_table(_take_or_null(matches, index, table.schema, keys.num_rows))
                found += 0 if index is None else int((index >= 0).sum())
                start += keys.num_rows
    return found


def _match_exactly(keys: pa.ChunkedArray, matches: pa.Table, table: JoinTable, start: int) -> NDArray[np.int64]:
    """Return (rows,) for each row of a piece of the scan, which of the matches has its key; -1 for none.

    Raises:
        UsageError: two do.
    """
    rows = matches[_ROW].to_numpy() - start
    same = pc.equal(_key_texts(keys, table.on).take(pa.array(rows)), _key_texts(matches[table.on], table.on))
    chosen = np.flatnonzero(same.to_numpy())
    index = np.full(len(keys), -1, np.int64)
    index[rows[chosen]] = chosen
    if np.any(index[rows[chosen]] != chosen):
        twice = int(np.flatnonzero(index[rows[chosen]] != chosen)[0])
        key = matches[table.on][int(chosen[twice])].as_py()
        raise UsageError(f"{table.path} has two rows with the {table.on} {key!r}: keep one row for each photo")
    return index


def _take_or_null(matches: pa.Table | None, index: NDArray[np.int64] | None, schema: pa.Schema, rows: int) -> pa.Table:
    """Return the columns to add for each row of a piece of the scan; null without a match."""
    if matches is None or index is None:
        return pa.table([pa.nulls(rows, column.type) for column in schema], schema=schema)
    taken = matches.select(schema.names).take(pa.array(index, mask=index < 0))
    return pa.table(taken.columns, schema=schema)


@dataclass(frozen=True, slots=True)
class _ScanKeys:
    """The keys of a scan as 64-bit hashes, sorted."""

    hashes: NDArray[np.uint64]
    """(keys,) ascending."""
    rows: NDArray[np.int64]
    """(keys,) the row of each."""
    starts: NDArray[np.int64]
    """(pieces,) the first row of each piece in which the scan is read."""

    @classmethod
    def read(cls, scan: PathOrTable, on: str) -> _ScanKeys:
        """Read the keys of all rows that have one."""
        hashes, rows, starts, start = [], [], [], 0
        for table in read_tables(scan, [on]):
            starts.append(start)
            present = np.flatnonzero(table[on].is_valid().to_numpy())
            hashes.append(_hash_keys(table[on].drop_null(), on))
            rows.append(present + start)
            start += table.num_rows
        all_hashes = np.concatenate([np.zeros(0, np.uint64), *hashes])
        hashes.clear()
        order = np.argsort(all_hashes)
        all_hashes.sort()
        all_rows = np.concatenate([np.zeros(0, np.int64), *rows])
        rows.clear()
        return cls(all_hashes, all_rows[order], np.array(starts, np.int64))

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pairs of equal hashes: indices of the given ones, and rows of the scan."""
        order = np.argsort(hashes)  # ordered searches need far fewer cache lines
        ordered = hashes[order]
        first = np.searchsorted(self.hashes, ordered, side="left")
        counts = np.searchsorted(self.hashes, ordered, side="right") - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(order, counts), self.rows[np.repeat(first, counts) + offsets]


class _Pieces:
    """Rows of the table in a temporary file, grouped by the piece of the scan that they belong to."""

    def __init__(self, file: BinaryIO, starts: NDArray[np.int64]) -> None:
        self._file = file
        self._starts = starts
        self._spans: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0

    def add(self, matches: pa.Table) -> None:
        """Add rows, whose column `_ROW` is a row of the scan."""
        self._pending.append(matches)
        self._pending_bytes += matches.nbytes
        if self._pending_bytes >= PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        if not self._pending:
            return
        rows = pa.concat_tables(self._pending)
        self._pending, self._pending_bytes = [], 0
        piece = np.searchsorted(self._starts, rows[_ROW].to_numpy(), side="right") - 1
        order = np.argsort(piece, kind="stable")
        counts = np.bincount(piece)
        ends = np.cumsum(counts)
        for number in np.flatnonzero(counts).tolist():
            part = rows.take(pa.array(order[ends[number] - counts[number] : ends[number]]))
            offset = self._file.seek(0, 2)
            with pa.ipc.new_stream(pa.PythonFile(self._file, "w"), part.schema) as writer:
                writer.write_table(part)
            self._spans[number].append((offset, self._file.tell() - offset))

    def read(self, number: int) -> pa.Table | None:
        """Return the rows of one piece; None if there are none."""
        tables = []
        for offset, length in self._spans[number]:
            self._file.seek(offset)
            tables.append(pa.ipc.open_stream(self._file.read(length)).read_all())
        return pa.concat_tables(tables) if tables else None


def _find_rows(keys: _ScanKeys, table: JoinTable, file: BinaryIO) -> _Pieces:
    """Read the table once, and keep the rows whose key has the same hash as a key of the scan."""
    pieces = _Pieces(file, keys.starts)
    for rows in table.iter_tables():
        number, row = keys.find(_hash_keys(rows[table.on], table.on))
        if len(number):
            pieces.add(rows.take(pa.array(number)).append_column(_ROW, pa.array(row)))
    pieces.flush()
    return pieces


def _hash_keys(keys: pa.ChunkedArray, on: str) -> NDArray[np.uint64]:
    """Return (rows,) 64-bit hashes of texts."""
    texts = _key_texts(keys, on).to_numpy()
    return np.asarray(pd.util.hash_array(texts.astype(object), categorize=False), np.uint64)


def _key_texts(keys: pa.ChunkedArray, on: str) -> pa.ChunkedArray:
    """Return keys as they are compared: hex digits in lower case."""
    texts = keys.cast(pa.string())
    return pc.ascii_lower(texts) if on == "sha256" else texts
