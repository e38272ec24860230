"""Options of a filter: thresholds, shares, tones, duplicates, balance and split; and presets of them."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.filtering.option_values import NUMERIC_MEASURES, Bound, Split, TopShare
from curate.measures.names import KINDS, TONES
from curate.text import describe_error, format_number
from curate.unicode import read_text

DUPLICATES = ("keep", "together", "drop-exact", "drop-near")
"""How to treat copies: keep them, keep them in one split, or reject all but the best exact or near copy."""
JOIN_KEYS = ("sha256", "path")
"""Columns of a scan by which the rows of a table of `--join` can be found."""


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The rules of a filter; the defaults keep color photos, no graphics, with a colorfulness of at least 20."""

    min_colorfulness: float | None = 20.0
    """Photos with a lower M are rejected; None: no lowest value. 20 is the documented recipe's value; it lies between
    the paper's levels `slightly` and `moderately`."""
    keep_tones: frozenset[str] = frozenset({"color"})
    """Tones that are not rejected; see `TONES`."""
    split: Split = field(default_factory=Split)
    keep_kinds: frozenset[str] = frozenset({"photo"})
    """Kinds that are not rejected; see `KINDS`. Scans without the column `kind` are filtered without this rule."""
    keep_machine_made: bool = False
    """Keep photos whose metadata says that a program made them or their colors; see `MACHINE_MADE`."""
    bounds: tuple[Bound, ...] = ()
    """Further lowest and highest values."""
    column_bounds: tuple[Bound, ...] = ()
    """Lowest and highest values of columns that are not measures; photos without a value are rejected."""
    join: str | None = None
    """A table whose columns are added to the scan: Parquet, CSV or JSON lines; a path or URL."""
    join_on: str = "sha256"
    """The column by which a photo's row in that table is found: `sha256` or `path`."""
    join_columns: tuple[str, ...] = ()
    """The columns to add; empty: all of the table."""
    min_side_px: int = 0
    """Photos with a shorter short side are rejected."""
    max_aspect: float = math.inf
    """Photos whose long side is more than this many times the short side are rejected."""
    where: str | None = None
    """An SQL condition over the columns; photos for which it is not true are rejected."""
    keep_top: tuple[TopShare, ...] = ()
    """Lowest values that are calculated so that these shares of the readable photos pass; at most one per measure."""
    duplicates: str = "keep"
    """One of `DUPLICATES`."""
    balance: int = 0
    """Keep this many photos, spread over hues and colorfulness; 0 keeps all that pass."""
    reject_lists: tuple[str, ...] = ()
    """Text files of photos that are rejected; see `curate.filtering.photo_lists`."""
    keep_lists: tuple[str, ...] = ()
    """Text files of photos that no rule on single photos rejects, if they can be read and are on no reject list."""

    def __post_init__(self) -> None:  # noqa: C901  # one check after another
        if self.where is not None and not self.where.strip():
            raise UsageError('--where is empty: write a condition like "width > 800", or leave it out')
        if self.join_on not in JOIN_KEYS:
            raise UsageError(f"--on {self.join_on!r} is not valid: choose from {', '.join(JOIN_KEYS)}")
        if self.join is None and self.join_columns:
            raise UsageError("--join-column needs a table: name it with --join")
        if self.balance < 0:
            raise UsageError("--balance must be a number of photos, like 10000")
        if self.duplicates not in DUPLICATES:
            raise UsageError(f"--duplicates {self.duplicates!r} is not valid: choose from {', '.join(DUPLICATES)}")
        if self.min_colorfulness is not None and not math.isfinite(self.min_colorfulness):
            raise UsageError("--min-colorfulness must be a finite number, like 20")
        self._check_bounds()
        if self.min_side_px < 0:
            raise UsageError("--min-side must be a number of pixels, like 256")
        if not self.max_aspect >= 1:
            raise UsageError("--max-aspect must be at least 1, like 3 for panoramas up to 3:1")
        if unknown := self.keep_tones - set(TONES):
            raise UsageError(f"unknown tone {', '.join(sorted(unknown))}: choose from {', '.join(TONES)}")
        if unknown := self.keep_kinds - set(KINDS):
            raise UsageError(f"unknown kind {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}")

    def _check_bounds(self) -> None:
        bounds = self.all_bounds()
        for low in bounds:
            for high in bounds:
                if low.column == high.column and low.is_min and not high.is_min and low.limit > high.limit:
                    raise UsageError(
                        f"no photo can have both {low.option} {format_number(low.limit)} and "
                        f"{high.option} {format_number(high.limit)}: change one of them"
                    )

    def all_bounds(self) -> tuple[Bound, ...]:
        """Return all lowest and highest values, the lowest colorfulness first."""
        first = () if self.min_colorfulness is None else (Bound("colorfulness", self.min_colorfulness, is_min=True),)
        return (*first, *self.bounds, *self.column_bounds)

    def with_bound(self, bound: Bound) -> FilterOptions:
        """Return the same options with one more lowest value."""
        if bound.column == "colorfulness":
            return replace(self, min_colorfulness=bound.limit)
        return replace(self, bounds=(*self.bounds, bound))

    def without_dataset_rules(self) -> FilterOptions:
        """Return the same options without the rules that compare photos with each other, to decide a single photo."""
        return replace(self, keep_top=(), duplicates="keep", balance=0)

    def to_dict(self) -> dict[str, Any]:
        """Return all options as JSON values, for the lineage of a filtered manifest."""
        return {
            "min_colorfulness": self.min_colorfulness,
            "keep_tones": sorted(self.keep_tones),
            "keep_kinds": sorted(self.keep_kinds),
            "keep_machine_made": self.keep_machine_made,
            "split": str(self.split),
            "bounds": {bound.option: bound.limit for bound in (*self.bounds, *self.column_bounds)},
            "join": self.join,
            "min_side_px": self.min_side_px,
            "max_aspect": self.max_aspect if math.isfinite(self.max_aspect) else None,
            "where": self.where,
            "keep_top": {top.column: top.percent for top in self.keep_top},
            "duplicates": self.duplicates,
            "balance": self.balance,
            "reject_lists": list(self.reject_lists),
            "keep_lists": list(self.keep_lists),
        }


Settings = Mapping[str, Any]
"""A preset's content: names of `curate filter` options without the dashes, and their values."""

PRESETS: Mapping[str, Settings] = {
    "colorization": {"min-colorfulness": 20},  # the documented recipe's threshold, color photos only, nothing else
    # the recipe crops 256 px, so smaller photos would be enlarged; and duplicates add nothing to training
    "strict": {
        "min-colorfulness": 20,
        "min-inside-colorfulness": 20,
        "max-border-share": 0.05,
        "max-selective-color": 0.72,
        "max-saturation-clipped-share": 0.04,
        "max-divider-count": 0,
        "max-seam-share": 0.5,
        "max-stroke-density": 4.8,
        "min-chroma-detail": 0.21,
        "min-side": 256,
        "duplicates": "drop-near",
    },
}
DEFAULT_PRESET = "colorization"

_BOUND_SETTINGS = {
    f"{end}-{name.replace('_', '-')}": (name, end == "min") for name in NUMERIC_MEASURES for end in ("min", "max")
}
"""The column of each setting that sets a bound, and whether it is the lowest value."""
_EXAMPLES: Mapping[str, Any] = {
    "keep-top": ["90%", "sharpness:80%"],
    **dict.fromkeys(_BOUND_SETTINGS, 20.0),
    "keep-tone": ["sepia"],
    "keep-kind": ["graphic"],
    "keep-machine-made": True,
    "min-side": 256,
    "max-aspect": 3.0,
    "where": "width > 800",
    "join": "meta.parquet",
    "on": "sha256",
    "join-column": ["pwatermark"],
    "min-column": {"aesthetic": 5.0},
    "max-column": {"pwatermark": 0.5},
    "reject-list": ["bad.txt"],
    "keep-list": ["good.txt"],
    "duplicates": "drop-near",
    "balance": 10_000,
    "split": "90/5/5",
}
"""Every setting, with an example of the type that its value must have."""
SETTING_NAMES = tuple(_EXAMPLES)


def load_preset(name_or_path: str) -> Settings:
    """Return the settings of a preset: one of `PRESETS`, or a TOML file.

    Raises:
        UsageError: there is no such preset or file, it is not TOML, or it has an unknown setting or a wrong value.
    """
    from curate.files import check_readable  # here, so that --help doesn't wait for it
    from curate.locations import check_local_name

    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    check_local_name(name_or_path)
    path = Path(name_or_path)
    try:
        check_readable(path)
        settings = tomllib.loads(read_text(path))
    except FileNotFoundError as exc:
        names = ", ".join(PRESETS)
        raise UsageError(f"{path} is neither a preset nor a file: choose from {names}, or name a TOML file") from exc
    except (OSError, ValueError) as exc:
        cause = describe_error(exc)
        raise UsageError(f"{path} can't be read as a preset: {cause}: `curate filter --show` prints one") from exc
    for key, value in settings.items():
        _check_setting(path, key, value)
    return settings


def merge_settings(preset: Settings, given: Settings) -> Settings:
    """Return a preset's settings, replaced by given ones.

    A share (`keep-top`) also replaces the lowest value of its measure, and the reverse.
    """
    given_shares = {share.column: share for share in _parse_shares(given)}
    kept_shares = [
        share
        for share in _parse_shares(preset)
        if share.column not in given_shares and _min_setting(share.column) not in given
    ]
    replaced = {"keep-top", *map(_min_setting, given_shares)}
    settings = {key: value for key, value in preset.items() if key not in replaced} | {**given}
    shares = [_format_share(share) for share in (*kept_shares, *_parse_shares(given))]
    return {**settings, "keep-top": shares} if shares else settings


def build_options(settings: Settings) -> FilterOptions:
    """Return the filter options that settings describe.

    Raises:
        UsageError: settings contradict each other, or a value is not valid.
    """
    shares = _parse_shares(settings)
    for share in shares:
        if (name := _min_setting(share.column)) in settings:
            raise UsageError(f"--keep-top and --{name} both set the lowest {share.column}: give one of them")
        if [item.column for item in shares].count(share.column) > 1:
            raise UsageError(f"--keep-top is given twice for {share.column}: give it once per measure")
    bounds = tuple(
        Bound(column, float(settings[name]), is_min)
        for name, (column, is_min) in _BOUND_SETTINGS.items()
        if name in settings and name != "min-colorfulness"
    )
    return FilterOptions(
        min_colorfulness=settings.get("min-colorfulness"),
        keep_tones=frozenset({"color", *settings.get("keep-tone", ())}),
        keep_kinds=frozenset({"photo", *settings.get("keep-kind", ())}),
        keep_machine_made=settings.get("keep-machine-made", False),
        split=Split.parse(settings.get("split", str(Split()))),
        bounds=bounds,
        column_bounds=tuple(
            Bound(column, float(limit), is_min, is_foreign=True)
            for name, is_min in (("min-column", True), ("max-column", False))
            for column, limit in settings.get(name, {}).items()
        ),
        join=settings.get("join"),
        join_on=settings.get("on", "sha256"),
        join_columns=_to_texts(settings.get("join-column", ())),
        min_side_px=settings.get("min-side", 0),
        max_aspect=settings.get("max-aspect", math.inf),
        where=settings.get("where"),
        duplicates=settings.get("duplicates", "keep"),
        balance=settings.get("balance", 0),
        reject_lists=_to_texts(settings.get("reject-list", ())),
        keep_lists=_to_texts(settings.get("keep-list", ())),
        keep_top=shares,
    )


def settings_to_toml(settings: Settings) -> Iterator[str]:
    """Yield settings as lines of TOML, which `load_preset` reads."""
    yield "# for `curate filter --preset FILE`; keep-tone names tones besides color, keep-kind kinds besides photo"
    shown = {"keep-tone": [], "keep-kind": [], "split": str(Split()), **settings}
    yield from (_toml_line(key, shown[key]) for key in SETTING_NAMES if key in shown)


def _parse_shares(settings: Settings) -> tuple[TopShare, ...]:
    """Return the shares of `keep-top`; a single one may be written without brackets."""
    return tuple(map(TopShare.parse, _to_texts(settings.get("keep-top", ()))))


def _to_texts(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return a setting that may be written without brackets if it is a single text."""
    return (value,) if isinstance(value, str) else tuple(value)


def _format_share(share: TopShare) -> str:
    measure = "" if share.column == "colorfulness" else share.column.replace("_", "-") + ":"
    return f"{measure}{format_number(share.percent)}%"


def _min_setting(column: str) -> str:
    """Return the setting for the lowest value of a measure."""
    return f"min-{column.replace('_', '-')}"


def _check_setting(path: Path, key: str, value: Any) -> None:
    example = _EXAMPLES.get(key)
    if example is None:
        similar = next(iter(difflib.get_close_matches(key, SETTING_NAMES, 1)), "min-side")
        raise UsageError(f"{path}: unknown setting {key!r}: use names of `curate filter` options, like {similar}")
    valid = _is_number(value) if isinstance(example, float) else type(value) is type(example)
    if key in ("min-column", "max-column") and valid:
        valid = all(_is_number(limit) for limit in value.values())
    if key in ("keep-top", "reject-list", "keep-list", "join-column"):
        valid = all(isinstance(text, str) for text in (value if isinstance(value, list) else [value]))
    if key == "keep-tone" and valid:
        valid = all(tone in TONES for tone in value)
    if key == "keep-kind" and valid:
        valid = all(kind in KINDS for kind in value)
    if not valid:
        shown = json.dumps(value, default=str)
        raise UsageError(f"{path}: {key} = {shown} is not valid: write it like {_toml_line(key, example)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _toml_line(key: str, value: Any) -> str:
    if isinstance(value, dict):
        entries = ", ".join(_toml_line(json.dumps(name), limit) for name, limit in value.items())
        return f"{key} = {{ {entries} }}"
    # JSON is TOML here, except for DEL, which TOML wants escaped
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"
