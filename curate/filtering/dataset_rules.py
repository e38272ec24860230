"""The rules that look at all photos before they can judge one: shares, SQL, duplicates, balance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from curate import manifest
from curate.errors import EngineError, UsageError
from curate.filtering import balance, columns, rules
from curate.filtering.columns import Columns, Photos, count, usable
from curate.filtering.options import Bound, FilterOptions
from curate.filtering.rules import DatasetRuleResult, RuleResult, repeat_reason
from curate.measures import hash_groups
from curate.text import describe_error

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Photos of which a better one stays, and which."""

    rows: Numbers
    """(copies,) ascending."""
    kept: Numbers
    """(copies,)"""
    how: Callable[[Numbers, Numbers], pa.Array]
    """In what way some rows are copies of others, as text."""

    @classmethod
    def among(cls, kept: Numbers, how: Callable[[Numbers, Numbers], pa.Array]) -> Duplicates:
        """From the row that stays for each row, its own number where it stays itself."""
        rows = np.flatnonzero(kept != np.arange(len(kept)))
        return cls(rows, kept[rows], how)

    def flagged(self, photos: Photos) -> DatasetRuleResult:
        """`duplicate of PATH (distance 3)` for each."""
        named = np.unique(self.kept)
        paths = columns.paths(photos, named)

        def reasons(some: slice) -> pa.Array:
            path = paths.take(pa.array(np.searchsorted(named, self.kept[some])))
            how = self.how(self.rows[some], self.kept[some])
            return pc.binary_join_element_wise("duplicate of ", path, " (", how, ")", "")

        return DatasetRuleResult("duplicate", self.rows, reasons)


def exact_duplicates(known: Columns) -> Duplicates:
    """Photos of the same content as a better one."""
    best = (known.passes, known.pixels, known.colorfulness)
    kept = hash_groups.group_exact_duplicates(known.sha256, np.flatnonzero(known.usable), best)
    return Duplicates.among(kept, lambda rows, _: repeat_reason("same content", len(rows)))


def near_duplicates(known: Columns) -> tuple[Duplicates, NDArray[np.uint32]]:
    """Photos that look like a better one, and the bits that draw each photo's split."""
    rows = np.flatnonzero(known.usable)
    best_first = np.lexsort((-known.colorfulness[rows], -known.pixels[rows].astype(np.int64)))
    leader = rows[hash_groups.group_near_duplicates(known.looks[rows], best_first)]
    stays = _keepers(known.passes, rows[best_first], leader[best_first])
    kept = np.arange(len(known.usable))
    kept[rows] = stays[leader]
    return Duplicates.among(kept, partial(_how, known)), _drawn_together(known, rows, leader)


def _keepers(passes: NDArray[np.bool_], rows: Numbers, leader: Numbers) -> Numbers:
    """By leader, the row that stays: the best that passes, or the leader; `rows` come best first."""
    keeper = np.arange(len(passes))
    worst_first = np.flatnonzero(passes[rows])[::-1]
    keeper[leader[worst_first]] = rows[worst_first]
    return keeper


def _drawn_together(known: Columns, rows: Numbers, leader: Numbers) -> NDArray[np.uint32]:
    """What draws each photo's split: the first 32 bits of its content hash, or bits 96 to 128 of its group's smallest.

    The first bits of the smallest of several hashes are small: they would put most groups into train.
    """
    bits = (known.sha256[:, 0] >> np.uint64(32)).astype(np.uint32)
    hashes = known.sha256[rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0], leader))
    starts = np.diff(leader[order], prepend=-1) != 0
    group = np.cumsum(starts) - 1
    smallest = hashes[order[starts]]
    mixed = np.bincount(group, np.any(hashes[order] != smallest[group], axis=1)) > 0
    together = mixed[group]
    bits[rows[order[together]]] = smallest[group[together], 1].astype(np.uint32)
    return bits


def _how(known: Columns, copies: Numbers, kept: Numbers) -> pa.Array:
    """`same content`, `distance 3` or `distance 5, mirrored` for each copy."""
    same = np.all(known.sha256[copies] == known.sha256[kept], axis=1)
    one, other = known.looks[copies], known.looks[kept]
    apart = pa.array(hash_groups.hamming_distances(one, other)).cast(pa.string())
    side = pa.array(hash_groups.is_mirrored(one, other))
    near = pc.binary_join_element_wise("distance ", apart, pc.if_else(side, ", mirrored", ""), "")
    return pc.if_else(pa.array(same), "same content", near)


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """What those rules found, by row."""

    options: FilterOptions
    """Those that were asked for, and the lines that shares turned out to mean."""
    passes_where: NDArray[np.bool_] | None = None
    flagged: tuple[DatasetRuleResult, ...] = ()
    split_bits: NDArray[np.uint32] | None = None
    """The bits that draw each photo's split, where those aren't the first of its own content hash."""

    def judge(self, table: pa.Table, rows: slice) -> list[RuleResult]:
        """All verdicts on some rows, also those of the rules on single photos; the first is `gates.readable`."""
        judged = list(rules.apply_rules(table, self.options))
        if self.passes_where is not None:
            name = f"not ({self.options.where})"
            fails = ~self.passes_where[rows] & ~judged[0].fails
            judged.append(RuleResult(name, fails, rules.repeat_reason(name, int(fails.sum()))))
        return judged + [each.gate(rows) for each in self.flagged]


def compute_dataset_stats(photos: Photos, options: FilterOptions) -> DatasetStats:
    """Look at all photos as far as the options ask for it.

    Raises:
        EngineError: a condition needs DuckDB, and it isn't installed.
        ManifestError: a column that a rule needs is missing, or holds something else.
        UsageError: the condition isn't understood.
    """
    values = usable(photos, [top.column for top in options.keep_top])
    for top in options.keep_top:
        line = threshold_for_share(values[top.column], top.percent)
        options = options if line is None else options.with_line(Bound(top.column, line, lowest=True))
    found = DatasetStats(options, None if options.where is None else sql_mask(photos, options.where))
    if options.duplicates == "keep" and not options.balance:
        return found
    columns = Columns.of(photos, _looked_at(options), found.judge)
    if options.duplicates != "keep":
        found = _with_duplicates(photos, found, columns)
    if options.balance:
        found = _with_balance(found, columns)
    return found


def _looked_at(options: FilterOptions) -> set[str]:
    names = rules.columns(options) | {"sha256"}
    names |= {"width", "height"} if options.duplicates != "keep" else set()
    names |= {"fingerprint"} if options.duplicates in ("together", "drop-near") else set()
    return names | ({"hue_peak_deg"} if options.balance else set())


def _with_duplicates(photos: Photos, found: DatasetStats, columns: Columns) -> DatasetStats:
    """One photo of each group stays: the best of those that pass the other rules, or of all where none does."""
    if found.options.duplicates == "drop-exact":
        dropped = exact_duplicates(columns)
    else:
        dropped, split_bits = near_duplicates(columns)
        found = replace(found, split_bits=split_bits)
    if found.options.duplicates == "together":
        return found
    columns.passes[dropped.rows] = False
    return replace(found, flagged=(*found.flagged, dropped.flagged(photos)))


def _with_balance(found: DatasetStats, columns: Columns) -> DatasetStats:
    rows = np.flatnonzero(columns.passes)
    draw = columns.sha256[rows, 1]  # not the first bits: those draw the split
    chosen = balance.balance(columns.hue_deg[rows], columns.colorfulness[rows], draw, found.options.balance)
    left_out, stratum = ~chosen.stays, chosen.stratum
    texts = pa.array(
        f"over its share of --balance {found.options.balance}: "
        f"{kept} of {there} with {balance.stratum_label(number)} stay"
        for number, (there, kept) in enumerate(zip(chosen.found, chosen.quota, strict=True))
    )
    which = stratum[left_out]
    left = DatasetRuleResult("balance", rows[left_out], lambda some: texts.take(pa.array(which[some])))
    return replace(found, flagged=(*found.flagged, left))


def threshold_for_share(values: NDArray[np.float64], percent: float) -> float | None:
    """The shortest decimal that `percent` of the values reach, or more only where values are equal.

    Returns:
        The line; None if there are no values.

    >>> threshold_for_share(np.array([10.123, 17.345, 17.391, 40.0]), 50)
    17.39
    """
    if not len(values):
        return None
    keep = math.ceil(round(len(values) * percent / 100, 6))
    lowest_kept = float(np.partition(values, len(values) - keep)[len(values) - keep])
    highest_dropped = float(np.max(values, where=values < lowest_kept, initial=-math.inf))
    shortened = (math.floor(lowest_kept * 10**decimals) / 10**decimals for decimals in range(12))
    return next((line for line in shortened if highest_dropped < line <= lowest_kept), lowest_kept)


def sql_mask(photos: Photos, condition: str) -> NDArray[np.bool_]:
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
        return ds.dataset(list(map(str, manifest.list_parts(scan))), schema=manifest.inspect_manifest(scan)[0])
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"--where can't look into {scan}: {describe_error(exc)}: give it another, or a link with one"
        ) from exc
