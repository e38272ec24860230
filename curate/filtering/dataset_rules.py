"""Rules that need all photos to decide about one: shares, SQL conditions, duplicates and balance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from curate import manifest
from curate.errors import EngineError, UsageError
from curate.filtering.balance import choose_balanced, stratum_label
from curate.filtering.columns import (
    Columns,
    JoinedScan,
    PathOrTable,
    column_names,
    count_rows,
    read_measures,
    read_paths,
)
from curate.filtering.option_values import Bound
from curate.filtering.options import FilterOptions
from curate.filtering.photo_lists import PhotoList
from curate.filtering.rules import (
    DatasetRuleResult,
    RuleResult,
    TableResults,
    apply_rules,
    repeat_reason,
    rule_columns,
    usable_mask,
)
from curate.locations import Location, RemotePath
from curate.measures import hash_groups
from curate.text import describe_error, install_hint

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """Results of one pass over the whole scan; with them, its rows can be decided in pieces."""

    options: FilterOptions
    """The options asked for, plus the lowest values that the shares of `keep_top` mean."""
    where_mask: NDArray[np.bool_] | None = None
    """(rows,) whether the SQL condition is true; None without a condition."""
    results: tuple[DatasetRuleResult, ...] = ()
    split_bits: NDArray[np.uint32] | None = None
    """(rows,) the bits that decide each photo's split; None: the first 32 bits of its own content hash."""
    reject_list: PhotoList = field(default_factory=PhotoList)
    keep_list: PhotoList = field(default_factory=PhotoList)

    def apply_rules(self, table: pa.Table, rows: slice) -> TableResults:
        """Apply all rules, also those on single photos, to a table with the given range of the scan's rows."""
        results = list(apply_rules(table, self.options))
        if self.where_mask is not None:
            name = f"not ({self.options.where})"
            unreadable = results[0].fails
            fails = ~self.where_mask[rows] & ~unreadable
            results.append(RuleResult(name, fails, repeat_reason(name, int(fails.sum()))))
        rejected = self.reject_list.find(table)
        kept = self.keep_list.find(table) & ~rejected & usable_mask(table)
        waived = [result.select(kept) for result in results] if kept.any() else []
        if waived:
            results = [result.select(~kept) for result in results]
        if self.reject_list.entries:
            results.append(RuleResult("reject-list", rejected, repeat_reason("reject-list", int(rejected.sum()))))
        return TableResults([*results, *(result.slice_rows(rows) for result in self.results)], waived, kept)


def compute_dataset_stats(scan: PathOrTable, options: FilterOptions) -> DatasetStats:
    """Read the whole scan as far as the options need it; without such options, nothing is read.

    Raises:
        EngineError: a condition needs DuckDB, which is not installed.
        ManifestError: a column that a rule needs is missing, or its content is wrong.
        UsageError: the SQL condition is not valid, or a list of photos can't be read.
    """
    reject_list = PhotoList.read(options.reject_lists, "--reject-list")
    keep_list = PhotoList.read(options.keep_lists, "--keep-list")
    values = read_measures(scan, [share.column for share in options.keep_top])
    for share in options.keep_top:
        limit = threshold_for_share(values[share.column], share.percent)
        options = options if limit is None else options.with_bound(Bound(share.column, limit, is_min=True))
    where_mask = None if options.where is None else sql_mask(scan, options.where)
    stats = DatasetStats(options, where_mask, reject_list=reject_list, keep_list=keep_list)
    if options.duplicates == "keep" and not options.balance:
        return stats
    names = _column_names(options) | reject_list.columns() | keep_list.columns()
    columns = Columns.read(scan, names, stats.apply_rules)
    if options.duplicates != "keep":
        stats = _add_duplicates(scan, stats, columns)
    if options.balance:
        stats = _add_balance(stats, columns)
    return stats


def _column_names(options: FilterOptions) -> set[str]:
    names = rule_columns(options) | {"sha256"}
    names |= {"width", "height"} if options.duplicates != "keep" else set()
    names |= {"fingerprint"} if options.duplicates in ("together", "drop-near") else set()
    return names | ({"hue_peak_deg"} if options.balance else set())


def _add_duplicates(scan: PathOrTable, stats: DatasetStats, columns: Columns) -> DatasetStats:
    if stats.options.duplicates == "drop-exact":
        duplicates = find_exact_duplicates(columns)
    else:
        duplicates, split_bits = find_near_duplicates(columns)
        stats = replace(stats, split_bits=split_bits)
    if stats.options.duplicates == "together":
        return stats
    columns.passes[duplicates.rows] = False  # so that balance counts only photos that are kept
    return replace(stats, results=(*stats.results, duplicates.to_result(scan)))


def _add_balance(stats: DatasetStats, columns: Columns) -> DatasetStats:
    rows = np.flatnonzero(columns.passes & ~columns.listed)
    others = max(0, stats.options.balance - int((columns.passes & columns.listed).sum()))
    draw = columns.sha256[rows, 1]  # not the first bits: those decide the split
    subset = choose_balanced(columns.hue_deg[rows], columns.colorfulness[rows], draw, others)
    texts = pa.array(
        f"over its share of --balance {stats.options.balance}: {quota} of {available} with {stratum_label(number)} stay"
        for number, (available, quota) in enumerate(zip(subset.available, subset.quota, strict=True))
    )
    strata = subset.stratum[~subset.kept]
    result = DatasetRuleResult("balance", rows[~subset.kept], lambda part: texts.take(pa.array(strata[part])))
    return replace(stats, results=(*stats.results, result))


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Photos that are copies of another one, which is kept."""

    rows: IntArray
    """(copies,) row numbers, ascending."""
    kept: IntArray
    """(copies,) for each copy, the row of the photo that is kept."""
    describe: Callable[[IntArray, IntArray], pa.Array]
    """Returns text that says how copies differ from the photos kept for them."""

    @classmethod
    def from_kept(cls, kept: IntArray, describe: Callable[[IntArray, IntArray], pa.Array]) -> Duplicates:
        """Make it from (rows,) the row that is kept for each row, its own number if it is kept itself."""
        rows = np.flatnonzero(kept != np.arange(len(kept)))
        return cls(rows, kept[rows], describe)

    def to_result(self, scan: PathOrTable) -> DatasetRuleResult:
        """Return the rule's result, with reasons like `duplicate of PATH (distance 3)`."""
        kept = np.unique(self.kept)
        kept_paths = read_paths(scan, kept)

        def make_reasons(part: slice) -> pa.Array:
            path = kept_paths.take(pa.array(np.searchsorted(kept, self.kept[part])))
            difference = self.describe(self.rows[part], self.kept[part])
            return pc.binary_join_element_wise("duplicate of ", path, " (", difference, ")", "")

        return DatasetRuleResult("duplicate", self.rows, make_reasons)


def find_exact_duplicates(columns: Columns) -> Duplicates:
    """Find photos with the same content as another one.

    One that the keep list names is kept, or else the first that passes the other rules: their pixels are equal.
    """
    best = [columns.listed, columns.passes]
    kept = hash_groups.group_exact_duplicates(columns.sha256, np.flatnonzero(columns.usable), best)
    return Duplicates.from_kept(kept, lambda rows, _: repeat_reason("same content", len(rows)))


def find_near_duplicates(columns: Columns) -> tuple[Duplicates, NDArray[np.uint32]]:
    """Find photos that look like a better one; which photo is kept, see `_choose_kept`.

    Returns:
        The duplicates; and (rows,) the bits that decide each photo's split, equal within a group.
    """
    rows = np.flatnonzero(columns.usable)
    largest_first = np.argsort(-columns.pixels[rows].astype(np.int64), kind="stable")
    leader = rows[hash_groups.group_near_duplicates(columns.fingerprint[rows], largest_first)]
    kept = np.arange(len(columns.usable))
    kept[rows] = _choose_kept(columns, rows, leader)
    return Duplicates.from_kept(kept, partial(_describe_difference, columns)), _group_split_bits(columns, rows, leader)


def _choose_kept(columns: Columns, rows: IntArray, leader: IntArray) -> IntArray:
    """Return, for each row, the row to keep of its group.

    Of the photos that the keep list names, or else of those that pass the other rules, or else of all: the largest;
    then the one whose colorfulness is nearest to the median of the group, because copies with a cast are often more
    colorful; then the less colorful; then the first of the scan.

    Args:
        columns: of the whole scan.
        rows: (usable,) row numbers, ascending.
        leader: (usable,) the leader of each of these rows' group.

    Returns:
        (usable,) row numbers.
    """
    kept = rows.copy()
    group_of = np.unique(leader, return_inverse=True)[1]
    members = np.flatnonzero(np.bincount(group_of)[group_of] > 1)
    group, row = group_of[members], rows[members]
    m = columns.colorfulness[row].astype(np.float64)
    off_median = np.abs(m - _group_medians(m, group)[group])
    rank = columns.passes[row].astype(np.int64) + columns.listed[row]
    best_first = np.lexsort((m, off_median, -columns.pixels[row].astype(np.int64), -rank, group))
    first_of_group = np.diff(group[best_first], prepend=-1) != 0
    best = np.empty(len(kept), np.int64)
    best[group[best_first][first_of_group]] = row[best_first][first_of_group]
    kept[members] = best[group]
    return kept


def _group_medians(values: NDArray[np.float64], group: IntArray) -> NDArray[np.float64]:
    """Return, indexed by group number, the median of the (n,) values of each group; 0 for numbers without values."""
    ordered = values[np.lexsort((values, group))]
    counts = np.bincount(group)
    starts = np.cumsum(counts) - counts
    medians = np.zeros(len(counts))
    some = counts > 0
    low, high = starts[some] + (counts[some] - 1) // 2, starts[some] + counts[some] // 2
    medians[some] = (ordered[low] + ordered[high]) / 2
    return medians


def _group_split_bits(columns: Columns, rows: IntArray, leader: IntArray) -> NDArray[np.uint32]:
    """Return (rows of the scan,) the bits that decide each photo's split.

    For photos without near copies these are the first 32 bits of the content hash, as without `--duplicates`. For a
    group they are bits 96 to 128 of its smallest hash: the first bits of the smallest of several hashes are small, and
    would put most groups into train.
    """
    bits = (columns.sha256[:, 0] >> np.uint64(32)).astype(np.uint32)
    hashes = columns.sha256[rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0], leader))
    starts = np.diff(leader[order], prepend=-1) != 0
    group = np.cumsum(starts) - 1
    smallest = hashes[order[starts]]
    has_several_contents = np.bincount(group, np.any(hashes[order] != smallest[group], axis=1)) > 0
    grouped = has_several_contents[group]
    bits[rows[order[grouped]]] = smallest[group[grouped], 1].astype(np.uint32)
    return bits


def _describe_difference(columns: Columns, copies: IntArray, kept: IntArray) -> pa.Array:
    """Return `same content`, `distance 3` or `distance 5, mirrored` for each copy."""
    same = np.all(columns.sha256[copies] == columns.sha256[kept], axis=1)
    prints, kept_prints = columns.fingerprint[copies], columns.fingerprint[kept]
    distance = pa.array(hash_groups.hamming_distances(prints, kept_prints)).cast(pa.string())
    mirrored = pa.array(hash_groups.is_mirrored(prints, kept_prints))
    near = pc.binary_join_element_wise("distance ", distance, pc.if_else(mirrored, ", mirrored", ""), "")
    return pc.if_else(pa.array(same), "same content", near)


def threshold_for_share(values: NDArray[np.float64], percent: float) -> float | None:
    """Return the shortest decimal that exactly `percent` of the values reach; more only if values are equal.

    Args:
        values: (n,) without NaN.
        percent: over 0 and up to 100.

    Returns:
        The threshold; None if there are no values.

    >>> threshold_for_share(np.array([10.123, 17.345, 17.391, 40.0]), 50)
    17.39
    """
    if not len(values):
        return None
    keep = math.ceil(round(len(values) * percent / 100, 6))
    lowest_kept = float(np.partition(values, len(values) - keep)[len(values) - keep])
    highest_dropped = float(np.max(values, where=values < lowest_kept, initial=-math.inf))
    shortened = (math.floor(lowest_kept * 10**decimals) / 10**decimals for decimals in range(12))
    return next((limit for limit in shortened if highest_dropped < limit <= lowest_kept), lowest_kept)


def sql_mask(scan: PathOrTable, condition: str) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether an SQL condition over the columns is true, or the photo is missing.

    Missing photos are not in its view `photos`, so that they don't count in averages and the like. The condition can't
    read or write files: a preset, and so its condition, may come from another person.

    Raises:
        EngineError: DuckDB is not installed.
        UsageError: the condition is not valid, or accesses files.
    """
    try:
        import duckdb
    except ImportError as missing:
        raise EngineError(f"--where needs DuckDB: {install_hint('sql')}") from missing
    mask = np.ones(count_rows(scan), np.bool_)
    is_present = "missing_since IS NULL" if "missing_since" in column_names(scan) else "true"
    source = "scan"
    if isinstance(scan, JoinedScan):
        added, source = ds.dataset(str(scan.added)), "scan POSITIONAL JOIN added"
        scan = scan.scan
    if isinstance(scan, Path | RemotePath):
        scan = _open_dataset(scan)
    with duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"}) as connection:
        connection.register("scan", scan)
        if "JOIN" in source:
            connection.register("added", added)
        try:
            rows = f"SELECT *, row_number() OVER () - 1 AS vividset_row FROM {source}"  # noqa: S608
            connection.sql(f"CREATE VIEW photos AS SELECT * FROM ({rows}) WHERE {is_present}")  # noqa: S608
            present = connection.sql("SELECT count(*) FROM photos").fetchall()[0][0]
            query = f"SELECT vividset_row, CAST(({condition}) AS BOOLEAN) AS passes FROM photos"  # noqa: S608
            result = connection.sql(query).fetchnumpy()
        except duckdb.PermissionException as exc:
            raise UsageError(
                f"--where {condition!r} accesses a file: a condition can use only the columns of the manifest"
            ) from exc
        except duckdb.Error as exc:
            cause = " ".join(str(exc).partition("LINE ")[0].split())
            raise UsageError(
                f"--where {condition!r} is not valid: {cause}: `curate inspect` shows the columns"
            ) from exc
    if set(result) != {"vividset_row", "passes"} or len(result["passes"]) != present:
        raise UsageError(f'--where {condition!r} must be a condition on each photo, like "width > 800"')
    mask[result["vividset_row"]] = np.ma.filled(result["passes"], fill_value=False)
    return mask


def _open_dataset(path: Location) -> ds.Dataset:
    """Open a manifest so that DuckDB can read it more than once, which an iterator of tables would not allow."""
    parts = manifest.list_parts(path)
    schema = manifest.read_schema_and_lineage(path)[0]
    for stored in manifest.open_parquet(parts[0]).schema_arrow:
        target = schema.field(stored.name).type
        if pa.types.is_floating(stored.type) and (pa.types.is_timestamp(target) or pa.types.is_list(target)):
            schema = schema.set(schema.get_field_index(stored.name), stored)  # empty columns, which Arrow can't cast
    try:
        return ds.dataset(list(map(str, parts)), schema=schema)
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"--where can't read {path}: {describe_error(exc)}: rename it, or give a link with a UTF-8 name"
        ) from exc
