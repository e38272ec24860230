"""What several commands share: options, and a line about the checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import click

from curate.cli.common import PATH, LocalPath, echo_message, timeout_option
from train.checkpoint_file import READY, find_file, locate, read_metadata
from train.data.roots import check_roots


def _check_roots(_context: click.Context, _option: click.Parameter, roots: tuple[Path, ...]) -> tuple[Path, ...]:
    return check_roots(roots)


root_option = click.option(
    "--root",
    "roots",
    type=PATH,
    multiple=True,
    callback=_check_roots,
    help="Folder to look in for photos that have moved since the scan. Can be given several times.",
)
read_timeout_option = timeout_option(
    "Maximum time for reading one photo, in seconds. A photo that takes longer counts as unreadable."
)
skip_changed_option = click.option(
    "--skip-changed",
    is_flag=True,
    help="Leave out photos that have changed since the scan.  [default: refuse]",
)


class CheckpointPath(LocalPath):
    """A run's folder or a checkpoint as `pathlib.Path`; `ready` is the path of the weights that come with vividset."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value != READY:
            return super().convert(value, param, ctx)
        path = locate(READY)
        if os.path.lexists(READY):
            echo_message(
                f"{READY} means the weights that come with vividset; write ./{READY} for the one in this folder"
            )
        return path


CHECKPOINT = CheckpointPath()


def _check_checkpoint(_context: click.Context, _argument: click.Parameter, path: Path) -> Path:
    """Read the header of the checkpoint's file, before a command spends seconds on importing torch."""
    read_metadata(find_file(path))
    return path


checkpoint_argument = click.argument(
    "checkpoint_path", type=CHECKPOINT, metavar="CHECKPOINT", callback=_check_checkpoint
)


def _parse_strength(context: click.Context, option: click.Parameter, text: str) -> float | Literal["auto"]:
    return "auto" if text == "auto" else float(click.FloatRange(0, 4)(text, option, context))


strength_option = click.option(
    "--strength",
    default="1",
    show_default=True,
    callback=_parse_strength,
    metavar="NUMBER|auto",
    help="Factor for the chroma of the colors, 0 (gray) to 4; lightness and hue stay. auto: the factor that made the "
    "validation photos as colorful as their originals, at most 2.",
)
use_device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto (the first GPU, else the CPU), cpu, cuda, cuda:1 or mps.",
)


def check_manifest(manifest: object) -> None:
    """Refuse a local manifest that doesn't exist, before a command spends seconds on importing torch."""
    if isinstance(manifest, Path) and not os.path.lexists(manifest):
        from curate.manifest import read_manifest

        read_manifest(manifest)  # raises the error with its advice


def report_missing_best(checkpoint_path: Path) -> None:
    """Print on stderr if a run has no best.safetensors yet, so that its last.safetensors is used instead."""
    file = find_file(checkpoint_path)
    if file.name == "last.safetensors" and file != checkpoint_path:
        line = f"{file.parent} has no best.safetensors: it was stopped before its first validation; using {file.name}"
        echo_message(line)
