"""What the commands share: how they end, print, show progress, and remember what was typed."""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from curate.cli.libraries import failed_import
from curate.errors import UsageError, VividsetError
from curate.interrupts import EXIT_CODE, InterruptHandler
from curate.text import describe_error, escape_control

SCAN_MANIFEST = Path("manifests/scan.parquet")
CLEAN_MANIFEST = Path("manifests/clean.parquet")
GOES_ON = "what was finished is kept; run the same command to go on"
"""After an interrupt: of commands that write many files."""
WRITES_WHOLE = "no output was half-written; run the same command again"
"""Of commands that write one file, or files that belong together, at their end."""
WRITES_NOTHING = "nothing is written by this command; run it again"


class PathOrUrl(click.Path):
    """A path or URL. An empty one, as of a shell variable that isn't set, isn't the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Refuse the empty text; leave all else to click."""
        if value == "":
            self.fail("it is empty: is a variable not set? The current folder is .", param, ctx)
        return super().convert(value, param, ctx)


PATH = PathOrUrl(path_type=Path)
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_TYPED = f"{__name__}.typed"
Command = Callable[..., Any]


def workers_option(help_text: str) -> Callable[[Command], Command]:
    """The option that says in how many processes."""
    return click.option("--workers", type=click.IntRange(1), show_default="one a core", help=help_text)


def engine_options(done: str) -> Callable[[Command], Command]:
    """The options of a command that maps photos on any engine; `done` says what to them."""
    where = f"Where photos are {done}: in this process (for debuggers), on this machine, on a Ray cluster."
    engines = click.Choice(["serial", "processes", "ray"])
    seconds = click.FloatRange(0.1)
    given_up = "Seconds after which a photo is given up."

    def give(command: Command) -> Command:
        timeout = click.option("--timeout", "timeout_s", type=seconds, default=60.0, show_default=True, help=given_up)
        engine = click.option("--engine", type=engines, default="processes", show_default=True, help=where)
        return workers_option("Processes that decode; with ray, tasks at once.")(engine(timeout(command)))

    return give


class ErrorHandlingGroup(click.Group):
    """A group whose commands end every expected failure in one line and an exit code."""

    def add(self, interrupted: Mapping[click.Command, str]) -> None:
        """Add commands, each with what is true when it was interrupted and what to do then."""
        self.interrupted = {command.name: said for command, said in interrupted.items()}
        for command in interrupted:
            self.add_command(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember what was typed."""
        ctx.meta[_TYPED] = [*args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: RET503 - `ctx.exit` doesn't return
        """Run the command; turn what it raises on purpose into one line and an exit code."""
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):  # a name that is no UTF-8 must not end a run
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        with InterruptHandler() as interrupts:
            try:
                return super().invoke(ctx)
            except BaseException as exc:  # noqa: BLE001 - raised again, if it isn't on purpose
                interrupts.stop()
                if interrupts.requested or isinstance(exc, KeyboardInterrupt):
                    line, code = f"Interrupted: {self._after_interrupt(ctx, exc)}.", EXIT_CODE
                else:
                    line, code = _ending(ctx, exc)
            click.echo(escape_control(line), err=True)
            ctx.exit(code)

    def _after_interrupt(self, ctx: click.Context, exc: BaseException) -> str:
        """What the command says of itself; else what is true for it whenever it is interrupted."""
        if isinstance(exc, KeyboardInterrupt) and exc.args:
            return str(exc)
        return self.interrupted.get(ctx.invoked_subcommand, WRITES_NOTHING)


def _ending(ctx: click.Context, exc: BaseException) -> tuple[str, int]:
    """The line and exit code for what a command raised on purpose; all else is raised again."""
    if isinstance(exc, click.NoSuchOption):
        if file := next((word for word in ctx.meta[_TYPED] if word[:1] == "-" and os.path.lexists(word)), None):
            place = os.path.join(os.curdir, file)
            text = f"{exc.format_message()} If the file {file} is meant, write {place}"
            raise click.UsageError(text, exc.ctx) from exc
        raise exc
    if isinstance(exc, VividsetError):
        return f"Error: {exc}", 2 if isinstance(exc, UsageError) else 1
    if isinstance(exc, ImportError | OSError) and (said := failed_import(exc)):
        return f"Error: {said}", 1
    if isinstance(exc, OSError) and exc.errno != errno.EPIPE:  # `| head` has seen enough; click knows what to do
        return f"Error: {_of_system(exc)}", 1
    raise exc


def _open_closed_streams() -> None:
    """Let nothing hear and say what the caller closed (`2>&-`), lest a file become number 2 and be written errors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _of_system(exc: OSError) -> str:
    """What the system refused, for a command that didn't foresee it."""
    where = f"{exc.filename}: " if exc.filename else ""
    advice = {errno.ENOSPC: "free some space", errno.EACCES: "check its permissions", errno.EMFILE: "raise `ulimit -n`"}
    return f"{where}{describe_error(exc)}: {advice.get(exc.errno or 0, 'is the disk full, or the output gone?')}"


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout, whatever names they hold."""
    for line in lines:
        click.echo(escape_control(line))


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
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
    shown = sys.stdout.isatty()  # lines for a file or pipe must not be drawn above the bar instead
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shown) as bar:
        task = bar.add_task(unit, total=None, rate="listing")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} a second" if speed else "")

        yield update


def typed_command() -> str:
    """What was typed, as one could type it again."""
    return f"{click.get_current_context().find_root().info_name} {shlex.join(sys.argv[1:])}"
