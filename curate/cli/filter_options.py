"""The options of `curate filter`, which `curate explain` shares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import click

from curate.filtering.options import (
    DEFAULT_PRESET,
    DUPLICATES,
    NUMERIC_MEASURES,
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
    click.option("--min-side", type=click.IntRange(0), help="Reject photos with a short side below this, in px."),
    click.option("--max-aspect", type=float, help="Reject photos with a ratio of long to short side above this."),
    click.option(
        "--where",
        metavar="SQL",
        help='Reject photos for which this SQL condition is not true, like "width > 800". Needs the package duckdb.',
    ),
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
