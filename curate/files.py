"""Write files whole or not at all, check paths before long work, and turn write failures into one clear message."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from curate.errors import OutputError, VividsetError
from curate.text import describe_error

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_PERMITTED = (errno.EACCES, errno.EPERM)

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

STAMP = ".made_of"
"""In an output folder: JSON of what decides its content."""
LOCK = ".lock"


def is_disk_full(exc: OSError) -> bool:
    """Whether the system refused to write for lack of space."""
    return exc.errno in _DISK_FULL


def system_advice(exc: OSError) -> str:
    """Return what to do about a system error whose cause is known; empty for any other."""
    if is_disk_full(exc):
        return "free some space"
    if exc.errno in _NOT_PERMITTED:
        return "check its permissions"
    if exc.errno in (errno.EMFILE, errno.ENFILE):
        return "allow more open files with `ulimit -n`"
    return "free some memory" if exc.errno == errno.ENOMEM else ""


@contextmanager
def write_errors(
    path: Path, error_class: type[VividsetError], option: str, *, resumable: bool = False
) -> Iterator[None]:
    """Raise `error_class` where the block can't write a file or folder: its path, the cause, and what to do.

    Args:
        path: the file or folder that the block writes.
        error_class: the error to raise.
        option: the command's option that chooses another place, like `-o`.
        resumable: the same command continues from the files that are finished.

    Raises:
        VividsetError: of the given class, from the system's or Arrow's own error.

    >>> import os
    >>> with write_errors(Path("m.parquet"), VividsetError, "-o"):
    ...     raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    Traceback (most recent call last):
    curate.errors.VividsetError: m.parquet can't be written: Permission denied: check the permissions of the file and \
its folder, or choose another place with -o
    """
    from pyarrow import ArrowException  # here, so that --help doesn't wait for it

    try:
        yield
    except (OSError, ArrowException) as exc:
        code = exc.errno if isinstance(exc, OSError) else None
        advice = "choose another place"
        if code in _DISK_FULL:
            kept = " (what is finished is kept)" if resumable else ""
            advice = f"free some space and run the same command{kept}, or {advice}"
        elif code in _NOT_PERMITTED:
            advice = f"check the permissions of the file and its folder, or {advice}"
        raise error_class(f"{path} can't be written: {describe_error(exc)}: {advice} with {option}") from exc


def check_readable(path: Path) -> None:
    """Check that a path is a regular file that can be opened, before a library gets it.

    Opening a pipe would wait for its writer, and libraries don't name the cause of other failures.

    Raises:
        OSError: it is not a regular file, or can't be opened; `strerror` says why.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with open(path, "rb"):
        pass


def check_writable(path: Path) -> None:
    """Check before long work that a file could be written to a path and its missing folders; nothing is left behind.

    Raises:
        OSError: the system refuses to write there.
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_atomic(data: bytes | memoryview, path: Path) -> None:
    """Write a file whole or not at all; no draft is left beside it, not even after Ctrl-C.

    Raises:
        OSError: the system refuses to write it.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # short, however long the file's own name is
    draft = path.with_name(f".{name}.draft")
    try:
        draft.write_bytes(data)
        commit(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def commit(draft: Path, path: Path, *, durable: bool = True) -> None:
    """Rename a finished draft to its final name: after a crash there is the whole old file or the whole new one.

    Args:
        draft: the file, written and closed, in the folder of `path`.
        path: its final name; an older file is replaced.
        durable: False doesn't wait until the rename is on disk, which is faster for many files; a power cut may then
            lose the file, but never leaves half of it.
    """
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
    if durable:
        fsync_dir(path.parent)


def fsync_dir(folder: Path) -> None:
    """Wait until renames in a folder are on disk, where the system supports it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked_output_dir(out: Path, made_of: dict[str, Any], *, overwrite: bool | None = None) -> Iterator[None]:
    """Create an output folder and lock it for this process; the lock ends with the process, also if that crashes.

    Args:
        out: a new or empty folder, or one that was made with the same `made_of`, which is then continued.
        made_of: what decides the folder's content; kept in it as `STAMP`.
        overwrite: whether to clear a folder that was made with another `made_of`; None if the command has no such
            option.

    Raises:
        OutputError: the folder contains something else, is locked, or can't be written.
    """
    from filelock import FileLock, Timeout  # here, because `train --help` imports this module and doesn't need it

    stamp, text = out / STAMP, json.dumps(made_of)
    with write_errors(out, OutputError, "-o", resumable=True):
        if out.exists() and not (out.is_dir() and (stamp.exists() or not any(out.iterdir()))):
            raise OutputError(f"{out} already exists and was not made by this command: choose another folder with -o")
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as exc:
            raise OutputError(f"another run is writing {out}: wait for it, or choose another folder with -o") from exc
        try:
            if stamp.exists() and stamp.read_text(encoding="utf-8") != text:
                _clear(out, overwrite=overwrite)
            _remove_drafts(out)
            stamp.write_text(text, encoding="utf-8")
            yield
        finally:
            _remove_drafts(out)  # of workers that were killed
            lock.release()


def _remove_drafts(out: Path) -> None:
    for draft in out.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _clear(out: Path, *, overwrite: bool | None) -> None:
    if not overwrite:
        advice = "" if overwrite is None else ", or replace it with --overwrite"
        raise OutputError(
            f"{out} was made from another manifest or with other options: choose another folder with -o{advice}"
        )
    for path in out.iterdir():
        if path.name != LOCK:
            path.unlink()


def text_encoding(start: bytes, *, guess: bool = True) -> tuple[str, int]:
    r"""Return the encoding of a text file from its first bytes, and the length of its byte order mark.

    Windows writes such marks, and UTF-16 in which ASCII characters have a zero byte. A file without them is UTF-8.

    Args:
        start: at least the first four bytes, or the whole file.
        guess: recognize UTF-16 without a mark by its zero bytes.

    >>> text_encoding(b"\xff\xfea\0"), text_encoding(b"a\0.\0"), text_encoding(b"a.jpg")
    (('utf-16-le', 2), ('utf-16-le', 0), ('utf-8', 0))
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    zeros = [byte == 0 for byte in start[:4]]
    if guess and zeros == [False, True, False, True]:
        return "utf-16-le", 0
    if guess and zeros == [True, False, True, False]:
        return "utf-16-be", 0
    return "utf-8", 0


def read_text(path: Path) -> str:
    """Read a text file that a user wrote: UTF-8, or UTF-16 and UTF-32 as `text_encoding` recognizes them.

    Raises:
        OSError: it can't be read.
        UnicodeError: it has another encoding; the message names the line and says what to do.
    """
    data = path.read_bytes()
    encoding, mark = text_encoding(data)
    try:
        return data[mark:].decode(encoding)
    except UnicodeDecodeError as exc:
        raise UnicodeError(wrong_encoding(exc)) from exc


def wrong_encoding(exc: UnicodeDecodeError, lines_before: int = 0) -> str:
    """Return the message for text that can't be decoded, which names the line.

    Args:
        exc: the error of the decoder.
        lines_before: complete lines before the text that was decoded.
    """
    line = lines_before + 1 + exc.object[: exc.start].decode(exc.encoding, "replace").count("\n")
    return f"line {line} is not {exc.encoding.upper()} text: save it as UTF-8"


def find_path(path: str) -> str:
    """Return a path as its file is named on disk, where that differs only in the Unicode normal form (NFC or NFD).

    macOS decomposes names (NFD), most other systems and editors compose them (NFC).

    Returns:
        The path itself if it exists, or if no file or more than one is named so.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    found = os.sep if os.path.isabs(path) else ""
    for part in path.strip(os.sep).split(os.sep):
        names = dict.fromkeys((part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)))
        existing = [name for name in names if os.path.lexists(os.path.join(found, name))]
        if not existing or (len(existing) > 1 and part not in existing):
            return path
        found = os.path.join(found, existing[0])
    return found


def write_failed_csv(out: Path, failed: Sequence[tuple[str, str]]) -> None:
    """Write path and error of all photos that failed to `failed.csv` in a folder; remove that file if none failed."""
    target = out / "failed.csv"
    if not failed:
        target.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("path", "error"), *failed])
    write_atomic(text.getvalue().encode(), target)
