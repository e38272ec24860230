"""Options by name: what a filter decides by, as settings that a TOML file can hold.

A preset is complete: what it doesn't name isn't in force. Settings are called as the command's options are.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.criteria import BOUNDED, TONES, Bound, FilterOptions, Split, Top, plain
from curate.errors import UsageError, told

Settings = Mapping[str, Any]

PRESETS: Mapping[str, Settings] = {
    "colorization": {"min-colorfulness": 20},  # the documented recipe's line, colour photos only, and nothing else
    # the recipe crops 256 px: less would have to be enlarged; and no photo is worth learning twice
    "strict": {"min-colorfulness": 20, "min-side": 256, "duplicates": "drop-near"},
}
DEFAULT = "colorization"

_LINES = {f"{end}-{name.replace('_', '-')}": (name, end == "min") for name in BOUNDED for end in ("min", "max")}
_EXAMPLES: Mapping[str, Any] = {
    "keep-top": ["90%", "sharpness:80%"],
    **dict.fromkeys(_LINES, 20.0),
    "keep-tone": ["sepia"],
    "min-side": 256,
    "max-aspect": 3.0,
    "where": "width > 800",
    "duplicates": "drop-near",
    "balance": 10_000,
    "split": "90/5/5",
}
"""Every setting, with a value that shows its kind."""
NAMES = tuple(_EXAMPLES)


def load(name_or_path: str) -> Settings:
    """The settings of a preset: one of `PRESETS`, or a TOML file.

    Raises:
        UsageError: there is none, it isn't TOML, or it holds what isn't a setting.
    """
    from curate.manifest import check_readable

    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    try:
        check_readable(path)
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        names = ", ".join(PRESETS)
        raise UsageError(f"{path} is no preset and no file: choose from {names}, or name a TOML file") from exc
    except (OSError, ValueError) as exc:
        why = told(exc)
        raise UsageError(f"{path} can't be read as a preset: {why}: `curate filter --show` prints one") from exc
    for key, value in settings.items():
        _check(path, key, value)
    return settings


def joined(preset: Settings, typed: Settings) -> Settings:
    """A preset's settings with typed ones in their place; a share takes a lowest line's place too, and the reverse."""
    shares = {top.column: top for top in _tops(typed)}
    left = [top for top in _tops(preset) if top.column not in shares and _lowest(top) not in typed]
    unset = {_lowest(top) for top in shares.values()}
    settings = {key: value for key, value in preset.items() if key not in unset and key != "keep-top"} | {**typed}
    tops = [_said(top) for top in left] + [_said(top) for top in _tops(typed)]
    return {**settings, "keep-top": tops} if tops else settings


def options_of(settings: Settings) -> FilterOptions:
    """What the settings decide by.

    Raises:
        UsageError: they contradict each other, or a value makes no sense.
    """
    tops = _tops(settings)
    for top in tops:
        if _lowest(top) in settings:
            raise UsageError(f"--keep-top and --{_lowest(top)} both draw the line on {top.column}: give one of them")
        if [each.column for each in tops].count(top.column) > 1:
            raise UsageError(f"--keep-top is given twice for {top.column}: give it once a measure")
    return FilterOptions(
        min_colorfulness=settings.get("min-colorfulness"),
        keep_tones=frozenset({"color", *settings.get("keep-tone", ())}),
        split=Split.parse(settings.get("split", str(Split()))),
        bounds=tuple(_bounds(settings)),
        min_side_px=settings.get("min-side", 0),
        max_aspect=settings.get("max-aspect", math.inf),
        where=settings.get("where"),
        duplicates=settings.get("duplicates", "keep"),
        balance=settings.get("balance", 0),
        keep_top=tops,
    )


def toml(settings: Settings) -> Iterator[str]:
    """Settings as lines of TOML, which `load` reads back."""
    yield "# for `curate filter --preset FILE`; keep-tone names tones besides color"
    shown = {"keep-tone": [], "split": str(Split()), **settings}
    yield from (_line(key, shown[key]) for key in NAMES if key in shown)


def _bounds(settings: Settings) -> Iterator[Bound]:
    for key, (column, lowest) in _LINES.items():
        if key in settings and key != "min-colorfulness":
            yield Bound(column, float(settings[key]), lowest)


def _tops(settings: Settings) -> tuple[Top, ...]:
    """The shares to keep; one alone may be written without brackets."""
    shares = settings.get("keep-top", ())
    return tuple(map(Top.parse, [shares] if isinstance(shares, str) else shares))


def _lowest(top: Top) -> str:
    """The setting that draws the line which a share draws."""
    return f"min-{top.column.replace('_', '-')}"


def _said(top: Top) -> str:
    measure = "" if top.column == "colorfulness" else top.column.replace("_", "-") + ":"
    return f"{measure}{plain(top.percent)}%"


def _check(path: Path, key: str, value: Any) -> None:
    example = _EXAMPLES.get(key)
    if example is None:
        near = next(iter(difflib.get_close_matches(key, NAMES, 1)), "min-side")
        raise UsageError(
            f"{path}: no setting is called {key!r}: they are called as the options of `curate filter`, like {near}"
        )
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    fits = number if isinstance(example, float) else type(value) is type(example)
    if key == "keep-top":
        fits = all(isinstance(share, str) for share in (value if isinstance(value, list) else [value]))
    if key == "keep-tone" and fits:
        fits = all(tone in TONES for tone in value)
    if not fits:
        raise UsageError(
            f"{path}: {key} = {json.dumps(value, default=str)} isn't understood: write it like {_line(key, example)}"
        )


def _line(key: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # the one letter that TOML wants escaped too
    return f"{key} = {text}"
