"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH


def _check_roots(_context: click.Context, _option: click.Parameter, roots: tuple[Path, ...]) -> tuple[Path, ...]:
    if not roots:
        return roots
    from train.trainer.start import check_roots  # here, so that --help doesn't wait for torch

    return check_roots(roots)


root_option = click.option(
    "--root",
    "roots",
    type=PATH,
    multiple=True,
    callback=_check_roots,
    help="Folder to look in for photos that have moved since the scan; can be given several times.",
)
