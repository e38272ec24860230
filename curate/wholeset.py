"""The rules that look at all photos before they can judge one: shares, and conditions in SQL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from curate import gates, manifest
from curate.criteria import FilterOptions
from curate.errors import EngineError, UsageError
from curate.gates import Gate

Photos: TypeAlias = Path | Any
"""The rows to judge: a manifest, or a `pa.Table` in memory."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What those rules found, by row."""

    options: FilterOptions
    """Those that were asked for, a share replaced by the line that it means."""
    passes_where: NDArray[np.bool_] | None = None

    def gates(self, rows: slice, unreadable: Gate) -> Iterator[Gate]:
        """Their verdicts on some rows."""
        if self.passes_where is not None:
            name = f"not ({self.options.where})"
            fails = ~self.passes_where[rows] & ~unreadable.fails
            yield Gate(name, fails, gates.repeated(name, int(fails.sum())))


def survey(photos: Photos, options: FilterOptions) -> Survey:
    """Look at all photos as far as the options ask for it.

    Raises:
        EngineError: a condition needs DuckDB, and it isn't installed.
        UsageError: the condition isn't understood.
    """
    if options.keep_top_percent is not None:
        options = replace(options, min_colorfulness=top_line(readable_colorfulness(photos), options.keep_top_percent))
    return Survey(options, None if options.where is None else where(photos, options.where))


def batches(photos: Photos, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows in order, some at a time."""
    if isinstance(photos, Path):
        return manifest.batches(photos, columns)
    return iter([photos if columns is None else photos.select(columns)])


def readable_colorfulness(photos: Photos) -> NDArray[np.float64]:
    """M of every photo that has one."""
    pieces = [np.zeros(0)]
    for table in batches(photos, ["colorfulness", "error"]):
        measured = pa.array(~gates.readable(table).fails)
        pieces.append(table["colorfulness"].filter(measured).cast(pa.float64()).to_numpy())
    return np.concatenate(pieces)


def top_line(values: NDArray[np.float64], percent: float) -> float | None:
    """The shortest decimal that `percent` of the values reach, or more only where values are equal.

    Returns:
        The line; None if there are no values.

    >>> top_line(np.array([10.123, 17.345, 17.391, 40.0]), 50)
    17.39
    """
    if not len(values):
        return None
    keep = math.ceil(round(len(values) * percent / 100, 6))
    lowest_kept = float(np.partition(values, len(values) - keep)[len(values) - keep])
    highest_dropped = float(np.max(values, where=values < lowest_kept, initial=-math.inf))
    shortened = (math.floor(lowest_kept * 10**decimals) / 10**decimals for decimals in range(12))
    return next((line for line in shortened if highest_dropped < line <= lowest_kept), lowest_kept)


def where(photos: Photos, condition: str) -> NDArray[np.bool_]:
    """(rows) bool: whether an SQL condition over the columns is true.

    Raises:
        EngineError: DuckDB isn't installed.
        UsageError: it isn't understood.
    """
    try:
        import duckdb
    except ImportError as missing:
        raise EngineError("--where needs DuckDB: pip install 'vividset[sql]'") from missing
    if isinstance(photos, Path):
        photos = ds.dataset(list(map(str, manifest.parts(photos))), schema=manifest.inspect(photos)[0])
    count = photos.count_rows() if isinstance(photos, ds.Dataset) else photos.num_rows
    with duckdb.connect() as connection:
        connection.register("scan", photos)
        try:
            connection.sql("CREATE VIEW photos AS SELECT *, row_number() OVER () - 1 AS vividset_row FROM scan")
            # the manifest is the user's own, and so is what is asked of it
            question = f"SELECT vividset_row, CAST(({condition}) AS BOOLEAN) AS passes FROM photos"  # noqa: S608
            found = connection.sql(question).fetchnumpy()
        except duckdb.Error as exc:
            why = str(exc).splitlines()[0]
            raise UsageError(f"--where {condition!r} isn't understood: {why}") from exc
    passes = np.zeros(count, np.bool_)
    if set(found) != {"vividset_row", "passes"} or len(found["passes"]) != count:
        raise UsageError(f'--where {condition!r} must be a condition on each photo, like "width > 800"')
    passes[found["vividset_row"]] = np.ma.filled(found["passes"], fill_value=False)
    return passes
