"""List photos and read their bytes: from folders, lists of paths, containers and URLs.

Containers are tars and ZIPs with files as members, and Parquet and Arrow files with columns of images.

listing/          lists everything that a scan is given: `Sources`
tar/              tars: their members, also of compressed, joined and damaged ones
zip/              ZIPs: their members
tables/           Parquet and Arrow files: the images in their columns
names.py          what names say: photo, container, metadata file
entry.py          `ListedPhoto`: one entry of a listing
exclude.py        names that a listing skips
members.py        what the listings of containers share
compression.py    decompresses gzip, bzip2, xz and zstd
remote.py         reads URLs through fsspec
reader.py         reads the bytes of a listed photo, or of a photo in a manifest
sidecars.py       finds and reads the files beside photos
photo_columns.py  reads the rows of metadata files, and the other columns of tables
photo_input.py    decodes a photo given as path, bytes, PIL image or array
"""

from __future__ import annotations

from curate.locations import is_url
from curate.sources.entry import STREAM_OFFSET, Key, ListedPhoto, as_photo_error
from curate.sources.exclude import Exclusion
from curate.sources.listing.sources import ALL_SHARDS, ShardSpec, Sources, contains, list_photos
from curate.sources.names import (
    has_container_name,
    has_photo_name,
    has_table_name,
    has_zip_name,
    parse_row_path,
    photo_location,
)
from curate.sources.reader import (
    check_unchanged,
    is_source_missing,
    locate_photo,
    read_bytes,
    read_listed_photo,
    read_photo,
)
from curate.sources.tables.columns import ColumnChoice
from curate.sources.tables.reader import has_images, read_other_columns
from curate.sources.tar.stream import keep_streams_open

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
