"""List photos and read their bytes: from folders, lists of paths, tar files, ZIP files and URLs.

listing.py        `Sources`: everything that a scan is given, as one sorted listing; `ShardSpec`: its parts
entry.py          `ListedPhoto`: one entry of a listing
exclude.py        names that a listing skips
local.py          lists folders and files of this machine
containers.py     lists the members of a tar or ZIP
members.py        what the listings of tars and ZIPs share
tar.py            lists the members of a tar file
tar_headers.py    reads the headers of a tar, also of a joined or damaged one
zip_directory.py  lists the members of a ZIP file
zip_member.py     reads one member of a ZIP at its position
path_lists.py     reads files with one path per line; sorts a listing on disk
remote.py         lists and reads URLs through fsspec
sidecars.py       finds and reads the files beside photos
photo_columns.py  reads the rows of metadata files
reader.py         reads the bytes of a listed photo, or of a photo in a manifest
photo_input.py    decodes a photo given as path, bytes, PIL image or array
"""

from __future__ import annotations

from curate.sources.entry import (
    Key,
    ListedPhoto,
    as_photo_error,
    has_container_name,
    has_photo_name,
    has_zip_name,
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

__all__ = [
    "ALL_SHARDS",
    "Exclusion",
    "Key",
    "ListedPhoto",
    "ShardSpec",
    "Sources",
    "as_photo_error",
    "check_unchanged",
    "contains",
    "has_container_name",
    "has_photo_name",
    "has_zip_name",
    "is_source_missing",
    "is_url",
    "list_photos",
    "locate_photo",
    "photo_location",
    "read_bytes",
    "read_listed_photo",
    "read_photo",
]
