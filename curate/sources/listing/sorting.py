"""Sort a listing of any length, and give its photos the files that belong to them."""

from __future__ import annotations

import heapq
import itertools
import operator
import posixpath
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import attrgetter

from curate.errors import SourceError
from curate.sources.entry import ListedPhoto
from curate.sources.names import photo_location
from curate.sources.sidecars import SampleFile, SidecarIndex, is_candidate

_IN_MEMORY = 1 << 12
"""Fewer entries than this are sorted in memory."""
MEMBERS_IN_MEMORY = 1 << 15
"""The same for the members of one container, which take up to 10 MB."""
_TAIL = 5
"""Length of the end of a path that shows, for most names, whether the file is a photo."""


def sort_photos(photos: Iterable[ListedPhoto], in_memory: int = _IN_MEMORY) -> Iterator[ListedPhoto]:
    """Sort entries by `ListedPhoto.key`, many of them on disk, so that a listing of any length fits.

    An entry that is listed again is left out. Different members of one tar or ZIP that have the same name are numbered
    in their order in it: `a.jpg`, `a~2.jpg`, `a~3.jpg`. So each entry has its own key. Photos get their sidecars, as
    far as the entries include them.

    Args:
        photos: the entries.
        in_memory: fewer entries than this are sorted without the disk.

    Raises:
        SourceError: the disk of temporary files is full.
    """
    photos = iter(photos)
    first = list(itertools.islice(photos, in_memory))
    if len(first) < in_memory:
        yield from _sort_in_memory(first)
    else:
        yield from _sort_on_disk(itertools.chain(first, photos))


def _sort_in_memory(photos: list[ListedPhoto]) -> Iterator[ListedPhoto]:
    paths = [photo.path for photo in photos]
    keys = [path.replace("/", "\0") for path in paths]
    if len({photo.source for photo in photos}) > 1:
        keys = [_sort_key(photo) for photo in photos]
    found: Iterable[ListedPhoto] = photos
    is_sorted = all(map(operator.lt, keys, keys[1:]))  # as in most containers
    if not is_sorted:
        order = sorted(
            (key, photo.offset is None, photo.offset or 0, -number)
            for number, (key, photo) in enumerate(zip(keys, photos, strict=True))
        )
        found = [photos[-number] for _, _, _, number in order]
    if any(map(is_candidate, {path[-_TAIL:] for path in paths})):
        samples: defaultdict[str, list[SampleFile]] = defaultdict(list)
        sidecars = SidecarIndex(lambda key: samples[key])
        samples_of = [sidecars.sample_key(photo) for photo in found]
        for photo, sample in zip(found, samples_of, strict=True):
            if sample is not None:
                samples[sample].append((photo.path, photo.offset, photo.bytes))
        found = map(sidecars.add_to, found, samples_of)
    return iter(found) if is_sorted else _number_duplicates(found)


def _sort_on_disk(photos: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    with closing(sqlite3.connect("")) as database:  # a temporary file, which SQLite deletes
        try:
            database.execute("CREATE TABLE photos (parts, source, path, bytes, modified_ns, error, offset, sample)")
            query = "SELECT path, offset, bytes FROM photos WHERE sample = ?"
            sidecars = SidecarIndex(lambda key: database.execute(query, [key]))
            database.executemany(
                "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((*_row(photo), sidecars.sample_key(photo)) for photo in photos),
            )
            if sidecars.has_candidates:
                database.execute("CREATE INDEX samples ON photos(sample) WHERE sample IS NOT NULL")
            rows = database.execute("SELECT * FROM photos ORDER BY parts, offset IS NULL, offset, rowid DESC")
            yield from _number_duplicates(sidecars.add_to(ListedPhoto(*row[1:-1]), row[-1]) for row in rows)
        except sqlite3.Error as exc:
            raise SourceError(
                f"the listing can't be sorted: {exc}: free space, or set TMPDIR to a larger disk"
            ) from exc


def _number_duplicates(rows: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
    """Number the entries that have the key of an earlier one but another offset, and move them to their new place.

    Args:
        rows: sorted by key, then by offset.
    """
    renamed: list[tuple[str, int, ListedPhoto]] = []  # a heap: sort key, order, entry
    order = itertools.count()
    key = ""

    def rename(photo: ListedPhoto, number: int) -> None:
        stem, suffix = posixpath.splitext(photo.path)
        copy = photo._replace(path=f"{stem}~{number}{suffix}")  # sorts after the photo: "~" follows "." and letters
        heapq.heappush(renamed, (_sort_key(copy), next(order), copy))

    def take_renamed(before: str | None) -> Iterator[ListedPhoto]:
        last = key
        while renamed and (before is None or renamed[0][0] <= before):
            copy_key, _, copy = heapq.heappop(renamed)
            if copy_key in (last, before):  # another member has this name
                rename(copy, 2)
            else:
                last = copy_key
                yield copy

    for same_key, photos in itertools.groupby(rows, _sort_key):
        yield from take_renamed(same_key)
        key = same_key
        by_offset = (next(same) for _, same in itertools.groupby(photos, attrgetter("offset")))
        for number, photo in enumerate(by_offset, 1):
            if number == 1:
                yield photo
            else:
                rename(photo, number)
    yield from take_renamed(None)


def _sort_key(photo: ListedPhoto) -> str:
    """A text that sorts as `ListedPhoto.key` does: NUL sorts before every character of a name."""
    return photo_location(photo.source, photo.path).replace("/", "\0")


def _row(photo: ListedPhoto) -> tuple[object, ...]:
    """The values of a table row: a sort key, and the fields of the entry."""
    return (_sort_key(photo), photo.source, photo.path, photo.bytes, photo.modified_ns, photo.error, photo.offset)
