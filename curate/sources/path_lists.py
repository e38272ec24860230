"""Read files with one path or URL per line, and sort a listing of any length on disk."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO

from curate.errors import SourceError
from curate.sources import remote
from curate.sources.entry import ListedPhoto
from curate.text import describe_error

STDIN = "-"
_CHUNK_BYTES = 1 << 20


def read_entries(name: str, *, null: bool) -> Iterator[str]:
    """Read the paths and URLs of a list, in its order, as text for the operating system (`os.fsdecode`).

    Args:
        name: a file, a URL, or `-` for standard input, which can be read only once.
        null: entries are separated by NUL bytes instead of newlines.

    Raises:
        SourceError: the list cannot be read, or it has NUL bytes within lines.
    """
    try:
        with _open_list(name) as file:
            for line in _split_lines(file, b"\0" if null else b"\n"):
                entry = line if null else line.removesuffix(b"\r")
                if b"\0" in entry:
                    raise SourceError(
                        f"the list {name} has NUL bytes: use -0 if they separate its paths, or name another"
                    )
                if entry:
                    yield os.fsdecode(entry)
    except OSError as exc:
        raise SourceError(
            f"the list {name} can't be read: {describe_error(exc)}: name another with --from-file"
        ) from exc


def check_list(name: str) -> None:
    """Check that a list on this machine exists and can be reached.

    Raises:
        SourceError: it cannot.
    """
    try:
        os.stat(name)
    except (OSError, ValueError) as exc:
        missing = isinstance(exc, FileNotFoundError)
        reason = "doesn't exist" if missing else f"can't be read: {describe_error(exc)}"
        raise SourceError(f"the list {name} {reason}: name another with --from-file") from exc


def sort_photos(photos: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Sort entries by `ListedPhoto.key`, on disk, so that a listing of any length fits.

    Of several entries with the same key, the last is kept.

    Raises:
        SourceError: the disk of temporary files is full.
    """
    with closing(sqlite3.connect("")) as database:  # a temporary file, which SQLite deletes
        try:
            database.execute("CREATE TABLE photos (parts, source, path, bytes, modified_ns, error, offset)")
            database.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, photos))
            previous = None
            for parts, *photo in database.execute("SELECT * FROM photos ORDER BY parts, rowid DESC"):
                if parts != previous:
                    yield ListedPhoto(*photo)
                previous = parts
        except sqlite3.Error as exc:
            raise SourceError(
                f"the listing can't be sorted: {exc}: free space, or set TMPDIR to a larger disk"
            ) from exc


@contextmanager
def _open_list(name: str) -> Iterator[BinaryIO]:
    """A list, open for reading."""
    if name == STDIN:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        yield sys.stdin.buffer
    elif remote.is_url(name):
        with remote.open_url(name) as file:
            yield file
    else:
        with open(name, "rb") as file:
            yield file


def _split_lines(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The parts of a file between separators, read in chunks."""
    rest = b""
    while chunk := file.read(_CHUNK_BYTES):
        *complete, rest = (rest + chunk).split(end)
        yield from complete
    yield rest


def _row(photo: ListedPhoto) -> tuple[object, ...]:
    """The values of a table row: a sort key, and the fields of the entry."""
    parts = "\0".join(photo.key)  # NUL sorts before every character of a name, so this sorts as the tuple does
    return (parts, photo.source, photo.path, photo.bytes, photo.modified_ns, photo.error, photo.offset)
