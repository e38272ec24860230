"""`curate filter`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curate import words
from curate.cli.shell import CLEAN_MANIFEST, FILE, SCAN_MANIFEST, say, typed_command

if TYPE_CHECKING:
    from curate.criteria import Bound

Command = TypeVar("Command", bound=Callable[..., Any])


def _bounds(command: Command) -> Command:
    """Give a command --min-MEASURE and --max-MEASURE for every measure that can have a line."""
    for measure in reversed(words.BOUNDED[1:]):
        for end, verb in (("max", "higher"), ("min", "lower")):
            name = f"--{end}-{measure.replace('_', '-')}"
            command = click.option(name, type=float, help=f"Reject photos whose {measure} is {verb}.")(command)
    return click.option("--max-colorfulness", type=float, help="Reject photos whose M is higher.")(command)


@click.command("filter")
@click.argument("scan_path", type=FILE, default=SCAN_MANIFEST, metavar="[SCAN]")
@click.option("--min-colorfulness", type=float, default=20.0, show_default=True, help="Reject photos whose M is lower.")
@click.option(
    "--keep-tone",
    "keep_tones",
    multiple=True,
    type=click.Choice(words.TONES[1:]),
    help="Don't reject this tone; may be given again.",
)
@_bounds
@click.option("--min-side", "min_side_px", type=click.IntRange(0), help="Reject photos with a shorter short side, px.")
@click.option("--max-aspect", type=float, help="Reject photos whose long side is over so many times the short one.")
@click.option("--where", metavar="SQL", help="Reject photos for which this isn't true; needs vividset[sql].")
@click.option(
    "--split", default="90/5/5", show_default=True, help="Percent of train/val/test, drawn from each photo's content."
)
@click.option(
    "-o",
    "--out",
    type=FILE,
    default=CLEAN_MANIFEST,
    show_default=True,
    help="Manifest of the kept photos; rejected.parquet goes beside it.",
)
@click.option("--dry-run", is_flag=True, help="Decide and print, but write nothing.")
def filter_command(
    scan_path: Path,
    min_colorfulness: float,
    keep_tones: tuple[str, ...],
    min_side_px: int | None,
    max_aspect: float | None,
    where: str | None,
    split: str,
    out: Path,
    *,
    dry_run: bool,
    **lines: float | None,
) -> None:
    """Decide from a scan's numbers which photos are kept.

    SCAN is a manifest of `curate scan`; without it, manifests/scan.parquet. Gray, sepia and toned photos are rejected
    unless --keep-tone brings them back. Every rejected photo keeps all its reasons.
    """
    from curate.criteria import FilterOptions, Split
    from curate.select import write_selection

    options = FilterOptions(
        min_colorfulness,
        frozenset({"color", *keep_tones}),
        Split.parse(split),
        _given(lines),
        min_side_px or 0,
        math.inf if max_aspect is None else max_aspect,
        where,
    )
    chosen = write_selection(scan_path, out, options, command=typed_command(), dry_run=dry_run)
    say(words.of_selection(chosen))
    click.echo("dry run: nothing was written" if dry_run else f"written: {out} and {out.with_name('rejected.parquet')}")
    if warning := words.of_gate_that_drops_most(chosen):
        click.echo(warning, err=True)


def _given(lines: dict[str, float | None]) -> tuple[Bound, ...]:
    """The bounds that were asked for, from options like `max_neutral_share`."""
    from curate.criteria import Bound

    return tuple(
        Bound(name[4:], line, lowest=name.startswith("min_")) for name, line in lines.items() if line is not None
    )
