"""The rules that look at one photo at a time, each over many rows at once, with a true sentence for every failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import ManifestError
from curate.filtering.options import Bound, FilterOptions
from curate.text import format_number


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule's verdicts over the rows of a table."""

    name: str
    fails: NDArray[np.bool_]
    reasons: pa.Array
    """Text for each failing row, in their order."""


@dataclass(frozen=True, slots=True)
class DatasetRuleResult:
    """What a rule that looked at all photos rejects; the sentences are made when they are wanted."""

    name: str
    rows: NDArray[np.int64]
    """Ascending."""
    reasons: Callable[[slice], pa.Array]
    """Text for some of those rows."""

    def gate(self, rows: slice) -> RuleResult:
        """The verdict on some rows of the whole set."""
        first, last = np.searchsorted(self.rows, [rows.start, rows.stop])
        fails = np.zeros(rows.stop - rows.start, np.bool_)
        fails[self.rows[first:last] - rows.start] = True
        return RuleResult(self.name, fails, self.reasons(slice(first, last)))


def apply_rules(table: pa.Table, options: FilterOptions) -> Iterator[RuleResult]:
    """Every rule on single photos, `readable` first; one that lets all through by its default isn't in force."""
    yield readable(table)
    if (gone := missing(table)).fails.any():
        yield gone
    if options.min_colorfulness is not None:
        yield bound(table, Bound("colorfulness", options.min_colorfulness, lowest=True))
    yield tone(table, options.keep_tones)
    for rule in options.bounds:
        yield bound(table, rule)
    if options.min_side_px:
        yield min_side(table, options.min_side_px)
    if math.isfinite(options.max_aspect):
        yield max_aspect(table, options.max_aspect)


def columns(options: FilterOptions) -> set[str]:
    """The columns that those rules look at."""
    needed = {"colorfulness", "tone", "error", "missing_since", *(rule.column for rule in options.bounds)}
    return needed | ({"width", "height"} if options.min_side_px or math.isfinite(options.max_aspect) else set())


def readable(table: pa.Table) -> RuleResult:
    """Photos without measures fail, for their own reason."""
    error = _column(table, "error")
    fails = bools(pc.is_valid(error)) | bools(pc.is_null(table["colorfulness"], nan_is_null=True))
    text = pc.fill_null(error.filter(pa.array(fails)), "it was not measured")
    return RuleResult("unreadable", fails, pc.binary_join_element_wise("unreadable:", text, " "))


def missing(table: pa.Table) -> RuleResult:
    """Photos that the last scan didn't find fail, whatever was measured of them before."""
    if "missing_since" not in table.column_names:  # an older version made the scan
        return RuleResult("missing", np.zeros(table.num_rows, np.bool_), repeat_reason("missing", 0))
    fails = bools(pc.is_valid(table["missing_since"].combine_chunks()))
    return RuleResult("missing", fails, repeat_reason("missing", int(fails.sum())))


def usable(table: pa.Table) -> NDArray[np.bool_]:
    """(rows,) bool: whether a photo was measured and is there."""
    return ~(readable(table).fails | missing(table).fails)


def tone(table: pa.Table, keep: frozenset[str]) -> RuleResult:
    """Photos of another tone than those to keep fail."""
    tones = _column(table, "tone")
    kept = pc.is_in(tones, value_set=pa.array(sorted(keep), pa.string()))
    fails = bools(pc.and_(pc.is_valid(tones), pc.invert(kept)))
    return RuleResult("tone", fails, pc.binary_join_element_wise("tone is", tones.filter(pa.array(fails)), " "))


def bound(table: pa.Table, rule: Bound) -> RuleResult:
    """Photos beyond the line of one measure fail."""
    return _beyond(rule.column, _column(table, rule.column).cast(pa.float64()), rule)


def min_side(table: pa.Table, side_px: int) -> RuleResult:
    """Photos whose short side is shorter fail."""
    short = pc.min_element_wise(_column(table, "width"), _column(table, "height"), skip_nulls=False)
    return _beyond("short side", short.cast(pa.float64()), Bound("side", side_px, lowest=True))


def max_aspect(table: pa.Table, aspect: float) -> RuleResult:
    """Photos whose long side is more than so many times the short one fail."""
    width, height = (_column(table, name).cast(pa.float64()) for name in ("width", "height"))
    return _beyond(
        "aspect",
        pc.divide(pc.max_element_wise(width, height, skip_nulls=False), pc.min_element_wise(width, height)),
        Bound("aspect", aspect, lowest=False),
    )


def repeat_reason(text: str, count: int) -> pa.Array:
    """The same reason for so many rows."""
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int64)))


def bools(values: Any) -> NDArray[np.bool_]:
    """An Arrow column of verdicts as numpy; unknown is False."""
    filled = pc.fill_null(values, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.bool_)


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise ManifestError(f"the scan has no column {name!r}: run `curate scan` again with this version")
    return table[name].combine_chunks()


def _beyond(name: str, values: pa.Array, rule: Bound) -> RuleResult:
    """`name 17.3 < 20`: the value rounded away from the line, so that the sentence is true."""
    compare, rounded = (pc.less, pc.floor) if rule.lowest else (pc.greater, pc.ceil)
    fails = bools(compare(values, rule.line))
    scale = 10.0 ** max(1, _decimals(rule.line))
    shown = pc.divide(rounded(pc.multiply(values.filter(pa.array(fails)), scale)), scale)
    end = f" {rule.sign} {format_number(rule.line)}"
    return RuleResult(name + end, fails, pc.binary_join_element_wise(f"{name} ", shown.cast(pa.string()), end, ""))


def _decimals(number: float) -> int:
    return len(format_number(number).partition(".")[2]) if "e" not in format_number(number) else 6
