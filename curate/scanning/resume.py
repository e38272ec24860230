"""Find the rows of earlier scans that are still valid, so that only new and changed photos are measured.

The listing and the files of known rows are sorted by location, so both are read once, side by side, with little memory.
"""

from __future__ import annotations

import heapq
import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import TRANSIENT_KINDS, ManifestError
from curate.files import exists, write_errors
from curate.locations import Location
from curate.manifest import SCAN_SCHEMA, Lineage, open_parquet
from curate.scanning.known_streams import find_known_tars
from curate.scanning.merge import to_scan_schema
from curate.sources import ALL_SHARDS, Key, ListedPhoto, Sources, contains, photo_location

BATCH_ROWS = 4096
"""Rows that are read from a file of known rows at a time."""
UNREACHABLE_KINDS = frozenset({"Vanished", "ReadFailed"})
"""If a listed photo has an error of these kinds, the photo or its disk is gone, and its earlier measures are kept."""
_COLUMNS = ["source", "path", "bytes", "modified_ns", "tar_offset", "error", "missing_since"]


class KnownRow(NamedTuple):
    """The fields of a known row that decide whether it is still valid."""

    key: Key
    number: int
    """The row in its file, from 0."""
    source: str
    path: str
    bytes: int | None
    modified_ns: int | None
    offset: int | None
    error: str | None
    missing_since: int | None
    """Microseconds since 1970."""

    def to_listed_photo(self) -> ListedPhoto:
        """The photo as a listing contains it."""
        return ListedPhoto(self.source, self.path, self.bytes, self.modified_ns, offset=self.offset)


class ListingRow(NamedTuple):
    """One row of the listing: a file that was found, or a row of the manifest whose photo is missing."""

    photo: ListedPhoto
    known_file: int = -1
    """Index of the file of known rows that has its row; -1: it must be measured."""
    known_row: int = -1
    """Number of the row in this file."""
    missing_since: int | None = None
    """Microseconds since 1970; None: the file was found."""
    keeps_sidecars: bool = False
    """Whether the known row says which files are beside the photo, because the listing did not look for them."""


@dataclass(frozen=True, slots=True)
class MissingRowPolicy:
    """Which rows of the manifest are kept although the scan doesn't find their photos."""

    now_us: int = 0
    """Start of the scan in microseconds since 1970: `missing_since` of the rows that are missing for the first time."""
    prune: bool = False
    """Drop all of them."""
    forget: tuple[str, ...] = ()
    """Drop those below these paths or URLs, written as by `Sources.roots`."""
    keep_below: tuple[str, ...] | None = None
    """If set, also drop those outside these paths: they were named by a list that this scan doesn't have."""
    excludes: Callable[[str], bool] = lambda _: False
    """Whether the listing skips a photo; its row is dropped, because the photo is neither missing nor wanted."""

    def drops(self, location: str) -> bool:
        """Whether the row of a photo is dropped if the scan doesn't find the photo; see `photo_location`."""
        outside = self.keep_below is not None and not is_below(location, self.keep_below)
        return self.prune or outside or self.forgets(location)

    def forgets(self, location: str) -> bool:
        """Whether `forget` names a photo or a folder above it."""
        return is_below(location, self.forget)


def is_below(location: str, roots: Sequence[str]) -> bool:
    """Whether a path or URL is one of the roots or below one of them."""
    return any(contains(root, location) for root in roots)


def check_output(out: Location, sources: Sources, forget: Sequence[str]) -> Lineage | None:
    """Check that a scan may update an existing manifest, and return its lineage; None if there is no manifest.

    Args:
        out: the manifest.
        sources: what is scanned.
        forget: paths whose rows may be dropped, written as by `Sources.roots`.

    Raises:
        ManifestError: the file isn't a scan manifest, or it contains the scan of something that this scan leaves out.
    """
    with write_errors(out, ManifestError, "-o"):
        if not exists(out):
            return None
    advice = "choose another output with -o, or replace it with --overwrite"
    try:
        _, lineage = manifest.read_schema_and_lineage(out)
    except ManifestError as exc:
        if isinstance(exc.__cause__, OSError) and exc.__cause__.errno:  # no permission, a lost disk
            raise
        raise ManifestError(f"{out} already exists and is not a vividset manifest: {advice}") from exc
    if lineage is None or lineage.kind != "scan":
        raise ManifestError(f"{out} already exists and is not the manifest of a scan: {advice}")
    if part := _other_part(lineage, sources):
        raise ManifestError(f"{out} is the scan of {part}, which this scan doesn't include: {advice}, or include it")
    if left_out := _left_out(lineage, sources, forget):
        raise ManifestError(
            f"{out} contains the scan of {left_out}, which this scan doesn't include: add it to the command, remove "
            f"its rows with --forget {shlex.quote(left_out)}, {advice}"
        )
    return lineage


def _other_part(earlier: Lineage, sources: Sources) -> str | None:
    """The part of a divided scan that the earlier manifest has, if it isn't the part that is scanned now."""
    shard = earlier.options.get("shard")
    if shard == str(sources.shard) or (shard is None and sources.shard == ALL_SHARDS):
        return None
    return f"part {shard}" if "shard" in earlier.options else "all parts"


def _left_out(earlier: Lineage, sources: Sources, forget: Sequence[str]) -> str | None:
    """The first path or list of the earlier scan that this scan doesn't cover and that `forget` doesn't name."""
    paths = (path for path in earlier.options.get("paths", ()) if not is_below(path, sources.roots()))
    lists = (name for name in earlier.options.get("lists", ()) if name not in sources.list_names())
    left_out = (str(name) for names in (paths, lists) for name in names)
    return next((name for name in left_out if not is_below(name, forget)), None)


def find_unknown_paths(paths: Sequence[str], earlier: Path | None, lineage: Lineage | None) -> tuple[str, ...]:
    """Return those of some paths that an earlier manifest has no row of or below, and that its scan was not given.

    Args:
        paths: written as by `Sources.roots`.
        earlier: the manifest; None if there is none.
        lineage: of the manifest.
    """
    scanned = [*lineage.options.get("paths", ()), *lineage.options.get("lists", ())] if lineage else []
    unknown = {path for path in paths if not any(contains(path, name) for name in scanned)}
    for batch in _read_batches(earlier, ["source", "path"]) if earlier and unknown else ():
        locations = pc.binary_join_element_wise(pc.utf8_rtrim(batch["source"], "/"), batch["path"], "/")
        for path in tuple(unknown):
            below = pc.or_(pc.equal(locations, path), pc.starts_with(locations, path.rstrip("/") + "/"))
            if pc.any(below).as_py():
                unknown.discard(path)
    return tuple(path for path in paths if path in unknown)


class KnownRowMatcher:
    """Matches a listing with the rows that earlier scans measured."""

    def __init__(
        self,
        recovered: Sequence[Path] = (),
        earlier: Path | None = None,
        *,
        earlier_is_current: bool = True,
        missing: MissingRowPolicy | None = None,
        retry_errors: bool = False,
        same_exclude: tuple[bool, bool] = (True, True),
    ) -> None:
        """Open the files of known rows, each in listing order.

        Args:
            recovered: rows that interrupted scans measured.
            earlier: the manifest that is updated; its index as a known file is the number of `recovered` files.
            earlier_is_current: whether the same scorer and options made it, so that its measures can be used.
            missing: which of its rows are kept if their photos aren't found.
            retry_errors: measure unchanged files again if they failed before.
            same_exclude: whether the recovered files, and the manifest, were made with the patterns of this scan.
                Otherwise they may lack photos of compressed tars, which are then read again.
        """
        self._files = [*recovered, earlier] if earlier else list(recovered)
        self._recovered = [_RowCursor(path) for path in recovered]
        self._earlier = _RowCursor(earlier) if earlier else None
        self._earlier_is_current = earlier_is_current
        self._missing = missing or MissingRowPolicy()
        self._retry_errors = retry_errors
        self._same_exclude = same_exclude
        self._known_tars: list[dict[str, int]] | None = None
        self.dropped = 0
        """Rows of the manifest that are not in the listing."""
        self.excluded = 0
        """Rows of the manifest whose photos the listing skips."""

    def match(self, photos: Iterable[ListedPhoto]) -> Iterator[ListingRow]:
        """Add to each listed photo where its known row is, and insert the rows whose photos are missing.

        Args:
            photos: sorted by `ListedPhoto.key`.
        """
        if not self._files:
            yield from map(ListingRow, photos)
            return
        for photo, is_found in self._add_photos_of_unreadable_folders(photos):
            key = photo.key
            yield from self._missing_rows_before(key)
            if photo.is_stream:
                yield from self._match_stream(photo, key)
            else:
                yield self._match_photo(photo, key)._replace(keeps_sidecars=not is_found)
        yield from self._missing_rows_before(None)

    def _missing_rows_before(self, key: Key | None) -> Iterator[ListingRow]:
        """Rows of the manifest before a key that no listed photo matched."""
        for row in self._earlier.read_to(key) if self._earlier else ():
            location = "/".join(row.key)
            if self._missing.excludes(location):
                self.excluded += 1
            elif self._missing.drops(location):
                self.dropped += 1
            elif row.error is None or row.missing_since is not None:  # an error row has no measures to keep
                yield self._missing_row(row)

    def _missing_row(self, row: KnownRow) -> ListingRow:
        since = row.missing_since or self._missing.now_us
        return ListingRow(row.to_listed_photo(), len(self._recovered), row.number, since)

    def _match_photo(self, photo: ListedPhoto, key: Key) -> ListingRow:
        matches = [(number, cursor.take(key)) for number, cursor in enumerate(self._recovered)]
        row = self._earlier.take(key) if self._earlier else None
        if self._earlier_is_current:
            matches.append((len(self._recovered), row))
        if photo.error is not None:
            kind = photo.error.partition(":")[0]
            measured = row is not None and self._earlier_is_current and row.error is None
            if row and measured and kind in UNREACHABLE_KINDS and not self._missing.drops("/".join(key)):
                return self._missing_row(row)
            return ListingRow(photo)
        valid = ((number, row.number) for number, row in matches if row and self._is_valid(row, photo))
        return ListingRow(photo, *next(valid, ()))

    def _match_stream(self, photo: ListedPhoto, key: Key) -> Iterator[ListingRow]:
        """The known rows of a compressed tar if it is unchanged; otherwise one row, with which it is read again."""
        chosen = self._find_stream("/".join(key), photo.modified_ns)
        cursors = [*self._recovered, *([self._earlier] if self._earlier else [])]
        for number, cursor in enumerate(cursors):
            for row in cursor.read_below(key):
                if number == chosen:
                    yield ListingRow(row.to_listed_photo(), number, row.number, keeps_sidecars=True)
        if chosen is None:
            yield ListingRow(photo)

    def _find_stream(self, location: str, modified_ns: int | None) -> int | None:
        """The index of the first file with valid rows of a compressed tar."""
        if modified_ns is None or any(contains(location, path) for path in self._missing.forget):
            return None
        if self._known_tars is None:
            self._known_tars = [find_known_tars(path, self._must_retry) for path in self._files]
        for number, tars in enumerate(self._known_tars):
            is_recovered = number < len(self._recovered)
            usable = self._same_exclude[not is_recovered] and (is_recovered or self._earlier_is_current)
            if usable and tars.get(location) == modified_ns:
                return number
        return None

    def _must_retry(self, error: str) -> bool:
        return self._retry_errors or _is_transient(error)

    def _is_valid(self, row: KnownRow, photo: ListedPhoto) -> bool:
        same_size = row.bytes == photo.bytes
        if photo.bytes is None and photo.offset is not None:  # in a Parquet file, whose time tells whether it changed
            same_size = photo.modified_ns is not None
        unchanged = same_size and (row.modified_ns, row.offset) == (photo.modified_ns, photo.offset)
        return unchanged and not (row.error is not None and self._must_retry(row.error))

    def _add_photos_of_unreadable_folders(self, photos: Iterable[ListedPhoto]) -> Iterator[tuple[ListedPhoto, bool]]:
        """Add the known photos of each folder or tar that can't be read now, after the listing's row of that folder.

        They count as unchanged until the folder can be read again. If everything could be read, no known row is read
        here.

        Yields:
            Each photo, and whether the listing found it.
        """
        merged = heapq.merge(*map(_read_known_rows, self._files), key=attrgetter("key"))
        known = (next(rows) for _, rows in itertools.groupby(merged, key=attrgetter("key")))
        next_known: KnownRow | None = None
        unreadable: Key | None = None
        for photo in itertools.chain(photos, [None]):
            while unreadable and (next_known := next_known or next(known, None)):
                if photo is not None and next_known.key > photo.key:
                    break
                is_listed = photo is not None and next_known.key == photo.key
                if not is_listed and self._is_in_unreadable(next_known, unreadable):
                    yield next_known.to_listed_photo(), False
                next_known = None
            if photo is not None:
                yield photo, True
                if photo.error is not None and _is_transient(photo.error):
                    unreadable = photo.key

    def _is_in_unreadable(self, row: KnownRow, unreadable: Key) -> bool:
        location = "/".join(row.key)
        below = len(row.key) > len(unreadable) and row.key[: len(unreadable)] == unreadable
        is_unwanted = self._missing.forgets(location) or self._missing.excludes(location)
        return below and row.missing_since is None and not is_unwanted


class _RowCursor:
    """Reads the rows of a file once, in the order of their keys."""

    def __init__(self, path: Path) -> None:
        self._rows = _read_known_rows(path)
        self._head = next(self._rows, None)

    def read_to(self, key: Key | None) -> Iterator[KnownRow]:
        """The remaining rows before a key; None: all remaining rows."""
        while self._head is not None and (key is None or self._head.key < key):
            row, self._head = self._head, next(self._rows, None)
            yield row

    def read_below(self, key: Key) -> Iterator[KnownRow]:
        """The rows with a key and with those that begin with it; the rows before are skipped."""
        for _ in self.read_to(key):
            pass
        while self._head is not None and self._head.key[: len(key)] == key:
            row, self._head = self._head, next(self._rows, None)
            yield row

    def take(self, key: Key) -> KnownRow | None:
        """The row with a key, if there is one; the rows before it are skipped."""
        for _ in self.read_to(key):
            pass
        if self._head is None or self._head.key != key:
            return None
        row, self._head = self._head, next(self._rows, None)
        return row


class RowReader:
    """Reads rows of a manifest by their numbers, in increasing order, with one batch of rows in memory."""

    def __init__(self, path: Path) -> None:
        self._batches = _read_batches(path, SCAN_SCHEMA.names)
        self._start = self._end = 0
        self._table = SCAN_SCHEMA.empty_table()

    def take(self, numbers: Sequence[int]) -> pa.Table:
        """The rows with these numbers, in the scan schema.

        Args:
            numbers: increasing, and all larger than those of earlier calls.
        """
        pieces = []
        remaining = list(numbers)
        while remaining:
            while remaining[0] >= self._end:
                batch = next(self._batches)
                self._start, self._end = self._end, self._end + batch.num_rows
                self._table = to_scan_schema(batch)
            in_batch = [number - self._start for number in remaining if number < self._end]
            pieces.append(self._table.take(in_batch))
            remaining = remaining[len(in_batch) :]
        return pa.concat_tables(pieces) if pieces else SCAN_SCHEMA.empty_table()


def _read_known_rows(path: Path) -> Iterator[KnownRow]:
    number = itertools.count()
    for batch in _read_batches(path, _COLUMNS):
        columns = [batch[name].to_pylist() for name in _COLUMNS[:-1]]
        has_missing = "missing_since" in batch.schema.names  # older versions didn't write it
        since = batch["missing_since"].cast(pa.int64()) if has_missing else pa.nulls(batch.num_rows)
        for source, below, *rest in zip(*columns, since.to_pylist(), strict=True):
            yield KnownRow(tuple(photo_location(source, below).split("/")), next(number), source, below, *rest)


def _read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    # a small buffer and no threads: otherwise Arrow reads whole row groups ahead
    file = open_parquet(path, pre_buffer=False, buffer_size=1 << 16)
    yield from file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False)


def _is_transient(error: str) -> bool:
    return error.partition(":")[0] in TRANSIENT_KINDS
