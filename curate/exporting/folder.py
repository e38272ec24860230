"""The output folder of an export, on this machine or at a URL."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.files import commit, make_drafts_folder, write_failed_csv
from curate.locations import Location, RemotePath

BUFFER_BYTES = 64 << 20
BUFFER_FILES = 64
"""Files for a URL are collected up to these limits, and then written at the same time."""


class ExportFolder:
    """Writes the files of an export, each whole or not at all; `close` writes what is still in memory.

    Args:
        out: the folder; it exists, if it is on this machine.
    """

    def __init__(self, out: Location) -> None:
        self.out = out
        self._remote = (
            {name: info.bytes for name, info in out.list_files().items()} if isinstance(out, RemotePath) else {}
        )
        self._buffer: dict[str, bytes] = {}
        self.failed_before = self._read_failed()
        """Paths of the photos that failed in an earlier run, for a URL; see `record_failed`."""

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if it isn't there."""
        if isinstance(self.out, RemotePath):
            return self._remote.get(name)
        path = self.out / name
        return path.stat().st_size if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Without fsync, which would dominate the time for small files: after a power failure, the size shows what is
        incomplete.
        """
        if isinstance(self.out, RemotePath):
            self._buffer[name] = data
            if len(self._buffer) >= BUFFER_FILES or sum(map(len, self._buffer.values())) >= BUFFER_BYTES:
                self.flush()
            return
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        try:
            draft.write_bytes(data)
            os.replace(draft, target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def flush(self) -> None:
        """Write the files that are still in memory."""
        if isinstance(self.out, RemotePath):
            self.out.write_files(self._buffer)
            self._remote |= {name: len(data) for name, data in self._buffer.items()}
            self._buffer.clear()

    @contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """Give the path of a draft on this machine, which gets its name when the block ends without an error."""
        if isinstance(self.out, RemotePath):
            with TemporaryDirectory(dir=make_drafts_folder(self.out)) as scratch:
                yield Path(scratch, name)
                commit(Path(scratch, name), self.out / name)
        else:
            yield (draft := self.out / f".{name}.draft")
            commit(draft, self.out / name)

    def record_failed(self, failed: list[tuple[str, str]]) -> None:
        """Before a file that lacks photos is written to a URL, record the photos, so that a later run tries again."""
        if isinstance(self.out, RemotePath):
            before = [(path, error) for path, error in self.failed_before.items() if path not in dict(failed)]
            write_failed_csv(self.out, [*failed, *before])

    def _read_failed(self) -> dict[str, str]:
        if not isinstance(self.out, RemotePath) or "failed.csv" not in self._remote:
            return {}
        rows = csv.reader((self.out / "failed.csv").read_bytes().decode().splitlines()[1:])
        return {row[0]: row[1] for row in rows if len(row) == 2}
