"""A scan's work folder: the listing cut into shards, one part file a shard, and the merge into a manifest.

A part file is its own completion marker: it appears under its name whole, or not at all.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import Vanished
from curate.manifest import HEADER_FIELDS, KEY_COLUMNS, KEY_FIELDS, MEASURE_FIELDS, SCAN_SCHEMA, open_writer
from curate.scanning.merge import row_groups, to_scan_schema
from curate.scanning.resume import Line, ListingStats, RowReader
from curate.sources import ListedPhoto

SHARD_PHOTOS = 256
SHARD_BYTES = 64 << 20
LAST_SHARDS = 4
"""So many at the end are cut into LAST_PIECES each: no worker is to be left with much when the others are done."""
LAST_PIECES = 4
SHARDS_A_GROUP = 64
"""Of the listing: a reader holds what the file's end says of every row group, so there should be few."""

LISTING_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        pa.field("bytes", pa.int64()),
        pa.field("modified_ns", pa.int64()),
        pa.field("problem", pa.string()),
        pa.field("offset", pa.int64()),
        SCAN_SCHEMA.field("missing_since"),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("known_file", pa.int16(), nullable=False),  # index into the known files, -1: to be measured
        pa.field("known_row", pa.int64(), nullable=False),
    ]
)
PHOTO_COLUMNS = LISTING_SCHEMA.names[: len(fields(ListedPhoto))]
"""The columns of a `ListedPhoto`, in the order of its fields. Its `error` is stored as `problem`."""
NOT_MEASURED_AGAIN = str(Vanished("it was missing when all photos were measured again by another scorer or options"))
POSITION = pa.field("position", pa.int32(), nullable=False)
PART_SCHEMA = pa.schema([POSITION, *SCAN_SCHEMA])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of the listing's rows."""

    index: int
    photos: tuple[ListedPhoto, ...]
    """Those still to be measured."""
    positions: tuple[int, ...]
    """Where each of them stands in the run."""


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The work folder of one scan."""

    folder: Path
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Stands in the names of its parts: a worker that outlives a killed scan can't slip its rows into the next one."""

    @property
    def listing_path(self) -> Path:
        """Every file found, in order, with where to find what is known of it."""
        return self.folder / "listing.parquet"

    def part_path(self, index: int) -> Path:
        """The measured rows of one shard."""
        return self.folder / f"part-{self.run}-{index:06d}.parquet"

    def known_paths(self) -> list[Path]:
        """Rows that interrupted scans left behind."""
        return sorted(self.folder.glob("known-*.parquet"))

    def write_listing(self, lines: Iterable[Line]) -> ListingStats:
        """Write the listing, cut into shards.

        Args:
            lines: in listing order, matched with known rows.
        """
        files = missing = to_do = size = 0
        with open_writer(self.listing_path, LISTING_SCHEMA) as out:
            tables = itertools.starmap(_listing_table, enumerate(_shards_of(lines)))
            while together := list(itertools.islice(tables, SHARDS_A_GROUP)):
                table = pa.concat_tables(together)
                out.write_table(table)
                found = table["missing_since"].null_count
                files += found
                missing += table.num_rows - found
                sizes = table["bytes"].filter(pc.equal(table["known_file"], -1))
                to_do += len(sizes)
                size += pc.sum(sizes).as_py() or 0
        return ListingStats(files, to_do, size, missing)

    def shards(self) -> Iterator[Chunk]:
        """The shards that have photos to measure and no part file yet."""
        for index, rows in self._listed():
            if not self.part_path(index).exists():
                shard = _shard(index, rows)
                if shard.photos:
                    yield shard

    def _listed(self, columns: Sequence[str] = LISTING_SCHEMA.names) -> Iterator[tuple[int, pa.Table]]:
        """The listing's rows, a shard at a time."""
        file = manifest.open_parquet(self.listing_path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            numbers = table["shard"].to_numpy()
            starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
            for start, end in itertools.pairwise([*starts, table.num_rows]):
                yield int(numbers[start]), table.slice(start, end - start)

    def write_part(self, index: int, rows: Sequence[dict[str, Any]], positions: Sequence[int]) -> None:
        """Write a shard's measured rows, whole or not at all; nothing where there are none."""
        if not rows:
            return
        table = pa.Table.from_pylist(list(rows), SCAN_SCHEMA).add_column(0, POSITION, [pa.array(positions, pa.int32())])
        with open_writer(self.part_path(index), PART_SCHEMA, durable=False) as out:
            out.write_table(table)

    def merged(self, known: Sequence[Path], stale: Path | None = None) -> Iterator[pa.Table]:
        """The manifest's rows in listing order, in pieces.

        Args:
            known: files of known rows, by their index in the listing.
            stale: the one among them whose measures don't hold any more: its rows lose them.
        """
        return row_groups(self._merged_shards(known, stale))

    def _merged_shards(self, known: Sequence[Path], stale: Path | None) -> Iterator[pa.Table]:
        readers = [RowReader(path) for path in known]
        for index, lines in self._listed([*KEY_COLUMNS, "missing_since", "shard", "known_file", "known_row"]):
            pieces = [_known_piece(lines, number, reader) for number, reader in enumerate(readers)]
            if stale is not None:
                pieces[known.index(stale)] = _without_measures(pieces[known.index(stale)])
            if self.part_path(index).exists():
                pieces.append(manifest.open_parquet(self.part_path(index)).read())
            together = pa.concat_tables([PART_SCHEMA.empty_table(), *(piece.cast(PART_SCHEMA) for piece in pieces)])
            yield together.sort_by("position").drop_columns(["position"])

    def salvage(self, made_by: str) -> None:
        """Turn what an interrupted scan finished into known rows, unless another scorer made them."""
        stamp = self.folder / "made_by"
        parts = sorted(self.folder.glob("part-*.parquet"))
        if stamp.exists() and stamp.read_text(encoding="utf-8") == made_by:
            for _, parts_of_run in itertools.groupby(parts, lambda part: part.name.split("-")[1]):
                self._write_known(list(parts_of_run))
        else:
            for known in self.known_paths():
                known.unlink()
        for part in parts:
            part.unlink()
        stamp.write_text(made_by, encoding="utf-8")

    def _write_known(self, parts: list[Path]) -> None:
        target = self.folder / f"known-{len(self.known_paths()):04d}.parquet"
        with open_writer(target, SCAN_SCHEMA) as out:
            for part in parts:
                out.write_table(to_scan_schema(manifest.open_parquet(part).read()))


def _shards_of(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """A listing in shards, the last ones smaller."""
    waiting: deque[list[Line]] = deque()
    for group in _groups(lines):
        waiting.append(group)
        if len(waiting) > LAST_SHARDS:
            yield waiting.popleft()
    for group in waiting:
        size = -(-len(group) // LAST_PIECES)
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _groups(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Cut a listing where a shard has enough photos or bytes."""
    group: list[Line] = []
    size = 0
    for line in lines:
        group.append(line)
        size += line.photo.bytes or 0
        if len(group) >= SHARD_PHOTOS or size >= SHARD_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _listing_table(index: int, group: list[Line]) -> pa.Table:
    """The lines of one shard."""
    columns = {
        column: [getattr(line.photo, entry.name) for line in group]
        for column, entry in zip(PHOTO_COLUMNS, fields(ListedPhoto), strict=True)
    }
    columns |= {name: [getattr(line, name) for line in group] for name in Line._fields if name != "photo"}
    return pa.table(columns | {"shard": [index] * len(group)}, schema=LISTING_SCHEMA)


def _shard(index: int, rows: pa.Table) -> Chunk:
    photos, positions = [], []
    for position, row in enumerate(rows.to_pylist()):
        if row["known_file"] == -1:
            photos.append(ListedPhoto(*(row[column] for column in PHOTO_COLUMNS)))
            positions.append(position)
    return Chunk(index, tuple(photos), tuple(positions))


def _known_piece(lines: pa.Table, number: int, reader: RowReader) -> pa.Table:
    """Known rows of a shard under the source and path of this scan, missing or not as this scan found."""
    chosen = pc.indices_nonzero(pc.equal(lines["known_file"], number))
    rows = reader.take(lines["known_row"].take(chosen).to_pylist())
    for name in (*KEY_COLUMNS, "missing_since"):
        rows = rows.set_column(rows.column_names.index(name), SCAN_SCHEMA.field(name), lines[name].take(chosen))
    return rows.add_column(0, POSITION, [chosen.cast(pa.int32())])


def _without_measures(rows: pa.Table) -> pa.Table:
    """Rows of missing photos that another scorer measured: an error stands in for the measures."""
    for column in (*HEADER_FIELDS, *MEASURE_FIELDS):
        rows = rows.set_column(rows.column_names.index(column.name), column, pa.nulls(rows.num_rows, column.type))
    errors = pa.array([NOT_MEASURED_AGAIN] * rows.num_rows, pa.string())
    return rows.set_column(rows.column_names.index("error"), SCAN_SCHEMA.field("error"), errors)
