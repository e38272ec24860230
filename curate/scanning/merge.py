"""Join the manifests of `curate scan --shard` into the manifest that one scan of everything would have written."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError
from curate.files import exists, is_same, local_copy, write_errors
from curate.locations import Location
from curate.manifest import ROW_GROUP_SIZE, SCAN_SCHEMA, Lineage, open_parquet, open_writer


def merge_manifests(paths: Sequence[Location], out: Location, *, command: str = "", overwrite: bool = False) -> Lineage:
    """Join the parts of a divided scan: the same rows in the same order as one scan of everything.

    Args:
        paths: the parts that `curate scan --shard` wrote, or folders of them, in any order.
        out: the manifest to write.
        command: the command as it was typed; stored in the lineage.
        overwrite: replace an existing file.

    Returns:
        The lineage of the new manifest, with its number of rows.

    Raises:
        ManifestError: a part is missing, given twice, can't be read, or was made by another scan, scorer or options;
            `out` already exists or can't be written.
    """
    files = [part for path in paths for part in manifest.part_locations(path)]
    with write_errors(out, ManifestError, "-o"):
        taken = exists(out)
    if taken and (not overwrite or any(is_same(out, file) for file in files)):
        raise ManifestError(f"{out} already exists: choose another output with -o, or replace it with --overwrite")
    if any(is_same(out.parent, path) and path.is_dir() for path in paths):
        raise ManifestError(f"{out} would be in the folder of its parts: choose another folder with -o")
    lineages = [manifest.read_schema_and_lineage(file, required=("source", "path"))[1] for file in files]
    lineage = manifest.merge_lineages(files, lineages)
    parts = [
        {**part, "sha256": manifest.digest(file)} for part, file in zip(lineage.options["parts"], files, strict=True)
    ]
    lineage = replace(lineage, command=command, options={**lineage.options, "parts": parts})
    manifest.make_parent_dir(out)
    with TemporaryDirectory() as scratch, manifest.open_writer(out, SCAN_SCHEMA) as writer:
        # each part has a folder of its own, because parts may have the same name
        sorted_parts = [sort_file_by_location(local_copy(file), Path(mkdtemp(dir=scratch))) for file in files]
        for table in combine_tables(merge_sorted(sorted_parts)):
            writer.write_table(table)
        writer.add_key_value_metadata(lineage.to_metadata())
    return lineage


def combine_tables(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Combine consecutive tables until each has at least `ROW_GROUP_SIZE` rows, except the last one."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(piece.num_rows for piece in pending) >= ROW_GROUP_SIZE:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def to_scan_schema(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    """Convert rows to the scan schema; a column that an older version didn't write is null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in SCAN_SCHEMA
    ]
    return pa.table(columns, schema=SCAN_SCHEMA)


def sort_file_by_location(file: Path, folder: Path) -> Path:
    """Return a file with the same rows in listing order: the file itself, or a sorted copy if it is of an old version.

    Versions without the column `missing_since` sorted by `source` first, which separates the rows of nested sources.
    The file is sorted on disk, so that memory doesn't grow with the number of rows.

    Args:
        file: rows of a scan.
        folder: where the copy and temporary files are written.

    Raises:
        ManifestError: a file can't be written.
    """
    if "missing_since" in open_parquet(file).schema_arrow.names:
        return file
    runs = []
    for number, batch in enumerate(open_parquet(file, pre_buffer=False).iter_batches(ROW_GROUP_SIZE)):
        runs.append(folder / f"run-{number:04d}-{file.name}")
        with open_writer(runs[-1], SCAN_SCHEMA, durable=False) as out:
            out.write_table(sort_rows(to_scan_schema(batch)))
    copy = folder / f"ordered-{file.name}"
    with open_writer(copy, SCAN_SCHEMA, durable=False) as out:
        for table in combine_tables(merge_sorted(runs)):
            out.write_table(table)
    for run in runs:
        run.unlink()
    return copy


def merge_sorted(files: Sequence[Path]) -> Iterator[pa.Table]:
    """Merge sorted files: read their rows in sorted order, with some rows of each file in memory."""
    readers = [_SortedFileReader(file, max(1024, ROW_GROUP_SIZE // len(files))) for file in files]
    while readers := [reader for reader in readers if reader.fill()]:
        limit = min(reader.last_key() for reader in readers)  # rows that are not in memory yet sort after it
        yield _sort(pa.concat_tables([reader.take_to(limit) for reader in readers]))


def sort_rows(rows: pa.Table) -> pa.Table:
    """Sort rows of the scan schema in listing order."""
    return _sort(_add_sort_key(rows))


def _add_sort_key(rows: pa.Table) -> pa.Table:
    r"""Add the column `sort_key`: the location with \0 for /, which sorts like the list of the parts of a path."""
    locations = pc.binary_join_element_wise(pc.utf8_rtrim(rows["source"], "/"), rows["path"], "/")
    return rows.append_column("sort_key", pc.replace_substring(locations, "/", "\0"))


def _sort(rows: pa.Table) -> pa.Table:
    return rows.sort_by("sort_key").select(SCAN_SCHEMA.names)


class _SortedFileReader:
    """Reads a sorted file some rows at a time."""

    def __init__(self, file: Path, batch_rows: int) -> None:
        self._batches = open_parquet(file, pre_buffer=False).iter_batches(batch_rows, columns=SCAN_SCHEMA.names)
        self._rows = SCAN_SCHEMA.empty_table()

    def fill(self) -> bool:
        """Read the next rows if none are in memory; False at the end of the file."""
        while not self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._rows = _add_sort_key(to_scan_schema(batch))
        return True

    def last_key(self) -> str:
        """The key of the last row in memory."""
        return self._key(self._rows.num_rows - 1)

    def take_to(self, key: str) -> pa.Table:
        """Remove and return the rows in memory up to and including a key."""
        count = bisect.bisect_right(range(self._rows.num_rows), key, key=self._key)
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken

    def _key(self, row: int) -> str:
        key: str = self._rows["sort_key"][row].as_py()
        return key
