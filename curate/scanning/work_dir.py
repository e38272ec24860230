"""The work folder of a scan: the listing, divided into chunks; one part file per chunk; and the merge of all rows.

A part file gets its name only when it is complete, so its existence says that the chunk is finished.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import Vanished
from curate.manifest import (
    HEADER_FIELDS,
    KEY_COLUMNS,
    KEY_FIELDS,
    MEASURE_FIELDS,
    SCAN_SCHEMA,
    open_parquet,
    open_writer,
)
from curate.scanning.merge import combine_tables, to_scan_schema
from curate.scanning.resume import ListingRow, RowReader
from curate.sources import STREAM_OFFSET, ListedPhoto

CHUNK_PHOTOS = 256
"""Maximum number of photos in a chunk."""
CHUNK_BYTES = 64 << 20
"""A chunk ends with the file with which its files reach this size."""
LAST_CHUNKS = 4
"""The last chunks of a listing are divided into `LAST_CHUNK_PIECES` each, so that all workers finish together."""
LAST_CHUNK_PIECES = 4
CHUNKS_PER_ROW_GROUP = 64
"""Of the listing file. A Parquet reader keeps metadata of every row group in memory, so there should be few."""

LISTING_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        pa.field("bytes", pa.int64()),
        pa.field("modified_ns", pa.int64()),
        pa.field("error", pa.string()),
        pa.field("offset", pa.int64()),
        SCAN_SCHEMA.field("sidecars"),
        SCAN_SCHEMA.field("missing_since"),
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("known_file", pa.int16(), nullable=False),  # index of a file of known rows; -1: must be measured
        pa.field("known_row", pa.int64(), nullable=False),
        pa.field("keeps_sidecars", pa.bool_(), nullable=False),
    ]
)
_PHOTO_COLUMNS = [name for name in ListedPhoto._fields if name != "sidecars"]
"""What workers need to know of a photo."""
_POSITION = pa.field("position", pa.int32(), nullable=False)
_PART_SCHEMA = pa.schema([_POSITION, *SCAN_SCHEMA])
_OUTDATED_ERROR = str(Vanished("it was missing when all photos were measured again by another scorer or options"))


@dataclass(frozen=True, slots=True)
class ListingStats:
    """How many files a scan lists, and how many of them it must measure."""

    files: int
    """Files that were found."""
    to_measure: int
    """Files whose photo isn't known from an earlier scan."""
    bytes_to_measure: int = 0
    """Total size of these files in bytes, as far as it is known."""
    missing: int = 0
    """Photos of earlier scans that were not found and whose rows are kept."""
    dropped: int = 0
    """Photos of earlier scans that were not found and whose rows are removed from the manifest."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Number of files and folders that were skipped, by the name or pattern that they match."""
    excluded_rows: int = 0
    """Photos of earlier scans that are excluded now and whose rows are removed from the manifest."""
    tables_without_images: int = 0
    """Parquet and Arrow files below folders that have no column of images."""
    tables_passed_over: tuple[str, ...] = ()
    """The locations of the first of them."""
    unknown_paths: tuple[str, ...] = ()
    """Paths to forget of which the earlier scan has no row."""
    streams: int = 0
    """Compressed tars among the files to measure; their photos are counted when they are read."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of the listing that one worker measures."""

    index: int
    """Number of the chunk in the listing, from 0."""
    photos: tuple[ListedPhoto, ...]
    """The photos that must be measured."""
    positions: tuple[int, ...]
    """The row of each of these photos in the chunk, from 0."""


@dataclass(slots=True)
class StreamCounts:
    """Counts of the compressed tars that a scan has read."""

    photos: int = 0
    """Rows of their photos, and of themselves if they have an error."""
    skipped: int = 0
    """Their members that are not a photo."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Members that were skipped, by the name or pattern that they match."""

    def to_metadata(self) -> dict[str, str]:
        """As metadata of a part file, without `photos`."""
        return {_STREAM_KEY: json.dumps({"skipped": self.skipped, "excluded": self.excluded})}

    def add(self, metadata: Mapping[bytes, bytes], photos: int) -> None:
        """Add the counts of a part file."""
        counts = json.loads(metadata[_STREAM_KEY.encode()])
        self.photos += photos
        self.skipped += counts["skipped"]
        self.excluded.update(counts["excluded"])


_STREAM_KEY = "stream"


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The work folder of one scan."""

    folder: Path
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    """Random part of the names of part files, so that a worker of a killed scan can't add rows to the next scan."""

    @property
    def listing_path(self) -> Path:
        """All files that were found, in order, each with the known row of its photo."""
        return self.folder / "listing.parquet"

    def part_path(self, index: int) -> Path:
        """The measured rows of one chunk."""
        return self.folder / f"part-{self.run_id}-{index:06d}.parquet"

    def progress_name(self, index: int | Literal["*"]) -> str:
        """The name of the file that says how far the worker of a compressed tar is; `*` is the pattern of all."""
        return f"progress-{self.run_id}-{index}"

    def recovered_paths(self) -> list[Path]:
        """Rows that interrupted scans measured, one file per scan."""
        return sorted(self.folder.glob("known-*.parquet"))

    def write_listing(self, rows: Iterable[ListingRow]) -> ListingStats:
        """Write the listing, divided into chunks.

        Args:
            rows: sorted by `ListedPhoto.key`, matched with known rows.

        Returns:
            The numbers of files, and of photos to measure and missing ones; all other counts are 0.
        """
        files = missing = to_measure = size = streams = 0
        with open_writer(self.listing_path, LISTING_SCHEMA) as out:
            tables = itertools.starmap(_listing_table, enumerate(_divide_listing(rows)))
            while row_group := list(itertools.islice(tables, CHUNKS_PER_ROW_GROUP)):
                table = pa.concat_tables(row_group)
                out.write_table(table)
                present = table["missing_since"].null_count
                files += present
                missing += table.num_rows - present
                sizes = table["bytes"].filter(pc.equal(table["known_file"], -1))
                to_measure += len(sizes)
                size += pc.sum(sizes).as_py() or 0
                streams += pc.sum(pc.equal(table["offset"], STREAM_OFFSET)).as_py() or 0
        return ListingStats(files, to_measure, size, missing, streams=streams)

    def unfinished_chunks(self) -> Iterator[Chunk]:
        """Read the chunks of the listing that have photos to measure and no part file."""
        for index, rows in self._read_listing([*_PHOTO_COLUMNS, "chunk", "known_file"]):
            if not self.part_path(index).exists():
                chunk = _to_chunk(index, rows)
                if chunk.photos:
                    yield chunk

    def write_part(self, index: int, rows: Sequence[dict[str, Any]], positions: Sequence[int]) -> None:
        """Write the measured rows of a chunk to its part file; write no file if there are none.

        Args:
            index: number of the chunk.
            rows: in the scan schema.
            positions: the row of each of them in the chunk.

        Raises:
            ManifestError: the file can't be written.
        """
        if not rows:
            return
        table = pa.Table.from_pylist(list(rows), SCAN_SCHEMA).add_column(
            0, _POSITION, [pa.array(positions, pa.int32())]
        )
        with open_writer(self.part_path(index), _PART_SCHEMA, durable=False) as out:
            out.write_table(table)

    def write_stream_part(self, index: int, tables: Iterable[pa.Table], counts: StreamCounts) -> None:
        """Write the part file of a compressed tar, also if it has no rows.

        Args:
            index: number of the chunk, which contains only the tar.
            tables: its rows in the scan schema, in listing order.
            counts: of the tar; complete only when the tables have been read.

        Raises:
            ManifestError: the file can't be written.
        """
        rows = 0
        with open_writer(self.part_path(index), _PART_SCHEMA, durable=False) as out:
            for table in tables:
                positions = pa.array(np.arange(rows, rows + table.num_rows), pa.int32())
                out.write_table(table.add_column(0, _POSITION, positions))
                rows += table.num_rows
            out.add_key_value_metadata(counts.to_metadata())

    def merge_rows(
        self, known_files: Sequence[Path], outdated: Path | None = None, streams: StreamCounts | None = None
    ) -> Iterator[pa.Table]:
        """Read the rows of the new manifest in listing order: known rows and measured rows.

        Args:
            known_files: files of known rows, by their index in the listing.
            outdated: the one of them that another scorer or other options made; its rows lose their measures.
            streams: the counts of compressed tars are added here.

        Returns:
            Tables of at least `ROW_GROUP_SIZE` rows, except the last one.
        """
        return combine_tables(self._merge_chunks(known_files, outdated, streams or StreamCounts()))

    def _merge_chunks(
        self, known_files: Sequence[Path], outdated: Path | None, streams: StreamCounts
    ) -> Iterator[pa.Table]:
        readers = [RowReader(path) for path in known_files]
        columns = [*KEY_COLUMNS, "sidecars", "keeps_sidecars", "missing_since", "chunk", "known_file", "known_row"]
        for index, listed in self._read_listing(columns):
            pieces = [_take_known_rows(listed, number, reader) for number, reader in enumerate(readers)]
            if outdated is not None:
                number = known_files.index(outdated)
                pieces[number] = _remove_measures(pieces[number])
            if self.part_path(index).exists():
                part = open_parquet(self.part_path(index))
                if _is_stream_part(part):
                    streams.add(part.metadata.metadata, part.metadata.num_rows)
                    yield from (table.drop_columns(["position"]) for table in _row_groups(part))
                    continue
                pieces.append(part.read())
            rows = pa.concat_tables([_PART_SCHEMA.empty_table(), *(piece.cast(_PART_SCHEMA) for piece in pieces)])
            yield _add_sidecars(rows.sort_by("position"), listed).drop_columns(["position"])

    def recover_interrupted(self, made_by: str, exclude: Sequence[str] = ()) -> bool:
        """Turn the part files of interrupted scans into files of known rows; delete them if another scorer made them.

        Args:
            made_by: scorer and options of this scan, as text.
            exclude: patterns of files that this scan skips.

        Returns:
            Whether all these scans had the same patterns.
        """
        stamp = self.folder / "made_by"
        parts = sorted(self.folder.glob("part-*.parquet"))
        if stamp.exists() and stamp.read_text(encoding="utf-8") == made_by:
            for _, parts_of_run in itertools.groupby(parts, lambda part: part.name.split("-")[1]):
                target = self.folder / f"known-{len(self.recovered_paths()):04d}.parquet"
                with open_writer(target, SCAN_SCHEMA) as out:
                    for part in parts_of_run:
                        for table in _row_groups(open_parquet(part)):
                            out.write_table(to_scan_schema(table))
        else:
            for path in self.recovered_paths():
                path.unlink()
        for part in parts:
            part.unlink()
        stamp.write_text(made_by, encoding="utf-8")
        patterns, text = self.folder / "exclude", json.dumps(list(exclude))
        is_same = not self.recovered_paths() or (patterns.exists() and patterns.read_text(encoding="utf-8") == text)
        patterns.write_text(text if is_same else "", encoding="utf-8")
        return is_same

    def _read_listing(self, columns: Sequence[str] = LISTING_SCHEMA.names) -> Iterator[tuple[int, pa.Table]]:
        """Read the listing chunk by chunk: the number of each chunk and its rows."""
        file = open_parquet(self.listing_path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns))
            numbers = table["chunk"].to_numpy()
            starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
            for start, end in itertools.pairwise([*starts, table.num_rows]):
                yield int(numbers[start]), table.slice(start, end - start)


def _row_groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    return (file.read_row_group(number) for number in range(file.num_row_groups))


def _is_stream_part(part: pq.ParquetFile) -> bool:
    return _STREAM_KEY.encode() in (part.metadata.metadata or {})


def _divide_listing(rows: Iterable[ListingRow]) -> Iterator[list[ListingRow]]:
    """Divide a listing into chunks, with smaller chunks at the end."""
    last: deque[list[ListingRow]] = deque()
    for chunk in _full_chunks(rows):
        last.append(chunk)
        if len(last) > LAST_CHUNKS:
            yield last.popleft()
    for chunk in last:
        size = -(-len(chunk) // LAST_CHUNK_PIECES)
        yield from (chunk[start : start + size] for start in range(0, len(chunk), size))


def _full_chunks(rows: Iterable[ListingRow]) -> Iterator[list[ListingRow]]:
    """Divide a listing wherever a chunk has enough photos or bytes. A compressed tar is a chunk of its own."""
    chunk: list[ListingRow] = []
    size = 0
    for row in rows:
        if row.photo.is_stream:
            if chunk:
                yield chunk
            yield [row]
            chunk, size = [], 0
            continue
        chunk.append(row)
        size += row.photo.bytes or 0
        if len(chunk) >= CHUNK_PHOTOS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _listing_table(index: int, rows: list[ListingRow]) -> pa.Table:
    """The rows of one chunk in the listing schema."""
    of_rows: dict[str, Sequence[Any]] = dict(zip(ListingRow._fields, zip(*rows, strict=True), strict=True))
    photos = zip(*of_rows.pop("photo"), strict=True)
    columns: dict[str, Sequence[Any]] = dict(zip(ListedPhoto._fields, photos, strict=True)) | of_rows
    columns["sidecars"] = [files or None for files in columns["sidecars"]]
    return pa.table(columns | {"chunk": [index] * len(rows)}, schema=LISTING_SCHEMA)


def _to_chunk(index: int, rows: pa.Table) -> Chunk:
    photos, positions = [], []
    for position, row in enumerate(rows.to_pylist()):
        if row["known_file"] == -1:
            photos.append(ListedPhoto(*(row[name] for name in _PHOTO_COLUMNS)))
            positions.append(position)
    return Chunk(index, tuple(photos), tuple(positions))


def _take_known_rows(listed: pa.Table, number: int, reader: RowReader) -> pa.Table:
    """The known rows of a chunk from one file, with `source`, `path` and `missing_since` of the new listing."""
    positions = pc.indices_nonzero(pc.equal(listed["known_file"], number))
    rows = reader.take(listed["known_row"].take(positions).to_pylist())
    for name in (*KEY_COLUMNS, "missing_since"):
        column = listed[name].take(positions)
        rows = rows.set_column(rows.column_names.index(name), SCAN_SCHEMA.field(name), column)
    return rows.add_column(0, _POSITION, [positions.cast(pa.int32())])


def _add_sidecars(rows: pa.Table, listed: pa.Table) -> pa.Table:
    """The rows of a chunk with the sidecars that the listing found.

    Those of a missing photo and of an unchanged compressed tar stay as they were.
    """
    found = listed["sidecars"].take(rows["position"])
    if listed["missing_since"].null_count < listed.num_rows or pc.any(listed["keeps_sidecars"]).as_py():
        stay = pc.or_(pc.is_valid(rows["missing_since"]), listed["keeps_sidecars"].take(rows["position"]))
        found = pc.if_else(stay, rows["sidecars"], found)
    return rows.set_column(rows.column_names.index("sidecars"), SCAN_SCHEMA.field("sidecars"), found)


def _remove_measures(rows: pa.Table) -> pa.Table:
    """Rows of missing photos that another scorer measured: an error instead of the measures."""
    for column in (*HEADER_FIELDS, *MEASURE_FIELDS):
        rows = rows.set_column(rows.column_names.index(column.name), column, pa.nulls(rows.num_rows, column.type))
    errors = pa.array([_OUTDATED_ERROR] * rows.num_rows, pa.string())
    return rows.set_column(rows.column_names.index("error"), SCAN_SCHEMA.field("error"), errors)
