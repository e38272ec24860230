"""The rules that look at all photos before they can judge one: shares, SQL, duplicates, balance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from curate import diversity, duplicates, gates, manifest
from curate.criteria import FilterOptions
from curate.errors import EngineError, ManifestError, UsageError
from curate.gates import Gate
from curate.hextext import words

SCAN_PLACES = pa.schema([(column.name, column.type) for column in manifest.KEY])
Photos: TypeAlias = Path | Any
"""The rows to judge: a manifest, or a `pa.Table` in memory."""


@dataclass(frozen=True, slots=True)
class Flagged:
    """Rows that a rule rejects, with a reason each."""

    name: str
    rows: NDArray[np.int64]
    """Ascending."""
    reasons: pa.Array

    def gate(self, rows: slice) -> Gate:
        """The verdict on some rows."""
        first, last = np.searchsorted(self.rows, [rows.start, rows.stop])
        fails = np.zeros(rows.stop - rows.start, np.bool_)
        fails[self.rows[first:last] - rows.start] = True
        return Gate(self.name, fails, self.reasons.slice(first, last - first))


@dataclass(frozen=True, slots=True)
class Survey:
    """What those rules found, by row."""

    options: FilterOptions
    """Those that were asked for, a share replaced by the line that it means."""
    passes_where: NDArray[np.bool_] | None = None
    flagged: tuple[Flagged, ...] = ()
    split_bits: NDArray[np.uint32] | None = None
    """The bits that draw each photo's split, where those aren't the first of its own content hash."""

    def gates(self, rows: slice, unreadable: Gate) -> Iterator[Gate]:
        """Their verdicts on some rows."""
        if self.passes_where is not None:
            name = f"not ({self.options.where})"
            fails = ~self.passes_where[rows] & ~unreadable.fails
            yield Gate(name, fails, gates.repeated(name, int(fails.sum())))
        for each in self.flagged:
            yield each.gate(rows)


def survey(photos: Photos, options: FilterOptions) -> Survey:
    """Look at all photos as far as the options ask for it.

    Raises:
        EngineError: a condition needs DuckDB, and it isn't installed.
        ManifestError: a column that a rule needs is missing, or holds something else.
        UsageError: the condition isn't understood.
    """
    if options.keep_top_percent is not None:
        options = replace(options, min_colorfulness=top_line(readable_colorfulness(photos), options.keep_top_percent))
    found = Survey(options, None if options.where is None else where(photos, options.where))
    if options.duplicates == "keep" and not options.balance:
        return found
    columns = _columns(photos, found)
    if options.duplicates != "keep":
        found = _with_duplicates(photos, found, columns)
    if options.balance:
        found = _with_balance(found, columns)
    return found


@dataclass(slots=True)
class _Columns:
    """What duplicates and balance are decided from, a few bytes a photo."""

    readable: NDArray[np.bool_]
    passes: NDArray[np.bool_]
    """Whether a photo passes all rules so far."""
    colorfulness: NDArray[np.float32]
    pixels: NDArray[np.int32]
    sha256: NDArray[np.uint64]
    """(rows, 2) its first 128 bits; 0 for photos that aren't readable."""
    looks: NDArray[np.uint64]
    """(rows, 2) the fingerprint, likewise."""
    hue_deg: NDArray[np.float32]


def _columns(photos: Photos, found: Survey) -> _Columns:
    options = found.options
    names = gates.columns(options) | {"sha256"}
    names |= {"width", "height"} if options.duplicates != "keep" else set()
    names |= {"fingerprint"} if options.duplicates in ("together", "drop-near") else set()
    names |= {"hue_peak_deg"} if options.balance else set()
    pieces, start = [], 0
    for table in batches(photos, sorted(names)):
        pieces.append(_some_columns(table, slice(start, start + table.num_rows), found))
        start += table.num_rows
    parts = zip(*([getattr(piece, name) for name in _Columns.__slots__] for piece in pieces), strict=True)
    return _Columns(*(np.concatenate(part) for part in parts)) if pieces else _no_columns()


def _no_columns() -> _Columns:
    none, pairs = np.zeros(0), np.zeros((0, 2), np.uint64)
    return _Columns(none > 0, none > 0, none.astype("f4"), none.astype("i4"), pairs, pairs, none.astype("f4"))


def _some_columns(table: pa.Table, rows: slice, found: Survey) -> _Columns:
    judged = list(gates.in_force(table, found.options))
    judged += found.gates(rows, judged[0])
    readable = ~judged[0].fails
    return _Columns(
        readable=readable,
        passes=~np.logical_or.reduce([gate.fails for gate in judged]),
        colorfulness=_numbers(table, "colorfulness", np.float32),
        pixels=_numbers(table, "width", np.int32) * _numbers(table, "height", np.int32),
        sha256=_hashes(table, "sha256", readable),
        looks=_hashes(table, "fingerprint", readable),
        hue_deg=_numbers(table, "hue_peak_deg", np.float32),
    )


def _numbers(table: pa.Table, name: str, kind: type[Any]) -> NDArray[Any]:
    """A column as numbers, 0 where there is none."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, kind)
    filled = pc.fill_null(table[name].cast(pa.float64()), 0.0)
    return np.asarray(np.nan_to_num(filled.to_numpy()), kind)


def _hashes(table: pa.Table, name: str, readable: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(rows, 2) the first 128 bits of hex text."""
    both = np.zeros((table.num_rows, 2), np.uint64)
    if name in table.column_names:
        text = table[name].filter(pa.array(readable))
        try:
            both[readable, 0], both[readable, 1] = words(text, 64), words(pc.utf8_slice_codeunits(text, 16, 32), 64)
        except ValueError as exc:
            raise ManifestError(
                f"the scan's column {name!r} is of another version ({exc}): scan the photos again"
            ) from exc
    return both


def _with_duplicates(photos: Photos, found: Survey, columns: _Columns) -> Survey:
    """One photo of each group stays: the best of those that pass the other rules, or of all where none does."""
    options = found.options
    rows = np.flatnonzero(columns.readable)
    best_first = np.lexsort((-columns.colorfulness[rows], -columns.pixels[rows].astype(np.int64)))
    exact = options.duplicates == "drop-exact"
    group = duplicates.exact_groups if exact else duplicates.near_groups
    leader = rows[group((columns.sha256 if exact else columns.looks)[rows], best_first)]
    if options.duplicates != "drop-exact":
        found = replace(found, split_bits=_drawn_together(columns, rows, leader))
    if options.duplicates == "together":
        return found
    stays = _keepers(columns.passes, rows[best_first], leader[best_first])
    keeper = stays[leader]
    copies = keeper != rows
    reasons = _reasons(photos, columns, rows[copies], keeper[copies])
    columns.passes[rows[copies]] = False
    return replace(found, flagged=(*found.flagged, Flagged("duplicate", rows[copies], reasons)))


def _drawn_together(columns: _Columns, rows: NDArray[np.int64], leader: NDArray[np.int64]) -> NDArray[np.uint32]:
    """What draws each photo's split: the first 32 bits of its content hash, or bits 96 to 128 of its group's smallest.

    The first bits of the smallest of several hashes are small: they would put most groups into train.
    """
    bits = (columns.sha256[:, 0] >> np.uint64(32)).astype(np.uint32)
    hashes = columns.sha256[rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0], leader))
    starts = np.diff(leader[order], prepend=-1) != 0
    group = np.cumsum(starts) - 1
    smallest = hashes[order[starts]]
    mixed = np.bincount(group, np.any(hashes[order] != smallest[group], axis=1)) > 0
    together = mixed[group]
    bits[rows[order[together]]] = smallest[group[together], 1].astype(np.uint32)
    return bits


def _keepers(passes: NDArray[np.bool_], rows: NDArray[np.int64], leader: NDArray[np.int64]) -> NDArray[np.int64]:
    """By leader, the row that stays; `rows` come best first."""
    keeper = np.arange(len(passes))
    worst_first = np.flatnonzero(passes[rows])[::-1]
    keeper[leader[worst_first]] = rows[worst_first]
    return keeper


def _reasons(photos: Photos, columns: _Columns, copies: NDArray[np.int64], kept: NDArray[np.int64]) -> pa.Array:
    """`duplicate of PATH (distance 3)` for each copy."""
    named, number = np.unique(kept, return_inverse=True)
    same = np.all(columns.sha256[copies] == columns.sha256[kept], axis=1)
    one, other = columns.looks[copies], columns.looks[kept]
    apart = pa.array(duplicates.distances(one, other)).cast(pa.string())
    side = pa.array(duplicates.is_mirrored(one, other))
    near = pc.binary_join_element_wise("distance ", apart, pc.if_else(side, ", mirrored", ""), "")
    how = pc.if_else(pa.array(same), "same content", near)
    path = _paths(photos, named).take(pa.array(number))
    return pc.binary_join_element_wise("duplicate of ", path, " (", how, ")", "")


def _paths(photos: Photos, rows: NDArray[np.int64]) -> pa.Array:
    """Where some rows' photos lie, below their source; with it where there are several."""
    pieces, sources, start = [SCAN_PLACES.empty_table()], set(), 0
    for table in batches(photos, SCAN_PLACES.names):
        first, last = np.searchsorted(rows, [start, start + table.num_rows])
        pieces.append(table.take(pa.array(rows[first:last] - start)).cast(SCAN_PLACES))
        sources |= set(pc.unique(table["source"]).to_pylist())
        start += table.num_rows
    places = pa.concat_tables(pieces).combine_chunks()
    if len(sources) > 1:
        return pc.binary_join_element_wise(places["source"], places["path"], "/").combine_chunks()
    return places["path"].combine_chunks()


def _with_balance(found: Survey, columns: _Columns) -> Survey:
    rows = np.flatnonzero(columns.passes)
    draw = columns.sha256[rows, 1]  # not the first bits: those draw the split
    chosen = diversity.balance(columns.hue_deg[rows], columns.colorfulness[rows], draw, found.options.balance)
    left_out = ~chosen.stays
    texts = [
        f"over its share of --balance {found.options.balance}: {kept} of {there} with {diversity.name_of(stratum)} stay"
        for stratum, (there, kept) in enumerate(zip(chosen.found, chosen.quota, strict=True))
    ]
    reasons = pa.array(texts, pa.string()).take(pa.array(chosen.stratum[left_out]))
    return replace(found, flagged=(*found.flagged, Flagged("balance", rows[left_out], reasons)))


def batches(photos: Photos, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows in order, some at a time."""
    names = manifest.inspect(photos)[0].names if isinstance(photos, Path) else photos.column_names
    if missing := set(columns or ()) - set(names):
        raise ManifestError(f"the scan has no column {min(missing)!r}: run `curate scan` again with this version")
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
            raise UsageError(
                f"--where {condition!r} isn't understood: {why}: `curate inspect` names the columns"
            ) from exc
    passes = np.zeros(count, np.bool_)
    if set(found) != {"vividset_row", "passes"} or len(found["passes"]) != count:
        raise UsageError(f'--where {condition!r} must be a condition on each photo, like "width > 800"')
    passes[found["vividset_row"]] = np.ma.filled(found["passes"], fill_value=False)
    return passes
