"""Progress within compressed tars: workers write how far they are to files, and the command shows it.

A compressed tar is one entry of a listing, and the number of its members is known when it has been read. Until then it
is estimated from the share of its bytes that has been read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.executors.retry import Progress

INTERVAL_S = 1.0
"""How often a worker writes, and the command reads."""


class StreamMeter:
    """Writes how far a worker is in a compressed tar.

    Args:
        path: the file; one of an earlier try is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._members, self._written_at = path, 0, 0.0

    def add(self, share: float) -> None:
        """Count one member more.

        Args:
            share: of the bytes of the tar that have been read, 0..1; 0 if it is unknown.
        """
        self._members += 1
        now = time.monotonic()
        if now - self._written_at > INTERVAL_S:
            self._written_at = now
            self._write(share)

    def finish(self) -> None:
        """Record that all members have been counted."""
        self._write(1)

    def _write(self, share: float) -> None:
        with suppress(OSError):  # a full disk stops the scan where it writes its rows
            self._path.write_text(f"{self._members} {share:.6f}", encoding="ascii")


@contextmanager
def with_stream_progress(folder: Path, pattern: str, progress: Progress | None) -> Iterator[Progress]:
    """Give a `Progress` that adds the members of compressed tars to both of its numbers; it is called each second.

    Args:
        folder: of the files of `StreamMeter`.
        pattern: of their names.
        progress: called with the sums.
    """
    entries, ended, lock = [0, 0], threading.Event(), threading.Lock()

    def report() -> None:
        if progress is None:
            return
        with lock:  # counts that were read earlier must not be reported later
            counts = [_read_counts(path) for path in folder.glob(pattern)]
            done, total = (sum(column) for column in zip((0, 0), *counts, strict=True))
            progress(entries[0] + done, entries[1] + total)

    def update(done: int, total: int) -> None:
        entries[:] = done, total
        report()

    def poll() -> None:
        while not ended.wait(INTERVAL_S):
            if entries[1]:  # the number of entries is known
                report()

    thread = threading.Thread(target=poll, daemon=True)
    if progress is not None:
        thread.start()
    try:
        yield update
    finally:
        ended.set()
        if progress is not None:
            thread.join()


def _read_counts(path: Path) -> tuple[int, int]:
    """The members of a tar that have been read, and the estimate of all."""
    with suppress(OSError, ValueError):
        text, share = path.read_text(encoding="ascii").split()
        members = int(text)
        return members, round(members / float(share)) if float(share) > 0 else members
    return 0, 0
