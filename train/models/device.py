"""Which device to use, and errors of devices that torch cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from curate.errors import UsageError


def choose_device(device: str) -> str:
    """Return the device for `auto`, as `train fit` chooses it: the first GPU, else the CPU; other names unchanged."""
    if device != "auto":
        return device
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if torch.cuda.is_available() else "cpu"


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
