"""The photos that a manifest's rows stand for: read again, and known to be the ones that were scanned."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from curate.errors import ChangedSinceScan, OutputError, ReadFailed, Vanished
from curate.manifest import unescape
from curate.sources import Listed, as_photo_error

KEY_COLUMNS = ("source", "path", "sha256")


@dataclass(frozen=True, slots=True)
class Original:
    """One photo of a manifest."""

    source: str
    """As manifest text, as is `path`."""
    path: str
    sha256: str

    def file(self) -> str:
        """What `open` takes."""
        return Listed(self.source, self.path, None, None).open_path()

    def read(self) -> bytes:
        """The file's bytes, as scanned.

        Raises:
            PhotoError: it can't be read, or is another file by now.
            OutputError: its whole source is gone, a lost mount for instance.
        """
        try:
            with open(self.file(), "rb") as file:
                data = file.read()
        except OSError as exc:
            reason = as_photo_error(exc, "the file can't be read")
            if isinstance(reason, (Vanished, ReadFailed)) and not os.path.isdir(unescape(self.source)):
                raise OutputError(
                    f"{self.source} is gone (a lost mount?): bring it back and run the same command; what is done "
                    "is kept"
                ) from exc
            raise reason from exc
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ChangedSinceScan("the file isn't what was scanned: run `curate scan` and `curate filter` again")
        return data


def originals(rows: pa.Table) -> Iterator[Original]:
    """The photos of a manifest's rows, which need `KEY_COLUMNS`."""
    for batch in rows.select(KEY_COLUMNS).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield Original(row["source"], row["path"], row["sha256"])
