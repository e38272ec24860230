"""Files that commands write: what is said when the system refuses to write one."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curate.errors import OutputError, VividsetError
from curate.text import describe_error

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space and run the same command"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check the permissions of the file and its folder"),
}
"""What to do, for causes that need more than another place."""


@contextmanager
def write_errors(path: Path, error_class: type[VividsetError], option: str) -> Iterator[None]:
    """Raise `error_class` where the block can't write a file or folder: its path, the cause, and what to do.

    Args:
        path: the file or folder that the block writes.
        error_class: the error to raise.
        option: the command's option that chooses another place, like `-o`.

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
        advice = _ADVICE.get(exc.errno or 0) if isinstance(exc, OSError) else None
        hint = f"{advice}, or choose another place" if advice else "choose another place"
        raise error_class(f"{path} can't be written: {describe_error(exc)}: {hint} with {option}") from exc


STAMP = ".made_of"
LOCK = ".lock"


@contextmanager
def locked_output_dir(out: Path, made_of: dict[str, Any], *, overwrite: bool | None = None) -> Iterator[None]:
    """Hold a folder for one run; a run that died let go of it with its process.

    Args:
        out: a new or empty folder, or one that was claimed for the same thing before.
        made_of: what decides its content.
        overwrite: clear a folder that was claimed for another thing; None: the command can't.

    Raises:
        OutputError: it holds something else, is locked, or can't be written.
    """
    stamp, text = out / STAMP, json.dumps(made_of)
    with writing_to(out):
        if out.exists() and not (out.is_dir() and (stamp.exists() or not any(out.iterdir()))):
            raise OutputError(f"{out} is in the way and holds something else: choose another folder with -o")
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
            _remove_drafts(out)  # of workers that were ended
            lock.release()


def _remove_drafts(out: Path) -> None:
    for draft in out.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _clear(out: Path, *, overwrite: bool | None) -> None:
    if not overwrite:
        advice = "" if overwrite is None else ", or replace it with --overwrite"
        raise OutputError(
            f"{out} was made of another manifest or with other options: choose another folder with -o{advice}"
        )
    for path in out.iterdir():
        if path.name != LOCK:
            path.unlink()


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn what the system refuses into one line.

    Raises:
        OutputError: the disk says no.
    """
    try:
        yield
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "free some space and run the same command (what is finished is kept), or " if full else ""
        raise OutputError(
            f"{out} can't be written: {describe_error(exc)}: {mend}choose another folder with -o"
        ) from exc


def write_failed_csv(out: Path, failed: Sequence[tuple[str, str]]) -> None:
    """Keep path and reason of all photos that failed in `failed.csv`; without any, remove it."""
    target, draft = out / "failed.csv", out / ".failed.csv.draft"
    if not failed:
        target.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("path", "error"), *failed])
    draft.write_text(text.getvalue(), encoding="utf-8", newline="")
    commit(draft, target)


def check_readable(path: Path) -> None:
    """Make sure of a file before a library is given its path: of a pipe it would wait, of others tell half the story.

    Raises:
        OSError: it is no file, or can't be opened; `strerror` says why.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    with open(path, "rb"):
        pass


def commit(draft: Path, path: Path, *, lasting: bool = True) -> None:
    """Give a finished draft its name, so that a crash leaves the old file or the new one, whole."""
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
    if lasting:
        fsync_dir(path.parent)


def write_atomic(data: bytes | memoryview, path: Path) -> None:
    """Write a file whole or not at all; nothing is left beside it, even by Ctrl-C.

    Raises:
        OSError: the disk says no.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # short, however long the file's own name
    draft = path.with_name(f".{name}.draft")
    try:
        draft.write_bytes(data)
        commit(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Find out before long work, leaving nothing, whether a file could be written to a path and its missing folders.

    Raises:
        OSError: the disk says no.
    """
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    with tempfile.TemporaryFile(dir=folder):
        pass


def fsync_dir(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a checkpoint file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
