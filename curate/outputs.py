"""Where a filter's decisions go: a manifest of the kept photos, and beside it one of the rejected."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate import manifest
from curate.criteria import FilterOptions
from curate.errors import ManifestError
from curate.manifest import ROWS_A_GROUP, Lineage

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
        _, lineage = manifest.inspect(path)
    except ManifestError:
        return False
    return lineage is not None and lineage.kind == kind


class Pieces:
    """Writes tables into one file, in row groups of the usual size whatever the tables' sizes are."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Write some rows, now or later."""
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= ROWS_A_GROUP:
            self._flush()

    def end(self, lineage: Lineage) -> None:
        """Write what is left, and what made it all."""
        self._flush()
        self._file.add_key_value_metadata(lineage.encoded())

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._rows = [], 0


def lineage_of(
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
        ancestors=manifest.chain(scan_path, scan_sha256, scan),
        rows=rows,
        metric=scan.metric if scan else "unknown",
        scorer_version=scan.scorer_version if scan else 0,
        counts=counts,
    )
