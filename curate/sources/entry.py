"""One entry of a listing of photos, and the photo error for an operating system error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from curate.errors import NoPermission, PhotoError, ReadFailed, Vanished
from curate.manifest import unescape
from curate.sources.names import container_path, has_photo_name, has_table_name, photo_location
from curate.text import describe_error

STREAM_OFFSET = -1
"""The `offset` of a compressed tar in a listing; see `ListedPhoto.is_stream`."""

EntryFilter = Callable[[str, str], bool]
"""Whether the listing includes a file, by its source and path as manifest text."""

Key = tuple[str, ...]
"""See `ListedPhoto.key`."""


class Sidecar(NamedTuple):
    """A file that belongs to a photo, in the same source; see `curate.sources.sidecars`."""

    path: str
    """The path below the source, as manifest text."""
    offset: int | None = None
    """As for a photo."""
    bytes: int | None = None
    """Size of a member; None for a file of its own."""


class ListedPhoto(NamedTuple):
    """One entry of a listing: a file, a member of a container, a compressed tar, or something that cannot be listed.

    Containers are tars and ZIPs, and Parquet and Arrow files, whose members are the images of their rows.
    """

    source: str
    """The folder or URL that was scanned, absolute, as manifest text (see `curate.manifest.escape`)."""
    path: str
    """The path below the source, as manifest text; with `source` the key of a manifest. The path of a member begins
    with the path of its container; see `row_path` for Parquet and Arrow files."""
    bytes: int | None
    """Size of the file or member, uncompressed; None if it is unknown, as that of an image in a Parquet or Arrow file
    before it is read."""
    modified_ns: int | None
    """Time of the last change in nanoseconds since 1970, of the container for a member; None if it is unknown. Times
    before 1677 or after 2262 are the first or last that 64 bits hold."""
    error: str | None = None
    """`Kind: reason`, if the listing itself shows that the photo cannot be read."""
    offset: int | None = None
    """Position of a member's bytes in its tar, uncompressed, or of its header in its ZIP; of an image in a Parquet or
    Arrow file, the number that `curate.sources.tables.listing` gives it. None for a file of its own; STREAM_OFFSET for
    a whole compressed tar."""
    sidecars: tuple[Sidecar, ...] = ()
    """The files that belong to it, such as its caption."""

    @property
    def key(self) -> Key:
        """The parts of its location. Listings are sorted by it, and rows of earlier scans are matched by it."""
        return tuple(photo_location(self.source, self.path).split("/"))

    @property
    def is_stream(self) -> bool:
        """Whether it is a compressed tar: one entry of a listing, whose members are found when it is read."""
        return self.offset == STREAM_OFFSET

    @property
    def has_photo_name(self) -> bool:
        """Whether its name ends like a photo's, or it is in a column of images. Then it gets a row whatever it is."""
        return has_photo_name(self.path) or self.is_table_row

    @property
    def is_table_row(self) -> bool:
        """Whether it is an image in a Parquet or Arrow file."""
        path = self.path.lower()
        if self.offset is None or not (".parquet/" in path or ".arrow/" in path):  # TABLE_SUFFIXES; a fast check
            return False
        return has_table_name(container_path(self.path))

    def open_path(self) -> str:
        """The path for `open`: the file on this machine, or the container of the member."""
        file = self.path if self.offset is None else container_path(self.path)
        return os.path.join(unescape(self.source), *unescape(file).split("/"))


def to_sidecars(values: Iterable[Mapping[str, object]] | None) -> tuple[Sidecar, ...]:
    """The sidecars of a row of a manifest, from its column `sidecars`."""
    found = []
    for value in values or ():
        path, offset, size = value.get("path"), value.get("offset"), value.get("bytes")
        if isinstance(path, str):
            found.append(
                Sidecar(path, offset if isinstance(offset, int) else None, size if isinstance(size, int) else None)
            )
    return tuple(found)


def modified_ns(status: os.stat_result) -> int:
    """When a file was changed, in nanoseconds since 1970, limited to what a manifest holds; see `limit_ns`."""
    return limit_ns(status.st_mtime_ns)


def limit_ns(time_ns: int) -> int:
    """Limit a time in nanoseconds since 1970 to 64 bits: the years 1677 to 2262.

    >>> limit_ns(7), limit_ns(10**19)
    (7, 9223372036854775807)
    """
    return max(-(2**63), min(time_ns, 2**63 - 1))


def as_photo_error(exc: OSError, doing: str) -> PhotoError:
    """The photo error for an operating system error; `doing` begins its text: `the file can't be read`."""
    text = f"{doing}: {describe_error(exc)}"
    if isinstance(exc, PermissionError):
        return NoPermission(text)
    if isinstance(exc, FileNotFoundError):
        return Vanished(text)
    return ReadFailed(text)
