"""The commands of stage one. The only room that knows click, prints, or picks an exit code.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import io
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from curate import __version__, words
from curate.errors import UsageError, VividsetError

if TYPE_CHECKING:
    from curate.gates import Bound

SCAN_MANIFEST = Path("manifests/scan.parquet")
CLEAN_MANIFEST = Path("manifests/clean.parquet")
Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)


class Commands(click.Group):
    """A group whose commands end every expected failure in one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what it raises on purpose into one line and an exit code."""
        for stream in (sys.stdout, sys.stderr):  # a name that is no UTF-8 must not end a run
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except VividsetError as exc:
            click.echo(f"Error: {exc}", err=True)
            ctx.exit(2 if isinstance(exc, UsageError) else 1)
        except OSError as exc:
            if exc.errno == errno.EPIPE:  # `| head` has seen enough; click knows what to do
                raise
            click.echo(f"Error: {exc.strerror or exc}: is the disk full, or the output gone?", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted: what was finished is kept; run the same command to go on.", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="curate")
def main() -> None:
    """Turn a pile of photos into a data set that a colorizer can learn from.

    \b
    curate scan ./photos                    measure every photo once
    curate filter --min-colorfulness 20     decide from the numbers, as often as you like
    train fit manifests/clean.parquet       train on what was kept
    """


@main.command()
@click.argument("paths", nargs=-1, required=True, type=_FILE, metavar="PATH...")
@click.option(
    "-o", "--out", type=_FILE, default=SCAN_MANIFEST, show_default=True, help="Manifest to write or bring up to date."
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="one a core",
    help="Processes that decode.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=250_000_000,
    show_default=True,
    help="Larger photos become errors, undecoded.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which a photo is given up.",
)
@click.option("--retry-errors", is_flag=True, help="Measure unchanged files again that failed before.")
@click.option("--overwrite", is_flag=True, help="Measure everything again and replace the output, whatever it is.")
@click.option("--max-errors", metavar="N|N%", help="Exit 1 if more photos than this fail.")
@click.option("--dry-run", is_flag=True, help="Only say how many files would be looked at.")
def scan(
    paths: tuple[Path, ...],
    out: Path,
    workers: int,
    max_pixels: int,
    timeout_s: float,
    retry_errors: bool,
    overwrite: bool,
    max_errors: str | None,
    dry_run: bool,
) -> None:
    """Score every photo below the folders PATH..., one row each.

    Writes colourfulness (Hasler and Süsstrunk), tone (color, grayscale, sepia, toned) and what else can be decided
    from later; no verdicts. A photo that can't be read is a row with the reason. Run it again after adding photos, or
    after it was interrupted: only what is new or changed is measured.
    """
    from curate.scan import ScanOptions, count_to_do
    from curate.scan import scan as run_scan
    from curate.score import ScoreOptions

    too_many = _error_limit(max_errors)
    if dry_run:
        files, size = count_to_do(paths, out)
        click.echo(f"{files:,} files, {size / 1e9:,.2f} GB; nothing was measured or written")
        return
    options = ScanOptions(workers, ScoreOptions(max_pixels), timeout_s, retry_errors, overwrite)
    with _progress("photos") as progress:
        summary = run_scan(paths, out, options, command=typed_command(), progress=progress)
    _say(words.of_scan(summary, out))
    failed = sum(summary.errors.values())
    if not summary.scored:
        raise VividsetError(f"none of {summary.photos:,} photos could be scored: {out} has the reason of each")
    if too_many(failed, summary.photos):
        raise VividsetError(
            f"{failed:,} of {summary.photos:,} photos failed, over --max-errors {max_errors}: {out} has the reasons"
        )


def _bounds(command: Command) -> Command:
    """Give a command --min-MEASURE and --max-MEASURE for every measure that can have a line."""
    for measure in reversed(words.BOUNDED[1:]):
        for end, verb in (("max", "higher"), ("min", "lower")):
            name = f"--{end}-{measure.replace('_', '-')}"
            command = click.option(name, type=float, help=f"Reject photos whose {measure} is {verb}.")(command)
    return click.option("--max-colorfulness", type=float, help="Reject photos whose M is higher.")(command)


@main.command("filter")
@click.argument("scan_path", type=_FILE, default=SCAN_MANIFEST, metavar="[SCAN]")
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
    type=_FILE,
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
    from curate.select import FilterOptions, Split, write_selection

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
    _say(words.of_selection(chosen))
    click.echo("dry run: nothing was written" if dry_run else f"written: {out} and {out.with_name('rejected.parquet')}")
    if warning := words.of_gate_that_drops_most(chosen):
        click.echo(warning, err=True)


@main.command()
@click.argument("photos", nargs=-1, required=True, type=_FILE, metavar="PHOTO...")
@click.option("--min-colorfulness", type=float, default=20.0, show_default=True, help="Reject photos whose M is lower.")
def explain(photos: tuple[Path, ...], min_colorfulness: float) -> None:
    """Score photos, scanned or not, and say whether a filter would keep each, and why not."""
    from curate.explain import explain as explain_photo
    from curate.select import FilterOptions

    options = FilterOptions(min_colorfulness)
    for photo in photos:
        _say(words.of_explanation(photo, explain_photo(photo, options)))


@main.command()
@click.argument("path", type=_FILE, metavar="MANIFEST")
def inspect(path: Path) -> None:
    """Say what a manifest holds, what made it, and where it comes from, back to the scan."""
    from curate import manifest
    from curate.explain import ancestry

    chain = ancestry(path)
    read = manifest.read(path, columns=("split", "tone"))
    _say(words.of_table(path, read.table, read.sha256))
    for ancestor in chain:
        _say(words.of_ancestor(ancestor))
    schema, _ = manifest.inspect(path)
    click.echo("columns: " + ", ".join(f"{column.name} {column.type}" for column in schema))


def _given(lines: dict[str, float | None]) -> tuple[Bound, ...]:
    """The bounds that were asked for, from options like `max_neutral_share`."""
    from curate.gates import Bound

    return tuple(
        Bound(name[4:], line, lowest=name.startswith("min_")) for name, line in lines.items() if line is not None
    )


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _error_limit(text: str | None) -> Callable[[int, int], bool]:
    """From `N` or `N%`: whether so many failures of so many photos are too many."""
    if text is None:
        return lambda failed, photos: False
    try:
        value = float(text.removesuffix("%"))
    except ValueError as exc:
        raise UsageError(f"--max-errors {text!r} isn't understood: write a count like 100, or a share like 1%") from exc
    if not 0 <= value < float("inf"):
        raise UsageError(f"--max-errors {text!r} isn't understood: write a count like 100, or a share like 1%")
    return lambda failed, photos: failed > (value * photos / 100 if text.endswith("%") else value)


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and remaining time on stderr; quiet where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=None, rate="listing")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} a second" if speed else "")

        yield update


def typed_command() -> str:
    """What was typed, as one could type it again."""
    return f"{click.get_current_context().find_root().info_name} {shlex.join(sys.argv[1:])}"
