"""Errors of devices that torch cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curate.errors import UsageError


@contextmanager
def device_errors(device: str) -> Iterator[None]:
    """Turn torch's errors about a device that does not exist, or has no memory left, into one line.

    Raises:
        UsageError: the device cannot be used.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as exc:
        raise UsageError(f"--device {device} can't be used: {' '.join(str(exc).split())[:200]}") from exc
