"""Write files whole or not at all, check paths before long work, and turn write failures into one clear message."""

from __future__ import annotations

import atexit
import csv
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.errors import OutputError, VividsetError
from curate.locations import Location, RemotePath
from curate.text import advise, describe_error, is_disk_full, is_out_of_handles

STAMP = ".made_of"
"""In an output folder: JSON of what decides its content."""
LOCK = ".lock"
FAILED_NAME = "failed.csv"
"""In an output folder: path and error of what failed."""
_TEMPORARY_SUFFIXES = (".draft", ".copy")
_COMPLETE = "complete"


@contextmanager
def write_errors(
    path: Location, error_class: type[VividsetError], option: str, *, resumable: bool = False
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
        if isinstance(path, RemotePath):
            path.check_kind()
        yield
    except (OSError, ArrowException) as exc:
        if is_out_of_handles(exc):
            raise error_class(f"{describe_error(exc)}: {advise(exc)}") from exc
        raise error_class(
            f"{path} can't be written: {describe_error(exc)}: {_write_advice(exc, path, resumable=resumable)}choose "
            f"another place with {option}"
        ) from exc


def _write_advice(exc: Exception, path: Location, *, resumable: bool) -> str:
    """What to do before choosing another place; empty where the cause isn't known."""
    advice, again = advise(exc), " and run the same command" + (" (what is finished is kept)" if resumable else "")
    if isinstance(exc, OSError) and isinstance(path, RemotePath):
        if exc.errno in (errno.EISDIR, errno.EROFS):  # the error says what can't be written
            return ""
        if isinstance(exc, PermissionError):
            advice = "check the rights of these credentials"
        elif isinstance(exc, FileNotFoundError):
            advice = "create the bucket"
        else:
            advice = advice or "check the address, the credentials and the connection,"
    elif not (is_disk_full(exc)):
        again = ""
    return f"{advice}{again}, or " if advice else ""


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


def check_writable(path: Location) -> None:
    """Check before long work that a file could be written to a path and its missing folders; nothing is left behind.

    Raises:
        OSError: the system or the store refuses to write there.
    """
    if isinstance(path, RemotePath):
        path.check_writable()
        return
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_atomic(data: bytes | memoryview, path: Location) -> None:
    """Write a file whole or not at all; no draft is left beside it, not even after Ctrl-C.

    Raises:
        OSError: the system or the store refuses to write it.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(scratch, "file")
            local.write_bytes(data)
            path.upload(local)
        return
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # short, however long the file's own name is
    draft = path.with_name(f".{name}.draft")
    try:
        draft.write_bytes(data)
        commit(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def commit(draft: Path, path: Location, *, durable: bool = True) -> None:
    """Give a finished draft its final name: after a crash there is the whole old file or the whole new one.

    Args:
        draft: the file, written and closed: on the disk of `path`, or anywhere if that is a URL. It is removed.
        path: its final name; an older file is replaced.
        durable: False doesn't wait until the rename is on disk, which is faster for many files; a power cut may then
            lose the file, but never leaves half of it.
    """
    if isinstance(path, RemotePath):
        path.upload(draft)
        draft.unlink()
        return
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


def exists(path: Location) -> bool:
    """Whether something is at a path, also a link to nothing, or at a URL."""
    return os.path.lexists(path) if isinstance(path, Path) else path.exists()


def is_same(path: Location, other: Location) -> bool:
    """Whether two paths lead to the same place through links, or two URLs are equal."""
    if isinstance(path, Path) and isinstance(other, Path):
        return os.path.realpath(path) == os.path.realpath(other)  # `resolve` fails on a link to itself
    return path == other


def local_copy(location: Location, suffix: str = ".parquet") -> Path:
    """Return a path itself, or a copy on this machine of what is at a URL.

    A file is downloaded again only if it has changed. The copies are deleted when this process ends.

    Args:
        location: a file, or a folder.
        suffix: of the files of a folder that are downloaded; those of its subfolders are not.

    Raises:
        OSError: the file doesn't exist or can't be read.
    """
    if isinstance(location, Path):
        return location
    info = location.info()
    if info is None:
        raise FileNotFoundError(errno.ENOENT, "it doesn't exist, or these credentials don't show it")
    if not info.is_folder:
        return _download(location, info.version)
    parts = {name: part.version for name, part in location.list_files().items() if name.endswith(suffix)}
    names = sorted(name for name in parts if "/" not in name)
    folder = _copies_folder() / _short_hash(location.url + str([parts[name] for name in names]))
    if not folder.exists():
        folder.mkdir()
        for name in names:
            os.link(_download(location / name, parts[name]), folder / name)
    return folder


def _download(location: RemotePath, version: str) -> Path:
    copy = _copies_folder() / f"{_short_hash(location.url + version)}{location.suffix}"
    if not copy.exists():
        draft = copy.with_suffix(".draft")
        location.download(draft)
        os.replace(draft, copy)
    return copy


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def cache_folder() -> Path:
    """Where work that can be continued is kept if its output is at a URL: `vividset` in $XDG_CACHE_HOME or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(os.path.join("~", ".cache"))
    if not os.path.isabs(home):  # no home folder is known
        home = tempfile.gettempdir()
    return Path(home, "vividset")


@lru_cache(1)
def _copies_folder() -> Path:
    """A new temporary folder for the copies of this process."""
    folder, owner = tempfile.mkdtemp(prefix="vividset-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a process that was forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked_output_dir(out: Location, made_of: dict[str, Any], *, overwrite: bool | None = None) -> Iterator[None]:
    """Create an output folder and lock it for this process; the lock ends with the process, also if that crashes.

    The lock of a URL is a file of this machine: runs of other machines are not noticed.

    Args:
        out: a new or empty folder, or one that was made with the same `made_of`, which is then continued.
        made_of: what decides the folder's content; kept in it as `STAMP`, at the end with `"complete": true`.
        overwrite: whether to clear a folder that was made with another `made_of`; None if the command has no such
            option.

    Raises:
        OutputError: the folder contains something else, is locked, or can't be written.
    """
    complete = json.dumps(made_of | {_COMPLETE: True}).encode()
    with write_errors(out, OutputError, "-o", resumable=True):
        if isinstance(out, RemotePath):
            drafts = make_drafts_folder(out)
            with _lock(drafts.with_suffix(".lock"), out):
                shutil.rmtree(drafts, ignore_errors=True)  # of a run that was killed
                _prepare_remote_dir(out, made_of, overwrite=overwrite)
                try:
                    yield
                finally:
                    shutil.rmtree(drafts, ignore_errors=True)
                write_atomic(complete, out / STAMP)
            return
        stamp = out / STAMP
        if out.exists() and not (out.is_dir() and (stamp.exists() or not any(out.iterdir()))):
            raise OutputError(_foreign_message(out))
        with _lock(out / LOCK, out):
            if stamp.exists() and not _is_stamp_of(stamp.read_bytes(), made_of):
                _check_overwrite(out, overwrite=overwrite)
                for path in sorted(out.iterdir(), key=lambda path: _removal_order(path.name)):
                    if path.name != LOCK:
                        path.unlink()
            _remove_drafts(out)
            write_atomic(json.dumps(made_of).encode(), stamp)
            try:
                yield
                write_atomic(complete, stamp)
            finally:
                _remove_drafts(out)  # of workers that were killed


def is_temporary(name: str) -> bool:
    """Whether a name in an output folder is that of a file that is being written, or of other work in progress."""
    return name.startswith(".") and name.lower().endswith(_TEMPORARY_SUFFIXES)


def make_drafts_folder(out: Location) -> Path:
    """Return the folder of this machine in which files of an output folder are written before they get their names.

    That is the output folder itself, or a folder that is made here if it is at a URL.

    Raises:
        OutputError: the system refuses to make it.
    """
    if not isinstance(out, RemotePath):
        return out
    folder = cache_folder() / "drafts" / _short_hash(out.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(
            f"the work folder {folder} can't be made: {describe_error(exc)}: set XDG_CACHE_HOME to a folder for it"
        ) from exc
    return folder


@contextmanager
def _lock(file: Path, out: Location) -> Iterator[None]:
    from filelock import FileLock, Timeout  # here, because `train --help` imports this module and doesn't need it

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise OutputError(f"another run is writing {out}: wait for it, or choose another folder with -o") from exc
    try:
        yield
    finally:
        lock.release()


def _prepare_remote_dir(out: RemotePath, made_of: dict[str, Any], *, overwrite: bool | None) -> None:
    """Check that a URL is an empty folder, or one with this stamp; write the stamp."""
    if out.is_file():
        raise OutputError(_foreign_message(out))
    (out / STAMP).check_writable()
    files = out.list_files()
    if files and STAMP not in files:
        raise OutputError(_foreign_message(out))
    if files and not _is_stamp_of((out / STAMP).read_bytes(), made_of):
        _check_overwrite(out, overwrite=overwrite)
        for name in sorted(files, key=_removal_order):
            (out / name).remove()
    write_atomic(json.dumps(made_of).encode(), out / STAMP)


def _is_stamp_of(stamp: bytes, made_of: dict[str, Any]) -> bool:
    """Whether the content of a `STAMP` is that of these options, from a complete or an incomplete run."""
    try:
        found = json.loads(stamp)
    except ValueError:
        return False
    return isinstance(found, dict) and {name: found[name] for name in found if name != _COMPLETE} == made_of


def _foreign_message(out: Location) -> str:
    return f"{out} already exists and was not made by this command: choose another folder with -o"


def _remove_drafts(out: Path) -> None:
    for draft in out.glob(".*.draft"):
        draft.unlink(missing_ok=True)


def _check_overwrite(out: Location, *, overwrite: bool | None) -> None:
    if not overwrite:
        advice = "" if overwrite is None else ", or replace it with --overwrite"
        raise OutputError(
            f"{out} was made from another manifest or with other options: choose another folder with -o{advice}"
        )


def _removal_order(name: str) -> int:
    """The manifest first, because a folder with it counts as complete; the stamp last."""
    return {"manifest.parquet": 0, STAMP: 2}.get(name, 1)


def write_failed_csv(out: Location, failed: Sequence[tuple[str, str]]) -> None:
    """Write path and error of all photos that failed to `failed.csv` in a folder; remove that file if none failed."""
    target = out / FAILED_NAME
    if not failed:
        remove(target)
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("path", "error"), *failed])
    write_atomic(text.getvalue().encode(), target)


def remove(path: Location) -> None:
    """Delete a file, if it exists."""
    if isinstance(path, RemotePath):
        path.remove()
    else:
        path.unlink(missing_ok=True)
