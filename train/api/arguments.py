"""Argument checks that the functions of the public API share: choices, ranges, paths, folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from curate.errors import UsageError
from curate.locations import PathText, RemotePath, local_path
from train.data.roots import check_roots

StrPath = PathText
"""A path or URL as text, a `pathlib.Path`, or a location that another function of the API returned."""
Progress = Callable[[int, int], None]
"""Called with the number of photos or steps done, and of all of them."""
SPLITS = ("test", "val", "train", "all")
"""Photos of a manifest to use."""
MIN_IMAGE_SIZE_PX, MAX_IMAGE_SIZE_PX = 32, 4096


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check that a text is one of the choices.

    Raises:
        UsageError: it is not.
    """
    if value not in choices:
        raise UsageError(f"{name} {value!r} is not understood: choose from {', '.join(choices)}")


def check_split(split: str) -> None:
    """Check that a text is the name of a split, or `all`.

    Raises:
        UsageError: it is not.
    """
    check_choice("split", split, SPLITS)


def check_timeout(timeout_s: float) -> None:
    """Check that a timeout in seconds is above 0.

    Raises:
        UsageError: it is not.
    """
    if not timeout_s > 0:
        raise UsageError(f"timeout_s must be more than 0 seconds, not {timeout_s!r}")


def check_image_size(image_size: int | None) -> None:
    """Check that the side of square crops is in the range of the commands, or None.

    Raises:
        UsageError: it is not.
    """
    if image_size is not None and not MIN_IMAGE_SIZE_PX <= image_size <= MAX_IMAGE_SIZE_PX:
        raise UsageError(f"image_size must be {MIN_IMAGE_SIZE_PX} to {MAX_IMAGE_SIZE_PX} px, not {image_size!r}")


def optional_path(path: StrPath | None) -> Path | None:
    """A path of this machine, or None.

    Raises:
        UsageError: it is a URL, or begins with `~`.
    """
    return None if path is None else local_path(path)


def to_roots(roots: StrPath | Sequence[StrPath]) -> tuple[Path, ...]:
    """One or many folders of this machine as a tuple.

    Raises:
        UsageError: one of them does not exist, or is a URL.
    """
    paths = [roots] if isinstance(roots, str | os.PathLike | RemotePath) else roots
    return check_roots([local_path(path) for path in paths])
