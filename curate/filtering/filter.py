"""Decide which photos of a scan are kept, and write the manifests of kept and rejected photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.files import exists, is_same, write_errors
from curate.filtering.columns import JoinedScan, PathOrTable, read_schema, read_tables
from curate.filtering.dataset_rules import DatasetStats, compute_dataset_stats
from curate.filtering.join import join_scan
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.filtering.rules import RuleResult, check_column_bounds, rule_columns
from curate.locations import Location
from curate.manifest import DECISION_FIELDS, ROW_GROUP_SIZE, Lineage
from curate.manifest.encoding import hex_to_uint
from curate.measures.names import KINDS

REQUIRED_COLUMNS = ("source", "path", "sha256", "colorfulness", "tone", "error")
"""A scan without one of these can't be filtered."""
HISTOGRAM_BINS = tuple(range(0, 120, 10))
"""Colorfulness at which each bin of the histograms starts; the last bin has no upper end."""
SPLITS = ("train", "val", "test")
_REASONS = pa.list_(pa.string())
_CLEAN, _REJECTED = "clean.parquet", "rejected.parquet"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class FilterBatch:
    """Decided rows: each row of the scan is in one of both tables, in the scan's order."""

    kept: pa.Table
    rejected: pa.Table
    rejected_by_rule: Counter[str]
    """Photos that each rule rejects; a photo counts at every rule that rejects it."""
    waived: int
    """Photos that a rule would reject without the keep list."""


@dataclass(frozen=True, slots=True)
class ListSummary:
    """What a filter found of the entries of `--reject-list` or `--keep-list`."""

    option: str
    entries: int
    unmatched: Sequence[str]
    """Entries that no row of the scan has."""


@dataclass(slots=True)
class FilterSummary:
    """The result of a filter in numbers."""

    options: FilterOptions
    """The options used, plus the lowest values that the shares of `keep_top` mean."""
    metric: str = manifest.METRIC
    """The colorfulness metric, as the scan's lineage names it."""
    kept: int = 0
    rejected: int = 0
    rejected_by_rule: Counter[str] = field(default_factory=Counter)
    """As in `FilterBatch`."""
    waived: int = 0
    """As in `FilterBatch`."""
    lists: tuple[ListSummary, ...] = ()
    """The lists that were given."""
    without_kind: bool = False
    """Whether graphics could not be rejected because the scan has no column `kind`."""
    joined: int | None = None
    """Rows of the scan that the table of `join` has; None without a table."""
    splits: Counter[str] = field(default_factory=Counter)
    """Kept photos of each split."""
    kept_histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(HISTOGRAM_BINS), np.int64))
    """Kept photos by colorfulness, in the bins of `HISTOGRAM_BINS`."""
    rejected_histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(HISTOGRAM_BINS), np.int64))
    """Rejected photos, likewise."""
    kept_path: Location | None = None
    """Manifest of the kept photos; None if nothing was written."""
    rejected_path: Location | None = None
    """Manifest of the rejected photos; None if nothing was written."""

    @property
    def scanned(self) -> int:
        """All rows of the scan."""
        return self.kept + self.rejected

    def add(self, batch: FilterBatch) -> None:
        """Add decided rows to the counts."""
        self.kept += batch.kept.num_rows
        self.rejected += batch.rejected.num_rows
        self.rejected_by_rule.update(batch.rejected_by_rule)
        self.waived += batch.waived
        for entry in pc.value_counts(batch.kept["split"]).to_pylist():
            self.splits[entry["values"]] += entry["counts"]
        self.kept_histogram += _histogram(batch.kept)
        self.rejected_histogram += _histogram(batch.rejected)


def filter_manifest(
    scan_path: Location, clean_path: Location, options: FilterOptions, *, command: str = "", dry_run: bool = False
) -> FilterSummary:
    """Read a scan, decide all rows, and write the manifests of kept and rejected photos, unless it is a dry run.

    Rows are read, decided and written in pieces; only rules that compare photos keep a few bytes per photo in memory.

    Args:
        scan_path: manifest of a scan; a file or a folder of parts.
        clean_path: manifest of the kept photos; `rejected_path_for` gives that of the rejected photos.
        options: see `FilterOptions`.
        command: text for the lineage.
        dry_run: decide and count, but write nothing.

    Raises:
        ManifestError: the scan can't be read, or an output can't be written or would replace another file.
        EngineError: an SQL condition needs DuckDB, which is not installed.
        UsageError: the SQL condition is not valid, or a list of photos or the table of `join` can't be used.
    """
    check_outputs(scan_path, clean_path)
    columns, lineage = manifest.read_schema_and_lineage(scan_path, required=REQUIRED_COLUMNS)
    with join_scan(scan_path, options) as scan:
        check_column_bounds(read_schema(scan), options)
        stats = compute_dataset_stats(scan, options)
        summary = FilterSummary(stats.options, lineage.metric if lineage else manifest.METRIC)
        summary.without_kind = "kind" not in columns.names and not stats.options.keep_kinds >= set(KINDS)
        summary.joined = scan.found if isinstance(scan, JoinedScan) else None
        if dry_run:
            for batch in _iter_batches(scan, stats, sorted(rule_columns(stats.options).union(REQUIRED_COLUMNS))):
                summary.add(batch)
            summary.lists = _summarize_lists(stats)
            return summary
        manifest.make_parent_dir(clean_path)
        paths = [rejected_path_for(clean_path), clean_path]
        schema = _output_schema(read_schema(scan))
        with ThreadPoolExecutor(1) as executor, manifest.open_writers(paths, schema) as files:
            digest = executor.submit(manifest.digest, scan_path)
            rejected, clean = map(RowGroupWriter, files)
            for batch in prefetch(_iter_batches(scan, stats)):
                summary.add(batch)
                rejected.write(batch.rejected)
                clean.write(batch.kept)
            summary.lists = _summarize_lists(stats)
            clean_lineage = _make_lineage(scan_path, digest.result(), lineage, summary, stats, command)
            if isinstance(scan, JoinedScan):
                options_used = {**clean_lineage.options, "join": dict(scan.lineage)}
                clean_lineage = replace(clean_lineage, options=options_used)
            rejected.finish(replace(clean_lineage, kind="rejected", rows=summary.rejected))
            clean.finish(clean_lineage)
    summary.rejected_path, summary.kept_path = paths
    return summary


def filter_table(table: pa.Table, options: FilterOptions) -> FilterBatch:
    """Decide all rows of a scan in memory.

    Args:
        table: in the scan schema.
        options: see `FilterOptions`.

    Returns:
        Kept rows with their `split`, rejected rows with all their `reject_reasons`; both in the scan's order.

    Raises:
        ManifestError: a column that a rule needs is missing, or its content is wrong.
        EngineError: an SQL condition needs DuckDB, which is not installed.
        UsageError: the SQL condition is not valid, or a list of photos or the table of `join` can't be used.
    """
    table = manifest.to_schema_types(table)
    with join_scan(table, options) as scan:
        check_column_bounds(read_schema(scan), options)
        table = pa.concat_tables(read_tables(scan))
    return _filter_rows(table, slice(0, table.num_rows), compute_dataset_stats(table, options))


def rejected_path_for(clean_path: Location) -> Location:
    """Return the path of the manifest of rejected photos; every output has its own.

    >>> from pathlib import Path
    >>> rejected_path_for(Path("m/clean.parquet")).name, rejected_path_for(Path("m/strict.parquet")).name
    ('rejected.parquet', 'strict.rejected.parquet')
    """
    if clean_path.name == _CLEAN:
        return clean_path.with_name(_REJECTED)
    return clean_path.with_name(f"{clean_path.name.removesuffix('.parquet')}.{_REJECTED}")


def check_outputs(scan_path: Location, clean_path: Location) -> None:
    """Check that a filter would replace nothing but earlier output of a filter.

    Raises:
        ManifestError: something else is at the path of an output.
    """
    rejected_path = rejected_path_for(clean_path)
    if is_same(clean_path.parent, scan_path) and scan_path.is_dir():
        raise ManifestError(f"{clean_path} would be among the parts of the scan: choose another folder with -o")
    for path in (clean_path, rejected_path):
        with write_errors(path, ManifestError, "-o"):
            is_folder = path.is_dir()
        if is_folder:
            raise ManifestError(f"{path} is a folder: choose another output with -o, like {path / _CLEAN}")
    if clean_path.name == _REJECTED:
        raise ManifestError(
            f"{_REJECTED} is the name for the rejected photos: choose another name for the kept photos with -o"
        )
    for path, kind in ((clean_path, "clean"), (rejected_path, "rejected")):
        if is_same(path, scan_path):
            raise ManifestError(f"{path} is the scan itself: choose another output with -o")
        if exists(path) and not _is_filter_output(path, kind):
            raise ManifestError(
                f"{path} already exists and is not a {kind} manifest of `curate filter`: choose another output with -o"
            )


def _is_filter_output(path: Location, kind: str) -> bool:
    try:
        _, lineage = manifest.read_schema_and_lineage(path)
    except ManifestError:
        return False
    return lineage is not None and lineage.kind == kind


def _summarize_lists(stats: DatasetStats) -> tuple[ListSummary, ...]:
    """Return what was found of the lists, after all rows were decided."""
    lists = (("--reject-list", stats.reject_list), ("--keep-list", stats.keep_list))
    return tuple(ListSummary(name, len(found.entries), found.unmatched()) for name, found in lists if found.files)


def _make_lineage(
    scan_path: Location,
    scan_sha256: str,
    scan: Lineage | None,
    summary: FilterSummary,
    stats: DatasetStats,
    command: str,
) -> Lineage:
    """Return the lineage of the clean manifest; that of the rejected photos differs in `kind` and `rows`."""
    list_files = {
        "reject_lists": [asdict(file) for file in stats.reject_list.files],
        "keep_lists": [asdict(file) for file in stats.keep_list.files],
    }
    return Lineage(
        "clean",
        command,
        summary.options.to_dict() | list_files,
        parent_sha256=scan_sha256,
        parent_path=str(scan_path),
        ancestors=manifest.list_ancestors(scan_path, scan_sha256, scan),
        rows=summary.kept,
        metric=scan.metric if scan else "unknown",
        scorer_version=scan.scorer_version if scan else 0,
        counts={"scanned": summary.scanned, "kept": summary.kept, "rejected": summary.rejected},
    )


def assign_split(sha256: pa.ChunkedArray, split: Split) -> pa.Array:
    """Return `train`, `val` or `test` for each content hash; it doesn't depend on the other photos.

    Raises:
        ValueError: a hash is missing, or is not hex.

    >>> assign_split(pa.chunked_array([["00" * 32, "f0" * 32, "ff" * 32]]), Split()).to_pylist()
    ['train', 'val', 'test']
    """
    return _split_from_bits(hex_to_uint(sha256, 32), split)


def _split_from_bits(bits: NDArray[Any], split: Split) -> pa.Array:
    """Return the split for (n,) 32 bits each, which are spread evenly over 0..100 percent."""
    percent = bits * (100 / 2**32)
    number = (percent >= split.train).astype(np.int8) + (percent >= split.train + split.val)
    return pa.DictionaryArray.from_arrays(pa.array(number), pa.array(SPLITS)).cast(pa.string())


def _iter_batches(scan: PathOrTable, stats: DatasetStats, columns: list[str] | None = None) -> Iterator[FilterBatch]:
    """Yield all rows of a scan decided, in pieces."""
    start = 0
    for table in read_tables(scan, columns):
        rows = slice(start, start + table.num_rows)
        yield _filter_rows(table, rows, stats)
        start = rows.stop


def _filter_rows(table: pa.Table, rows: slice, stats: DatasetStats) -> FilterBatch:
    """Decide a table, whose rows are the given range of the scan."""
    results = stats.apply_rules(table, rows)
    rejected = results.rejected
    # a manifest that was filtered before may be filtered again
    undecided = table.drop_columns([column.name for column in DECISION_FIELDS if column.name in table.column_names])
    kept_rows, rejected_rows = undecided.filter(pa.array(~rejected)), undecided.filter(pa.array(rejected))
    return FilterBatch(
        kept=_append_decision(
            kept_rows,
            _assign_splits(kept_rows, stats, rows, ~rejected),
            pa.nulls(kept_rows.num_rows, _REASONS),
            _join_reasons(results.waived, ~rejected),
        ),
        rejected=_append_decision(
            rejected_rows,
            pa.nulls(rejected_rows.num_rows, pa.string()),
            _join_reasons(results.failed, rejected),
            _join_reasons(results.waived, rejected),
        ),
        rejected_by_rule=Counter({result.name: int(result.fails.sum()) for result in results.failed}),
        waived=int(np.logical_or.reduce([result.fails for result in results.waived], initial=False).sum()),
    )


def _assign_splits(kept: pa.Table, stats: DatasetStats, rows: slice, kept_mask: NDArray[np.bool_]) -> pa.Array:
    if stats.split_bits is not None:
        return _split_from_bits(stats.split_bits[rows][kept_mask], stats.options.split)
    try:
        return assign_split(kept["sha256"], stats.options.split)
    except ValueError as exc:
        raise ManifestError(
            f"the scan's column 'sha256' has values that are not content hashes ({exc}): scan the photos again"
        ) from exc


def _join_reasons(results: Sequence[RuleResult], rows: NDArray[np.bool_]) -> pa.Array:
    """Return, for each of some rows, the reasons of all rules that it fails, in the rules' order; null if none."""
    count = int(rows.sum())
    if not any(result.fails[rows].any() for result in results):
        return pa.nulls(count, _REASONS)
    results = [result.select(rows) for result in results]
    failing = [np.flatnonzero(result.fails) for result in results]
    texts = pa.concat_arrays([result.reasons for result in results])
    order = np.argsort(np.concatenate(failing), kind="stable")
    reasons_per_row = np.sum([result.fails for result in results], axis=0)[rows]
    offsets = np.concatenate([[0], np.cumsum(reasons_per_row)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), texts.take(pa.array(order)))
    return pc.if_else(pa.array(reasons_per_row > 0), lists, pa.scalar(None, _REASONS))


def _append_decision(table: pa.Table, split: pa.Array, rejected: pa.Array, waived: pa.Array) -> pa.Table:
    for column, values in zip(DECISION_FIELDS, (split, rejected, waived), strict=True):
        table = table.append_column(column, values)
    return table


def _output_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of both outputs: all columns of the scan, also foreign ones, and the decision."""
    table = manifest.to_schema_types(schema.empty_table())
    table = table.drop_columns([column.name for column in DECISION_FIELDS if column.name in schema.names])
    return _append_decision(table, pa.nulls(0, pa.string()), pa.nulls(0, _REASONS), pa.nulls(0, _REASONS)).schema


def _histogram(table: pa.Table) -> NDArray[np.int64]:
    values = table["colorfulness"].drop_null().to_numpy()
    return np.histogram(values, [*HISTOGRAM_BINS, np.inf])[0].astype(np.int64)


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, while a thread makes the next one."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(next, items, None)
        while (item := future.result()) is not None:
            future = executor.submit(next, items, None)
            yield item


class RowGroupWriter:
    """Writes tables of any size to one file in row groups of `ROW_GROUP_SIZE`."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._pending: list[pa.Table] = []
        self._pending_rows = 0

    def write(self, table: pa.Table) -> None:
        """Write rows; they may stay in memory until a row group is full."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows >= ROW_GROUP_SIZE:
            self._flush()

    def finish(self, lineage: Lineage) -> None:
        """Write the remaining rows and the lineage."""
        self._flush()
        self._file.add_key_value_metadata(lineage.to_metadata())

    def _flush(self) -> None:
        if self._pending_rows:
            self._file.write_table(pa.concat_tables(self._pending))
        self._pending, self._pending_rows = [], 0
