"""List the members of a tar or ZIP, or the images of a Parquet or Arrow file, by its name, wherever it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from curate.errors import UnsupportedFormat
from curate.sources.compression import HEAD_BYTES, find_codec
from curate.sources.entry import STREAM_OFFSET, ListedPhoto, as_photo_error, modified_ns
from curate.sources.names import has_table_name, has_zip_name
from curate.sources.tables.columns import ColumnChoice
from curate.sources.tables.listing import list_table_rows
from curate.sources.tar.listing import list_tar_members
from curate.sources.zip.listing import list_zip_members

CANNOT_READ = "the file can't be read"
_UNSUPPORTED = {b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress (.Z)", b"\x5d\0\0": "lzma", b"LZIP": "lzip"}
"""Methods of compression that are recognized, but not read, by the first bytes of a file."""


def list_members(
    source: str, path: str, file: str, status: os.stat_result, choice: ColumnChoice, *, named: bool
) -> Iterator[ListedPhoto]:
    """List the members of a container on this machine.

    See `list_tar_members`, `list_zip_members` and `list_table_rows`.

    Args:
        source: its source, as manifest text.
        path: its path below the source, as manifest text.
        file: its path for the operating system.
        status: its size, and its time, which is also that of its members.
        choice: the columns of a Parquet or Arrow file to list.
        named: whether it was named itself, and not a folder that contains it.

    Raises:
        SourceError: as `list_table_rows`.
    """
    try:
        with open(file, "rb") as stream:
            yield from list_stream_members(
                source, path, stream, status.st_size, modified_ns(status), choice, named=named
            )
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, CANNOT_READ)))


def list_stream_members(
    source: str,
    path: str,
    stream: BinaryIO,
    size: int,
    modified_ns: int | None,
    choice: ColumnChoice | None = None,
    *,
    named: bool = True,
) -> Iterator[ListedPhoto]:
    """List the members of a container from a seekable stream. A tar that is compressed, by its content, is one entry.

    Args:
        source: its source, as manifest text.
        path: its path below the source, as manifest text.
        stream: the container.
        size: its size in bytes.
        modified_ns: its time of change, in nanoseconds since 1970; None if it is unknown.
        choice: as for `list_members`; None: all columns of images.
        named: as for `list_members`.
    """
    container = ListedPhoto(source, path, None, modified_ns)
    if has_table_name(path):
        yield from list_table_rows(container, stream, size, choice or ColumnChoice(), named=named)
        return
    if has_zip_name(path):
        yield from list_zip_members(container, stream, size)
        return
    head = stream.read(HEAD_BYTES)
    if find_codec(head) is not None:
        yield container._replace(bytes=size, offset=STREAM_OFFSET)
    elif method := next((name for magic, name in _UNSUPPORTED.items() if head.startswith(magic)), None):
        text = f"a tar that is compressed by {method} is not supported: unpack it, or compress it by zstd or gzip"
        yield container._replace(modified_ns=None, error=str(UnsupportedFormat(text)))
    else:
        yield from list_tar_members(container, stream, size)
