"""Read a compressed tar: all photos front to back, once; or one member, by reading what is before it."""

from __future__ import annotations

import bisect
import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.errors import BrokenTar, ChangedWhileRead, FileTooLarge, OutOfMemory, PhotoError
from curate.image.formats import SNIFF_BYTES
from curate.locations import connect, is_url
from curate.manifest import unescape
from curate.sources.compression import HEAD_BYTES, DecompressedStream, find_codec
from curate.sources.entry import ListedPhoto, as_photo_error, modified_ns
from curate.sources.exclude import Exclusion
from curate.sources.members import normalize_name
from curate.sources.names import file_location, has_photo_name
from curate.sources.remote import as_remote_photo_error, fetch
from curate.sources.tar.headers import TarHeaders
from curate.sources.tar.listing import FoundMember, Link, damaged, list_member, resolve_links, to_link
from curate.unicode import find_path

CANNOT_READ = "the tar can't be read"
CHANGED = "the tar was changed while it was read: scan again when nothing writes to it"


class TarStream:
    """Reads all members of a compressed tar in their order, with the wanted ones in memory one at a time.

    Args:
        archive: the entry of a listing for which `is_stream` holds.
        exclusion: members to skip, by name; they are counted there.
        beat: called at least once per MiB, to show that there is progress.
    """

    def __init__(
        self, archive: ListedPhoto, exclusion: Exclusion | None = None, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._archive = archive
        self._container = archive._replace(bytes=None, offset=None)
        self._exclusion, self._beat = exclusion or Exclusion(), beat
        self._file: _CheckedFile | None = None
        self._links: list[Link] = []
        self._starts = [0]
        """Where each of several joined tars begins."""

    def members(
        self, is_wanted: Callable[[ListedPhoto, bytes], bool], *, max_bytes: int
    ) -> Iterator[tuple[ListedPhoto, bytes]]:
        """Yield the files of the tar, with their bytes, and an entry with an error for what can't be read.

        The tar itself is one entry more, with an error, if it is damaged, cut off, a bomb, or can't be read. Links are
        left to `resolve_links`.

        Args:
            is_wanted: decides from the entry and the first SNIFF_BYTES bytes of a member whether to read the rest; it
                may raise a PhotoError, which becomes that of the entry.
            max_bytes: a larger member is an error.

        Yields:
            The entry, and its bytes: all of them, or the first SNIFF_BYTES if they are not wanted, or none with an
            error.
        """
        try:
            with _open_checked(file_location(self._archive.source, self._archive.path)) as file:
                self._file = file
                scanned = self._archive.bytes, self._archive.modified_ns
                if file.identity() not in (None, scanned):
                    raise ChangedWhileRead(CHANGED)
                yield from self._read_members(_decompress(file, self._beat), is_wanted, max_bytes)
                if file.identity() not in (None, scanned):
                    raise ChangedWhileRead(CHANGED)
        except PhotoError as exc:
            yield self._container._replace(modified_ns=None, error=str(exc)), b""

    @property
    def share(self) -> float:
        """The share of the bytes of the compressed tar that has been read, 0..1; 0 if its size is unknown."""
        if self._file is None or not self._archive.bytes:
            return 0.0
        return min(1.0, self._file.bytes_read / self._archive.bytes)

    def resolve_links(self, members: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
        """The entries of the links, after all members have been read; see `curate.sources.tar.listing.resolve_links`.

        Args:
            members: entries of `members`, with their `offset` unless they have an error; `error` is not used.
        """
        start = len(self._container.path) + 1

        def find(names: Collection[str]) -> Iterator[FoundMember]:
            for photo in members:
                name = normalize_name(unescape(photo.path[start:]))
                if name in names:
                    offset = photo.offset or 0
                    yield FoundMember(name, (bisect.bisect_right(self._starts, offset) - 1, offset), photo)

        first = self._container.path.count("/") + 1
        if self._links:
            yield from self._exclusion.filter_photos(resolve_links(self._container, self._links, find), start=first)

    def _read_members(
        self, stream: DecompressedStream, is_wanted: Callable[[ListedPhoto, bytes], bool], max_bytes: int
    ) -> Iterator[tuple[ListedPhoto, bytes]]:
        headers = TarHeaders(stream, None)
        first = self._container.path.count("/") + 1
        is_cut_off = False
        for header in headers:
            if headers.archive > len(self._starts) - 1:
                self._starts.append(header.offset)
            if header.islnk() or header.issym():
                self._links.append(to_link(header, headers.archive))
                continue
            photo = list_member(self._container, header)
            if photo is None or self._exclusion.skips_below(photo.path, start=first):
                continue
            read, data = _read_member(stream, header, photo, is_wanted, max_bytes)
            is_cut_off |= read.error is not None and read.error.startswith(BrokenTar.__name__)
            yield read, data
        if stream.error is not None:
            raise stream.error
        if headers.damaged_at is not None and not is_cut_off:
            yield damaged(self._container, headers), b""


@contextmanager
def keep_streams_open(beat: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let `read_member` continue where it was: in this block, members in the order of their tar need one pass.

    One tar is kept open, in this process.

    Args:
        beat: called at least once per MiB that is read.
    """
    with _kept.lock:
        _kept.users += 1
        _kept.beat = beat
    try:
        yield
    finally:
        with _kept.lock:
            _kept.users -= 1
            if not _kept.users:
                _kept.close()


def read_member(location: str, offset: int, size: int) -> bytes:
    """The bytes of one member of a compressed tar, after reading all that is before it; see `keep_streams_open`.

    Args:
        location: path or URL of the tar.
        offset: position of the bytes in the uncompressed tar.
        size: their number.

    Raises:
        PhotoError: the tar can't be read up to there.
    """
    with _kept.lock:
        try:
            stream = _kept.stream_at(location, offset)
            stream.seek(offset)
            data = stream.read(size)
        finally:
            if not _kept.users:
                _kept.close()
    if len(data) != size:
        raise stream.error or ChangedWhileRead("the tar is shorter than when it was scanned: scan again")
    return data


def is_compressed_tar(location: str) -> bool:
    """Whether a tar is compressed, by its content; False if it can't be read.

    Args:
        location: its path or URL.
    """
    try:
        if is_url(location):
            return _is_compressed_url(location)
        with open(find_path(location), "rb") as file:
            return find_codec(file.read(HEAD_BYTES)) is not None
    except (OSError, ValueError, PhotoError):
        return False


@lru_cache(1 << 16)
def _is_compressed_url(url: str) -> bool:
    """Whether the tar at a URL is compressed."""
    return find_codec(fetch(url, 0, HEAD_BYTES)) is not None


def find_copy(location: str, offset: int | None, copies: Path | None) -> str:
    """Where to read a member of a tar: in the copy of a compressed tar if there is one, else in the tar itself.

    Args:
        location: path or URL of the tar.
        offset: position of the member; None for a file of its own.
        copies: folder of the copies; see `curate.sources.tar.copies`.
    """
    if copies is None or offset is None:
        return location
    copy = copy_path(copies, location)
    return str(copy) if copy.exists() else location


def copy_path(folder: Path, tar: str) -> Path:
    """The path of the copy of a compressed tar in a folder; see `curate.sources.tar.copies`.

    Args:
        folder: of the copies.
        tar: path or URL of the tar.
    """
    return folder / f".tar-{hashlib.sha256(tar.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.copy"


@dataclass(slots=True)
class _KeptStream:
    """The tar that was read last, open."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    users: int = 0
    """Blocks that want it to be kept."""
    beat: Callable[[], None] = lambda: None
    """Of the latest of these blocks."""
    _key: object = None
    _files: ExitStack = field(default_factory=ExitStack)
    _stream: DecompressedStream | None = None

    def stream_at(self, location: str, offset: int) -> DecompressedStream:
        """A stream that can seek to a position."""
        try:
            status = None if is_url(location) else os.stat(location)
        except OSError as exc:
            raise as_photo_error(exc, CANNOT_READ) from exc
        key = (os.getpid(), location, status and (status.st_size, status.st_mtime_ns, status.st_ino))
        if self._stream is None or self._key != key or offset < self._stream.earliest or self._stream.error:
            self.close()
            self._stream = _decompress(self._files.enter_context(_open_checked(location)), self.beat)
            self._key = key
        return self._stream

    def close(self) -> None:
        """Close the file."""
        self._stream, self._key = None, None
        self._files.close()


_kept = _KeptStream()


def _read_member(
    stream: DecompressedStream,
    header: tarfile.TarInfo,
    photo: ListedPhoto,
    is_wanted: Callable[[ListedPhoto, bytes], bool],
    max_bytes: int,
) -> tuple[ListedPhoto, bytes]:
    """The entry of a member, with an error if it can't be read, and its bytes as for `TarStream.members`."""
    if photo.error is not None:
        return photo, b""
    stream.seek(header.offset_data)
    head = stream.read(min(SNIFF_BYTES, header.size))
    try:
        if len(head) == min(SNIFF_BYTES, header.size) and not is_wanted(photo, head):
            return photo, head
        if header.size > max_bytes:
            raise FileTooLarge(f"{header.size} bytes are over the limit of {max_bytes}")
        data = head + stream.read(header.size - len(head)) if header.size > len(head) else head
        if len(data) < header.size and has_photo_name(photo.path):
            raise BrokenTar(f"the tar is cut off in this member, at byte {stream.end}: copy it again, then scan again")
    except PhotoError as exc:
        return photo._replace(error=str(exc)), b""
    except MemoryError:
        return photo._replace(error=str(OutOfMemory("reading it needs more memory than is available"))), b""
    return photo, data[:SNIFF_BYTES] if len(data) < header.size else data


class _CheckedFile:
    """A file of this machine or at a URL, whose errors are PhotoErrors."""

    def __init__(self, file: Any, *, is_remote: bool) -> None:
        self._file, self._is_remote = file, is_remote
        self.bytes_read = 0

    def read(self, count: int, /) -> bytes:
        """The next bytes.

        Raises:
            PhotoError: the file can't be read.
        """
        try:
            data: bytes = self._file.read(count)
        except OSError as exc:
            raise as_photo_error(exc, CANNOT_READ) from exc
        except Exception as exc:
            if self._is_remote:  # a file system raises what its library raises
                raise as_remote_photo_error(exc, CANNOT_READ) from exc
            raise
        self.bytes_read += len(data)
        return data

    def identity(self) -> tuple[int, int] | None:
        """Size, and time of change in nanoseconds; None for a URL."""
        if self._is_remote:
            return None
        status = os.fstat(self._file.fileno())
        return status.st_size, modified_ns(status)


@contextmanager
def _open_checked(location: str) -> Iterator[_CheckedFile]:
    """Open a file of this machine or at a URL.

    Raises:
        PhotoError: it can't be opened.
    """
    is_remote = is_url(location)
    with ExitStack() as files:
        try:
            if is_remote:
                fs, path = connect(location)
                file = files.enter_context(fs.open(path, "rb"))
            else:
                file = files.enter_context(open(location, "rb"))
        except OSError as exc:
            raise as_photo_error(exc, CANNOT_READ) from exc
        except Exception as exc:
            if is_remote:
                raise as_remote_photo_error(exc, CANNOT_READ) from exc
            raise
        yield _CheckedFile(file, is_remote=is_remote)


def _decompress(file: _CheckedFile, beat: Callable[[], None] = lambda: None) -> DecompressedStream:
    """The decompressed bytes of a file at its start.

    Raises:
        ChangedWhileRead: the file is not compressed (any more).
    """
    head = file.read(HEAD_BYTES)
    codec = find_codec(head)
    if codec is None:
        raise ChangedWhileRead(CHANGED)
    return DecompressedStream(_Prefixed(head, file), codec, beat)


class _Prefixed:
    """A file of which the first bytes were read already."""

    def __init__(self, head: bytes, file: _CheckedFile) -> None:
        self._head, self._file = head, file

    def read(self, count: int, /) -> bytes:
        """The next bytes."""
        if self._head:
            head, self._head = self._head[:count], self._head[count:]
            return head + self._file.read(count - len(head))
        return self._file.read(count)
