"""List the images of a Parquet or Arrow file, without reading them.

The position (`offset`) of an image is the number of its row times the number of columns that may hold images by their
type, plus the number of its column among these. So it depends on the file alone, not on the columns that are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import BinaryIO, Protocol

import pyarrow as pa

from curate.errors import BrokenTable, EmptyFile, NotAPhoto, PhotoError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto
from curate.sources.names import FILE_NAME, ROW_DIGITS, is_metadata, photo_location
from curate.sources.tables.arrow import ArrowTable, is_arrow
from curate.sources.tables.columns import (
    ColumnChoice,
    ImageColumn,
    Value,
    binary_columns,
    describe_columns,
    is_own_table,
)
from curate.sources.tables.parquet import ParquetTable, is_parquet


class Table(Protocol):
    """A Parquet or Arrow file; see `ParquetTable` and `ArrowTable`."""

    kind: str
    """What it is, for messages: `an Arrow file`."""
    schema: pa.Schema
    rows: int
    damage: PhotoError | None

    def check_columns(self, columns: Sequence[ImageColumn]) -> None:
        """Find out how many rows can be read, and set `rows` and `damage`."""

    def read_value(self, row: int, column: ImageColumn) -> Value:
        """Return a value of a column."""

    def read_values(self, column: ImageColumn) -> Iterator[Value]:
        """Yield the values of a column in the first rows."""

    def read_rows(self, rows: Sequence[int], names: Sequence[str]) -> pa.Table:
        """Return some columns of some rows."""

    def release(self) -> None:
        """Free memory."""

    def close(self) -> None:
        """Close the file."""


def open_table(stream: BinaryIO | pa.NativeFile, size: int) -> Table:
    """Open a Parquet or Arrow file; its first bytes decide which it is, not its name.

    Args:
        stream: the file, seekable, for Python or pyarrow.
        size: its size in bytes.

    Raises:
        PhotoError: it is neither, or damaged.
        OSError: it can't be read.
    """
    if not size:
        raise EmptyFile("the file has zero bytes")
    stream.seek(0)
    head = stream.read(8)
    if is_parquet(head):
        return ParquetTable(stream, size)
    if is_arrow(head):
        return ArrowTable(stream, size)
    raise BrokenTable("it is damaged, or neither a Parquet nor an Arrow file: copy it again")


def list_table_rows(
    container: ListedPhoto, stream: BinaryIO, size: int, choice: ColumnChoice, *, named: bool
) -> Iterator[ListedPhoto]:
    """List the images of a Parquet or Arrow file, sorted by `ListedPhoto.key`; their sizes are not known.

    - Each row gives an entry per column of images, also if it has no image.
    - A file that is damaged is one entry with an error; so is the rest of a file after a damaged part.
    - A file without a column of images is one entry with an error if it was named; otherwise it is counted in `choice`.
      The metadata file of an imagefolder is an entry like that of any file.

    Args:
        container: the entry of the file itself.
        stream: the file, seekable.
        size: its size in bytes.
        choice: the columns to list.
        named: whether the file itself was named, and not a folder that contains it.

    Raises:
        SourceError: the file has other columns of images than those that were named.
    """
    try:
        table = open_table(stream, size)
        columns = choose_columns(table, choice, photo_location(container.source, container.path))
    except PhotoError as exc:
        yield container._replace(modified_ns=None, error=str(exc))
        return
    if not columns:
        if is_metadata(container.path) and FILE_NAME in table.schema.names:
            yield container._replace(bytes=size)
        elif named:
            yield container._replace(error=str(without_images_error(table)))
        else:
            choice.pass_over(photo_location(container.source, container.path))
        return
    table.check_columns(columns)
    if table.damage is not None:
        yield container._replace(modified_ns=None, error=str(table.damage))
    total = len(binary_columns(table.schema))
    ends = [
        ("" if total == 1 else "/" + escape(column.name).replace("\0", r"\x00"), column.number) for column in columns
    ]
    ends.sort(key=lambda end: end[0].split("/"))
    columns_rows = [
        _list_column(container, end, range(number, number + table.rows * total, total)) for end, number in ends
    ]
    yield from columns_rows[0] if len(columns_rows) == 1 else chain.from_iterable(zip(*columns_rows, strict=True))


def _list_column(container: ListedPhoto, end: str, offsets: range) -> Iterator[ListedPhoto]:
    """The entries of a column; the paths are those of `row_path`.

    Args:
        container: the entry of the file itself.
        end: what follows the number of the row in each path.
        offsets: of the entries.
    """
    paths = (f"{container.path}/{row:0{ROW_DIGITS}d}{end}" for row in range(len(offsets)))
    source, time_ns = repeat(container.source), repeat(container.modified_ns)
    fields = zip(source, paths, repeat(None), time_ns, repeat(None), offsets, repeat(()))
    return map(partial(tuple.__new__, ListedPhoto), fields)


def choose_columns(table: Table, choice: ColumnChoice, location: str) -> tuple[ImageColumn, ...]:
    """Return the columns of a file to list; none if no column holds images.

    Raises:
        SourceError: the file has other columns of images than those that were named.
        PhotoError: it is damaged, or has no rows, or too many.
    """
    if not table.rows and table.damage is not None:
        raise table.damage
    if not table.rows and binary_columns(table.schema) and not is_own_table(table.schema):
        raise EmptyFile(f"{table.kind} without rows")
    columns = choice.choose(location, table.schema, table.read_values)
    table.release()
    if table.rows >= 10**ROW_DIGITS:
        raise UnsupportedFormat(f"it has {table.rows} rows: divide it into files of fewer rows")
    return columns


def without_images_error(table: Table) -> PhotoError:
    """The error of a file without a column of images."""
    if is_own_table(table.schema):
        return NotAPhoto("a manifest or a pack of vividset: name the photos, or their folder")
    return NotAPhoto(
        f"{table.kind} without a column of images (its columns: {describe_columns(table.schema)}): name a file "
        "with the bytes of the images"
    )
