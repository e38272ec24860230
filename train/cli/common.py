"""What several commands share: options, and a line about the checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.common import PATH
from curate.text import escape_control


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
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Maximum time for reading one photo, in seconds. A photo that takes longer counts as unreadable.",
)


def report_missing_best(checkpoint_path: Path) -> None:
    """Print on stderr if a run has no best.safetensors yet, so that its last.safetensors is used instead."""
    from train.checkpoint import find_file

    file = find_file(checkpoint_path)
    if file.name == "last.safetensors" and file != checkpoint_path:
        line = f"{file.parent} has no best.safetensors: it was stopped before its first validation; using {file.name}"
        click.echo(escape_control(line), err=True)
