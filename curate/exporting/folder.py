"""The output folder of an export, on this machine or at a URL."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from curate.files import commit, make_drafts_folder, remove
from curate.locations import Location, RemotePath

BUFFER_BYTES = 64 << 20
BUFFER_FILES = 64
"""Files for a URL are collected up to these limits, and then written at the same time."""


class ExportFolder:
    """Writes the files of an export, each whole or not at all; `flush` writes what is still in memory.

    Several processes may write different files of one folder.

    Args:
        out: the folder; it exists, if it is on this machine.
        known: size in bytes of the files that are there already, if it is at a URL.
    """

    def __init__(self, out: Location, known: Mapping[str, int]) -> None:
        self.out = out
        self.drafts = make_drafts_folder(out)
        """Where drafts are written, and the copies of compressed tars are."""
        self._known = dict(known)
        self._buffer: dict[str, bytes] = {}

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if it isn't there."""
        if isinstance(self.out, RemotePath):
            return self._known.get(name)
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
        with draft_path(self.drafts) as draft:
            draft.write_bytes(data)
            os.replace(draft, target)

    def flush(self) -> None:
        """Write the files that are still in memory."""
        if isinstance(self.out, RemotePath):
            self.out.write_files(self._buffer)
            self._known |= {name: len(data) for name, data in self._buffer.items()}
            self._buffer.clear()

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        if self.size(name) is not None:
            remove(self.out / name)


@contextmanager
def draft_path(folder: Path) -> Iterator[Path]:
    """Give the path of a new draft in a folder, which is deleted unless it has got another name."""
    draft = folder / f".{secrets.token_hex(8)}.draft"
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def open_draft(out: Location, name: str) -> Iterator[Path]:
    """Give the path of a draft on this machine, which gets its name when the block ends without an error.

    Args:
        out: the output folder.
        name: path of the file below it. Nothing is written if the block deletes the draft.
    """
    with draft_path(make_drafts_folder(out)) as draft:
        yield draft
        if draft.exists():
            if not isinstance(out, RemotePath):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
            commit(draft, out / name)
