"""Numbers to verdicts: kept and rejected photos, every reason kept, and the split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.filtering import rules
from curate.filtering.columns import Photos, batches
from curate.filtering.dataset_rules import DatasetStats, compute_dataset_stats
from curate.filtering.options import FilterOptions, Split
from curate.filtering.rules import RuleResult
from curate.manifest import DECISION_FIELDS, ROW_GROUP_SIZE, Lineage
from curate.manifest.encoding import hex_to_uint

_CLEAN, _REJECTED = "clean.parquet", "rejected.parquet"


def rejected_beside(clean_path: Path) -> Path:
    """The manifest of the photos that aren't in a clean one: each output has its own.

    >>> rejected_beside(Path("m/clean.parquet")).name, rejected_beside(Path("m/strict.parquet")).name
    ('rejected.parquet', 'strict.rejected.parquet')
    """
    if clean_path.name == _CLEAN:
        return clean_path.with_name(_REJECTED)
    return clean_path.with_name(f"{clean_path.name.removesuffix('.parquet')}.{_REJECTED}")


def check_outputs(scan_path: Path, clean_path: Path) -> None:
    """Make sure that a filter replaces nothing but what a filter wrote there before.

    Raises:
        ManifestError: something else is in the way.
    """
    rejected_path = rejected_beside(clean_path)
    if scan_path.is_dir() and os.path.realpath(clean_path.parent) == os.path.realpath(scan_path):
        raise ManifestError(f"{clean_path} would lie among the parts of the scan: choose another folder with -o")
    for path in (clean_path, rejected_path):
        if path.is_dir():
            raise ManifestError(f"{path} is a folder: choose another output with -o, like {path / _CLEAN}")
    if clean_path.name == _REJECTED:
        raise ManifestError(f"the kept photos can't be called {_REJECTED}: choose another name with -o")
    for path, kind in ((clean_path, "clean"), (rejected_path, "rejected")):
        if os.path.realpath(path) == os.path.realpath(scan_path):  # `resolve` fails on a link to itself
            raise ManifestError(f"{path} is the scan itself: choose another output with -o")
        if os.path.lexists(path) and not _is_ours(path, kind):
            raise ManifestError(f"{path} is in the way and is no {kind} manifest of a filter: choose another with -o")


def _is_ours(path: Path, kind: str) -> bool:
    """Whether a filter made the file as what is to take its place."""
    try:
        _, lineage = manifest.inspect_manifest(path)
    except ManifestError:
        return False
    return lineage is not None and lineage.kind == kind


class RowGroupWriter:
    """Writes tables into one file, in row groups of the usual size whatever the tables' sizes are."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Write some rows, now or later."""
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP_SIZE:
            self._flush()

    def end(self, lineage: Lineage) -> None:
        """Write what is left, and what made it all."""
        self._flush()
        self._file.add_key_value_metadata(lineage.to_metadata())

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


def filter_lineage(
    scan_path: Path,
    scan_sha256: str,
    scan: Lineage | None,
    options: FilterOptions,
    command: str,
    counts: dict[str, int],
    kind: str,
    rows: int,
) -> Lineage:
    """What made one of the two."""
    return Lineage(
        kind,
        command,
        options.recorded(),
        parent_sha256=scan_sha256,
        parent_path=str(scan_path),
        ancestors=manifest.list_ancestors(scan_path, scan_sha256, scan),
        rows=rows,
        metric=scan.metric if scan else "unknown",
        scorer_version=scan.scorer_version if scan else 0,
        counts=counts,
    )


NEEDED = ("source", "path", "sha256", "colorfulness", "tone", "error")
TENS = tuple(range(0, 120, 10))
"""Lower ends of the histogram's bins; the last has no upper end."""
SPLITS = ("train", "val", "test")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class FilterBatch:
    """Some decided rows: kept + rejected = those of the scan, both in its order."""

    kept: pa.Table
    rejected: pa.Table
    dropped_by: Counter[str]
    """Photos per gate that rejected them; one photo may count in several."""


@dataclass(slots=True)
class FilterSummary:
    """What a filter decided, in numbers."""

    options: FilterOptions
    """Those in force, with the line that a share turned out to mean."""
    metric: str = manifest.METRIC
    """As the scan's lineage names it."""
    kept: int = 0
    rejected: int = 0
    dropped_by: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    kept_by_ten: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TENS), np.int64))
    """Kept photos by colourfulness, in the bins of `TENS`."""
    rejected_by_ten: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TENS), np.int64))
    kept_path: Path | None = None
    """Manifest of the kept photos; None if nothing was written."""
    rejected_path: Path | None = None
    """Manifest of the rejected photos; None if nothing was written."""

    @property
    def scanned(self) -> int:
        """All rows."""
        return self.kept + self.rejected

    def count(self, part: FilterBatch) -> None:
        """Add some decided rows."""
        self.kept += part.kept.num_rows
        self.rejected += part.rejected.num_rows
        for name, dropped in part.dropped_by.items():
            self.dropped_by[name] += dropped
        for entry in pc.value_counts(part.kept["split"]).to_pylist():
            self.splits[entry["values"]] += entry["counts"]
        self.kept_by_ten += _by_ten(part.kept)
        self.rejected_by_ten += _by_ten(part.rejected)


def decide(table: pa.Table, options: FilterOptions) -> FilterBatch:
    """Decide every row of a scan in memory.

    Args:
        table: in the scan schema.
        options: see `FilterOptions`.

    Returns:
        Kept rows with their `split`, rejected rows with all their `reject_reasons`; both in the scan's order.
    """
    table = manifest.to_schema_types(table)
    return _decide(table, slice(0, table.num_rows), compute_dataset_stats(table, options))


def filter_manifest(
    scan_path: Path, clean_path: Path, options: FilterOptions, *, command: str = "", dry_run: bool = False
) -> FilterSummary:
    """Read a scan, decide, and write the clean manifest and that of the rejected beside it, unless it is a dry run.

    Rows are read, decided and written some at a time; only rules that look at all photos keep a few numbers of each.

    Raises:
        ManifestError: the scan can't be read, or an output can't be written or would replace the scan.
    """
    check_outputs(scan_path, clean_path)
    schema, lineage = manifest.inspect_manifest(scan_path, required=NEEDED)
    found = compute_dataset_stats(scan_path, options)
    chosen = FilterSummary(found.options, lineage.metric if lineage else manifest.METRIC)
    if dry_run:
        for part in _decided(scan_path, found, sorted(rules.columns(options).union(NEEDED))):
            chosen.count(part)
        return chosen
    manifest.make_parent_dir(clean_path)
    paths = [rejected_beside(clean_path), clean_path]
    with ThreadPoolExecutor(1) as beside, manifest.open_writers(paths, _decided_schema(schema)) as files:
        digest = beside.submit(manifest.digest, scan_path)
        rejected, clean = map(RowGroupWriter, files)
        for part in prefetch(_decided(scan_path, found)):
            chosen.count(part)
            rejected.add(part.rejected)
            clean.add(part.kept)
        counts = {"scanned": chosen.scanned, "kept": chosen.kept, "rejected": chosen.rejected}
        made = partial(filter_lineage, scan_path, digest.result(), lineage, found.options, command, counts)
        rejected.end(made("rejected", chosen.rejected))
        clean.end(made("clean", chosen.kept))
    chosen.rejected_path, chosen.kept_path = paths
    return chosen


def split_of(sha256: pa.ChunkedArray, split: Split) -> pa.Array:
    """`train`, `val` or `test` for each content hash, whatever other photos there are.

    Raises:
        ValueError: a hash is missing, or isn't hex.

    >>> split_of(pa.chunked_array([["00" * 32, "f0" * 32, "ff" * 32]]), Split()).to_pylist()
    ['train', 'val', 'test']
    """
    return _split_at(hex_to_uint(sha256, 32), split)


def _split_at(first_bits: NDArray[Any], split: Split) -> pa.Array:
    """The split of each photo from the first 32 bits of a content hash."""
    place = first_bits * (100 / 2**32)
    third = (place >= split.train).astype(np.int8) + (place >= split.train + split.val)
    return pa.DictionaryArray.from_arrays(pa.array(third), pa.array(SPLITS)).cast(pa.string())


def _decided(photos: Photos, found: DatasetStats, columns: list[str] | None = None) -> Iterator[FilterBatch]:
    """Every row decided, some at a time."""
    start = 0
    for table in batches(photos, columns):
        rows = slice(start, start + table.num_rows)
        yield _decide(table, rows, found)
        start = rows.stop


def _decide(table: pa.Table, rows: slice, found: DatasetStats) -> FilterBatch:
    judged = found.judge(table, rows)
    rejected = np.logical_or.reduce([gate.fails for gate in judged])
    undecided = table.drop_columns([column.name for column in DECISION_FIELDS if column.name in table.column_names])
    kept_rows = undecided.filter(pa.array(~rejected))
    return FilterBatch(
        kept=_with_decision(kept_rows, _splits(kept_rows, found, rows, ~rejected), _no_reasons(kept_rows.num_rows)),
        rejected=_with_decision(
            undecided.filter(pa.array(rejected)), pa.nulls(int(rejected.sum()), pa.string()), _reasons(judged, rejected)
        ),
        dropped_by=Counter({gate.name: int(gate.fails.sum()) for gate in judged}),
    )


def _splits(kept: pa.Table, found: DatasetStats, rows: slice, stays: NDArray[np.bool_]) -> pa.Array:
    if found.split_bits is not None:
        return _split_at(found.split_bits[rows][stays], found.options.split)
    try:
        return split_of(kept["sha256"], found.options.split)
    except ValueError as exc:
        raise ManifestError(
            f"the scan's column 'sha256' holds no content hashes ({exc}): scan the photos again"
        ) from exc


def _decided_schema(schema: pa.Schema) -> pa.Schema:
    """Of both outputs: the scan's columns, whatever they are, and the decision."""
    return _with_decision(
        manifest.to_schema_types(schema.empty_table()).drop_columns(
            [c.name for c in DECISION_FIELDS if c.name in schema.names]
        ),
        pa.nulls(0, pa.string()),
        _no_reasons(0),
    ).schema


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made in a thread while this one is used."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item


def _with_decision(table: pa.Table, split: pa.Array, reasons: pa.Array) -> pa.Table:
    for column, values in zip(DECISION_FIELDS, (split, reasons), strict=True):
        table = table.append_column(column, values)
    return table


def _no_reasons(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.list_(pa.string()))


def _reasons(judged: Sequence[RuleResult], rejected: NDArray[np.bool_]) -> pa.Array:
    """Lists of text: per rejected row, the reasons of all gates that it fails, in the gates' order."""
    failing = [np.flatnonzero(gate.fails) for gate in judged]
    texts = pa.concat_arrays([gate.reasons for gate in judged])
    order = np.argsort(np.concatenate(failing), kind="stable")
    reasons_a_row = np.sum([gate.fails for gate in judged], axis=0)[rejected]
    offsets = np.concatenate([[0], np.cumsum(reasons_a_row)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts.take(pa.array(order)))


def _by_ten(table: pa.Table) -> NDArray[np.int64]:
    values = table["colorfulness"].drop_null().to_numpy()
    return np.histogram(values, [*TENS, np.inf])[0].astype(np.int64)
