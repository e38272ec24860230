"""URLs that fsspec can open: their schemes, whether the library for one is installed, and the connection."""

from __future__ import annotations

import os
import re
from typing import Any

from curate.errors import UsageError
from curate.text import describe_error, install_hint

SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]+"
"""Regular expression: the scheme of a URL. At least two characters, because c:/ is a drive of Windows."""
LOCAL_SCHEMES = ("file", "local")
"""Schemes of URLs that are paths on this machine."""
READ_ONLY_SCHEMES = ("http", "https", "data", "github", "gist", "git", "zip", "tar", "libarchive", "reference")
"""Schemes of URLs to which nothing can be written."""
OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "wasbs", "hf", "oci", "oss", "tos", "r2", "b2"}
)
"""Schemes of stores in which a file that is being written can't be seen before it is whole."""
LISTED_SCHEMES = OBJECT_STORES | {"http", "https", "hdfs", "webhdfs", "memory", *LOCAL_SCHEMES}
"""Schemes that a list of photos may name. Others, like `sftp`, `smb` or `git`, and chains like `simplecache::s3`, could
make a list from a stranger reach hosts with the user's keys, write files or read archives: these need an argument."""


def is_url(location: str) -> bool:
    """Whether a location is a URL for fsspec, and not a path.

    >>> is_url("s3://bucket/a.jpg"), is_url("photos/a.jpg"), is_url("c://photos")
    (True, False, False)
    """
    return re.match(rf"{SCHEME}(::|://)", location) is not None


def may_be_listed(url: str) -> bool:
    """Whether a list of photos may name a URL; see `LISTED_SCHEMES`.

    >>> may_be_listed("hf://datasets/a/b/0.tar"), may_be_listed("simplecache::s3://a/b"), may_be_listed("sftp://a/b")
    (True, False, False)
    """
    return "::" not in url and url.partition("://")[0].lower() in LISTED_SCHEMES


def check_scheme(url: str) -> None:
    """Check that fsspec knows the scheme of a URL, and that the library for it is installed.

    Raises:
        UsageError: it does not.
    """
    scheme = re.split("::|://", url, maxsplit=1)[0]
    try:
        from fsspec import get_filesystem_class

        get_filesystem_class(scheme.lower())
    except ValueError as exc:
        raise UsageError(
            f"{url} is a URL of an unknown kind ({scheme}): use one like s3://, gs:// or hf://, or write "
            f"{os.path.join(os.curdir, url)} for a path on this machine"
        ) from exc
    except ImportError as exc:
        raise UsageError(missing_library(url, exc)) from exc


def missing_library(url: str, exc: ImportError) -> str:
    """The message for a missing library, from fsspec's error, whose cause names the library."""
    package = getattr(exc.__cause__, "name", None)
    hint = f"pip install {package}"
    if package in (None, "s3fs", "fsspec"):
        hint = install_hint("remote")
    elif package == "huggingface_hub":
        hint = install_hint("hf")
    return f"{url} needs a library that isn't installed ({describe_error(exc)}): {hint}"


def is_known_scheme(scheme: str) -> bool:
    """Whether fsspec knows a scheme."""
    from fsspec import available_protocols

    return scheme.lower() in available_protocols()


def connect(url: str) -> tuple[Any, str]:
    """The file system for a URL, and the path in it. fsspec also finds the credentials."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url, use_listings_cache=False)  # the cache would keep every listed name in memory
    except TypeError:  # some file systems don't know this option
        fs, path = url_to_fs(url)
    return fs, path
