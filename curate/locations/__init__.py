"""Where files are: paths on this machine, and URLs of stores that fsspec knows.

urls.py         schemes, the library for a scheme, and the connection
remote_path.py  `RemotePath`: a URL with the methods of a path
parsing.py      `parse_location`: decides what an argument names
"""

from __future__ import annotations

from curate.locations.parsing import (
    Location,
    PathText,
    check_local_name,
    local_path,
    parse_location,
    to_location,
)
from curate.locations.remote_path import RemoteInfo, RemotePath
from curate.locations.urls import check_scheme, connect, is_url, may_be_listed, missing_library

__all__ = [
    "Location",
    "PathText",
    "RemoteInfo",
    "RemotePath",
    "check_local_name",
    "check_scheme",
    "connect",
    "is_url",
    "local_path",
    "may_be_listed",
    "missing_library",
    "parse_location",
    "to_location",
]
