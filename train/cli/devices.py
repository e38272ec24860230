"""`--device`, as asked for and as there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curate.errors import UsageError


@contextmanager
def needing(device: str) -> Iterator[None]:
    """Turn torch's words about a device that isn't there, or has no room, into one line.

    Raises:
        UsageError: it can't be had.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as exc:
        raise UsageError(f"--device {device} can't be had: {' '.join(str(exc).split())[:200]}") from exc
