"""Rules that look at one photo at a time, applied to all rows of a table at once, with a reason for every failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import ManifestError, UsageError
from curate.filtering.option_values import Bound
from curate.filtering.options import FilterOptions
from curate.image.source_type import MACHINE_MADE
from curate.text import format_number

OPTIONAL_COLUMNS = ("missing_since", "kind", "digital_source_type")
"""Columns that rules read if the scan has them; those of older versions lack them."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Which rows of a table fail one rule, and why."""

    name: str
    """As it is counted and printed, like `colorfulness < 20`."""
    fails: NDArray[np.bool_]
    """(rows,)"""
    reasons: pa.Array
    """Text for each failing row, in their order."""

    def select(self, rows: NDArray[np.bool_]) -> RuleResult:
        """Return the same result for only some of the (rows,)."""
        return RuleResult(self.name, self.fails & rows, self.reasons.filter(pa.array(rows[self.fails])))


@dataclass(frozen=True, slots=True)
class TableResults:
    """The results of all rules for a table."""

    failed: Sequence[RuleResult]
    """Rules that reject photos; at least one."""
    waived: Sequence[RuleResult]
    """Rules on single photos that would reject photos of the keep list, which have no effect on them."""
    listed: NDArray[np.bool_]
    """(rows,) whether the keep list keeps the photo."""

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """(rows,) whether any rule rejects the photo."""
        return np.asarray(np.logical_or.reduce([result.fails for result in self.failed]), np.bool_)


@dataclass(frozen=True, slots=True)
class DatasetRuleResult:
    """Which rows of a whole manifest fail a rule that compares photos; reasons are made only when they are needed."""

    name: str
    rows: NDArray[np.int64]
    """(failing,) row numbers, ascending."""
    reasons: Callable[[slice], pa.Array]
    """Returns the text for a slice of `rows`."""

    def slice_rows(self, rows: slice) -> RuleResult:
        """Return the result for a range of the manifest's rows."""
        first, last = np.searchsorted(self.rows, [rows.start, rows.stop])
        fails = np.zeros(rows.stop - rows.start, np.bool_)
        fails[self.rows[first:last] - rows.start] = True
        return RuleResult(self.name, fails, self.reasons(slice(first, last)))


def apply_rules(table: pa.Table, options: FilterOptions) -> Iterator[RuleResult]:
    """Apply all rules on single photos; the first result is that of `unreadable_rule`.

    A rule whose option is at its default, so that no photo can fail it, gives no result.

    Raises:
        ManifestError: the table lacks a column that a rule needs.
    """
    yield unreadable_rule(table)
    if (missing := missing_rule(table)).fails.any():
        yield missing
    if options.min_colorfulness is not None:
        yield bound_rule(table, Bound("colorfulness", options.min_colorfulness, is_min=True))
    yield tone_rule(table, options.keep_tones)
    if "kind" in table.column_names:
        yield kind_rule(table, options.keep_kinds)
    if not options.keep_machine_made and (made := machine_made_rule(table)).fails.any():
        yield made
    for bound in options.bounds:
        yield bound_rule(table, bound)
    for column in dict.fromkeys(bound.column for bound in options.column_bounds):
        yield missing_value_rule(table, column)
    for bound in options.column_bounds:
        yield bound_rule(table, bound)
    if options.min_side_px:
        yield min_side_rule(table, options.min_side_px)
    if math.isfinite(options.max_aspect):
        yield max_aspect_rule(table, options.max_aspect)


def rule_columns(options: FilterOptions) -> set[str]:
    """Return the columns that `apply_rules` reads."""
    bounds = (*options.bounds, *options.column_bounds)
    columns = {"colorfulness", "tone", *OPTIONAL_COLUMNS, "error", *(bound.column for bound in bounds)}
    return columns | ({"width", "height"} if options.min_side_px or math.isfinite(options.max_aspect) else set())


def unreadable_rule(table: pa.Table) -> RuleResult:
    """Reject photos without measures; the reason is their error."""
    error = _get_column(table, "error")
    fails = to_mask(pc.is_valid(error)) | to_mask(pc.is_null(table["colorfulness"], nan_is_null=True))
    text = pc.fill_null(error.filter(pa.array(fails)), "it was not measured")
    return RuleResult("unreadable", fails, pc.binary_join_element_wise("unreadable:", text, " "))


def missing_rule(table: pa.Table) -> RuleResult:
    """Reject photos that the last scan didn't find, whatever their measures were before."""
    if "missing_since" not in table.column_names:  # an older version made the scan
        return RuleResult("missing", np.zeros(table.num_rows, np.bool_), repeat_reason("missing", 0))
    fails = to_mask(pc.is_valid(table["missing_since"].combine_chunks()))
    return RuleResult("missing", fails, repeat_reason("missing", int(fails.sum())))


def usable_mask(table: pa.Table) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether a photo has measures and is not missing."""
    return ~(unreadable_rule(table).fails | missing_rule(table).fails)


def tone_rule(table: pa.Table, keep: frozenset[str]) -> RuleResult:
    """Reject photos whose tone is not in `keep`."""
    tones = _get_column(table, "tone")
    kept = pc.is_in(tones, value_set=pa.array(sorted(keep), pa.string()))
    fails = to_mask(pc.and_(pc.is_valid(tones), pc.invert(kept)))
    return RuleResult("tone", fails, pc.binary_join_element_wise("tone is", tones.filter(pa.array(fails)), " "))


def kind_rule(table: pa.Table, keep: frozenset[str]) -> RuleResult:
    """Reject pictures whose kind is not in `keep`; those without a kind pass."""
    kinds = _get_column(table, "kind")
    kept = pc.is_in(kinds, value_set=pa.array(sorted(keep), pa.string()))
    fails = to_mask(pc.and_(pc.is_valid(kinds), pc.invert(kept)))
    return RuleResult("kind", fails, pc.binary_join_element_wise("kind is", kinds.filter(pa.array(fails)), " "))


def machine_made_rule(table: pa.Table) -> RuleResult:
    """Reject photos whose metadata says that a program made them or their colors."""
    if "digital_source_type" not in table.column_names:  # an older version made the scan
        return RuleResult("machine-made", np.zeros(table.num_rows, np.bool_), repeat_reason("machine-made", 0))
    types = _get_column(table, "digital_source_type")
    fails = to_mask(pc.is_in(types, value_set=pa.array(sorted(MACHINE_MADE), pa.string())))
    text = pc.binary_join_element_wise("machine-made:", types.filter(pa.array(fails)), " ")
    return RuleResult("machine-made", fails, text)


def bound_rule(table: pa.Table, bound: Bound) -> RuleResult:
    """Reject photos with a value of one measure below or above a limit."""
    return _compare(bound.column, _get_column(table, bound.column).cast(pa.float64()), bound)


def missing_value_rule(table: pa.Table, column: str) -> RuleResult:
    """Reject photos without a value, or with NaN, in a column that a bound needs."""
    name = f"{column} has no value"
    fails = to_mask(pc.is_null(_get_column(table, column), nan_is_null=True))
    return RuleResult(name, fails, repeat_reason(name, int(fails.sum())))


def check_column_bounds(schema: pa.Schema, options: FilterOptions) -> None:
    """Check that the columns of `--min-column` and `--max-column` exist and hold numbers.

    Raises:
        UsageError: one doesn't.
    """
    for bound in options.column_bounds:
        if bound.column not in schema.names:
            raise UsageError(
                f"{bound.option}: neither the scan nor a table of --join has this column: `curate inspect` shows those "
                "of the scan"
            )
        kind = schema.field(bound.column).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise UsageError(f"{bound.option}: the column has {kind} instead of numbers: use --where, or convert it")


def min_side_rule(table: pa.Table, side_px: int) -> RuleResult:
    """Reject photos whose short side is shorter, in pixels."""
    short = pc.min_element_wise(_get_column(table, "width"), _get_column(table, "height"), skip_nulls=False)
    return _compare("short side", short.cast(pa.float64()), Bound("side", side_px, is_min=True))


def max_aspect_rule(table: pa.Table, aspect: float) -> RuleResult:
    """Reject photos whose long side is more than `aspect` times the short side."""
    width, height = (_get_column(table, name).cast(pa.float64()) for name in ("width", "height"))
    return _compare(
        "aspect",
        pc.divide(pc.max_element_wise(width, height, skip_nulls=False), pc.min_element_wise(width, height)),
        Bound("aspect", aspect, is_min=False),
    )


def repeat_reason(text: str, count: int) -> pa.Array:
    """Return an Arrow array with `count` times the same text."""
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, np.int64)))


def to_mask(values: Any) -> NDArray[np.bool_]:
    """Return an Arrow boolean array as numpy; null becomes False."""
    filled = pc.fill_null(values, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.bool_)


def _get_column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise ManifestError(f"the scan has no column {name!r}: run `curate scan` again with this version")
    return table[name].combine_chunks()


def _compare(name: str, values: pa.Array, bound: Bound) -> RuleResult:
    """Compare values with a limit; null passes.

    A reason reads `name 17.3 < 20`. Its value is rounded away from the limit, so that the comparison stays true: 19.96
    is shown as 19.9, not as 20.
    """
    fails_limit, round_away = (pc.less, pc.floor) if bound.is_min else (pc.greater, pc.ceil)
    fails = to_mask(fails_limit(values, bound.limit))
    limit = format_number(bound.limit)
    decimals = 6 if "e" in limit else len(limit.partition(".")[2])
    scale = 10.0 ** max(1, decimals)
    shown = pc.divide(round_away(pc.multiply(values.filter(pa.array(fails)), scale)), scale)
    relation = f" {bound.sign} {limit}"
    return RuleResult(
        name + relation, fails, pc.binary_join_element_wise(f"{name} ", shown.cast(pa.string()), relation, "")
    )
