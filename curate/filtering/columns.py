"""A manifest's columns as numbers, a few bytes a photo, for the rules that look at all photos at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.filtering import rules
from curate.filtering.rules import RuleResult
from curate.manifest.encoding import hex_to_uint

Photos: TypeAlias = Path | Any
"""The rows to judge: a manifest, or a `pa.Table` in memory."""
Judge: TypeAlias = Callable[[pa.Table, slice], Sequence[RuleResult]]
"""All verdicts on some rows."""
_PLACES = pa.schema([("source", pa.string()), ("path", pa.string())])


@dataclass(frozen=True, slots=True)
class Columns:
    """What duplicates and balance are decided from; zeros, which take no memory, where a column wasn't asked for."""

    usable: NDArray[np.bool_]
    """See `gates.usable`."""
    passes: NDArray[np.bool_]
    """Whether a photo passes all rules so far."""
    colorfulness: NDArray[np.float32]
    pixels: NDArray[np.uint32]
    sha256: NDArray[np.uint64]
    """(rows, 2) its first 128 bits; 0 for photos that aren't usable."""
    looks: NDArray[np.uint64]
    """(rows, 2) the fingerprint, likewise."""
    hue_deg: NDArray[np.float32]

    @classmethod
    def of(cls, photos: Photos, names: set[str], judge: Judge) -> Columns:
        """Read some columns of all photos, and what `judge` says of each photo.

        Raises:
            ManifestError: a column is missing, or holds something else.
        """
        rows = count(photos)
        flags, numbers, pairs = (rows, np.bool_), (rows, np.float32), ((rows, 2), np.uint64)
        shapes: Any = (flags, flags, numbers, (rows, np.uint32), pairs, pairs, numbers)
        columns, start = cls(*(np.zeros(*shape) for shape in shapes)), 0
        for table in batches(photos, sorted(names)):
            columns._fill(table, slice(start, start + table.num_rows), judge)
            start += table.num_rows
        return columns

    def _fill(self, table: pa.Table, rows: slice, judge: Judge) -> None:
        judged = judge(table, rows)
        usable = rules.usable(table)
        self.usable[rows] = usable
        self.passes[rows] = ~np.logical_or.reduce([gate.fails for gate in judged])
        self.colorfulness[rows] = _numbers(table, "colorfulness")
        if {"width", "height"} <= set(table.column_names):
            self.pixels[rows] = _numbers(table, "width") * _numbers(table, "height")
        if "hue_peak_deg" in table.column_names:
            self.hue_deg[rows] = _numbers(table, "hue_peak_deg")
        for name, pairs in (("sha256", self.sha256), ("fingerprint", self.looks)):
            if name in table.column_names:
                pairs[rows][usable] = _leading_bits(table[name].filter(pa.array(usable)), name)


def batches(photos: Photos, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows in order, some at a time."""
    names = manifest.inspect_manifest(photos)[0].names if isinstance(photos, Path) else photos.column_names
    if columns is not None and "missing_since" not in names:  # an older version made the scan
        columns = [name for name in columns if name != "missing_since"]
    if absent := set(columns or ()) - set(names):
        raise ManifestError(f"the scan has no column {min(absent)!r}: run `curate scan` again with this version")
    if isinstance(photos, Path):
        return manifest.iter_tables(photos, columns)
    return iter([photos if columns is None else photos.select(columns)])


def count(photos: Photos) -> int:
    """How many rows there are."""
    if not isinstance(photos, Path):
        return int(photos.num_rows)
    return sum(manifest.open_parquet(part).metadata.num_rows for part in manifest.list_parts(photos))


def paths(photos: Photos, rows: NDArray[np.int64]) -> pa.Array:
    """Where some rows' photos lie, below their source; with it where there are several.

    Args:
        photos: see `Photos`.
        rows: ascending.
    """
    sources = {source for table in batches(photos, ["source"]) for source in pc.unique(table["source"]).to_pylist()}
    pieces, start = [], 0
    for table in batches(photos, ["source", "path"]):
        first, last = np.searchsorted(rows, [start, start + table.num_rows])
        source, path = table.take(pa.array(rows[first:last] - start)).cast(_PLACES).columns
        pieces.append(pc.binary_join_element_wise(source, path, "/") if len(sources) > 1 else path)
        start += table.num_rows
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pa.string()).combine_chunks()


def usable(photos: Photos, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Some measures of every usable photo that has them: see `gates.usable`."""
    pieces: dict[str, list[NDArray[np.float64]]] = {name: [np.zeros(0)] for name in names}
    for table in batches(photos, sorted({"colorfulness", "error", "missing_since", *names})) if names else ():
        measured = table.filter(pa.array(rules.usable(table)))
        for name in names:
            values = measured[name].drop_null().cast(pa.float64()).to_numpy()
            pieces[name].append(values[~np.isnan(values)])
    return {name: np.concatenate(values) for name, values in pieces.items()}


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column as numbers, 0 where there is none."""
    return np.asarray(np.nan_to_num(pc.fill_null(table[name].cast(pa.float64()), 0.0).to_numpy()), np.float64)


def _leading_bits(texts: Any, name: str) -> NDArray[np.uint64]:
    """(rows, 2) the first 128 bits of hex text."""
    try:
        return np.stack([hex_to_uint(texts, 64), hex_to_uint(pc.utf8_slice_codeunits(texts, 16, 32), 64)], axis=1)
    except ValueError as exc:
        raise ManifestError(f"the scan's column {name!r} is of another version ({exc}): scan the photos again") from exc
