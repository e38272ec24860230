"""Read files at URLs, with the file systems of fsspec, which also finds the credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from curate.errors import PhotoError, ReadFailed, SourceError, UsageError, VividsetError
from curate.locations import check_scheme, connect, is_url, missing_library
from curate.manifest import unescape
from curate.sources.entry import as_photo_error, limit_ns
from curate.text import describe_error


def absolute_location(location: str | os.PathLike[str]) -> str:
    """Make a path absolute, or remove the slash at the end of a URL; a `file://` URL becomes a path.

    >>> absolute_location("file:///photos/a%20b/"), absolute_location("s3://bucket/photos/")
    ('/photos/a b', 's3://bucket/photos')
    """
    text = os.fspath(location)
    if text.startswith("file://"):
        return os.path.abspath(unquote(urlsplit(text).path))
    return text.rstrip("/") if is_url(text) else os.path.abspath(text)


def check_url(url: str) -> None:
    """Check that a file or folder exists at a URL.

    Raises:
        SourceError: there is none, or it cannot be reached.
    """
    try:
        check_scheme(url)
    except UsageError as exc:
        raise SourceError(str(exc)) from exc
    with source_errors(url):
        fs, root = connect(url)
        fs.info(root)


def fetch(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Read a remote file, or its bytes from `start` to `end`, with one request.

    Raises:
        PhotoError: it cannot be read.
    """
    try:
        fs, path = connect(url)
        data: bytes = fs.cat_file(path, start=start, end=end)
    except Exception as exc:
        raise as_remote_photo_error(exc, "the file can't be read") from exc
    return data


def file_version(url: str) -> tuple[int, int | None]:
    """Return the size of a remote file in bytes, and its time of change in nanoseconds since 1970, if it is known.

    Raises:
        PhotoError: there is no such file, or the store can't be reached.
    """
    try:
        fs, path = connect(url)
        info = fs.info(path)
        return int(info["size"]), remote_modified_ns(info)
    except Exception as exc:
        raise as_remote_photo_error(exc, "the file can't be read") from exc


def is_missing(source: str) -> bool:
    """Whether a source, as manifest text, does not exist any more or cannot be reached."""
    try:
        check_url(unescape(source))
    except SourceError:
        return True
    return False


@contextmanager
def open_url(url: str) -> Iterator[Any]:
    """Open a remote file for reading.

    Raises:
        SourceError: it cannot be opened or read completely.
    """
    with source_errors(url):
        fs, path = connect(url)
        with fs.open(path, "rb") as file:
            yield file


@contextmanager
def source_errors(url: str) -> Iterator[None]:
    """Raise SourceError for whatever a file system raises in the block."""
    try:
        yield
    except VividsetError:
        raise
    except FileNotFoundError as exc:
        raise SourceError(
            f"{url} doesn't exist, or these credentials don't show it: check the address and the credentials"
        ) from exc
    except ImportError as exc:
        raise SourceError(missing_library(url, exc)) from exc
    except Exception as exc:  # a file system raises what its library raises
        raise SourceError(
            f"{url} can't be read: {describe_error(exc)}: check the address, the credentials and the connection"
        ) from exc


def remote_modified_ns(info: dict[str, Any]) -> int | None:
    """When a file was changed, in nanoseconds since 1970; file systems use different names and types for it.

    None if the file system doesn't say it, or says something that is not a time.
    """
    names = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
    value = next((info[name] for name in names if info.get(name) is not None), None)
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            value = value.timestamp()
        return None if value is None else limit_ns(round(value * 1e6) * 1000)
    except (TypeError, ValueError, OverflowError):
        return None


def as_remote_photo_error(exc: Exception, doing: str) -> PhotoError:
    """The photo error for what a file system raises; see `as_photo_error`."""
    if isinstance(exc, OSError):
        return as_photo_error(exc, doing)
    return ReadFailed(f"{doing}: {describe_error(exc)}")
