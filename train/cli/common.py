"""`--device`, as asked for and as there."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH
from curate.errors import UsageError


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
