"""Rows of earlier scans, matched with a listing by walking both, which are in the same order, side by side."""

from __future__ import annotations

import heapq
import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from curate import manifest
from curate.errors import TRANSIENT_KINDS, ManifestError
from curate.manifest import SCAN_SCHEMA, Lineage, open_parquet
from curate.scanning.merge import to_scan_schema
from curate.sources import ALL_SHARDS, Key, ListedPhoto, Sources, contains, photo_location

ROWS_AT_ONCE = 4096
UNREACHED_KINDS = frozenset({"Vanished", "ReadFailed"})
"""A listed photo with a problem of these kinds is gone, or its disk is: what was measured of it is kept."""
_COLUMNS = ["source", "path", "bytes", "modified_ns", "tar_offset", "error", "missing_since"]


class KnownRow(NamedTuple):
    """What a scan needs to know of a row to decide whether it still holds."""

    key: Key
    number: int
    source: str
    path: str
    bytes: int | None
    modified_ns: int | None
    offset: int | None
    error: str | None
    missing_since: int | None
    """Microseconds since 1970."""

    def listed(self) -> ListedPhoto:
        """The row as a listing has it."""
        return ListedPhoto(self.source, self.path, self.bytes, self.modified_ns, offset=self.offset)


class Line(NamedTuple):
    """One line of a scan's listing: a file, or a row of the manifest whose photo is missing."""

    photo: ListedPhoto
    known_file: int = -1
    """Index of the file of known rows; -1: to be measured."""
    known_row: int = -1
    missing_since: int | None = None
    """Microseconds since 1970; None: the file was found."""


@dataclass(frozen=True, slots=True)
class MissingRows:
    """Which rows of the manifest stay in it although the scan doesn't find their photos."""

    now_us: int = 0
    """When the scan began, in microseconds since 1970: the `missing_since` of rows that weren't missing before."""
    prune: bool = False
    """Drop all of them."""
    forget: tuple[str, ...] = ()
    """Drop those below these paths or URLs, as `Sources.roots` writes them."""
    named: tuple[str, ...] | None = None
    """Where set, drop those outside of these paths too: the list that named their photos is left out now."""

    def drops(self, place: str) -> bool:
        """Whether the row of a photo, by its `location`, leaves the manifest if the scan doesn't find the photo."""
        unnamed = self.named is not None and not any(contains(path, place) for path in self.named)
        return self.prune or unnamed or self.forgets(place)

    def forgets(self, place: str) -> bool:
        """Whether `forget` names a photo or a folder above it."""
        return any(contains(path, place) for path in self.forget)


class KnownRowMatcher:
    """Matches a listing with the rows that earlier scans measured; memory stays flat whatever their number."""

    def __init__(
        self,
        salvaged: Sequence[Path] = (),
        earlier: Path | None = None,
        *,
        earlier_holds: bool = True,
        missing: MissingRows | None = None,
        retry_errors: bool = False,
    ) -> None:
        """Open the files of known rows; each is in listing order.

        Args:
            salvaged: rows that interrupted scans measured.
            earlier: the manifest that is brought up to date; its index as a known file follows those of `salvaged`.
            earlier_holds: whether the same scorer and options made it.
            missing: what becomes of its rows whose photos aren't found.
            retry_errors: measure unchanged files again that failed before.
        """
        self._files = [*salvaged, earlier] if earlier else list(salvaged)
        self._salvaged = [_Cursor(path) for path in salvaged]
        self._earlier = _Cursor(earlier) if earlier else None
        self._earlier_holds = earlier_holds
        self._missing = missing or MissingRows()
        self._retry_errors = retry_errors
        self.dropped = 0
        """Rows of the manifest that left it."""

    def lines(self, found: Iterable[ListedPhoto]) -> Iterator[Line]:
        """A listing in order, with where each file is known, and in between the rows whose photos are missing."""
        for photo in self._with_unreached(found):
            key = photo.key
            yield from self._not_found(key)
            yield self._line(photo, key)
        yield from self._not_found(None)

    def _not_found(self, key: Key | None) -> Iterator[Line]:
        """Rows of the manifest before a key that no listed photo matched."""
        for row in self._earlier.pass_to(key) if self._earlier else ():
            if self._missing.drops(photo_location(row.source, row.path)):
                self.dropped += 1
            elif row.error is None or row.missing_since is not None:  # an error row has no measures to keep
                yield self._missing_line(row)

    def _missing_line(self, row: KnownRow) -> Line:
        return Line(row.listed(), len(self._salvaged), row.number, row.missing_since or self._missing.now_us)

    def _line(self, photo: ListedPhoto, key: Key) -> Line:
        matches = [(number, cursor.take(key)) for number, cursor in enumerate(self._salvaged)]
        row = self._earlier.take(key) if self._earlier else None
        if self._earlier_holds:
            matches.append((len(self._salvaged), row))
        if photo.error is not None:
            kind = photo.error.partition(":")[0]
            measured = row is not None and self._earlier_holds and row.error is None
            if row and measured and kind in UNREACHED_KINDS and not self._missing.drops("/".join(key)):
                return self._missing_line(row)
            return Line(photo)
        unchanged = ((number, row.number) for number, row in matches if row and self._still_holds(row, photo))
        return Line(photo, *next(unchanged, ()))

    def _still_holds(self, row: KnownRow, photo: ListedPhoto) -> bool:
        unchanged = (row.bytes, row.modified_ns) == (photo.bytes, photo.modified_ns)
        return unchanged and not (row.error is not None and (self._retry_errors or _is_passing(row.error)))

    def _with_unreached(self, found: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
        """A listing, and behind a folder or tar that can't be read now the photos that are known of it.

        As far as a scan can tell they are unchanged, so they stay known until the folder can be read again. The
        known rows are not opened if everything could be read.
        """
        merged = heapq.merge(*map(_rows, self._files), key=_key_of)
        rows = (next(alike) for _, alike in itertools.groupby(merged, key=_key_of))
        head = None
        closed: Key | None = None
        for photo in itertools.chain(found, [None]):
            while closed and (head := head or next(rows, None)) and (photo is None or head.key <= photo.key):
                if (photo is None or head.key < photo.key) and self._is_unreached(head, closed):
                    yield head.listed()
                head = None
            if photo is not None:
                yield photo
                if photo.error is not None and _is_passing(photo.error):
                    closed = photo.key

    def _is_unreached(self, row: KnownRow, closed: Key) -> bool:
        below = len(row.key) > len(closed) and row.key[: len(closed)] == closed
        return below and row.missing_since is None and not self._missing.forgets("/".join(row.key))


class _Cursor:
    """Goes through the rows of a file once, by ever larger keys."""

    def __init__(self, path: Path) -> None:
        self._rows = _rows(path)
        self._head = next(self._rows, None)

    def pass_to(self, key: Key | None) -> Iterator[KnownRow]:
        """The rows before a key that weren't taken; None: all that are left."""
        while self._head is not None and (key is None or self._head.key < key):
            row, self._head = self._head, next(self._rows, None)
            yield row

    def take(self, key: Key) -> KnownRow | None:
        """The row with a key."""
        for _ in self.pass_to(key):
            pass
        if self._head is None or self._head.key != key:
            return None
        row, self._head = self._head, next(self._rows, None)
        return row


def _rows(path: Path) -> Iterator[KnownRow]:
    number = itertools.count()
    for batch in _batches(path, _COLUMNS):
        names = set(batch.schema.names)
        columns = [batch[name].to_pylist() for name in _COLUMNS[:-1]]
        since = batch["missing_since"].cast(pa.int64()) if "missing_since" in names else pa.nulls(batch.num_rows)
        for source, below, *rest in zip(*columns, since.to_pylist(), strict=True):
            yield KnownRow(tuple(photo_location(source, below).split("/")), next(number), source, below, *rest)


def _is_passing(error: str) -> bool:
    return error.partition(":")[0] in TRANSIENT_KINDS


def _key_of(row: KnownRow) -> Key:
    return row.key


class RowReader:
    """Takes rows by number from a manifest, numbers ever growing, holding a few at a time."""

    def __init__(self, path: Path) -> None:
        self._batches = _batches(path, SCAN_SCHEMA.names)
        self._start = self._end = 0
        self._table = SCAN_SCHEMA.empty_table()

    def take(self, rows: Sequence[int]) -> pa.Table:
        """Some rows, in the scan schema."""
        pieces = []
        rest = list(rows)
        while rest:
            while rest[0] >= self._end:
                self._next()
            here = [row - self._start for row in rest if row < self._end]
            pieces.append(self._table.take(here))
            rest = rest[len(here) :]
        return pa.concat_tables(pieces) if pieces else SCAN_SCHEMA.empty_table()

    def _next(self) -> None:
        batch = next(self._batches)
        self._start, self._end = self._end, self._end + batch.num_rows
        self._table = to_scan_schema(batch)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a file, few at a time, read as they are wanted."""
    file = open_parquet(path, pre_buffer=False, buffer_size=1 << 16)
    yield from file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False)


def check_output(out: Path, sources: Sources, forget: Sequence[str]) -> Lineage | None:
    """What made the manifest that a scan is to bring up to date; None if there is none yet.

    Args:
        out: the manifest.
        sources: what the scan is of.
        forget: paths whose rows may leave the manifest, as `Sources.roots` writes them.

    Raises:
        ManifestError: it is something else, or the scan of something that this one leaves out.
    """
    if not os.path.lexists(out):
        return None
    advice = "choose another output with -o, or replace it with --overwrite"
    try:
        _, lineage = manifest.inspect_manifest(out)
    except ManifestError as exc:
        raise ManifestError(f"{out} is in the way and is no manifest of ours: {advice}") from exc
    if lineage is None or lineage.kind != "scan":
        raise ManifestError(f"{out} is in the way and is no scan: {advice}")
    if part := _other_part(lineage, sources):
        raise ManifestError(f"{out} holds the scan of {part}, which this one leaves out: {advice}, or name it too")
    if left_out := _left_out(lineage, sources, forget):
        raise ManifestError(
            f"{out} holds the scan of {left_out}, which this one leaves out: name it too, drop the rows of photos that "
            f"aren't named now with --forget {shlex.quote(left_out)}, {advice}"
        )
    return lineage


def _other_part(before: Lineage, now: Sources) -> str | None:
    if before.options.get("shard") in (None if now.shard == ALL_SHARDS else str(now.shard), str(now.shard)):
        return None
    return f"part {before.options['shard']}" if "shard" in before.options else "all parts"


def _left_out(before: Lineage, now: Sources, forget: Sequence[str]) -> str | None:
    """The first path or list of an earlier scan that this one doesn't cover, and that isn't to be forgotten."""
    paths = (path for path in before.options.get("paths", ()) if not _is_in(path, now.roots()))
    lists = (name for name in before.options.get("lists", ()) if name not in now.list_names())
    left_out = (str(name) for names in (paths, lists) for name in names)
    return next((name for name in left_out if not _is_in(name, forget)), None)


def _is_in(place: str, roots: Sequence[str]) -> bool:
    return any(contains(root, place) for root in roots)


@dataclass(frozen=True, slots=True)
class ListingStats:
    """What a listing came to."""

    files: int
    to_do: int
    """Those that are to be measured."""
    bytes_to_do: int = 0
    """Of these together, as far as it is known."""
    missing: int = 0
    """Photos known before that are no longer there, and whose rows stay."""
    dropped: int = 0
    """Photos known before that are no longer there, and whose rows leave the manifest."""
