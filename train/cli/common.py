"""`--device`, as asked for and as there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from curate.cli.common import PATH
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


def _check(_context: click.Context, _option: click.Parameter, roots: tuple[Path, ...]) -> tuple[Path, ...]:
    if missing := [root for root in roots if not root.is_dir()]:
        raise UsageError(f"--root {missing[0]} is no folder: name the folder that the photos have moved to")
    return roots


root_option = click.option(
    "--root",
    "roots",
    type=PATH,
    multiple=True,
    callback=_check,
    help="Folder that a manifest's photos have moved to since the scan; may be given again.",
)
