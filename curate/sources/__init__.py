"""List photos and read their bytes: from folders, lists of paths, containers and URLs.

Containers are tars and ZIPs with files as members, and Parquet and Arrow files with columns of images.

listing.py        `Sources`: everything that a scan is given, as one sorted listing; `ShardSpec`: its parts
entry.py          `ListedPhoto`: one entry of a listing
exclude.py        names that a listing skips
local.py          lists folders and files of this machine
containers.py     lists the members of a container
members.py        what the listings of tars and ZIPs share
tar.py            lists the members of a tar file
tar_stream.py     reads a compressed tar front to back
tar_copies.py     copies the photos of compressed tars for reading in another order
compression.py    decompresses gzip, bzip2, xz and zstd
tar_headers.py    reads the headers of a tar, also of a joined or damaged one
zip_directory.py  lists the members of a ZIP file
zip_entries.py    reads the directory of a ZIP in pieces
zip_plain.py      parses many usual entries of the directory together
zip_member.py     reads one member of a ZIP at its position
table_columns.py  finds the columns of images of a Parquet or Arrow file
table_listing.py  lists the images of a Parquet or Arrow file
table_reader.py   reads images, and the other columns of their rows
parquet_table.py  reads values of a Parquet file
arrow_table.py    reads values of an Arrow file at their positions
flatbuffer.py     reads the metadata of Arrow files
path_lists.py     reads files with one path per line
sorting.py        sorts a listing of any length
remote.py         lists and reads URLs through fsspec
sidecars.py       finds and reads the files beside photos
photo_columns.py  reads the rows of metadata files
reader.py         reads the bytes of a listed photo, or of a photo in a manifest
photo_input.py    decodes a photo given as path, bytes, PIL image or array
"""

from __future__ import annotations

from curate.sources.entry import (
    STREAM_OFFSET,
    Key,
    ListedPhoto,
    as_photo_error,
    has_container_name,
    has_photo_name,
    has_table_name,
    has_zip_name,
    parse_row_path,
    photo_location,
)
from curate.sources.exclude import Exclusion
from curate.sources.listing import ALL_SHARDS, ShardSpec, Sources, contains, list_photos
from curate.sources.reader import (
    check_unchanged,
    is_source_missing,
    locate_photo,
    read_bytes,
    read_listed_photo,
    read_photo,
)
from curate.sources.remote import is_url
from curate.sources.table_columns import ColumnChoice
from curate.sources.table_reader import has_images, read_other_columns
from curate.sources.tar_stream import keep_streams_open

__all__ = [
    "ALL_SHARDS",
    "STREAM_OFFSET",
    "ColumnChoice",
    "Exclusion",
    "Key",
    "ListedPhoto",
    "ShardSpec",
    "Sources",
    "as_photo_error",
    "check_unchanged",
    "contains",
    "has_container_name",
    "has_images",
    "has_photo_name",
    "has_table_name",
    "has_zip_name",
    "is_source_missing",
    "is_url",
    "keep_streams_open",
    "list_photos",
    "locate_photo",
    "parse_row_path",
    "photo_location",
    "read_bytes",
    "read_listed_photo",
    "read_other_columns",
    "read_photo",
]
