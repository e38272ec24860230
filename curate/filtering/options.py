"""What decides: lines on measures, shares, tones, and how the kept photos are split."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.text import describe_error, format_number

TONES = ("color", "grayscale", "sepia", "toned")
DUPLICATES = ("keep", "together", "drop-exact", "drop-near")
"""What becomes of photos that look alike: nothing; one split a group; all but the best of each group are rejected."""
NUMERIC_MEASURES = (
    "colorfulness",
    "chroma_mean",
    "saturation_mean",
    "hue_entropy_bits",
    "neutral_share",
    "lightness_mean",
    "dark_clipped_share",
    "bright_clipped_share",
    "sharpness",
    "tone_score",
)
"""Measures that can have a line."""
LEVEL_STARTS = (0, 15, 33, 45, 59, 82, 109)
"""Colourfulness at which each of the paper's levels starts."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A lowest or a highest value of one measure."""

    column: str
    line: float
    lowest: bool
    """True: values below the line fail. False: values above it do."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.line):
            raise UsageError(f"{self.option} must be a finite number, like 20")

    @property
    def option(self) -> str:
        """How the command spells it."""
        return f"--{'min' if self.lowest else 'max'}-{self.column.replace('_', '-')}"

    @property
    def sign(self) -> str:
        """What a failing value has between it and the line."""
        return "<" if self.lowest else ">"


@dataclass(frozen=True, slots=True)
class TopShare:
    """The share of the readable photos that has the highest values of one measure."""

    column: str
    percent: float

    def __post_init__(self) -> None:
        if self.column not in NUMERIC_MEASURES:
            raise UsageError(
                f"--keep-top {self.column}: no measure is called so: choose from {', '.join(NUMERIC_MEASURES)}"
            )
        if not 0 < self.percent <= 100:
            raise UsageError(
                "--keep-top must be a share of the photos over 0 % and up to 100 %, like 90% or sharpness:90%"
            )

    @classmethod
    def parse(cls, text: str) -> TopShare:
        """From `MEASURE:SHARE`, or a share alone, which is by colourfulness.

        >>> TopShare.parse("90%"), TopShare.parse("hue-entropy-bits:12.5%")
        (Top(column='colorfulness', percent=90.0), Top(column='hue_entropy_bits', percent=12.5))
        """
        measure, _, share = text.rpartition(":")
        try:
            percent = float(share.removesuffix("%")) if share.endswith("%") else math.nan
        except ValueError:
            percent = math.nan
        return cls(measure.replace("-", "_") or "colorfulness", percent)


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the kept photos, in percent; they add up to 100."""

    train: float = 90.0
    val: float = 5.0
    test: float = 5.0

    def __post_init__(self) -> None:
        shares = (self.train, self.val, self.test)
        if not all(math.isfinite(share) and share >= 0 for share in shares) or abs(sum(shares) - 100) > 1e-6:
            raise UsageError(f"the split {self} doesn't add up to 100: write it like 90/5/5 (train/val/test)")

    def __str__(self) -> str:
        return f"{self.train:g}/{self.val:g}/{self.test:g}"

    @classmethod
    def parse(cls, text: str) -> Split:
        """From `train/val/test`, like `90/5/5`.

        >>> Split.parse("80/10/10").train
        80.0
        """
        try:
            train, val, test = (float(share) for share in text.split("/"))
        except ValueError as exc:
            raise UsageError(f"the split {text!r} isn't understood: write it like 90/5/5 (train/val/test)") from exc
        return cls(train, val, test)


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What decides; the defaults keep colourful colour photos and nothing else."""

    min_colorfulness: float | None = 20.0
    """M below this is rejected; the documented recipe's 20 lies between the paper's `slightly` and `moderately`.
    None draws no line."""
    keep_tones: frozenset[str] = frozenset({"color"})
    """Tones that aren't rejected."""
    split: Split = field(default_factory=Split)
    bounds: tuple[Bound, ...] = ()
    """Further lowest and highest values."""
    min_side_px: int = 0
    """Photos whose short side is shorter are rejected."""
    max_aspect: float = math.inf
    """Photos whose long side is more than so many times the short one are rejected."""
    where: str | None = None
    """An SQL condition over the columns; photos for which it isn't true are rejected."""
    keep_top: tuple[TopShare, ...] = ()
    """Draw lowest lines where these shares of the readable photos lie on or above them; at most one a measure."""
    duplicates: str = "keep"
    """One of `DUPLICATES`."""
    balance: int = 0
    """Keep so many photos, spread over hues and colourfulness; 0 keeps all that pass."""

    def __post_init__(self) -> None:
        if self.where is not None and not self.where.strip():
            raise UsageError('--where is empty: write a condition like "width > 800", or leave it out')
        if self.balance < 0:
            raise UsageError("--balance must be a number of photos, like 10000")
        if self.duplicates not in DUPLICATES:
            raise UsageError(f"--duplicates {self.duplicates!r} isn't understood: choose from {', '.join(DUPLICATES)}")
        if self.min_colorfulness is not None and not math.isfinite(self.min_colorfulness):
            raise UsageError("--min-colorfulness must be a finite number, like 20")
        self._check_that_some_can_pass()
        if self.min_side_px < 0:
            raise UsageError("--min-side must be a number of pixels, like 256")
        if not self.max_aspect >= 1:
            raise UsageError("--max-aspect must be at least 1, like 3 for panoramas up to 3:1")
        if unknown := self.keep_tones - set(TONES):
            raise UsageError(f"no tone is called {', '.join(sorted(unknown))}: choose from {', '.join(TONES)}")

    def _check_that_some_can_pass(self) -> None:
        lines = self.lines()
        for low in lines:
            for high in lines:
                if low.column == high.column and low.lowest and not high.lowest and low.line > high.line:
                    raise UsageError(
                        f"no photo can have both {low.option} {format_number(low.line)} and "
                        f"{high.option} {format_number(high.line)}: "
                        "change one of them"
                    )

    def lines(self) -> tuple[Bound, ...]:
        """All lowest and highest values, that of colourfulness first."""
        least = () if self.min_colorfulness is None else (Bound("colorfulness", self.min_colorfulness, lowest=True),)
        return (*least, *self.bounds)

    def with_line(self, line: Bound) -> FilterOptions:
        """The same and one more lowest value."""
        if line.column == "colorfulness":
            return replace(self, min_colorfulness=line.line)
        return replace(self, bounds=(*self.bounds, line))

    def for_one_photo(self) -> FilterOptions:
        """Without the rules that need other photos to compare with."""
        return replace(self, keep_top=(), duplicates="keep", balance=0)

    def recorded(self) -> dict[str, Any]:
        """Every option in force, for the lineage of what was decided."""
        return {
            "min_colorfulness": self.min_colorfulness,
            "keep_tones": sorted(self.keep_tones),
            "split": str(self.split),
            "bounds": {rule.option: rule.line for rule in self.bounds},
            "min_side_px": self.min_side_px,
            "max_aspect": self.max_aspect if math.isfinite(self.max_aspect) else None,
            "where": self.where,
            "keep_top": {top.column: top.percent for top in self.keep_top},
            "duplicates": self.duplicates,
            "balance": self.balance,
        }


Settings = Mapping[str, Any]

PRESETS: Mapping[str, Settings] = {
    "colorization": {"min-colorfulness": 20},  # the documented recipe's line, colour photos only, and nothing else
    # the recipe crops 256 px: less would have to be enlarged; and no photo is worth learning twice
    "strict": {"min-colorfulness": 20, "min-side": 256, "duplicates": "drop-near"},
}
DEFAULT_PRESET = "colorization"

_LINES = {
    f"{end}-{name.replace('_', '-')}": (name, end == "min") for name in NUMERIC_MEASURES for end in ("min", "max")
}
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
PRESET_NAMES = tuple(_EXAMPLES)


def load_preset(name_or_path: str) -> Settings:
    """The settings of a preset: one of `PRESETS`, or a TOML file.

    Raises:
        UsageError: there is none, it isn't TOML, or it holds what isn't a setting.
    """
    from curate.files import check_readable

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
        why = describe_error(exc)
        raise UsageError(f"{path} can't be read as a preset: {why}: `curate filter --show` prints one") from exc
    for key, value in settings.items():
        _check(path, key, value)
    return settings


def merge_settings(preset: Settings, typed: Settings) -> Settings:
    """A preset's settings with typed ones in their place; a share takes a lowest line's place too, and the reverse."""
    shares = {top.column: top for top in _tops(typed)}
    left = [top for top in _tops(preset) if top.column not in shares and _lowest(top) not in typed]
    unset = {_lowest(top) for top in shares.values()}
    settings = {key: value for key, value in preset.items() if key not in unset and key != "keep-top"} | {**typed}
    tops = [_said(top) for top in left] + [_said(top) for top in _tops(typed)]
    return {**settings, "keep-top": tops} if tops else settings


def preset_options(settings: Settings) -> FilterOptions:
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


def preset_to_toml(settings: Settings) -> Iterator[str]:
    """Settings as lines of TOML, which `load_preset` reads back."""
    yield "# for `curate filter --preset FILE`; keep-tone names tones besides color"
    shown = {"keep-tone": [], "split": str(Split()), **settings}
    yield from (_line(key, shown[key]) for key in PRESET_NAMES if key in shown)


def _bounds(settings: Settings) -> Iterator[Bound]:
    for key, (column, lowest) in _LINES.items():
        if key in settings and key != "min-colorfulness":
            yield Bound(column, float(settings[key]), lowest)


def _tops(settings: Settings) -> tuple[TopShare, ...]:
    """The shares to keep; one alone may be written without brackets."""
    shares = settings.get("keep-top", ())
    return tuple(map(TopShare.parse, [shares] if isinstance(shares, str) else shares))


def _lowest(top: TopShare) -> str:
    """The setting that draws the line which a share draws."""
    return f"min-{top.column.replace('_', '-')}"


def _said(top: TopShare) -> str:
    measure = "" if top.column == "colorfulness" else top.column.replace("_", "-") + ":"
    return f"{measure}{format_number(top.percent)}%"


def _check(path: Path, key: str, value: Any) -> None:
    example = _EXAMPLES.get(key)
    if example is None:
        near = next(iter(difflib.get_close_matches(key, PRESET_NAMES, 1)), "min-side")
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
