"""Read columns of a whole scan as numpy arrays, a few bytes per photo, for the rules that compare photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.rules import OPTIONAL_COLUMNS, TableResults, usable_mask
from curate.locations import Location, RemotePath
from curate.manifest import ROW_GROUP_SIZE
from curate.manifest.encoding import hex_to_uint

PathOrTable: TypeAlias = Location | Any
"""A scan: the path of its manifest, a `pa.Table` in memory, or a `JoinedScan`."""
RowRules: TypeAlias = Callable[[pa.Table, slice], TableResults]
"""Returns all results for a table, whose rows are the given range of the whole scan."""
_KEY_TEXT = pa.schema([("source", pa.string()), ("path", pa.string())])


@dataclass(frozen=True, slots=True)
class JoinedScan:
    """A scan with columns of another table; see `curate.filtering.join`."""

    scan: PathOrTable
    added: Path
    """Parquet file with the added columns, one row per row of the scan, in its order."""
    added_schema: pa.Schema
    lineage: Mapping[str, str | int]
    """Path, sha256, bytes and key of the table."""
    found: int
    """Rows of the scan that the table has."""

    def iter_tables(self, columns: list[str] | None) -> Iterator[pa.Table]:
        """Yield the rows of the scan in order, in pieces; `columns` None reads all."""
        added = [name for name in self.added_schema.names if columns is None or name in columns]
        if not added:
            yield from read_tables(self.scan, columns)
            return
        own = None if columns is None else [name for name in columns if name not in added]
        with pq.ParquetFile(self.added) as file:
            batches = file.iter_batches(ROW_GROUP_SIZE, columns=added)
            rest = self.added_schema.empty_table().select(added)
            for table in read_tables(self.scan, own):
                while rest.num_rows < table.num_rows:
                    rest = pa.concat_tables([rest, pa.Table.from_batches([next(batches)]).cast(rest.schema)])
                piece, rest = rest.slice(0, table.num_rows), rest.slice(table.num_rows)
                schema = pa.schema([*table.schema, *piece.schema])
                joined = pa.table([*table.columns, *piece.columns], schema=schema)
                yield joined if columns is None else joined.select(columns)


@dataclass(frozen=True, slots=True)
class Columns:
    """What duplicates and balance are decided from, one entry per row of the scan.

    A column that was not asked for is all zeros, which take no memory until they are written.
    """

    usable: NDArray[np.bool_]
    """(rows,) see `rules.usable_mask`."""
    passes: NDArray[np.bool_]
    """(rows,) whether the photo passes all rules so far."""
    listed: NDArray[np.bool_]
    """(rows,) whether the keep list keeps the photo."""
    colorfulness: NDArray[np.float32]
    """(rows,) M."""
    pixels: NDArray[np.uint32]
    """(rows,) width times height."""
    sha256: NDArray[np.uint64]
    """(rows, 2) the first 128 bits of the content hash; 0 for photos that are not usable."""
    fingerprint: NDArray[np.uint64]
    """(rows, 2) the perceptual hash; 0 for photos that are not usable."""
    hue_deg: NDArray[np.float32]
    """(rows,) `hue_peak_deg`, 0..360."""

    @classmethod
    def read(cls, scan: PathOrTable, names: set[str], apply_rules: RowRules) -> Columns:
        """Read columns of all photos, and whether each photo passes `apply_rules`.

        Raises:
            ManifestError: a column is missing, or its content is wrong.
        """
        rows = count_rows(scan)
        bools, floats, pairs = (rows, np.bool_), (rows, np.float32), ((rows, 2), np.uint64)
        shapes: Any = (bools, bools, bools, floats, (rows, np.uint32), pairs, pairs, floats)
        columns, start = cls(*(np.zeros(*shape) for shape in shapes)), 0
        for table in read_tables(scan, sorted(names)):
            columns._fill(table, slice(start, start + table.num_rows), apply_rules)
            start += table.num_rows
        return columns

    def _fill(self, table: pa.Table, rows: slice, apply_rules: RowRules) -> None:
        results = apply_rules(table, rows)
        usable = usable_mask(table)
        self.usable[rows] = usable
        self.passes[rows] = ~results.rejected
        self.listed[rows] = results.listed
        self.colorfulness[rows] = _to_floats(table, "colorfulness")
        if {"width", "height"} <= set(table.column_names):
            self.pixels[rows] = _to_floats(table, "width") * _to_floats(table, "height")
        if "hue_peak_deg" in table.column_names:
            self.hue_deg[rows] = _to_floats(table, "hue_peak_deg")
        for name, pairs in (("sha256", self.sha256), ("fingerprint", self.fingerprint)):
            if name in table.column_names:
                pairs[rows][usable] = _leading_bits(table[name].filter(pa.array(usable)), name)


def read_tables(scan: PathOrTable, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a scan in order, in pieces; `columns` None reads all.

    Raises:
        ManifestError: a column is missing, except `OPTIONAL_COLUMNS`, which scans of older versions lack.
    """
    names = column_names(scan)
    if columns is not None:
        columns = [name for name in columns if name in names or name not in OPTIONAL_COLUMNS]
    if absent := set(columns or ()) - set(names):
        raise ManifestError(f"the scan has no column {min(absent)!r}: run `curate scan` again with this version")
    if isinstance(scan, JoinedScan):
        return scan.iter_tables(columns)
    if isinstance(scan, Path | RemotePath):
        return manifest.iter_tables(scan, columns)
    return iter([scan if columns is None else scan.select(columns)])


def column_names(scan: PathOrTable) -> list[str]:
    """Return the names of the columns of a scan."""
    return [*read_schema(scan).names]


def read_schema(scan: PathOrTable) -> pa.Schema:
    """Return the columns of a scan and their types."""
    if isinstance(scan, JoinedScan):
        return pa.schema([*read_schema(scan.scan), *scan.added_schema])
    return manifest.read_schema_and_lineage(scan)[0] if isinstance(scan, Path | RemotePath) else scan.schema


def count_rows(scan: PathOrTable) -> int:
    """Return the number of rows of a scan."""
    if isinstance(scan, JoinedScan):
        return count_rows(scan.scan)
    if not isinstance(scan, Path | RemotePath):
        return int(scan.num_rows)
    return sum(manifest.open_parquet(part).metadata.num_rows for part in manifest.list_parts(scan))


def read_paths(scan: PathOrTable, rows: NDArray[np.int64]) -> pa.Array:
    """Return the paths of some photos as text, with their source in front if the scan has several sources.

    Args:
        scan: the scan.
        rows: (n,) row numbers, ascending.
    """
    sources = {source for table in read_tables(scan, ["source"]) for source in pc.unique(table["source"]).to_pylist()}
    pieces, start = [], 0
    for table in read_tables(scan, ["source", "path"]):
        first, last = np.searchsorted(rows, [start, start + table.num_rows])
        source, path = table.take(pa.array(rows[first:last] - start)).cast(_KEY_TEXT).columns
        pieces.append(pc.binary_join_element_wise(source, path, "/") if len(sources) > 1 else path)
        start += table.num_rows
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pa.string()).combine_chunks()


def read_measures(scan: PathOrTable, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return, for each measure, its values of all usable photos that have one; see `rules.usable_mask`."""
    pieces: dict[str, list[NDArray[np.float64]]] = {name: [np.zeros(0)] for name in names}
    for table in read_tables(scan, sorted({"colorfulness", "error", "missing_since", *names})) if names else ():
        usable = table.filter(pa.array(usable_mask(table)))
        for name in names:
            values = usable[name].drop_null().cast(pa.float64()).to_numpy()
            pieces[name].append(values[~np.isnan(values)])
    return {name: np.concatenate(values) for name, values in pieces.items()}


def _to_floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column as (rows,) float64, 0 where it is null or NaN."""
    return np.asarray(np.nan_to_num(pc.fill_null(table[name].cast(pa.float64()), 0.0).to_numpy()), np.float64)


def _leading_bits(texts: Any, name: str) -> NDArray[np.uint64]:
    """Return the first 128 bits of hex texts, (rows, 2)."""
    try:
        return np.stack([hex_to_uint(texts, 64), hex_to_uint(pc.utf8_slice_codeunits(texts, 16, 32), 64)], axis=1)
    except ValueError as exc:
        raise ManifestError(f"the scan's column {name!r} is of another version ({exc}): scan the photos again") from exc
