"""What names say: whether a file is a photo, a container or a metadata file, and where an image in a table is."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import NamedTuple

from curate.image.formats import PHOTO_SUFFIXES
from curate.locations import is_url
from curate.manifest import unescape

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
METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Files of a Hugging Face imagefolder with one row per photo; of several in one folder, the first is taken."""
FILE_NAME = "file_name"
"""The column of a metadata file that names the photo, below the folder of the file."""


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


def is_metadata(path: str) -> bool:
    """Whether a path names a metadata file of an imagefolder."""
    return path.endswith(METADATA_NAMES) and path.rpartition("/")[2] in METADATA_NAMES


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
