"""The photos that a manifest's rows stand for: read again, and known to be the ones that were scanned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import ChangedSinceScan, OutputError, ReadFailed, Vanished
from curate.sources import read, source_is_gone

KEY_COLUMNS = ("source", "path", "sha256")


@dataclass(frozen=True, slots=True)
class Original:
    """One photo of a manifest."""

    source: str
    """As manifest text, as is `path`."""
    path: str
    sha256: str
    size: int | None = None
    """The manifest's `bytes`."""
    offset: int | None = None
    """Its `tar_offset`."""

    def read(self) -> bytes:
        """The file's bytes, as scanned.

        Raises:
            PhotoError: it can't be read, or is another file by now.
            OutputError: its whole source is gone, a lost mount for instance.
        """
        try:
            data = read(self.source, self.path, offset=self.offset, size=self.size)
        except (Vanished, ReadFailed) as exc:
            if source_is_gone(self.source):
                raise OutputError(
                    f"{self.source} is gone (a lost mount?): bring it back and run the same command; what is done "
                    "is kept"
                ) from exc
            raise
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ChangedSinceScan("the file isn't what was scanned: run `curate scan` and `curate filter` again")
        return data


def originals(rows: pa.Table) -> Iterator[Original]:
    """The photos of a manifest's rows, which need `KEY_COLUMNS`."""
    there = [name for name in (*KEY_COLUMNS, "bytes", "tar_offset") if name in rows.column_names]
    for batch in rows.select(there).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield Original(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset"))
