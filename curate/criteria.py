"""What decides: lines on measures, shares, tones, and how the kept photos are split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from curate.errors import UsageError

TONES = ("color", "grayscale", "sepia", "toned")
DUPLICATES = ("keep", "together", "drop-exact", "drop-near")
"""What becomes of photos that look alike: nothing; one split a group; all but the best of each group are rejected."""
BOUNDED = (
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


def plain(number: float) -> str:
    """As short as it can be said without changing it.

    >>> plain(20.0), plain(20.00000001)
    ('20', '20.00000001')
    """
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


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
class Top:
    """The share of the readable photos that has the highest values of one measure."""

    column: str
    percent: float

    def __post_init__(self) -> None:
        if self.column not in BOUNDED:
            raise UsageError(f"--keep-top {self.column}: no measure is called so: choose from {', '.join(BOUNDED)}")
        if not 0 < self.percent <= 100:
            raise UsageError(
                "--keep-top must be a share of the photos over 0 % and up to 100 %, like 90% or sharpness:90%"
            )

    @classmethod
    def parse(cls, text: str) -> Top:
        """From `MEASURE:SHARE`, or a share alone, which is by colourfulness.

        >>> Top.parse("90%"), Top.parse("hue-entropy-bits:12.5%")
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
    keep_top: tuple[Top, ...] = ()
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
                        f"no photo can have both {low.option} {plain(low.line)} and {high.option} {plain(high.line)}: "
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
