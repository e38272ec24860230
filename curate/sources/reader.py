"""Read the bytes of a photo, given its entry in a listing (scans) or its row in a manifest (all later commands)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from curate.errors import (
    ChangedSinceScan,
    ChangedWhileRead,
    FileTooLarge,
    OutputError,
    ReadFailed,
    Vanished,
)
from curate.image.formats import SNIFF_BYTES
from curate.locations import is_url
from curate.manifest import unescape
from curate.sources import remote
from curate.sources.entry import ListedPhoto, Sidecar, as_photo_error, modified_ns, to_sidecars
from curate.sources.names import container_path, has_table_name, has_zip_name, is_metadata
from curate.sources.tables.reader import check_image_bytes, read_ahead, read_table_image
from curate.sources.tar.stream import find_copy, is_compressed_tar, read_member
from curate.sources.zip.member import ZipMember
from curate.unicode import find_path

PHOTO_REF_COLUMNS = ("source", "path", "sha256")
"""The columns of a manifest that a `PhotoRef` needs."""
BORDER_COLUMNS = ("border_left", "border_top", "border_right", "border_bottom")
"""Width or height of the band at each side, as a share of the photo's."""
ONE_READ_BYTES = 1 << 20
"""A file up to this size is read in one call. Of a larger one the head is read first, and the rest only of a photo."""
READ_AHEAD_BYTES = 64 << 20
"""Size of the images that are read before they are used; see `read_in_row_order`."""


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """One photo of a manifest: where its bytes are, and the hash by which they are checked."""

    source: str
    """The row's `source`, as manifest text."""
    path: str
    """The row's `path`, as manifest text."""
    sha256: str
    """The row's `sha256`, hex digits."""
    size: int | None = None
    """The row's `bytes`."""
    offset: int | None = None
    """The row's `tar_offset`."""
    sidecars: tuple[Sidecar, ...] = ()
    """Those of the row's `sidecars` that are no metadata files."""
    borders: tuple[float, float, float, float] | None = None
    """The row's `BORDER_COLUMNS`; None if it lacks them."""

    def read(self, copies: Path | None = None) -> bytes:
        """Read the file's bytes and check that they are those that were scanned.

        Args:
            copies: a folder with copies of compressed tars; see `curate.sources.tar.copies`.

        Raises:
            PhotoError: the file cannot be read, or has changed since the scan.
            OutputError: its whole source cannot be reached, as after a lost mount.
        """
        try:
            data = read_photo(self.source, self.path, offset=self.offset, size=self.size, copies=copies)
        except (Vanished, ReadFailed) as exc:
            if is_source_missing(self.source):
                raise OutputError(
                    f"{self.source} is gone (a lost mount?): bring it back and run the same command; what is done "
                    "is kept"
                ) from exc
            raise
        check_unchanged(data, self.sha256)
        return data


def read_in_row_order(photos: Iterable[PhotoRef]) -> Iterator[PhotoRef]:
    """Yield photos unchanged; images in Parquet and Arrow files are read ahead in the order of their rows.

    Reading them in another order would decode a row group for each. At most about READ_AHEAD_BYTES are read ahead.
    """
    for piece in _divide(photos):
        tables = [
            (file, photo.offset)
            for photo in piece
            if photo.offset is not None
            and has_table_name(file := _file_location(unescape(photo.source), photo.path, photo.offset))
        ]
        if len(tables) > 1:
            read_ahead(tables)
        yield from piece


def _divide(photos: Iterable[PhotoRef]) -> Iterator[list[PhotoRef]]:
    """Divide photos into pieces of about READ_AHEAD_BYTES."""
    piece: list[PhotoRef] = []
    size = 0
    for photo in photos:
        piece.append(photo)
        size += photo.size or 0
        if size >= READ_AHEAD_BYTES:
            yield piece
            piece, size = [], 0
    yield piece


def check_unchanged(data: bytes, sha256: str | None) -> None:
    """Check that the bytes of a photo are those that were scanned.

    Args:
        data: as they are now.
        sha256: of the scanned bytes, hex digits; None if unknown.

    Raises:
        ChangedSinceScan: they are others.
    """
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ChangedSinceScan("the file isn't what was scanned: run `curate scan` and `curate filter` again")


def photo_refs(rows: pa.Table) -> Iterator[PhotoRef]:
    """Yield the photos of a manifest's rows.

    Args:
        rows: has PHOTO_REF_COLUMNS; `bytes`, `tar_offset`, `sidecars` and BORDER_COLUMNS are used if present.
    """
    wanted = (*PHOTO_REF_COLUMNS, "bytes", "tar_offset", "sidecars", *BORDER_COLUMNS)
    for batch in rows.select([name for name in wanted if name in rows.column_names]).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            sidecars = tuple(file for file in to_sidecars(row.get("sidecars")) if not is_metadata(file.path))
            left, top, right, bottom = (row.get(name) for name in BORDER_COLUMNS)
            yield PhotoRef(
                *(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset")),
                sidecars,
                borders=None if None in (left, top, right, bottom) else (left, top, right, bottom),
            )


def read_photo(
    source: str, path: str, *, offset: int | None = None, size: int | None = None, copies: Path | None = None
) -> bytes:
    """Read all bytes of a photo in a manifest.

    Args:
        source: the row's `source`.
        path: the row's `path`.
        offset: the row's `tar_offset`; None for a file of its own.
        size: the row's `bytes`; needed for a member of a tar or ZIP.
        copies: a folder with copies of compressed tars; see `curate.sources.tar.copies`.

    Raises:
        PhotoError: it cannot be read.
    """
    return read_bytes(_file_location(unescape(source), path, offset), offset=offset, size=size, copies=copies)


def read_bytes(
    location: str, *, offset: int | None = None, size: int | None = None, copies: Path | None = None
) -> bytes:
    """Read all bytes of a file or of a member of a container.

    Args:
        location: path or URL of the file or container, from `locate_photo`.
        offset: as for `read_photo`.
        size: as for `read_photo`.
        copies: as for `read_photo`.

    Raises:
        PhotoError: it cannot be read.
    """
    location = find_copy(location, offset, copies)
    if offset is not None and has_table_name(location):
        return check_image_bytes(read_table_image(location, offset)[0], size)
    if offset is not None and size and not has_zip_name(location) and is_compressed_tar(location):
        return read_member(location if is_url(location) else find_path(location), offset, size)
    if is_url(location):
        if offset is None:
            return remote.fetch(location)
        if has_zip_name(location):
            return _read_whole(ZipMember(partial(remote.fetch, location), offset, size or 0), size or 0)
        return _checked_size(remote.fetch(location, offset, offset + size) if size else b"", size)
    if "\0" in location:
        raise Vanished("the file can't be read: its name contains a NUL byte")
    try:
        with open(find_path(location), "rb") as file:
            if offset is None:
                return file.read()
            if has_zip_name(location):
                return _read_whole(ZipMember(partial(_read_range, file), offset, size or 0), size or 0)
            file.seek(offset)
            return _checked_size(file.read(size), size)
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc


def locate_photo(source: str, path: str, roots: Sequence[Path] = (), *, offset: int | None = None) -> str | None:
    """Find the file of a photo in a manifest, or the container of it.

    Args:
        source: the row's `source`.
        path: the row's `path`.
        roots: folders to search instead of the source. In each, root/path and then
            root/(last part of source)/path are tried.
        offset: the row's `tar_offset`.

    Returns:
        The path of the first file that exists, as it is named on disk (see `find_path`), or the URL, which is not
        checked; None if there is no such file.
    """
    source = unescape(source)
    if is_url(source) and not roots:
        return _file_location(source, path, offset)
    bases = [base for root in roots for base in (str(root), os.path.join(root, os.path.basename(source)))] or [source]
    locations = (find_path(_file_location(base, path, offset)) for base in bases)
    return next((location for location in locations if os.path.isfile(location)), None)


def is_source_missing(source: str) -> bool:
    """Whether a source, as manifest text, cannot be reached any more or is empty, as after a lost mount."""
    if is_url(source):
        return remote.is_missing(source)
    try:
        with os.scandir(unescape(source)) as entries:
            return next(entries, None) is None
    except PermissionError:
        return False
    except OSError:
        return True


def read_listed_photo(
    photo: ListedPhoto, is_wanted: Callable[[bytes], bool], *, max_bytes: int
) -> tuple[ListedPhoto, bytes]:
    """Read the bytes of a photo of a listing.

    Args:
        photo: from a listing.
        is_wanted: decides, from the first SNIFF_BYTES bytes, whether to read the rest.
        max_bytes: a larger file is an error.

    Returns:
        The entry, with the present size and time of the file. And all bytes; only the first SNIFF_BYTES if the file is
        not wanted.

    Raises:
        PhotoError: the file cannot be read, is too large, or has changed since the listing or while it was read.
    """
    if photo.is_table_row and photo.offset is not None:
        return _read_table_row(photo, photo.offset, is_wanted, max_bytes)
    if is_url(photo.source):
        return _fetch_listed_photo(photo, is_wanted, max_bytes)
    return _read_listed_file(photo, is_wanted, max_bytes)


def _read_listed_file(
    photo: ListedPhoto, is_wanted: Callable[[bytes], bool], max_bytes: int
) -> tuple[ListedPhoto, bytes]:
    """`read_listed_photo` for a file on this machine, or a member of a tar or ZIP."""
    try:
        location = _file_location(unescape(photo.source), photo.path, photo.offset)
        with open(location, "rb") as file:
            data_stream: BinaryIO | ZipMember = file
            before = os.fstat(file.fileno())
            size = before.st_size
            if photo.offset is not None:
                _check_same(photo.modified_ns, modified_ns(before))
                size = photo.bytes or 0
                if has_zip_name(location):
                    data_stream = ZipMember(partial(_read_range, file), photo.offset, size)
                else:
                    file.seek(photo.offset)
            bytes_to_read = size + (photo.offset is None)  # one more byte, to notice that the file grows
            data = data_stream.read(bytes_to_read if size <= ONE_READ_BYTES else SNIFF_BYTES)
            if not is_wanted(data[:SNIFF_BYTES]):
                return photo, data[:SNIFF_BYTES]
            if size > max_bytes:
                raise FileTooLarge(f"{size} bytes are over the limit of {max_bytes}")
            if len(data) < size:
                data += data_stream.read(bytes_to_read - len(data))
            if isinstance(data_stream, ZipMember):
                data_stream.check()
            after = os.fstat(file.fileno())
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc
    _check_same((before.st_size, before.st_mtime_ns, size), (after.st_size, after.st_mtime_ns, len(data)))
    if (photo.bytes, photo.modified_ns) != (size, modified_ns(after)):
        photo = photo._replace(bytes=size, modified_ns=modified_ns(after))
    return photo, data


def _read_table_row(
    photo: ListedPhoto, offset: int, is_wanted: Callable[[bytes], bool], max_bytes: int
) -> tuple[ListedPhoto, bytes]:
    """`read_listed_photo` for an image in a Parquet or Arrow file."""
    data, version = read_table_image(_file_location(unescape(photo.source), photo.path, offset), offset)
    if photo.modified_ns is not None:
        _check_same(photo.modified_ns, version.modified_ns)
    if len(data) > max_bytes:
        raise FileTooLarge(f"{len(data)} bytes are over the limit of {max_bytes}")
    listed = photo._replace(bytes=len(data), modified_ns=version.modified_ns)
    return listed, data if is_wanted(data[:SNIFF_BYTES]) else data[:SNIFF_BYTES]


def _fetch_listed_photo(
    photo: ListedPhoto, is_wanted: Callable[[bytes], bool], max_bytes: int
) -> tuple[ListedPhoto, bytes]:
    """`read_listed_photo` for a URL: one request if the name is a photo's. A server returns a file whole or fails."""
    too_large = (photo.bytes or 0) > max_bytes
    if too_large or not photo.has_photo_name:
        head = _fetch_head(_file_location(unescape(photo.source), photo.path, photo.offset), photo)
        if not is_wanted(head):
            return photo, head
        if too_large:
            raise FileTooLarge(f"{photo.bytes} bytes are over the limit of {max_bytes}")
    data = read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes)
    return photo._replace(bytes=len(data)), data if is_wanted(data[:SNIFF_BYTES]) else data[:SNIFF_BYTES]


def _fetch_head(location: str, photo: ListedPhoto) -> bytes:
    """The first SNIFF_BYTES bytes of a photo at a URL."""
    size = SNIFF_BYTES if photo.bytes is None else min(SNIFF_BYTES, photo.bytes)
    if photo.offset is not None and has_zip_name(location):
        return ZipMember(partial(remote.fetch, location), photo.offset, photo.bytes or 0).read(size)
    start = photo.offset or 0
    return remote.fetch(location, start, start + size) if size else b""


def _read_range(file: BinaryIO, start: int, end: int) -> bytes:
    """The bytes of a file from one position to another."""
    file.seek(start)
    return file.read(end - start)


def _read_whole(member: ZipMember, size: int) -> bytes:
    """All bytes of a member of a ZIP, checked."""
    data = member.read(size)
    member.check()
    return data


def _file_location(source: str, path: str, offset: int | None) -> str:
    """The path or URL of a photo's file or container, from a source for the system and a path as manifest text."""
    below = unescape(path if offset is None else container_path(path))
    return f"{source.rstrip('/')}/{below}" if is_url(source) else os.path.join(source, *below.split("/"))


def _check_same(before: object, after: object) -> None:
    """Raise ChangedWhileRead if a file's size or time has changed."""
    if before != after:
        raise ChangedWhileRead("the file was changed while it was read: scan again when nothing writes to it")


def _checked_size(data: bytes, size: int | None) -> bytes:
    """The bytes of a member of a tar, if they are complete."""
    if len(data) != size:
        raise ChangedWhileRead("the tar is shorter than when it was scanned: scan again")
    return data
