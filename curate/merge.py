"""The parts of a divided scan to the manifest that one scan of everything would have written."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import ROWS_A_GROUP, SCAN_SCHEMA, Lineage
from curate.worklist import in_groups


def merge(paths: Sequence[Path], out: Path, *, command: str = "", overwrite: bool = False) -> Lineage:
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
    files = [part for path in paths for part in manifest.parts(path)]
    if os.path.lexists(out) and (not overwrite or os.path.realpath(out) in map(os.path.realpath, files)):
        raise ManifestError(f"{out} is in the way: choose another output with -o, or replace it with --overwrite")
    lineages = [manifest.inspect(file, need=("source", "path"))[1] for file in files]
    lineage = manifest.joined(files, lineages)
    made_of = [
        {**part, "sha256": manifest.sha256_of(file)} for part, file in zip(lineage.options["parts"], files, strict=True)
    ]
    lineage = replace(lineage, command=command, options={**lineage.options, "parts": made_of})
    manifest.make_folder(out)
    with manifest.writer(out, SCAN_SCHEMA) as file:
        for table in in_groups(_in_order(files)):
            file.write_table(table)
        file.add_key_value_metadata(lineage.encoded())
    return lineage


def _in_order(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of parts that are sorted each, sorted, with a piece of each part in memory."""
    parts = [_Part(file, max(1024, ROWS_A_GROUP // len(files))) for file in files]
    while parts := [part for part in parts if part.fill()]:
        settled = min(part.last_key() for part in parts)  # what comes later sorts behind this
        rows = pa.concat_tables([part.take_to(settled) for part in parts])
        yield rows.sort_by([("source", "ascending"), ("names", "ascending")]).select(SCAN_SCHEMA.names)


class _Part:
    """One part, read some rows at a time."""

    def __init__(self, file: Path, rows: int) -> None:
        self._batches = pq.ParquetFile(file, pre_buffer=False).iter_batches(rows, columns=SCAN_SCHEMA.names)
        self._rows = SCAN_SCHEMA.empty_table()

    def fill(self) -> bool:
        """Read on where nothing is left; False at the end."""
        while not self._rows.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            rows = pa.Table.from_batches([batch]).cast(SCAN_SCHEMA)
            names = pc.replace_substring(rows["path"], "/", "\0")  # sorts as the parts of a path do
            self._rows = rows.append_column("names", names)
        return True

    def last_key(self) -> tuple[str, str]:
        """Of the rows at hand."""
        return self._key(self._rows.num_rows - 1)

    def take_to(self, key: tuple[str, str]) -> pa.Table:
        """The rows up to a key, which are then gone from here."""
        count = bisect.bisect_right(range(self._rows.num_rows), key, key=self._key)
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken

    def _key(self, row: int) -> tuple[str, str]:
        return self._rows["source"][row].as_py(), self._rows["names"][row].as_py()
