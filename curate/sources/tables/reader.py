"""Read images, and the other columns of their rows, from Parquet and Arrow files."""

from __future__ import annotations

import io
import itertools
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa

from curate.errors import ChangedWhileRead, EmptyFile, NotAFile, NotAPhoto, PhotoError, SourceError, UnsupportedFormat
from curate.locations import is_url
from curate.manifest import escape
from curate.sources import remote
from curate.sources.entry import as_photo_error, modified_ns
from curate.sources.names import has_table_name
from curate.sources.tables.columns import ColumnChoice, ImageColumn, Value, binary_columns, image_columns
from curate.sources.tables.listing import Table, choose_columns, open_table, without_images_error
from curate.sources.tables.parquet import ParquetTable
from curate.unicode import find_path

MAX_OPEN_TABLES = 4
"""Files that a thread keeps open. Only the one that was read last has decoded values in memory."""
_cache = threading.local()


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What changes when a file is written again."""

    size: int
    modified_ns: int | None
    """None if the store doesn't say it."""
    identity: tuple[int, int] = (0, 0)
    """Device and inode of a file on this machine."""


@dataclass(frozen=True, slots=True)
class _OpenTable:
    version: FileVersion
    table: Table
    columns: tuple[ImageColumn, ...]
    """All that may hold images, of which `offset` names one."""


def read_table_image(location: str, offset: int) -> tuple[bytes, FileVersion]:
    """Read an image of a Parquet or Arrow file.

    The file stays open, with the values that were decoded last, so reading in the order of the rows is fast. Reading in
    another order decodes a part of a row group for each image.

    Args:
        location: path or URL of the file.
        offset: position of the image, as `ListedPhoto.offset` and the column `tar_offset` of a manifest have it.

    Returns:
        The bytes of the image, and the version of the file.

    Raises:
        PhotoError: the file can't be read, or the row has no image.
    """
    ahead: dict[tuple[str, int], tuple[bytes, FileVersion]] = _cache.__dict__.get("ahead", {})
    if (found := ahead.pop((location, offset), None)) is not None:
        return found
    try:
        opened = _open_cached(location)
        row, number = divmod(offset, len(opened.columns))
        if not 0 <= row < opened.table.rows:
            raise ChangedWhileRead("the file has fewer rows than when it was scanned: scan again")
        return _image_bytes(opened.table.read_value(row, opened.columns[number])), opened.version
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc


def read_ahead(images: Iterable[tuple[str, int]]) -> None:
    """Read images in the order of their rows and keep their bytes until `read_table_image` or the next call takes them.

    So each row group is decoded once, where reading in another order would decode it for each image.

    Args:
        images: path or URL of the file, and position of the image, in any order. The caller limits their number: all
            bytes are in memory at the same time. What can't be read is left out.
    """
    ahead: dict[tuple[str, int], tuple[bytes, FileVersion]] = {}
    _cache.__dict__["ahead"] = {}
    for location, offset in sorted(images):
        with suppress(PhotoError):  # raised again when the image is read
            ahead[location, offset] = read_table_image(location, offset)
    _cache.__dict__["ahead"] = ahead


def read_other_columns(location: str, rows: Sequence[int]) -> pa.Table:
    """Return what rows of a Parquet or Arrow file have besides images: captions, labels and so on.

    A manifest has one row per image, whose `path` says where the image is. To get the other columns of some photos,
    group them by the file, and give the numbers of their rows in increasing order, with repetitions if a row has
    several images:

        row = parse_row_path(photo["path"])               # curate.sources: container, row, column
        location = locate_photo(photo["source"], photo["path"], offset=photo["tar_offset"])
        table = read_other_columns(location, [row.row])   # one row, in the types of the file

    Memory: these columns of one row group of a Parquet file, or one record batch of an Arrow file, at a time.

    Args:
        location: path or URL of the file.
        rows: numbers of rows, from 0, in increasing order.

    Returns:
        A row per number, in that order, with all columns that do not hold images, in the order of the file.

    Raises:
        PhotoError: the file can't be read.
        ValueError: the numbers do not increase, or are no rows of the file.
    """
    if any(first > second for first, second in itertools.pairwise(rows)) or (rows and rows[0] < 0):
        raise ValueError("numbers of rows must be positive and increase")
    try:
        table = _open_cached(location).table
        if rows and rows[-1] >= table.rows:
            raise ValueError(f"row {rows[-1]} of {table.rows}")
        images = {column.name for column in image_columns(table.schema, table.read_values)}
        table.release()
        return table.read_rows(rows, [name for name in table.schema.names if name not in images])
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc


def read_features(location: str) -> dict[str, Any]:
    """Return the features that Hugging Face `datasets` recorded for the columns of a file, by name; empty without any.

    Raises:
        PhotoError: the file can't be read.
    """
    try:
        metadata = _open_cached(location).table.schema.metadata or {}
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def check_images(location: str, choice: ColumnChoice) -> None:
    """Check that a Parquet or Arrow file has columns of images. A file that can't be read is no error here.

    Args:
        location: path or URL of the file.
        choice: the columns that are wanted.

    Raises:
        SourceError: it has no column of images, or other ones.
    """
    if (error := _find_missing_images(location, choice)) is not None:
        raise SourceError(f"{escape(location)} is {error.args[0]}")


def has_images(location: str) -> bool:
    """Whether a file is a Parquet or Arrow file with columns of images; False if it can't be read."""
    return has_table_name(location) and _find_missing_images(location, ColumnChoice(), unreadable=NotAPhoto()) is None


def holds_images(data: bytes) -> bool:
    """Whether these bytes are a Parquet or Arrow file with columns of images; False if they are damaged."""
    try:
        with closing(open_table(pa.BufferReader(data), len(data))) as table:
            return bool(choose_columns(table, ColumnChoice(), ""))
    except (PhotoError, OSError):
        return False


def largest_row_group(location: str) -> int:
    """The size in bytes, decoded, of the largest row group of a Parquet file.

    0 for an Arrow file, of which values are read one at a time, and if the file can't be read.
    """
    try:
        size = _version(location).size
        with closing(open_table(_open_stream(location, size), size)) as table:
            return table.largest_group_bytes if isinstance(table, ParquetTable) else 0
    except (PhotoError, OSError):
        return 0


def _find_missing_images(
    location: str, choice: ColumnChoice, unreadable: PhotoError | None = None
) -> PhotoError | None:
    """The error of a Parquet or Arrow file without images; `unreadable` if it can't be read; None if it has images."""
    try:
        size = _version(location).size
        with closing(open_table(_open_stream(location, size), size)) as table:
            columns = choose_columns(table, ColumnChoice(choice.names), escape(location))
            return None if columns else without_images_error(table)
    except (PhotoError, OSError):
        return unreadable


def _open_cached(location: str) -> _OpenTable:
    """A file, opened once by each thread as long as it is not written again."""
    tables: OrderedDict[str, _OpenTable] = _cache.__dict__.setdefault("tables", OrderedDict())
    version = _version(location)
    opened = tables.pop(location, None)
    if opened is not None and opened.version != version:
        opened.table.close()
        opened = None
    for other in tables.values():
        other.table.release()
    if opened is None:
        table = open_table(_open_stream(location, version.size), version.size)
        opened = _OpenTable(version, table, binary_columns(table.schema))
        if not opened.columns:
            raise NotAPhoto("the file has no column of images any more: scan again")
    tables[location] = opened
    while len(tables) > MAX_OPEN_TABLES:
        tables.popitem(last=False)[1].table.close()
    return opened


def _version(location: str) -> FileVersion:
    """The present version of a file.

    Raises:
        PhotoError: there is no such file, or the store can't be reached.
        OSError: there is no such file on this machine.
    """
    if is_url(location):
        size, time_ns = remote.file_version(location)
        return FileVersion(size, time_ns)
    status = os.stat(find_path(location))
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        raise NotAFile("a folder, pipe, socket or device is not a Parquet or Arrow file")
    return FileVersion(status.st_size, modified_ns(status), (status.st_dev, status.st_ino))


def _open_stream(location: str, size: int) -> BinaryIO | pa.NativeFile:
    if is_url(location):
        return cast("BinaryIO", _RemoteStream(location, size))
    # not Python's file, whose position a forked process would share
    return pa.OSFile(os.fsencode(find_path(location)))


class _RemoteStream(io.RawIOBase):
    """A remote file that is read with one request per call of `read`."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__()
        self._url, self._size, self._position = url, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def read(self, count: int | None = -1) -> bytes:
        """Read bytes; PhotoError if they can't be read."""
        end = self._size if count is None or count < 0 else min(self._size, self._position + count)
        if end <= self._position:
            return b""
        data = remote.fetch(self._url, self._position, end)
        self._position += len(data)
        return data


def _image_bytes(value: Value) -> bytes:
    """The bytes of a value of an image column.

    Raises:
        PhotoError: it has none.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if data:
        return bytes(data)
    if data is not None:
        raise EmptyFile("the row has an image of zero bytes")
    path = value.get("path") if isinstance(value, dict) else None
    if path:
        raise UnsupportedFormat(
            f"the row has no bytes, only the path {escape(str(path))[:200]!r}: scan that file, or save the data set "
            "with its images in it"
        )
    raise NotAPhoto("the row has no image (null)")


def check_image_bytes(data: bytes, size: int | None) -> bytes:
    """The bytes of an image, if they have the size that the scan found.

    Raises:
        ChangedWhileRead: they have not.
    """
    if size is not None and len(data) != size:
        raise ChangedWhileRead("the image has another size than when it was scanned: scan again")
    return data
