"""Settings of the whole process that some blocks of code change: warnings, Pillow's limit of pixels, OpenCV's threads.

Python, Pillow and OpenCV keep one value for all threads. If each block saved and restored it, two threads could restore
it in the wrong order, and the changed value would stay. Here it is changed when the first thread enters such a block,
and restored when the last one leaves. So after a call, the caller's settings are as before.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class SharedSetting:
    """A context manager that changes a setting while at least one thread is in its block.

    Args:
        change: returns a context manager that changes the setting and restores it.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._blocks = 0
        self._changed: AbstractContextManager[None] | None = None
        if hasattr(os, "register_at_fork"):  # in a forked process, no thread would release a lock that is held
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._changed is None:
                changed = self._change()
                changed.__enter__()
                self._changed = changed
            self._blocks += 1

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks and self._changed is not None:
                changed, self._changed = self._changed, None
                changed.__exit__(None, None, None)


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _lift_pixel_limit() -> Iterator[None]:
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    yield
    Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _use_one_opencv_thread() -> Iterator[None]:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


ignore_warnings = SharedSetting(_ignore_warnings)
"""Ignores all warnings."""
no_pixel_limit = SharedSetting(_lift_pixel_limit)
"""Lets Pillow open images of any size; `curate.image.decode` has its own limit."""
one_opencv_thread = SharedSetting(_use_one_opencv_thread)
"""Lets OpenCV use one thread: for one photo, its others cost more CPU time in waiting than they save."""
