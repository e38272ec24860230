"""Read files with one path or URL per line, and sort a listing of any length on disk."""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import posixpath
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import BinaryIO

from curate.errors import SourceError
from curate.locations import check_local_name
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
    check_local_name(name, existing=True)
    try:
        os.stat(name)
    except (OSError, ValueError) as exc:
        missing = isinstance(exc, FileNotFoundError)
        reason = "doesn't exist" if missing else f"can't be read: {describe_error(exc)}"
        raise SourceError(f"the list {name} {reason}: name another with --from-file") from exc


def sort_photos(photos: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Sort entries by `ListedPhoto.key`, on disk, so that a listing of any length fits.

    An entry that is listed again is left out. Different members of one tar that have the same name are numbered in
    their order in the tar: `a.jpg`, `a~2.jpg`, `a~3.jpg`. So each entry has its own key.

    Raises:
        SourceError: the disk of temporary files is full.
    """
    with closing(sqlite3.connect("")) as database:  # a temporary file, which SQLite deletes
        try:
            database.execute("CREATE TABLE photos (parts, source, path, bytes, modified_ns, error, offset)")
            database.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, photos))
            rows = database.execute("SELECT * FROM photos ORDER BY parts, offset IS NULL, offset, rowid DESC")
            yield from _number_duplicates(ListedPhoto(*photo) for _, *photo in rows)
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


def _number_duplicates(rows: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Number the entries that have the key of an earlier one but another offset, and move them to their new place.

    Args:
        rows: sorted by key, then by offset.
    """
    renamed: list[tuple[str, int, ListedPhoto]] = []  # a heap: sort key, order, entry
    order = itertools.count()
    key = ""

    def rename(photo: ListedPhoto, number: int) -> None:
        stem, suffix = posixpath.splitext(photo.path)
        copy = replace(photo, path=f"{stem}~{number}{suffix}")  # sorts after the photo: "~" follows "." and letters
        heapq.heappush(renamed, (_sort_key(copy), next(order), copy))

    def take_renamed(before: str | None) -> Iterator[ListedPhoto]:
        last = key
        while renamed and (before is None or renamed[0][0] <= before):
            copy_key, _, copy = heapq.heappop(renamed)
            if copy_key in (last, before):  # another member has this name
                rename(copy, 2)
            else:
                last = copy_key
                yield copy

    for same_key, photos in itertools.groupby(rows, _sort_key):
        yield from take_renamed(same_key)
        key = same_key
        by_offset = (next(same) for _, same in itertools.groupby(photos, attrgetter("offset")))
        for number, photo in enumerate(by_offset, 1):
            if number == 1:
                yield photo
            else:
                rename(photo, number)
    yield from take_renamed(None)


def _sort_key(photo: ListedPhoto) -> str:
    """A text that sorts as `ListedPhoto.key` does: NUL sorts before every character of a name."""
    return "\0".join(photo.key)


def _row(photo: ListedPhoto) -> tuple[object, ...]:
    """The values of a table row: a sort key, and the fields of the entry."""
    return (_sort_key(photo), photo.source, photo.path, photo.bytes, photo.modified_ns, photo.error, photo.offset)
