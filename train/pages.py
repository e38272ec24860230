"""HTML pages that a command writes into one file, whole or not at all."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from curate.errors import OutputError, UsageError
from curate.files import check_writable, write_atomic, write_errors


@dataclass(frozen=True, slots=True)
class PageKind:
    """A kind of page; only a page of the same kind is replaced."""

    start: str
    """The first characters of every page of this kind, by which it is recognized."""
    name: str
    """For messages: `an evaluation page`."""
    option: str
    """The option that asks for the page: `--html`."""
    advice: str
    """What to do if something else exists at the path."""

    def check_path(self, path: Path) -> None:
        """Check, before long work, that a page can be written to this path.

        Raises:
            UsageError: something other than a page of this kind exists there.
            OutputError: the path can't be written.
        """
        with write_errors(path, OutputError, self.option):
            if os.path.lexists(path) and not (path.is_file() and path.read_bytes().startswith(self.start.encode())):
                raise UsageError(f"{path} already exists and is not {self.name}: {self.advice}")
            check_writable(path)

    def write(self, path: Path, text: str) -> None:
        """Write a page whole or not at all; only an earlier page of this kind is replaced.

        Raises:
            UsageError: something else exists there.
            OutputError: the path can't be written.
        """
        self.check_path(path)
        with write_errors(path, OutputError, self.option):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(text.encode(), path)


def jpeg_uri(jpeg: bytes) -> str:
    """Return a picture as a `data:` URI, so that a page needs no other file."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
