"""Read single values of a Parquet file, with a bounded part of one row group in memory."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import BrokenTable, FileTooLarge, PhotoError
from curate.sources.tables.columns import (
    SAMPLE_ROWS,
    ImageColumn,
    Value,
    check_names,
    damage_errors,
    take_rows,
    to_value,
)

KEPT_BYTES = 64 << 20
"""Size of the last values of a row group that are kept in memory, for reading in another order."""
BATCH_ROWS, BATCH_BYTES = 32, 16 << 20
"""Rows that are decoded at a time: at most this number, and about this size."""
READ_BYTES = 8 << 20
"""Bytes of a column that are read from the file at a time."""
BOMB_BYTES, BOMB_RATIO = 1 << 26, 200
"""A column of a row group that is larger than both, in bytes and in multiples of its compressed size, is refused."""
_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"


def is_parquet(head: bytes) -> bool:
    """Whether a file begins like a Parquet file."""
    return head.startswith((_MAGIC, _ENCRYPTED_MAGIC))


class ParquetTable:
    """A Parquet file of which values are read one at a time.

    Reading values in the order of their rows decodes each row group once. The decoded values up to KEPT_BYTES are kept;
    reading an earlier one decodes its row group again from the beginning.

    Args:
        stream: the file, seekable, for Python or pyarrow.
        size: its size in bytes.

    Raises:
        PhotoError: the file is damaged, encrypted, or not Parquet.
    """

    kind = "a Parquet file"

    def __init__(self, stream: BinaryIO | pa.NativeFile, size: int) -> None:
        with damage_errors("it is cut off or damaged"):
            self._file = pq.ParquetFile(
                stream, pre_buffer=False, buffer_size=READ_BYTES, page_checksum_verification=True
            )
            footer = self._file.metadata
            self.schema: pa.Schema = self._file.schema_arrow.with_metadata(footer.metadata)
            check_names(self.schema)
            groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
            counts = [group.num_rows for group in groups]
            self.largest_group_bytes: int = max((group.total_byte_size for group in groups), default=0)
            paths = [self._file.schema.column(number).path for number in range(footer.num_columns)]
        if footer.num_rows != sum(counts) or not 0 <= footer.num_rows <= size or min(counts, default=0) < 0:
            raise BrokenTable(
                f"it is damaged: its footer says that it has {footer.num_rows} rows in {size} bytes: copy it again"
            )
        self._starts = list(itertools.accumulate(counts, initial=0))
        self._leaves: defaultdict[str, list[int]] = defaultdict(list)
        """Numbers of the Parquet columns of a column of the schema, of which a struct has several."""
        for name, (number, path) in itertools.product(self.schema.names, enumerate(paths)):
            if path == name or path.startswith(f"{name}."):
                self._leaves[name].append(number)
        self._size = size
        self.rows: int = footer.num_rows
        """Rows that can be read."""
        self.damage: PhotoError | None = None
        """The error of the rows after these; set by `check_columns`."""
        self._cursors: dict[int, _Cursor] = {}

    def check_columns(self, columns: Sequence[ImageColumn]) -> None:
        """Check by the footer where the values of some columns are; set `rows` and `damage` if they can't be read."""
        for group in range(len(self._starts) - 1):
            try:
                for column in columns:
                    self._check_chunks(group, column)
            except PhotoError as exc:
                self.rows, self.damage = self._starts[group], exc
                return

    def read_value(self, row: int, column: ImageColumn) -> Value:
        """Return a value of a column.

        Args:
            row: its number in the file, from 0, less than `rows`.
            column: of the file.

        Raises:
            PhotoError: the row group is damaged.
            OSError: the disk reported an error.
        """
        group = bisect.bisect_right(self._starts, row) - 1
        cursor = self._cursors.get(column.number)
        if cursor is None or cursor.group != group or row < cursor.start:
            self._check_chunks(group, column)
            cursor = self._cursors[column.number] = self._open_cursor(group, column.name)
        return cursor.read(row, KEPT_BYTES // max(1, len(self._cursors)))

    def read_values(self, column: ImageColumn) -> Iterator[Value]:
        """Yield the values of a column in the first SAMPLE_ROWS rows."""
        return (self.read_value(row, column) for row in range(min(self.rows, SAMPLE_ROWS)))

    def read_rows(self, rows: Sequence[int], names: Sequence[str]) -> pa.Table:
        """Return some columns of some rows.

        Args:
            rows: numbers of rows in the file, in increasing order.
            names: of the columns.

        Raises:
            PhotoError: a row group is damaged.
        """
        parts = []
        with damage_errors("a row group is damaged"):
            for group, numbers in itertools.groupby(rows, lambda row: bisect.bisect_right(self._starts, row) - 1):
                table = self._file.read_row_group(group, columns=list(names), use_threads=False).select(list(names))
                parts += take_rows(table, [number - self._starts[group] for number in numbers])
            if not parts:
                return pa.schema([self.schema.field(name) for name in names]).empty_table()
            return pa.concat_tables([part.replace_schema_metadata(None) for part in parts])

    def release(self) -> None:
        """Free the memory of the decoded values."""
        self._cursors.clear()

    def close(self) -> None:
        """Close the file."""
        self.release()
        self._file.close()

    def _open_cursor(self, group: int, name: str) -> _Cursor:
        with damage_errors("its footer is damaged"):
            size = sum(chunk.total_uncompressed_size for chunk in self._chunks(group, name))
            rows = max(1, self._starts[group + 1] - self._starts[group])
            batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, size)))
            batches = self._file.iter_batches(batch_rows, row_groups=[group], columns=[name], use_threads=False)
        return _Cursor(batches, name, group, self._starts[group])

    def _chunks(self, group: int, name: str) -> Iterator[Any]:
        """The metadata of a column in one row group, by Parquet column."""
        row_group = self._file.metadata.row_group(group)
        return (row_group.column(number) for number in self._leaves[name])

    def _check_chunks(self, group: int, column: ImageColumn) -> None:
        """Raise a PhotoError if a column of a row group is outside the file, or much larger than its data."""
        with damage_errors("its footer is damaged"):
            for chunk in self._chunks(group, column.name):
                stored, size = chunk.total_compressed_size, chunk.total_uncompressed_size
                pages = chunk.dictionary_page_offset, chunk.data_page_offset
                start = min(page for page in pages if page is not None)
                if not 0 <= start <= self._size - stored or min(stored, size) < 0:
                    raise BrokenTable(f"it is cut off or damaged: row group {group} is outside the file: copy it again")
                if size > max(BOMB_BYTES, BOMB_RATIO * stored):
                    raise FileTooLarge(
                        f"{stored} bytes of row group {group} decode to {size}, as in a decompression bomb: if you "
                        "trust the file, write it again with smaller row groups"
                    )


class _Cursor:
    """Decodes one column of one row group from the beginning, and keeps the last values."""

    def __init__(self, batches: Iterator[pa.RecordBatch], name: str, group: int, first_row: int) -> None:
        self.group, self.start = group, first_row
        self._batches, self._name, self._end = batches, name, first_row
        self._kept: deque[tuple[Any, int]] = deque()
        """Arrays of consecutive values, and their sizes in bytes."""
        self._kept_bytes = 0
        self._error: PhotoError | None = None

    def read(self, row: int, keep_bytes: int) -> Value:
        """The value of a row that is not before `start`; see `ParquetTable.read_value`."""
        while row >= self._end:
            if self._error is not None:
                raise type(self._error)(*self._error.args)
            try:
                self._decode_more(keep_bytes)
            except PhotoError as exc:
                self._error = exc
        position = row - self.start
        for values, _ in self._kept:
            if position < len(values):
                return to_value(values[position])
            position -= len(values)
        raise AssertionError("a row between start and end is kept")

    def _decode_more(self, keep_bytes: int) -> None:
        with damage_errors(f"row group {self.group} is damaged"):
            batch = next(self._batches, None)
            if batch is None or not batch.num_rows:
                raise BrokenTable(f"it is damaged: row group {self.group} ends at row {self._end}: copy it again")
            values = batch.column(self._name)
            size = batch.get_total_buffer_size()
        self._kept.append((values, size))
        self._end += len(values)
        self._kept_bytes += size
        while len(self._kept) > 1 and self._kept_bytes > keep_bytes:
            dropped, size = self._kept.popleft()
            self.start += len(dropped)
            self._kept_bytes -= size
