"""One entry of a listing of photos, its names, and the photo error for an operating system error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from curate.errors import NoPermission, PhotoError, ReadFailed, Vanished
from curate.image.formats import PHOTO_SUFFIXES
from curate.locations import is_url
from curate.manifest import unescape
from curate.text import describe_error

TAR_SUFFIX = ".tar"
ZIP_SUFFIX = ".zip"
TABLE_SUFFIXES = (".parquet", ".arrow")
ROW_DIGITS = 9
"""Digits of a row's number in a path, so that paths sort as rows do."""
COMPRESSED_TAR_SUFFIXES = (
    *(".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.lzma", ".tar.zst", ".tzst"),
    *(".tar.lz4", ".tar.z"),
)
_ARCHIVE_SUFFIXES = (TAR_SUFFIX, ZIP_SUFFIX, *COMPRESSED_TAR_SUFFIXES)
CONTAINER_SUFFIXES = (*_ARCHIVE_SUFFIXES, *TABLE_SUFFIXES)
TAR_IN_PATH = "".join(
    (
        r"(?i)^(?P<tar>(?:[^/]*/)*?[^/]*(?:",
        "|".join(suffix.replace(".", r"\.") for suffix in (*COMPRESSED_TAR_SUFFIXES, TAR_SUFFIX)),
        "))(?:/|$)",
    )
)
"""Regular expression for Arrow: a path up to its first part that is named like a tar, compressed or not."""
IN_TABLE = r"\.(" + "|".join(suffix[1:] for suffix in TABLE_SUFFIXES) + r")/[0-9]{" + str(ROW_DIGITS) + "}(/|$)"
"""The same: whether a path is that of an image in a Parquet or Arrow file, if the row has a `tar_offset`."""
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


def photo_location(source: str, path: str) -> str:
    """The absolute path or URL of a photo, as manifest text; it does not depend on which parent folder was scanned.

    >>> photo_location("/photos/a", "0.tar/1.jpg"), photo_location("/photos", "a/0.tar/1.jpg")
    ('/photos/a/0.tar/1.jpg', '/photos/a/0.tar/1.jpg')
    """
    return f"{source.rstrip('/')}/{path}"


def has_photo_name(path: str) -> bool:
    """Whether a name ends like a photo's, in upper or lower case.

    >>> has_photo_name("a/B.JPG"), has_photo_name("notes.txt")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES


def has_zip_name(path: str) -> bool:
    """Whether a name ends in `.zip`, in upper or lower case."""
    return path.lower().endswith(ZIP_SUFFIX)


def has_archive_name(path: str) -> bool:
    """Whether a name ends like that of a tar, compressed or not, or in `.zip`, in upper or lower case."""
    return path.lower().endswith(_ARCHIVE_SUFFIXES)


def has_table_name(path: str) -> bool:
    """Whether a name ends in `.parquet` or `.arrow`, in upper or lower case."""
    return path.lower().endswith(TABLE_SUFFIXES)


def has_container_name(path: str) -> bool:
    """Whether a name is that of a tar, a ZIP, a Parquet or an Arrow file."""
    return path.lower().endswith(CONTAINER_SUFFIXES)


def modified_ns(status: os.stat_result) -> int:
    """When a file was changed, in nanoseconds since 1970, limited to what a manifest holds; see `limit_ns`."""
    return limit_ns(status.st_mtime_ns)


def limit_ns(time_ns: int) -> int:
    """Limit a time in nanoseconds since 1970 to 64 bits: the years 1677 to 2262.

    >>> limit_ns(7), limit_ns(10**19)
    (7, 9223372036854775807)
    """
    return max(-(2**63), min(time_ns, 2**63 - 1))


def file_location(source: str, path: str) -> str:
    """The path or URL of a file, from a source and a path as manifest text."""
    source, path = unescape(source), unescape(path)
    return f"{source.rstrip('/')}/{path}" if is_url(source) else os.path.join(source, *path.split("/"))


def container_path(path: str) -> str:
    """The path of the container in a member's path; all of it if there is none.

    >>> container_path("shards/0001.tar/cat.jpg"), container_path("cat.jpg")
    ('shards/0001.tar', 'cat.jpg')
    >>> container_path("train.parquet/part-0.parquet/000000017/image")
    'train.parquet/part-0.parquet'
    """
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        # frameworks write folders that are called *.parquet; their files are found by the number of the row
        if has_archive_name(part) or (has_table_name(part) and number < len(parts) and _is_row(parts[number])):
            return "/".join(parts[:number])
    return path


class RowPath(NamedTuple):
    """The parts of the path of an image in a Parquet or Arrow file."""

    container: str
    """The path of the file."""
    row: int
    """From 0."""
    column: str | None
    """The column, as manifest text, if the file has several that may hold images."""


def row_path(container: str, row: int, column: str | None) -> str:
    """The path of an image in a Parquet or Arrow file; the arguments are those of `RowPath`.

    >>> row_path("train.parquet", 17, None), row_path("train.parquet", 17, "image")
    ('train.parquet/000000017', 'train.parquet/000000017/image')
    """
    path = f"{container}/{row:0{ROW_DIGITS}d}"
    return path if column is None else f"{path}/{column}"


def parse_row_path(path: str) -> RowPath | None:
    """The parts of a path that `row_path` made; None for other paths.

    >>> parse_row_path("a/train.parquet/000000017/image")
    RowPath(container='a/train.parquet', row=17, column='image')
    """
    container = container_path(path)
    if container == path or not has_table_name(container):
        return None
    row, slash, column = path[len(container) + 1 :].partition("/")
    return RowPath(container, int(row), column if slash else None)


def _is_row(part: str) -> bool:
    return len(part) == ROW_DIGITS and part.isascii() and part.isdigit()


def as_photo_error(exc: OSError, doing: str) -> PhotoError:
    """The photo error for an operating system error; `doing` begins its text: `the file can't be read`."""
    text = f"{doing}: {describe_error(exc)}"
    if isinstance(exc, PermissionError):
        return NoPermission(text)
    if isinstance(exc, FileNotFoundError):
        return Vanished(text)
    return ReadFailed(text)
