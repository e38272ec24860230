"""Read single values of an Arrow file at their positions, without the rest of their record batch.

Sources of the layout: "Serialization and Interprocess Communication" in the specification of Arrow's columnar format,
with Message.fbs and Schema.fbs; and "FlatBuffers Internals" for their encoding. pyarrow reads whole record batches
only, of any size.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from curate.errors import BrokenTable, PhotoError, UnsupportedFormat
from curate.sources.tables.columns import SAMPLE_ROWS, ImageColumn, Value, check_names, damage_errors, take_rows
from curate.sources.tables.flatbuffer import FlatTable

MAX_METADATA_BYTES = 1 << 24
"""Of one message; 100 columns need 6 kB."""
KEPT_BYTES = 1 << 20
"""A buffer up to this size is read as a whole and kept: that of the nulls, and that of the positions of the values."""
MAX_BUFFER_BYTES = 1 << 29
"""A larger compressed buffer is not decompressed, and a larger record batch not read as a whole."""
_MAGIC, _CONTINUATION = b"ARROW1", b"\xff\xff\xff\xff"
_MAGIC_BYTES, _PREFIX_BYTES = 8, 8
_SCHEMA, _DICTIONARY, _RECORD_BATCH = 1, 2, 3
"""Values of MessageHeader."""
_CODECS = {0: "lz4", 1: "zstd"}
"""Values of CompressionType: frames of LZ4, and Zstandard."""
ReadRange = Callable[[int, int], bytes]
"""Returns the bytes of a file from one position to another; fewer at its end."""


def is_arrow(head: bytes) -> bool:
    """Whether a file begins like an Arrow file or an Arrow stream."""
    return head.startswith((_MAGIC, _CONTINUATION))


class _Message(NamedTuple):
    """A message of an Arrow stream: where it is, and its metadata."""

    position: int
    kind: int
    """See MessageHeader."""
    body: int
    """Position of its body."""
    end: int
    """Position of the next message."""
    header: FlatTable


class _Batch(NamedTuple):
    """A record batch of the file."""

    position: int
    body: int
    end: int


class ArrowTable:
    """An Arrow IPC file or stream of which values are read one at a time.

    A value is read at its position. Of a compressed record batch the column is decompressed and kept; it can have
    MAX_BUFFER_BYTES.

    Args:
        stream: the file, seekable, for Python or pyarrow.
        size: its size in bytes.

    Raises:
        PhotoError: the file is damaged or not Arrow.
    """

    kind = "an Arrow file"

    def __init__(self, stream: BinaryIO | pa.NativeFile, size: int) -> None:
        self._stream, self._size = stream, size
        self.damage: PhotoError | None = None
        """The error of what follows the rows; None if the file ends as it should."""
        self._batches: list[_Batch] = []
        self._starts = [0]
        self._dictionaries: list[tuple[int, int]] = []
        """Positions of the messages that pyarrow needs besides a record batch, from the schema on, with their ends."""
        self._current: tuple[int, _Buffers, dict[int, _Place]] | None = None
        """The number of the record batch that was read last, its buffers, and which of them the columns have."""
        messages = self._iter_messages()
        with damage_errors("it is cut off or damaged"):
            first = next(messages, None)
            if first is None or first.kind != _SCHEMA:
                raise BrokenTable("it is cut off or damaged, or not an Arrow file: copy it again")
            self.schema: pa.Schema = pa.ipc.read_schema(pa.py_buffer(self._read_range(first.position, first.body)))
            check_names(self.schema)
        self._add_dictionary(first)
        try:
            for message in messages:
                with damage_errors("it is cut off or damaged"):
                    self._add_message(message)
        except PhotoError as exc:
            self.damage = exc
        self.rows = self._starts[-1]
        """Rows that can be read."""

    def check_columns(self, columns: Sequence[ImageColumn]) -> None:
        """Do nothing: the positions were checked when the file was opened."""

    def read_value(self, row: int, column: ImageColumn) -> Value:
        """Return a value of a column; as `ParquetTable.read_value`.

        Raises:
            PhotoError: the record batch is damaged.
            OSError: the disk reported an error.
        """
        number = bisect.bisect_right(self._starts, row) - 1
        with damage_errors(f"record batch {number} is damaged"):
            if self._current is None or self._current[0] != number:
                self._current = number, self._open_batch(self._batches[number]), {}
            _, buffers, places = self._current
            if column.number not in places:
                places[column.number] = _find_place(self.schema, column.name, buffers.view_counts)
            return _read_value(buffers, places[column.number], row - self._starts[number])

    def read_values(self, column: ImageColumn) -> Iterator[Value]:
        """Yield the values of a column in the first SAMPLE_ROWS rows."""
        return (self.read_value(row, column) for row in range(min(self.rows, SAMPLE_ROWS)))

    def read_rows(self, rows: Sequence[int], names: Sequence[str]) -> pa.Table:
        """Return some columns of some rows; as `ParquetTable.read_rows`. A whole record batch is in memory."""
        numbers = [self.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(numbers))
        parts = []
        for number, group in itertools.groupby(rows, lambda row: bisect.bisect_right(self._starts, row) - 1):
            batch = self._batches[number]
            if batch.end - batch.body > MAX_BUFFER_BYTES:
                raise UnsupportedFormat(_too_large("a record batch"))
            with damage_errors(f"record batch {number} is damaged"):
                ranges = [*self._dictionaries, (batch.position, batch.end)]
                stream = b"".join(self._read_range(start, end) for start, end in ranges)
                with pa.ipc.open_stream(stream, options=options) as reader:
                    table = pa.Table.from_batches([reader.read_next_batch()]).select(list(names))
                parts += take_rows(table, [row - self._starts[number] for row in group])
        if not parts:
            return pa.schema([self.schema.field(number) for number in numbers]).empty_table()
        return pa.concat_tables([part.replace_schema_metadata(None) for part in parts])

    def release(self) -> None:
        """Free the memory of what was decompressed."""
        self._current = None

    def close(self) -> None:
        """Close the file."""
        self.release()
        self._stream.close()

    def _read_range(self, start: int, end: int) -> bytes:
        """The bytes of the file from one position to another; fewer at its end."""
        if isinstance(self._stream, pa.NativeFile):  # by one call, because a forked process shares the position
            data: bytes = self._stream.read_at(end - start, start)
            return data
        self._stream.seek(start)
        return self._stream.read(end - start)

    def _iter_messages(self) -> Iterator[_Message]:
        """The messages of the stream in order; the iteration ends at the end mark, or where the file ends.

        Raises:
            PhotoError: the file is cut off or damaged.
        """
        is_file = self._read_range(0, len(_MAGIC)) == _MAGIC
        position = _MAGIC_BYTES if is_file else 0
        if is_file and self._read_range(max(0, self._size - len(_MAGIC)), self._size) != _MAGIC:
            # its rows are listed all the same, as those of a tar that is cut off
            self.damage = BrokenTable("it is cut off: its end mark is missing: copy it again, then scan again")
        while position < self._size:
            prefix = self._read_range(position, position + _PREFIX_BYTES)
            with damage_errors(f"it is cut off or damaged at byte {position}"):
                mark, length = struct.unpack("<4si", prefix)
                if mark != _CONTINUATION or not 0 <= length <= MAX_METADATA_BYTES:
                    raise ValueError("no message begins there")
                if not length:
                    return
                message = self._read_message(position, length)
            yield message
            position = message.end

    def _read_message(self, position: int, length: int) -> _Message:
        body = position + _PREFIX_BYTES + length
        metadata = FlatTable.root(self._read_range(position + _PREFIX_BYTES, body))
        body_bytes = metadata.number(3, "q")
        if body_bytes < 0 or body + body_bytes > self._size:
            raise ValueError("the file ends within a message")
        header = metadata.table(2)
        if header is None:
            raise ValueError("a message without a header")
        return _Message(position, metadata.number(1, "B"), body, body + body_bytes, header)

    def _add_message(self, message: _Message) -> None:
        if message.kind == _DICTIONARY:
            self._add_dictionary(message)
        elif message.kind == _RECORD_BATCH:
            rows = message.header.number(0, "q")
            if not 0 <= rows <= self._size:
                raise ValueError(f"a record batch of {rows} rows in {self._size} bytes")
            self._batches.append(_Batch(message.position, message.body, message.end))
            self._starts.append(self._starts[-1] + rows)

    def _add_dictionary(self, message: _Message) -> None:
        self._dictionaries.append((message.position, message.end))

    def _open_batch(self, batch: _Batch) -> _Buffers:
        length = batch.body - batch.position - _PREFIX_BYTES
        header = self._read_message(batch.position, length).header
        compression = header.table(3)
        codec = None if compression is None else _CODECS[compression.number(0, "b")]
        return _Buffers(
            self._read_range,
            batch.body,
            batch.end,
            places=header.pairs(2),
            view_counts=header.numbers(4),
            codec=codec,
        )


@dataclass
class _Buffers:
    """The buffers of a record batch, read in parts; small and compressed ones are read as a whole and kept."""

    read_range: ReadRange
    body: int
    end: int
    places: Sequence[tuple[int, int]]
    """Offset in the body and size of each buffer, in bytes."""
    view_counts: Sequence[int]
    """Number of data buffers of each column of views."""
    codec: str | None
    _kept: dict[int, bytes] = field(default_factory=dict)

    def size(self, number: int) -> int:
        """The size of a buffer as it is stored."""
        return self.places[number][1]

    def read(self, number: int, start: int, end: int) -> bytes:
        """The bytes of a buffer from one position to another.

        Raises:
            ValueError: they are not in the buffer.
            UnsupportedFormat: the buffer is too large to decompress.
        """
        kept = self._kept.get(number)
        if kept is None:
            offset, size = self.places[number]
            if offset < 0 or size < 0 or self.body + offset + size > self.end:
                raise ValueError("a buffer is outside its record batch")
            first = self.body + offset
            if self.codec is None and size > KEPT_BYTES:
                if not 0 <= start <= end <= size:
                    raise ValueError("a value is outside its buffer")
                return _checked(self.read_range(first + start, first + end), end - start)
            kept = self._kept[number] = self._read_whole(first, size)
        if not 0 <= start <= end:
            raise ValueError("a value is outside its buffer")
        return _checked(kept[start:end], end - start)

    def _read_whole(self, first: int, size: int) -> bytes:
        """A whole buffer, decompressed. A compressed one begins with its size; -1: it is stored as it is."""
        if self.codec is None or not size:
            return _checked(self.read_range(first, first + size), size)
        (length,) = struct.unpack("<q", self.read_range(first, first + 8))
        if max(length, size) > MAX_BUFFER_BYTES:
            raise UnsupportedFormat(_too_large("a compressed record batch"))
        data = _checked(self.read_range(first + 8, first + size), size - 8)
        if length == -1:
            return data
        if length < 0:
            raise ValueError("a buffer of a negative size")
        decompressed: bytes = pa.Codec(self.codec).decompress(data, length, asbytes=True)
        return decompressed


class _Place(NamedTuple):
    """Where the values of an image column are: numbers of their first buffers, and their types."""

    data: int
    data_type: pa.DataType
    struct: int | None = None
    """None: the column is not a struct."""
    path: int | None = None
    """None: the struct has no text `path`."""
    path_type: pa.DataType | None = None


def _find_place(schema: pa.Schema, name: str, view_counts: Sequence[int]) -> _Place:
    """Where the values of a column are in a record batch.

    Args:
        schema: of the file.
        name: of the column; binary, or a struct with a binary field `bytes`.
        view_counts: number of data buffers of each column of views in the record batch, in order.
    """
    views = iter(view_counts)
    number = schema.get_field_index(name)
    place = sum(_count_buffers(schema.field(index).type, views) for index in range(number))
    kind = schema.field(number).type
    if not pa.types.is_struct(kind):
        return _Place(place, kind)
    fields: dict[str, tuple[int, pa.DataType]] = {}
    after = place + 1
    for index in range(kind.num_fields):
        inner = kind.field(index)
        fields[inner.name] = after, inner.type
        after += _count_buffers(inner.type, views)
    path, path_type = fields.get("path", (None, None))
    return _Place(*fields["bytes"], place, path if path_type and _has_bytes(path_type) else None, path_type)


def _read_value(buffers: _Buffers, place: _Place, row: int) -> Value:
    """The value of an image column in a row of a record batch."""
    if place.struct is None:
        return _read_bytes(buffers, place.data, place.data_type, row)
    if not _is_valid(buffers, place.struct, row):
        return None
    data = _read_bytes(buffers, place.data, place.data_type, row)
    path = None
    if data is None and place.path is not None:
        path = _read_bytes(buffers, place.path, place.path_type, row)
    return {"bytes": data, "path": None if path is None else path.decode("utf-8", "replace")}


def _read_bytes(buffers: _Buffers, place: int, kind: pa.DataType, row: int) -> bytes | None:
    """The value of a binary or text column."""
    if not _is_valid(buffers, place, row):
        return None
    if pa.types.is_binary_view(kind) or pa.types.is_string_view(kind):
        view = buffers.read(place + 1, 16 * row, 16 * (row + 1))
        (length,) = struct.unpack("<i", view[:4])
        if 0 <= length <= 12:
            return view[4 : 4 + length]
        number, start = struct.unpack("<ii", view[8:])
        if number < 0 or length < 0:
            raise ValueError("a damaged view")
        return buffers.read(place + 2 + number, start, start + length)
    width, code = (8, "<2q") if pa.types.is_large_binary(kind) or pa.types.is_large_string(kind) else (4, "<2i")
    start, end = struct.unpack(code, buffers.read(place + 1, width * row, width * (row + 2)))
    return buffers.read(place + 2, start, end)


def _is_valid(buffers: _Buffers, place: int, row: int) -> bool:
    """Whether a value is not null; a column without nulls may have no bits for it."""
    return not buffers.size(place) or bool(buffers.read(place, row // 8, row // 8 + 1)[0] >> row % 8 & 1)


def _has_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in (*tests, *texts))


def _count_buffers(kind: pa.DataType, views: Iterator[int]) -> int:
    """Number of buffers of a column and of the columns in it.

    Args:
        kind: its type.
        views: number of data buffers of each column of views from this one on; those of this column are taken.
    """
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _count_buffers(kind.storage_type, views)
    if types.is_null(kind):
        return 0
    if types.is_dictionary(kind):
        return 2
    if types.is_binary_view(kind) or types.is_string_view(kind):
        return 2 + next(views)
    inner = sum(_count_buffers(kind.field(number).type, views) for number in range(kind.num_fields))
    if types.is_run_end_encoded(kind):
        return inner
    if types.is_union(kind):
        return inner + (2 if kind.mode == "dense" else 1)
    if types.is_struct(kind) or types.is_fixed_size_list(kind):
        return inner + 1
    if types.is_list_view(kind) or types.is_large_list_view(kind) or _has_bytes(kind):
        return inner + 3
    return inner + 2


def _checked(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError("a value is outside its buffer or the file")
    return data


def _too_large(what: str) -> str:
    return f"{what} has more than {MAX_BUFFER_BYTES >> 20} MiB: write the file with fewer rows in a batch"
