"""The options that decide, for every command that decides; those typed go before those of --preset."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import click

from curate.filtering.options import (
    DEFAULT_PRESET,
    DUPLICATES,
    NUMERIC_MEASURES,
    PRESET_NAMES,
    PRESETS,
    TONES,
    load_preset,
    merge_settings,
)

Command = Callable[..., Any]
Option = Callable[[Command], Command]


def _lines() -> Iterator[Option]:
    yield click.option("--min-colorfulness", type=float, help="Reject photos whose M is lower; 20 by default.")
    yield click.option("--max-colorfulness", type=float, help="Reject photos whose M is higher.")
    for measure in NUMERIC_MEASURES[1:]:
        for end, verb in (("min", "lower"), ("max", "higher")):
            name = f"--{end}-{measure.replace('_', '-')}"
            yield click.option(name, type=float, help=f"Reject photos whose {measure} is {verb}.")


PHOTO_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--preset",
        default=DEFAULT_PRESET,
        show_default=True,
        metavar="NAME|FILE",
        help=f"Start from these options: {', '.join(PRESETS)}, or a TOML file.",
    ),
    *_lines(),
    click.option(
        "--keep-tone", multiple=True, type=click.Choice(TONES[1:]), help="Don't reject this tone; may be given again."
    ),
    click.option("--min-side", type=click.IntRange(0), help="Reject photos with a shorter short side, px."),
    click.option("--max-aspect", type=float, help="Reject photos whose long side is over so many times the short one."),
    click.option("--where", metavar="SQL", help="Reject photos for which this isn't true; needs vividset[sql]."),
)
"""Options on single photos."""

DATASET_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--keep-top",
        multiple=True,
        metavar="[MEASURE:]SHARE",
        help="Keep this share of the readable photos, like 90%, by colourfulness, or sharpness:90% by another measure; "
        "in place of its --min line. May be given again.",
    ),
    click.option(
        "--duplicates",
        type=click.Choice(DUPLICATES),
        help="What to do with copies of a photo, of its content (exact) or looks (near): keep them, keep them together "
        "in one split, or drop all but the best.",
    ),
    click.option(
        "--balance", type=click.IntRange(1), metavar="N", help="Keep N photos, spread over hues and colourfulness."
    ),
    click.option(
        "--split",
        metavar="SHARES",
        help="Percent of train/val/test, drawn from each photo's content; 90/5/5 by default.",
    ),
)
"""Options on the set as a whole."""


def filter_options(*options: Option) -> Option:
    """Give a command options that decide; it gets preset and typed ones together as `settings`, by name."""

    def give(command: Command) -> Command:
        @functools.wraps(command)
        def run(preset: str, **given: Any) -> Any:
            names = {name.replace("-", "_"): name for name in PRESET_NAMES}
            typed = {names[name]: given.pop(name) for name in names.keys() & given.keys()}
            typed = {name: value for name, value in typed.items() if value not in (None, ())}
            return command(settings=merge_settings(load_preset(preset), typed), **given)

        made: Command = run
        for option in reversed(options):
            made = option(made)
        return made

    return give
