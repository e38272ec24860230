"""Folders that a command fills file by file: claimed for one run of one thing, and gone on with after a kill."""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curate.errors import OutputError, told
from curate.manifest import settle

STAMP = ".made_of"
LOCK = ".lock"


@contextmanager
def claimed(out: Path, made_of: dict[str, Any], *, overwrite: bool | None = None) -> Iterator[None]:
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
        raise OutputError(f"{out} can't be written: {told(exc)}: {mend}choose another folder with -o") from exc


def write_failed(out: Path, failed: Sequence[tuple[str, str]]) -> None:
    """Keep path and reason of all photos that failed in `failed.csv`; without any, remove it."""
    target, draft = out / "failed.csv", out / ".failed.csv.draft"
    if not failed:
        target.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("path", "error"), *failed])
    draft.write_text(text.getvalue(), encoding="utf-8", newline="")
    settle(draft, target)
