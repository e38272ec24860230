"""Read files with one path or URL per line."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from curate.errors import SourceError
from curate.locations import check_local_name, is_url
from curate.sources import remote
from curate.text import describe_error
from curate.unicode import text_encoding, wrong_encoding

STDIN = "-"
_CHUNK_BYTES = 1 << 20
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


@contextmanager
def _open_list(name: str) -> Iterator[BinaryIO]:
    """A list, open for reading."""
    if name == STDIN:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        yield sys.stdin.buffer
    elif is_url(name):
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
