"""The rules that photos pass or fail, each over a whole table at once, with a true sentence for every failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import EngineError, ManifestError, UsageError


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
class Gate:
    """One rule's verdicts over all rows."""

    name: str
    fails: NDArray[np.bool_]
    reasons: pa.Array
    """Text for every row; only the failing rows' is used."""


def readable(table: pa.Table) -> Gate:
    """Photos without measures fail, for their own reason."""
    error = table["error"].combine_chunks()
    unmeasured = _bools(pc.is_valid(error)) | _bools(pc.is_null(table["colorfulness"], nan_is_null=True))
    text = pc.binary_join_element_wise("unreadable:", pc.fill_null(error, "it was not measured"), " ")
    return Gate("unreadable", unmeasured, text)


def tone(table: pa.Table, keep: frozenset[str]) -> Gate:
    """Photos of another tone than those to keep fail."""
    tones = table["tone"].combine_chunks()
    kept = pc.is_in(tones, value_set=pa.array(sorted(keep), pa.string()))
    fails = _bools(pc.and_(pc.is_valid(tones), pc.invert(kept)))
    return Gate("tone", fails, pc.binary_join_element_wise("tone is", tones, " "))


def bound(table: pa.Table, rule: Bound) -> Gate:
    """Photos beyond the line of one measure fail."""
    return _beyond(rule.column, _column(table, rule.column).cast(pa.float64()), rule)


def min_side(table: pa.Table, side_px: int) -> Gate:
    """Photos whose short side is shorter fail."""
    short = pc.min_element_wise(_column(table, "width"), _column(table, "height"), skip_nulls=False)
    return _beyond("short side", short.cast(pa.float64()), Bound("side", side_px, lowest=True))


def max_aspect(table: pa.Table, aspect: float) -> Gate:
    """Photos whose long side is more than so many times the short one fail."""
    width, height = (_column(table, name).cast(pa.float64()) for name in ("width", "height"))
    return _beyond(
        "aspect",
        pc.divide(pc.max_element_wise(width, height, skip_nulls=False), pc.min_element_wise(width, height)),
        Bound("aspect", aspect, lowest=False),
    )


def where(table: pa.Table, condition: str, measured: NDArray[np.bool_]) -> Gate:
    """Measured photos for which an SQL condition over the columns isn't true fail.

    Raises:
        EngineError: DuckDB isn't installed.
        UsageError: it isn't understood.
    """
    try:
        import duckdb
    except ImportError as missing:
        raise EngineError("--where needs DuckDB: pip install 'vividset[sql]'") from missing
    with duckdb.connect() as connection:
        connection.register("photos", table)
        try:
            # the table is the user's own, and so is what is asked of it
            rows = connection.sql(f"SELECT CAST(({condition}) AS BOOLEAN) FROM photos").fetchnumpy()  # noqa: S608
            (passes,) = rows.values()
        except duckdb.Error as exc:
            why = str(exc).splitlines()[0]
            raise UsageError(f"--where {condition!r} isn't understood: {why}") from exc
    if len(passes) != table.num_rows:
        raise UsageError(f'--where {condition!r} must be a condition on each photo, like "width > 800"')
    fails = measured & ~np.asarray(np.ma.filled(passes, fill_value=False), np.bool_)
    return Gate(f"not ({condition})", fails, pa.array([f"not ({condition})"]).take(pa.array(np.zeros(len(fails), int))))


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise ManifestError(f"the scan has no column {name!r}: run `curate scan` again with this version")
    return table[name].combine_chunks()


def _beyond(name: str, values: pa.Array, rule: Bound) -> Gate:
    """`name 17.3 < 20`: the value rounded away from the line, so that the sentence is true."""
    compare, rounded = (pc.less, pc.floor) if rule.lowest else (pc.greater, pc.ceil)
    scale = 10.0 ** max(1, _decimals(rule.line))
    shown = pc.divide(rounded(pc.multiply(values, scale)), scale)
    end = f" {rule.sign} {_plain(rule.line)}"
    text = pc.binary_join_element_wise(f"{name} ", shown.cast(pa.string()), end, "")
    return Gate(name + end, _bools(compare(values, rule.line)), text)


def _decimals(number: float) -> int:
    return len(_plain(number).partition(".")[2]) if "e" not in _plain(number) else 6


def _plain(number: float) -> str:
    """As short as it can be said without changing it.

    >>> _plain(20.0), _plain(20.00000001)
    ('20', '20.00000001')
    """
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _bools(values: Any) -> NDArray[np.bool_]:
    filled = pc.fill_null(values, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.bool_)
