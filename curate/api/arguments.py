"""What the functions of the public API share: one or many paths, options as one object or as single arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from curate.api.bounds import Bounds
from curate.errors import UsageError
from curate.filtering.options import (
    DEFAULT_PRESET,
    SETTING_NAMES,
    FilterOptions,
    build_options,
    load_preset,
    merge_settings,
)
from curate.locations import PathText, RemotePath, local_path

StrPath = PathText
"""A path or URL as text, a `pathlib.Path`, or a location that another function of the API returned."""
Options = TypeVar("Options")


def path_texts(paths: StrPath | Sequence[StrPath]) -> tuple[str, ...]:
    """One or many paths or URLs as text."""
    return tuple(path_text(path) for path in ([paths] if isinstance(paths, str | os.PathLike | RemotePath) else paths))


def path_text(path: StrPath) -> str:
    """A path or URL as text."""
    return path.url if isinstance(path, RemotePath) else os.fspath(path)


def to_roots(paths: StrPath | Sequence[StrPath]) -> list[Path]:
    """One or many folders of this machine as a list."""
    return [local_path(path, "roots") for path in path_texts(paths)]


def choose_options(options: Options | None, given: Options, default: Options) -> Options:
    """The options object of a call, or the one made of its single arguments.

    Raises:
        UsageError: both were given.
    """
    if options is not None and given != default:
        raise UsageError("give options=, or single settings, but not both")
    return given if options is None else options


def choose_filter_options(arguments: Mapping[str, Any], bounds: Bounds, options: FilterOptions | None) -> FilterOptions:
    """The rules of a call: `options`, or a preset with the arguments that are not None in place of its settings.

    Raises:
        TypeError: `bounds` has a name that is not in `Bounds`, as for any unknown argument.
        UsageError: rules and `options` were given.
    """
    if unknown := bounds.keys() - Bounds.__annotations__.keys():
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    arguments = {**arguments, **bounds}
    names = {name.replace("-", "_"): name for name in SETTING_NAMES}
    given = {names[name]: value for name, value in arguments.items() if name in names and value not in (None, (), {})}
    for name in ("keep-tone", "keep-kind", "keep-top", "reject-list", "keep-list", "join-column"):
        if name in given:
            given[name] = list(path_texts(given[name]))
    if "join" in given:
        given["join"] = path_text(given["join"])
    preset = path_text(arguments["preset"])
    if options is None:
        return build_options(merge_settings(load_preset(preset), given))
    if given or preset != DEFAULT_PRESET:
        raise UsageError("give options=, or a preset and single rules, but not both")
    return options


def call_text(command: str | None, function: str, *paths: StrPath | Sequence[StrPath]) -> str:
    """What a manifest records as its origin: the given text, or the call with its paths."""
    if command is not None:
        return command
    shown = [
        repr(path_text(path)) if isinstance(path, str | os.PathLike | RemotePath) else repr(list(path_texts(path)))
        for path in paths
    ]
    return f"curate.{function}({', '.join(shown)})"
