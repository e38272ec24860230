"""Values of filter options: the lowest or highest value of a column, a share of the photos, and a split."""

from __future__ import annotations

import math
from dataclasses import dataclass

from curate.errors import UsageError

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
    "kind_score",
    "border_share",
    "inside_colorfulness",
    "selective_color",
    "saturation_clipped_share",
    "divider_count",
    "seam_share",
    "stroke_density",
    "chroma_detail",
)
"""Measures that can have a lowest and a highest value."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The lowest or the highest allowed value of one measure."""

    column: str
    limit: float
    is_min: bool
    """True: values below the limit fail. False: values above it fail."""
    is_foreign: bool = False
    """The column is not a measure: it is named by `--min-column` or `--max-column`."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit):
            raise UsageError(f"{self.option} must be a finite number, like 20")

    @property
    def option(self) -> str:
        """The option of `curate filter` that sets it."""
        end = "min" if self.is_min else "max"
        return f"--{end}-column {self.column}" if self.is_foreign else f"--{end}-{self.column.replace('_', '-')}"

    @property
    def sign(self) -> str:
        """The relation of a failing value to the limit, `<` or `>`."""
        return "<" if self.is_min else ">"


@dataclass(frozen=True, slots=True)
class TopShare:
    """Keep the share of the readable photos that has the highest values of one measure."""

    column: str
    percent: float
    """Over 0 and up to 100."""

    def __post_init__(self) -> None:
        if self.column not in NUMERIC_MEASURES:
            raise UsageError(
                f"--keep-top: there is no measure {self.column!r}: choose from {', '.join(NUMERIC_MEASURES)}"
            )
        if not 0 < self.percent <= 100:
            raise UsageError(
                "--keep-top must be a share of the photos over 0 % and up to 100 %, like 90% or sharpness:90%"
            )

    @classmethod
    def parse(cls, text: str) -> TopShare:
        """Read `MEASURE:SHARE`, or a share alone, which is by colorfulness.

        >>> TopShare.parse("90%"), TopShare.parse("hue-entropy-bits:12.5%")
        (TopShare(column='colorfulness', percent=90.0), TopShare(column='hue_entropy_bits', percent=12.5))
        """
        measure, _, share = text.rpartition(":")
        try:
            percent = float(share.removesuffix("%")) if share.endswith("%") else math.nan
        except ValueError:
            percent = math.nan
        return cls(measure.replace("-", "_") or "colorfulness", percent)


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the kept photos in train, val and test, in percent; they add up to 100."""

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
        """Read `train/val/test`, like `90/5/5`.

        >>> Split.parse("80/10/10").train
        80.0
        """
        try:
            train, val, test = (float(share) for share in text.split("/"))
        except ValueError as exc:
            raise UsageError(f"the split {text!r} is not valid: write it like 90/5/5 (train/val/test)") from exc
        return cls(train, val, test)
