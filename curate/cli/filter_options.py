"""The options of `curate filter`, which `curate explain` shares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import click

from curate.filtering.option_values import NUMERIC_MEASURES
from curate.filtering.options import (
    DEFAULT_PRESET,
    DUPLICATES,
    JOIN_KEYS,
    PRESETS,
    SETTING_NAMES,
    load_preset,
    merge_settings,
)
from curate.measures.names import KINDS, TONES

Command = Callable[..., Any]
Option = Callable[[Command], Command]


def _bound_options() -> Iterator[Option]:
    """`--min-X` and `--max-X` for every numeric measure X."""
    defaults = PRESETS[DEFAULT_PRESET]
    for measure in NUMERIC_MEASURES:
        for end, word in (("min", "below"), ("max", "above")):
            name = f"{end}-{measure.replace('_', '-')}"
            default = f"; {defaults[name]:g} by default" if name in defaults else ""
            yield click.option(f"--{name}", type=float, help=f"Reject photos with {measure} {word} this{default}.")


def _column_bound_option(end: str, word: str) -> Option:
    """`--min-column` or `--max-column`, as a dict."""

    def to_dict(_: click.Context, parameter: click.Parameter, pairs: tuple[tuple[str, float], ...]) -> Any:
        limits = dict(pairs) or None
        if limits and len(limits) < len(pairs):
            raise click.BadParameter("give it once per column", param=parameter)
        return limits

    return click.option(
        f"--{end}-column",
        multiple=True,
        type=(str, float),
        metavar="NAME NUMBER",
        callback=to_dict,
        help=f"Reject photos with a value {word} this, or without one, in this column, such as one of --join. Can be "
        "given several times.",
    )


PHOTO_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--preset",
        default=DEFAULT_PRESET,
        show_default=True,
        metavar="NAME|FILE",
        help=f"Options to start from: {' or '.join(PRESETS)}, or a TOML file.",
    ),
    *_bound_options(),
    click.option(
        "--keep-tone",
        multiple=True,
        type=click.Choice(TONES[1:]),
        help="Don't reject photos of this tone. Can be given several times.",
    ),
    click.option(
        "--keep-kind",
        multiple=True,
        type=click.Choice(KINDS[1:]),
        help="Don't reject pictures of this kind: drawings, maps, screenshots, scanned pages, collages and the like.",
    ),
    click.option(
        "--keep-machine-made",
        is_flag=True,
        default=None,
        help="Don't reject photos whose metadata says that a program made them or their colors.",
    ),
    click.option("--min-side", type=click.IntRange(0), help="Reject photos with a short side below this, in px."),
    click.option("--max-aspect", type=float, help="Reject photos with a ratio of long to short side above this."),
    click.option(
        "--where",
        metavar="SQL",
        help='Reject photos for which this SQL condition is not true, like "width > 800". Needs the package duckdb.',
    ),
    click.option(
        "--join",
        metavar="TABLE",
        help="Add the columns of this table: Parquet, CSV or JSON lines (.jsonl), also at a URL. Photos that the table "
        "lacks get no values.",
    ),
    click.option("--on", type=click.Choice(JOIN_KEYS), help="Column by which --join finds photos.  [default: sha256]"),
    click.option(
        "--join-column",
        multiple=True,
        metavar="NAME",
        help="Add only this column of the table. Can be given several times.",
    ),
    _column_bound_option("min", "below"),
    _column_bound_option("max", "above"),
    click.option(
        "--reject-list",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="Reject the photos of this text file: one path or sha256 per line, as the report writes it. Can be given "
        "several times.",
    ),
    click.option(
        "--keep-list",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="Keep the photos of such a file, whatever their measures are. A photo that is also in a --reject-list, or "
        "that can't be read, is rejected. Can be given several times.",
    ),
)
"""Options that decide on each photo independently of the others."""

DATASET_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--keep-top",
        multiple=True,
        metavar="[MEASURE:]PERCENT%",
        help="Keep the readable photos with the highest values: 90% by colorfulness, sharpness:90% by another measure. "
        "Replaces --min of that measure. Can be given several times.",
    ),
    click.option(
        "--duplicates",
        type=click.Choice(DUPLICATES),
        help="What to do with duplicates: keep all; keep all, together in one split; or keep only the best, of "
        "identical files (drop-exact) or of photos that look alike (drop-near).",
    ),
    click.option(
        "--balance",
        type=click.IntRange(1),
        metavar="N",
        help="Keep N photos, spread evenly over hues and colorfulness.",
    ),
    click.option(
        "--split",
        metavar="TRAIN/VAL/TEST",
        help="Percentages of the splits; identical files get the same split.  [default: 90/5/5]",
    ),
)
"""Options that compare photos with each other or divide the kept ones."""


def filter_options(*options: Option) -> Option:
    """Add filter options to a command.

    The command gets one argument `settings` in their place: the options of the preset, replaced by those that were
    typed, by name.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(preset: str, **arguments: Any) -> Any:
            names = {name.replace("-", "_"): name for name in SETTING_NAMES}
            typed = {names[name]: arguments.pop(name) for name in names.keys() & arguments.keys()}
            typed = {name: value for name, value in typed.items() if value not in (None, ())}
            return command(settings=merge_settings(load_preset(preset), typed), **arguments)

        decorated: Command = run
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate
