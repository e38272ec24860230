"""Read files with one path or URL per line, and sort a listing of any length on disk."""

from __future__ import annotations

import codecs
import errno
import heapq
import itertools
import operator
import os
import posixpath
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from operator import attrgetter
from typing import BinaryIO

from curate.errors import SourceError
from curate.locations import check_local_name
from curate.sources import remote
from curate.sources.entry import ListedPhoto, photo_location
from curate.sources.sidecars import SidecarIndex, is_candidate
from curate.text import describe_error
from curate.unicode import text_encoding, wrong_encoding

STDIN = "-"
_CHUNK_BYTES = 1 << 20
_IN_MEMORY = 1 << 11
"""Fewer entries than this are sorted in memory."""
_MAX_ENTRY = 1 << 22
"""Characters; longer lines are no paths, and a device or a binary file could be endless."""


def read_entries(name: str, *, null: bool) -> Iterator[str]:
    """Read the paths and URLs of a list, in its order, as text for the operating system (`os.fsdecode`).

    A list is UTF-8, or UTF-16 or UTF-32 as `curate.unicode.text_encoding` recognizes them. Bytes that are not UTF-8 are
    taken as those of file names; in a list of lines there must be such a file, as the list may have another encoding.

    Args:
        name: a file, a URL, or `-` for standard input, which can be read only once.
        null: entries are separated by NUL characters instead of newlines.

    Raises:
        SourceError: the list cannot be read, it has NUL characters within lines or another encoding, or a line is not
            a path.
    """
    try:
        with _open_list(name) as file:
            for number, line in enumerate(_split_lines(_decode(file, guess=not null), "\0" if null else "\n"), 1):
                entry = line if null else line.removesuffix("\r")
                if "\0" in entry:
                    raise SourceError(
                        f"the list {name} has NUL bytes: use -0 if they separate its paths, or name another"
                    )
                if not (null or entry.isascii() or _is_utf8(entry) or os.path.lexists(entry)):
                    raise SourceError(
                        f"line {number} of the list {name} is not UTF-8 text, and no file has such a name: save the "
                        "list as UTF-8"
                    )
                if entry:
                    yield entry
    except OSError as exc:
        raise SourceError(
            f"the list {name} can't be read: {describe_error(exc)}: name another with --from-file"
        ) from exc
    except UnicodeError as exc:
        raise SourceError(f"the list {name} can't be read: {exc}") from exc


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
    """Sort entries by `ListedPhoto.key`, many of them on disk, so that a listing of any length fits.

    An entry that is listed again is left out. Different members of one tar or ZIP that have the same name are numbered
    in their order in it: `a.jpg`, `a~2.jpg`, `a~3.jpg`. So each entry has its own key. Photos get their sidecars, as
    far as the entries include them.

    Raises:
        SourceError: the disk of temporary files is full.
    """
    photos = iter(photos)
    first = list(itertools.islice(photos, _IN_MEMORY))
    if len(first) < _IN_MEMORY and not any(is_candidate(photo.path.rpartition("/")[2]) for photo in first):
        yield from _sort_in_memory(first)
        return
    photos = itertools.chain(first, photos)
    with closing(sqlite3.connect("")) as database:  # a temporary file, which SQLite deletes
        try:
            database.execute("CREATE TABLE photos (parts, source, path, bytes, modified_ns, error, offset, sample)")
            sidecars = SidecarIndex(database)
            database.executemany(
                "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((*_row(photo), sidecars.sample_key(photo)) for photo in photos),
            )
            sidecars.create()
            rows = database.execute("SELECT * FROM photos ORDER BY parts, offset IS NULL, offset, rowid DESC")
            yield from _number_duplicates(sidecars.add_to(ListedPhoto(*photo)) for _, *photo, _ in rows)
        except sqlite3.Error as exc:
            raise SourceError(
                f"the listing can't be sorted: {exc}: free space, or set TMPDIR to a larger disk"
            ) from exc


def _sort_in_memory(photos: list[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Sort entries as `sort_photos` does."""
    keys = [_sort_key(photo) for photo in photos]
    if all(map(operator.lt, keys, keys[1:])):  # as in most containers
        yield from photos
        return
    order = sorted(
        (key, photo.offset is None, photo.offset or 0, -number)
        for number, (key, photo) in enumerate(zip(keys, photos, strict=True))
    )
    yield from _number_duplicates(photos[-number] for _, _, _, number in order)


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


def _is_utf8(text: str) -> bool:
    """Whether a text has no surrogates, which stand for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decode(file: BinaryIO, *, guess: bool) -> Iterator[str]:
    """The text of a file in chunks; bytes that are not UTF-8 become surrogates, as in `os.fsdecode`.

    Raises:
        UnicodeError: UTF-16 or UTF-32 that is damaged; the message names the line.
    """
    chunk = file.read(_CHUNK_BYTES)
    encoding, mark = text_encoding(chunk, guess=guess)
    if encoding == "utf-8" and not mark:
        encoding = sys.getfilesystemencoding()
    errors = "strict" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    lines = 0
    chunk = chunk[mark:]
    while True:
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as exc:
            raise UnicodeError(wrong_encoding(exc, lines)) from exc
        yield text
        if not chunk:
            return
        lines += text.count("\n")
        chunk = file.read(_CHUNK_BYTES)


def _split_lines(chunks: Iterable[str], end: str) -> Iterator[str]:
    """The parts of a text between separators.

    Raises:
        UnicodeError: a part is much longer than a path or URL.
    """
    rest = ""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(end)
        yield from complete
        if len(rest) > _MAX_ENTRY:
            raise UnicodeError("a line is too long for a path: is this a list of paths?")
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
        copy = photo._replace(path=f"{stem}~{number}{suffix}")  # sorts after the photo: "~" follows "." and letters
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
    return photo_location(photo.source, photo.path).replace("/", "\0")


def _row(photo: ListedPhoto) -> tuple[object, ...]:
    """The values of a table row: a sort key, and the fields of the entry."""
    return (_sort_key(photo), photo.source, photo.path, photo.bytes, photo.modified_ns, photo.error, photo.offset)
