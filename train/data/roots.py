"""Checks the folders that `--root` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.errors import UsageError


def check_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folders as a tuple.

    Raises:
        UsageError: one of them does not exist.
    """
    if missing := [root for root in roots if not root.is_dir()]:
        raise UsageError(f"--root {missing[0]} is not a folder: name the folder that the photos have moved to")
    return tuple(roots)
