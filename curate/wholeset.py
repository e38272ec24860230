"""The rules that look at all photos before they can judge one: shares, SQL, duplicates, balance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from curate import copies, diversity, gates, manifest
from curate.columns import Columns, Photos, count, usable
from curate.criteria import Bound, FilterOptions
from curate.errors import EngineError, UsageError, told
from curate.gates import Flagged, Gate


@dataclass(frozen=True, slots=True)
class Survey:
    """What those rules found, by row."""

    options: FilterOptions
    """Those that were asked for, and the lines that shares turned out to mean."""
    passes_where: NDArray[np.bool_] | None = None
    flagged: tuple[Flagged, ...] = ()
    split_bits: NDArray[np.uint32] | None = None
    """The bits that draw each photo's split, where those aren't the first of its own content hash."""

    def judge(self, table: pa.Table, rows: slice) -> list[Gate]:
        """All verdicts on some rows, also those of the rules on single photos; the first is `gates.readable`."""
        judged = list(gates.in_force(table, self.options))
        if self.passes_where is not None:
            name = f"not ({self.options.where})"
            fails = ~self.passes_where[rows] & ~judged[0].fails
            judged.append(Gate(name, fails, gates.repeated(name, int(fails.sum()))))
        return judged + [each.gate(rows) for each in self.flagged]


def survey(photos: Photos, options: FilterOptions) -> Survey:
    """Look at all photos as far as the options ask for it.

    Raises:
        EngineError: a condition needs DuckDB, and it isn't installed.
        ManifestError: a column that a rule needs is missing, or holds something else.
        UsageError: the condition isn't understood.
    """
    values = usable(photos, [top.column for top in options.keep_top])
    for top in options.keep_top:
        line = top_line(values[top.column], top.percent)
        options = options if line is None else options.with_line(Bound(top.column, line, lowest=True))
    found = Survey(options, None if options.where is None else where(photos, options.where))
    if options.duplicates == "keep" and not options.balance:
        return found
    columns = Columns.of(photos, _looked_at(options), found.judge)
    if options.duplicates != "keep":
        found = _with_duplicates(photos, found, columns)
    if options.balance:
        found = _with_balance(found, columns)
    return found


def _looked_at(options: FilterOptions) -> set[str]:
    names = gates.columns(options) | {"sha256"}
    names |= {"width", "height"} if options.duplicates != "keep" else set()
    names |= {"fingerprint"} if options.duplicates in ("together", "drop-near") else set()
    return names | ({"hue_peak_deg"} if options.balance else set())


def _with_duplicates(photos: Photos, found: Survey, columns: Columns) -> Survey:
    """One photo of each group stays: the best of those that pass the other rules, or of all where none does."""
    if found.options.duplicates == "drop-exact":
        dropped = copies.exact(columns)
    else:
        dropped, split_bits = copies.near(columns)
        found = replace(found, split_bits=split_bits)
    if found.options.duplicates == "together":
        return found
    columns.passes[dropped.rows] = False
    return replace(found, flagged=(*found.flagged, dropped.flagged(photos)))


def _with_balance(found: Survey, columns: Columns) -> Survey:
    rows = np.flatnonzero(columns.passes)
    draw = columns.sha256[rows, 1]  # not the first bits: those draw the split
    chosen = diversity.balance(columns.hue_deg[rows], columns.colorfulness[rows], draw, found.options.balance)
    left_out, stratum = ~chosen.stays, chosen.stratum
    texts = pa.array(
        f"over its share of --balance {found.options.balance}: {kept} of {there} with {diversity.name_of(number)} stay"
        for number, (there, kept) in enumerate(zip(chosen.found, chosen.quota, strict=True))
    )
    which = stratum[left_out]
    left = Flagged("balance", rows[left_out], lambda some: texts.take(pa.array(which[some])))
    return replace(found, flagged=(*found.flagged, left))


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
        UsageError: it isn't understood, or reaches for files.
    """
    try:
        import duckdb
    except ImportError as missing:
        raise EngineError("--where needs DuckDB: pip install 'vividset[sql]'") from missing
    passes = np.zeros(count(photos), np.bool_)
    if isinstance(photos, Path):
        photos = _as_dataset(photos)
    # a preset may come from a stranger: its condition sees the photos' numbers, and no file
    with duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"}) as connection:
        connection.register("scan", photos)
        try:
            connection.sql("CREATE VIEW photos AS SELECT *, row_number() OVER () - 1 AS vividset_row FROM scan")
            question = f"SELECT vividset_row, CAST(({condition}) AS BOOLEAN) AS passes FROM photos"  # noqa: S608
            found = connection.sql(question).fetchnumpy()
        except duckdb.PermissionException as exc:
            raise UsageError(f"--where {condition!r} reaches for a file: it sees the manifest's columns only") from exc
        except duckdb.Error as exc:
            why = " ".join(str(exc).partition("LINE ")[0].split())
            raise UsageError(
                f"--where {condition!r} isn't understood: {why}: `curate inspect` names the columns"
            ) from exc
    if set(found) != {"vividset_row", "passes"} or len(found["passes"]) != len(passes):
        raise UsageError(f'--where {condition!r} must be a condition on each photo, like "width > 800"')
    passes[found["vividset_row"]] = np.ma.filled(found["passes"], fill_value=False)
    return passes


def _as_dataset(scan: Path) -> ds.Dataset:
    """A manifest that DuckDB can read more than once."""
    try:
        return ds.dataset(list(map(str, manifest.parts(scan))), schema=manifest.inspect(scan)[0])
    except UnicodeEncodeError as exc:
        raise UsageError(f"--where can't look into {scan}: {told(exc)}: give it another, or a link with one") from exc
