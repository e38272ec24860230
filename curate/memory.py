"""Too little memory for a photo, whichever library finds out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from curate.errors import OutOfMemory

_NO_MEMORY = -4
"""OpenCV's StsNoMem."""


@contextmanager
def memory_for(doing: str) -> Iterator[None]:
    """Turn a lack of memory into the photo's error.

    Raises:
        OutOfMemory: `doing` wanted more than there is.
    """
    try:
        yield
    except (MemoryError, cv2.error) as exc:
        if isinstance(exc, cv2.error) and exc.code != _NO_MEMORY:
            raise
        raise OutOfMemory(f"{doing} wanted more memory than there is") from exc
