"""What all commands share: error handling, exit codes, output, progress bar, and common options."""

from __future__ import annotations

import errno
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from curate.cli.libraries import import_error_message
from curate.errors import UsageError, VividsetError
from curate.interrupts import EXIT_CODE, InterruptHandler
from curate.locations import check_local_name, local_path, parse_location
from curate.text import advise, describe_error, escape_control, is_out_of_handles, wrap_line

SCAN_MANIFEST = Path("manifests/scan.parquet")
CLEAN_MANIFEST = Path("manifests/clean.parquet")
RESUMABLE = "run the same command again; it continues from what is finished"
"""Message after an interrupt, for commands that write many files."""
WRITES_AT_END = "no partial output was written; run the same command again"
"""The same for commands that write one file, or files that belong together, when they finish."""
READ_ONLY = "this command writes no files; run it again"
"""The same for commands that only print."""


class PathOrUrl(click.Path):
    """A path or URL that isn't empty: an unset shell variable must not mean the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Refuse the empty string, and paths that only look right; see `check_local_name`."""
        self.check_not_empty(value, param, ctx)
        check_local_name(os.fspath(value), existing=True)
        return super().convert(value, param, ctx)

    def check_not_empty(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        """Refuse the empty string."""
        if value == "":
            self.fail("the path is empty: is a shell variable not set? Write . for the current folder.", param, ctx)


class LocalPath(PathOrUrl):
    """A path on this machine, as `pathlib.Path`; the URL of a store is refused.

    Args:
        existing: accept a name that begins with `~` if there is such a file; see `check_local_name`.
    """

    def __init__(self, *, existing: bool = False) -> None:
        super().__init__(readable=False)  # the functions report unreadable files, with advice
        self._existing = existing

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        self.check_not_empty(value, param, ctx)
        if self._existing and os.path.lexists(value):
            return Path(value)
        return local_path(value, "/".join(param.opts) if isinstance(param, click.Option) else "")


class LocationType(PathOrUrl):
    """A path on this machine or the URL of a store, as a `Location`."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or URL."""
        self.check_not_empty(value, param, ctx)
        return parse_location(value)


PATH = LocalPath()
PHOTO_PATH = LocalPath(existing=True)
LOCATION = LocationType(readable=False)
CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_TYPED_WORDS = f"{__name__}.typed_words"
"""Key of the typed arguments in a context's `meta`."""
Command = Callable[..., Any]


def workers_option(help_text: str) -> Callable[[Command], Command]:
    """The option `--workers`."""
    return click.option("--workers", type=click.IntRange(1), show_default="number of available cores", help=help_text)


def timeout_option(help_text: str) -> Callable[[Command], Command]:
    """The option `--timeout`."""
    return click.option(
        "--timeout", "timeout_s", type=click.FloatRange(0.1), default=60.0, show_default=True, help=help_text
    )


def engine_options(command: Command) -> Command:
    """Add the options of a command that processes photos in parallel: `--workers`, `--engine`, `--timeout`."""
    timeout = timeout_option("Maximum time for one photo, in seconds. A photo that takes longer counts as failed.")
    engine = engine_option()
    workers = workers_option("Number of worker processes; with --engine ray, number of parallel tasks.")
    return workers(engine(timeout(command)))


def engine_option() -> Callable[[Command], Command]:
    """The option `--engine`."""
    return click.option(
        "--engine",
        type=click.Choice(["serial", "processes", "ray"]),
        default="processes",
        show_default=True,
        help="Where to run: serial (in this process, for debugging), processes (on this machine) or ray (on a Ray "
        "cluster).",
    )


class ErrorHandlingGroup(click.Group):
    """A group of commands that report every expected error in one line and exit with a code."""

    def add_commands(self, interrupt_messages: Mapping[click.Command, str]) -> None:
        """Add commands, each with the message that it prints when it is interrupted."""
        self.interrupt_messages = {command.name: message for command, message in interrupt_messages.items()}
        for command in interrupt_messages:
            self.add_command(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the typed arguments for error messages, then parse them."""
        ctx.meta[_TYPED_WORDS] = [*args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: RET503 - `ctx.exit` doesn't return
        """Run the command; turn expected errors and interrupts into one line and an exit code."""
        _reopen_closed_streams()
        for stream in (sys.stdout, sys.stderr):  # a file name that isn't UTF-8 must not end a run
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        with InterruptHandler() as interrupts:
            try:
                return super().invoke(ctx)
            except BaseException as exc:  # noqa: BLE001 - unexpected errors are raised again
                interrupts.stop()
                if interrupts.requested or isinstance(exc, KeyboardInterrupt):
                    line, code = f"Interrupted: {self._interrupt_message(ctx, exc)}.", EXIT_CODE
                else:
                    line, code = _expected_error(ctx, exc)
            echo_message(line)
            ctx.exit(code)

    def _interrupt_message(self, ctx: click.Context, exc: BaseException) -> str:
        """The message of the KeyboardInterrupt itself, or else the command's general one."""
        if isinstance(exc, KeyboardInterrupt) and exc.args:
            return str(exc)
        return self.interrupt_messages.get(ctx.invoked_subcommand, READ_ONLY)


def _expected_error(ctx: click.Context, exc: BaseException) -> tuple[str, int]:
    """The line and exit code of an expected error; any other exception is raised again."""
    if isinstance(exc, click.NoSuchOption):
        if file := next((word for word in ctx.meta[_TYPED_WORDS] if word[:1] == "-" and os.path.lexists(word)), None):
            path = os.path.join(os.curdir, file)
            raise click.UsageError(
                f"{exc.format_message()} If you mean the file {file}, write {path}", exc.ctx
            ) from exc
        raise exc
    if isinstance(exc, VividsetError):
        return f"Error: {exc}", 2 if isinstance(exc, UsageError) else 1
    if isinstance(exc, ImportError | OSError) and (message := import_error_message(exc)):
        return f"Error: {message}", 1
    if isinstance(exc, OSError) and exc.errno != errno.EPIPE:  # click handles a closed pipe, as in `| head`
        return f"Error: {_system_error_message(exc)}", 1
    raise exc


def _reopen_closed_streams() -> None:
    """Open standard streams that the caller closed (`2>&-`) on the null device.

    Otherwise the next file to be opened would get their number, and error messages would be written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _system_error_message(exc: OSError) -> str:
    """Path, cause and advice for a system error that the command itself doesn't handle."""
    where = f"{exc.filename}: " if exc.filename and not is_out_of_handles(exc) else ""
    advice = advise(exc)
    return f"{where}{describe_error(exc)}{': ' if advice else ''}{advice}"


def output_width() -> int:
    """The width of the terminal; 80 columns if the output goes elsewhere."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def echo_lines(lines: Iterable[str]) -> None:
    """Print text on stdout, wrapped to `output_width`, with control characters in file names escaped."""
    width = output_width()
    for line in lines:
        for part in wrap_line(escape_control(line), width):
            click.echo(part)


def echo_data(lines: Iterable[str]) -> None:
    """Print lines for other programs on stdout: not wrapped, but with control characters escaped."""
    for line in lines:
        click.echo(escape_control(line))


def echo_message(line: str) -> None:
    """Print an error, a warning or a note on stderr: wrapped on a terminal, else as one line, for logs and scripts."""
    line = escape_control(line)
    for part in wrap_line(line, output_width()) if sys.stderr.isatty() else [line]:
        click.echo(part, err=True)


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and remaining time on stderr; nothing if stderr isn't a terminal."""
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
    on_terminal = sys.stdout.isatty()  # rich would draw lines meant for a file or pipe above the bar on stderr
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=on_terminal) as bar:
        task = bar.add_task(unit, total=None, rate="listing")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} a second" if speed else "")

        yield update


def typed_command() -> str:
    """The command line as typed, quoted for a POSIX shell."""
    return f"{click.get_current_context().find_root().info_name} {shlex.join(sys.argv[1:])}"
