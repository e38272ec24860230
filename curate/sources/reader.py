"""A photo's bytes, wherever it lies: as a scan reads it, and as anyone reads it again from a manifest's row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from curate.errors import ChangedSinceScan, ChangedWhileRead, FileTooLarge, OutputError, ReadFailed, Vanished
from curate.manifest import unescape
from curate.sources import remote
from curate.sources.entry import ListedPhoto, as_photo_error, file_of

HEAD_BYTES = 32
"""What a photo is known by."""
ONE_READ_BYTES = 1 << 20
"""A larger file is read when its head is a photo's; of a smaller one the head would cost as much as all."""


def read_photo(source: str, path: str, *, offset: int | None = None, size: int | None = None) -> bytes:
    """All bytes of a photo that a manifest's row names.

    Args:
        source: the row's `source`, as is `path`.
        path: a member's leads through its tar.
        offset: the row's `tar_offset`.
        size: the row's `bytes`, needed with an offset.

    Raises:
        PhotoError: it can't be read.
    """
    return read_bytes(_place(unescape(source), path, offset), offset=offset, size=size)


def read_bytes(place: str, *, offset: int | None = None, size: int | None = None) -> bytes:
    """All bytes of a file, or of a tar's member, by path or URL; see `locate_photo` and `read_photo`."""
    if remote.is_url(place):
        if offset is None:
            return remote.fetch(place)
        return _whole(remote.fetch(place, offset, offset + size) if size else b"", size)
    if "\0" in place:
        raise Vanished("the file can't be read: its name is no file's")
    try:
        with open(place, "rb") as file:
            if offset is None:
                return file.read()
            file.seek(offset)
            return _whole(file.read(size), size)
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc


def locate_photo(source: str, path: str, roots: Sequence[Path] = (), *, offset: int | None = None) -> str | None:
    """Where a photo's file, or the tar that it is in, lies now, from its key in a manifest; None if it is nowhere.

    Without roots: at source/path; a URL is taken on trust. With roots: the first of root/path and
    root/(last part of source)/path.
    """
    source = unescape(source)
    if remote.is_url(source) and not roots:
        return _place(source, path, offset)
    bases = [base for root in roots for base in (str(root), os.path.join(root, os.path.basename(source)))] or [source]
    places = (_place(base, path, offset) for base in bases)
    return next((place for place in places if os.path.isfile(place)), None)


def _place(source: str, path: str, offset: int | None) -> str:
    below = unescape(path if offset is None else file_of(path))
    return f"{source.rstrip('/')}/{below}" if remote.is_url(source) else os.path.join(source, *below.split("/"))


def is_source_missing(source: str) -> bool:
    """Whether a whole source can't be reached any more, or is empty: a mount was lost, say."""
    if remote.is_url(source):
        return remote.is_gone(source)
    try:
        with os.scandir(unescape(source)) as entries:
            return next(entries, None) is None
    except PermissionError:
        return False
    except OSError:
        return True


def read_listed_photo(
    photo: ListedPhoto, wanted: Callable[[bytes], bool], *, max_bytes: int
) -> tuple[ListedPhoto, bytes]:
    """A listed photo's bytes, or only the first 32 where `wanted` says no of them, and the photo as it is now.

    Raises:
        PhotoError: it can't be read, is too large, or isn't what was listed.
    """
    if remote.is_url(photo.source):
        return _fetched_if(photo, wanted, max_bytes)
    try:
        with open(_place(unescape(photo.source), photo.path, photo.offset), "rb") as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            if photo.offset is not None:
                _check_same(photo.modified_ns, before.st_mtime_ns)
                size = photo.bytes or 0
                file.seek(photo.offset)
            wanted_bytes = size + (photo.offset is None)  # one more, to see whether it grows
            data = file.read(wanted_bytes if size <= ONE_READ_BYTES else HEAD_BYTES)
            if not wanted(data[:HEAD_BYTES]):
                return photo, data[:HEAD_BYTES]
            if size > max_bytes:
                raise FileTooLarge(f"{size} bytes are over the limit of {max_bytes}")
            if len(data) < size:
                data += file.read(wanted_bytes - len(data))
            after = os.fstat(file.fileno())
    except OSError as exc:
        raise as_photo_error(exc, "the file can't be read") from exc
    _check_same((before.st_size, before.st_mtime_ns, size), (after.st_size, after.st_mtime_ns, len(data)))
    if (photo.bytes, photo.modified_ns) != (size, after.st_mtime_ns):
        photo = replace(photo, bytes=size, modified_ns=after.st_mtime_ns)
    return photo, data


def _fetched_if(photo: ListedPhoto, wanted: Callable[[bytes], bool], max_bytes: int) -> tuple[ListedPhoto, bytes]:
    """`read_listed_photo` for a URL: one request if the name is a photo's. The store returns a file whole or fails."""
    too_large = (photo.bytes or 0) > max_bytes
    if too_large or not photo.has_photo_name:
        start = photo.offset or 0
        size = HEAD_BYTES if photo.bytes is None else min(HEAD_BYTES, photo.bytes)
        head = (
            remote.fetch(_place(unescape(photo.source), photo.path, photo.offset), start, start + size) if size else b""
        )
        if not wanted(head):
            return photo, head
        if too_large:
            raise FileTooLarge(f"{photo.bytes} bytes are over the limit of {max_bytes}")
    data = read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes)
    return replace(photo, bytes=len(data)), data if wanted(data[:HEAD_BYTES]) else data[:HEAD_BYTES]


def _check_same(before: object, after: object) -> None:
    if before != after:
        raise ChangedWhileRead("the file was written to while it was being read: scan again when it is at rest")


def _whole(data: bytes, size: int | None) -> bytes:
    if len(data) != size:
        raise ChangedWhileRead("the tar is shorter than it was when scanned: scan again")
    return data


KEY_COLUMNS = ("source", "path", "sha256")


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """One photo of a manifest."""

    source: str
    """As manifest text, as is `path`."""
    path: str
    sha256: str
    size: int | None = None
    """The manifest's `bytes`."""
    offset: int | None = None
    """Its `tar_offset`."""

    def read(self) -> bytes:
        """The file's bytes, as scanned.

        Raises:
            PhotoError: it can't be read, or is another file by now.
            OutputError: its whole source is gone, a lost mount for instance.
        """
        try:
            data = read_photo(self.source, self.path, offset=self.offset, size=self.size)
        except (Vanished, ReadFailed) as exc:
            if is_source_missing(self.source):
                raise OutputError(
                    f"{self.source} is gone (a lost mount?): bring it back and run the same command; what is done "
                    "is kept"
                ) from exc
            raise
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ChangedSinceScan("the file isn't what was scanned: run `curate scan` and `curate filter` again")
        return data


def photo_refs(rows: pa.Table) -> Iterator[PhotoRef]:
    """The photos of a manifest's rows, which need `KEY_COLUMNS`."""
    there = [name for name in (*KEY_COLUMNS, "bytes", "tar_offset") if name in rows.column_names]
    for batch in rows.select(there).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield PhotoRef(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset"))
