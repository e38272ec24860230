"""The parts of a divided scan to the manifest that one scan of everything would have written."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import ROW_GROUP_SIZE, SCAN_SCHEMA, Lineage, open_parquet, open_writer


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces of at least `ROW_GROUP_SIZE`, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(piece.num_rows for piece in waiting) >= ROW_GROUP_SIZE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def to_scan_schema(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    """Rows with the columns of a scan; a column that an older version didn't write is null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in SCAN_SCHEMA
    ]
    return pa.table(columns, schema=SCAN_SCHEMA)


def sort_file_by_location(file: Path, folder: Path) -> Path:
    """The same rows in the order of listings: the file itself, or a copy if an older version wrote it.

    Versions without `missing_since` ordered the rows by `source` first, so those of nested sources lie apart.

    Args:
        file: rows of a scan.
        folder: where to sort, on disk, and where the copy is written.

    Raises:
        ManifestError: the disk says no.
    """
    if "missing_since" in open_parquet(file).schema_arrow.names:
        return file
    runs = []
    for number, batch in enumerate(open_parquet(file, pre_buffer=False).iter_batches(ROW_GROUP_SIZE)):
        runs.append(folder / f"run-{number:04d}-{file.name}")
        with open_writer(runs[-1], SCAN_SCHEMA, durable=False) as out:
            out.write_table(_sorted(_with_parts(to_scan_schema(batch))))
    copy = folder / f"ordered-{file.name}"
    with open_writer(copy, SCAN_SCHEMA, durable=False) as out:
        for table in row_groups(merge_sorted(runs)):
            out.write_table(table)
    for run in runs:
        run.unlink()
    return copy


def merge_sorted(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of files that are sorted each, sorted, with a piece of each file in memory."""
    parts = [_Part(file, max(1024, ROW_GROUP_SIZE // len(files))) for file in files]
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
        self._batches = open_parquet(file, pre_buffer=False).iter_batches(rows, columns=SCAN_SCHEMA.names)
        self._rows = SCAN_SCHEMA.empty_table()

    def fill(self) -> bool:
        """Read on where nothing is left; False at the end."""
        while not self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._rows = _with_parts(to_scan_schema(batch))
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


def merge_manifests(paths: Sequence[Path], out: Path, *, command: str = "", overwrite: bool = False) -> Lineage:
    """Join what `curate scan --shard` wrote: the rows and the order of a scan that was never divided.

    Args:
        paths: the parts, or folders of them.
        out: the manifest to write.
        command: kept in its lineage.
        overwrite: replace whatever is there.

    Returns:
        The lineage that was written, with the number of rows.

    Raises:
        ManifestError: a part is missing, doubled, unreadable, or of another scan, scorer or options; `out` is in the
            way or can't be written.
    """
    files = [part for path in paths for part in manifest.list_parts(path)]
    if os.path.lexists(out) and (not overwrite or os.path.realpath(out) in map(os.path.realpath, files)):
        raise ManifestError(f"{out} is in the way: choose another output with -o, or replace it with --overwrite")
    if os.path.realpath(out.parent) in [os.path.realpath(path) for path in paths if path.is_dir()]:
        raise ManifestError(f"{out} would lie among its parts: choose another folder with -o")
    lineages = [manifest.inspect_manifest(file, required=("source", "path"))[1] for file in files]
    lineage = manifest.merge_lineages(files, lineages)
    made_of = [
        {**part, "sha256": manifest.digest(file)} for part, file in zip(lineage.options["parts"], files, strict=True)
    ]
    lineage = replace(lineage, command=command, options={**lineage.options, "parts": made_of})
    manifest.make_parent_dir(out)
    with TemporaryDirectory() as scratch, manifest.open_writer(out, SCAN_SCHEMA) as file:
        ordered = [sort_file_by_location(part, Path(mkdtemp(dir=scratch))) for part in files]
        for table in row_groups(merge_sorted(ordered)):
            file.write_table(table)
        file.add_key_value_metadata(lineage.to_metadata())
    return lineage
