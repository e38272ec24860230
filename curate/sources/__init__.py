"""Where photos come from: folders, lists of paths, tars and URLs, to one listing in one stable order.

listing.py    what was named, put together and sorted; what each part of a divided scan takes
folders.py    folders and files of this machine
tars.py       the members of a tar
lists.py      lists of paths, and sorting without holding
reading.py    a listed photo's bytes
listed.py     one line of a listing
"""

from __future__ import annotations

from curate.sources.entry import Key, ListedPhoto, as_photo_error, has_photo_name, has_tar_name, location
from curate.sources.listing import ALL_SHARDS, ShardSpec, Sources, holds, listing
from curate.sources.reader import is_source_missing, located, read, read_at, read_if
from curate.sources.remote import is_url

__all__ = [
    "ALL_SHARDS",
    "Key",
    "ListedPhoto",
    "ShardSpec",
    "Sources",
    "as_photo_error",
    "has_photo_name",
    "has_tar_name",
    "holds",
    "is_source_missing",
    "is_url",
    "listing",
    "located",
    "location",
    "read",
    "read_at",
    "read_if",
]
