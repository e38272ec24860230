"""Lists of paths, and how what comes in no order is put in order without being held in memory."""

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


def entries(name: str, *, null: bool) -> Iterator[str]:
    """The paths and URLs in a list, in its order, as the system writes names (`os.fsdecode`).

    Args:
        name: a file, or `-` for standard input, which can be read once.
        null: entries end in NUL bytes instead of newlines.

    Raises:
        SourceError: the list can't be read.
    """
    try:
        with _opened(name) as file:
            for line in _split(file, b"\0" if null else b"\n"):
                entry = line if null else line.removesuffix(b"\r")
                if b"\0" in entry:
                    raise SourceError(f"the list {name} has NUL bytes: give -0 if they end its paths, or name another")
                if entry:
                    yield os.fsdecode(entry)
    except OSError as exc:
        raise SourceError(
            f"the list {name} can't be read: {describe_error(exc)}: name another with --from-file"
        ) from exc


def check(name: str) -> None:
    """Raise a SourceError where a list on this machine isn't there or can't be reached."""
    try:
        os.stat(name)
    except (OSError, ValueError) as exc:
        missing = isinstance(exc, FileNotFoundError)
        problem = "doesn't exist" if missing else f"can't be read: {describe_error(exc)}"
        raise SourceError(f"the list {name} {problem}: name another with --from-file") from exc


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == STDIN:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        yield sys.stdin.buffer
    elif remote.is_url(name):
        with remote.opened(name) as file:
            yield file
    else:
        with open(name, "rb") as file:
            yield file


def _split(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := file.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(end)
        yield from whole
    yield rest


def in_order(found: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Sort by `ListedPhoto.key` on disk, whatever the length; of several with one key the last is kept.

    Raises:
        SourceError: the folder for temporary files is full.
    """
    with closing(sqlite3.connect("")) as base:  # a file of its own that goes with it
        try:
            base.execute("CREATE TABLE found (parts, source, path, bytes, modified_ns, problem, offset)")
            base.executemany("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, found))
            before = None
            for parts, *photo in base.execute("SELECT * FROM found ORDER BY parts, rowid DESC"):
                if parts != before:
                    yield ListedPhoto(*photo)
                before = parts
        except sqlite3.Error as exc:
            raise SourceError(
                f"the listing can't be sorted: {exc}: free space, or set TMPDIR to a larger disk"
            ) from exc


def _row(photo: ListedPhoto) -> tuple[object, ...]:
    parts = "\0".join(photo.key)  # NUL sorts below every sign of a name, so as the parts do
    return (parts, photo.source, photo.path, photo.bytes, photo.modified_ns, photo.error, photo.offset)
