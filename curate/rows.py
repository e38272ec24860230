"""Rows of scans in the order of listings: by location, part by part."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest import ROWS_A_GROUP, SCAN_SCHEMA, opened, writer


def in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces of at least `ROWS_A_GROUP`, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(piece.num_rows for piece in waiting) >= ROWS_A_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def in_scan_schema(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    """Rows with the columns of a scan; a column that an older version didn't write is null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in SCAN_SCHEMA
    ]
    return pa.table(columns, schema=SCAN_SCHEMA)


def in_listing_order(file: Path, folder: Path) -> Path:
    """The same rows in the order of listings: the file itself, or a copy if an older version wrote it.

    Versions without `missing_since` ordered the rows by `source` first, so those of nested sources lie apart.

    Args:
        file: rows of a scan.
        folder: where to sort, on disk, and where the copy is written.

    Raises:
        ManifestError: the disk says no.
    """
    if "missing_since" in opened(file).schema_arrow.names:
        return file
    runs = []
    for number, batch in enumerate(opened(file, pre_buffer=False).iter_batches(ROWS_A_GROUP)):
        runs.append(folder / f"run-{number:04d}-{file.name}")
        with writer(runs[-1], SCAN_SCHEMA, lasting=False) as out:
            out.write_table(_sorted(_with_parts(in_scan_schema(batch))))
    copy = folder / f"ordered-{file.name}"
    with writer(copy, SCAN_SCHEMA, lasting=False) as out:
        for table in in_groups(in_order(runs)):
            out.write_table(table)
    for run in runs:
        run.unlink()
    return copy


def in_order(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of files that are sorted each, sorted, with a piece of each file in memory."""
    parts = [_Part(file, max(1024, ROWS_A_GROUP // len(files))) for file in files]
    while parts := [part for part in parts if part.fill()]:
        settled = min(part.last_key() for part in parts)  # what comes later sorts behind this
        yield _sorted(pa.concat_tables([part.take_to(settled) for part in parts]))


def _with_parts(rows: pa.Table) -> pa.Table:
    """Rows and, as `parts`, their locations as text that sorts as the parts of a path do."""
    places = pc.binary_join_element_wise(pc.utf8_rtrim(rows["source"], "/"), rows["path"], "/")
    return rows.append_column("parts", pc.replace_substring(places, "/", "\0"))


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by("parts").select(SCAN_SCHEMA.names)


class _Part:
    """One part, read some rows at a time."""

    def __init__(self, file: Path, rows: int) -> None:
        self._batches = opened(file, pre_buffer=False).iter_batches(rows, columns=SCAN_SCHEMA.names)
        self._rows = SCAN_SCHEMA.empty_table()

    def fill(self) -> bool:
        """Read on where nothing is left; False at the end."""
        while not self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._rows = _with_parts(in_scan_schema(batch))
        return True

    def last_key(self) -> str:
        """Of the rows at hand."""
        return self._key(self._rows.num_rows - 1)

    def take_to(self, key: str) -> pa.Table:
        """The rows up to a key, which are then gone from here."""
        count = bisect.bisect_right(range(self._rows.num_rows), key, key=self._key)
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken

    def _key(self, row: int) -> str:
        key: str = self._rows["parts"][row].as_py()
        return key
