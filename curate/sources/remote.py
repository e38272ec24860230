"""Photos behind a URL, by whatever file system fsspec knows; credentials are fsspec's own business."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from curate.errors import PhotoError, ReadFailed, SourceError, UnsupportedFormat, VividsetError
from curate.manifest import escape, unescape
from curate.sources.entry import ListedPhoto, Wanted, as_photo_error, has_tar_name
from curate.sources.tar import PACKED, is_packed_tar, members_of_stream
from curate.text import describe_error

LOOKUPS_AT_ONCE = 32
"""Of a list's URLs, each of which waits for an answer."""


def is_url(place: str) -> bool:
    """Whether a place is one for fsspec.

    >>> is_url("s3://bucket/a.jpg"), is_url("photos/a.jpg")
    (True, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*(::|://)", place) is not None


def absolute(place: str | os.PathLike[str]) -> str:
    """A path made absolute, or a URL without a slash at its end; `file://` is a path.

    >>> absolute("file:///photos/a%20b/"), absolute("s3://bucket/photos/")
    ('/photos/a b', 's3://bucket/photos')
    """
    text = os.fspath(place)
    if text.startswith("file://"):
        return os.path.abspath(unquote(urlsplit(text).path))
    return text.rstrip("/") if is_url(text) else os.path.abspath(text)


def check(url: str) -> None:
    """Raise a SourceError unless something is there."""
    with _as_source_error(url):
        fs, root = _connect(url)
        fs.info(root)


def below(url: str, wanted: Wanted) -> Iterator[ListedPhoto]:
    """Everything below a URL, or what it names itself, in no order.

    Raises:
        SourceError: it can't be listed to its end.
    """
    with _as_source_error(url):
        fs, root = _connect(url)
        info = fs.info(root)
        if info["type"] != "directory":
            yield from _single(url, wanted, info)
            return
        source, start = escape(url), len(root.rstrip("/")) + 1
        for entry in _files(fs, root):
            path = escape(entry["name"][start:])
            if path and wanted(source, path):
                yield from _file_or_members(source, path, fs, entry)


def each(urls: Iterable[str], wanted: Wanted) -> Iterator[ListedPhoto]:
    """Some URLs from a list, always a row each; a tar gives its members."""
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
        for found in pool.map(partial(_looked_up, wanted=wanted), urls):
            yield from found


def fetch(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """A remote file's bytes, or those from `start` to `end`, in one request.

    Raises:
        PhotoError: it can't be read.
    """
    try:
        fs, path = _connect(url)
        data: bytes = fs.cat_file(path, start=start, end=end)
    except Exception as exc:
        raise _as_photo_error(exc, "the file can't be read") from exc
    return data


def is_gone(source: str) -> bool:
    """Whether a source can't be reached any more."""
    try:
        check(unescape(source))
    except SourceError:
        return True
    return False


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """A remote file to read from.

    Raises:
        SourceError: it can't be opened, or read to its end.
    """
    with _as_source_error(url):
        fs, path = _connect(url)
        with fs.open(path, "rb") as file:
            yield file


def _connect(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(url, use_listings_cache=False)  # which would hold every name that was listed
    return fs, root


@contextmanager
def _as_source_error(url: str) -> Iterator[None]:
    try:
        yield
    except VividsetError:
        raise
    except FileNotFoundError as exc:
        raise SourceError(f"{url} doesn't exist, or isn't shown to you: check the address and the credentials") from exc
    except ImportError as exc:
        raise SourceError(_not_installed(url, exc)) from exc
    except Exception as exc:  # a file system raises whatever its library does
        raise SourceError(
            f"{url} can't be read: {describe_error(exc)}: check the address, the credentials and the connection"
        ) from exc


def _not_installed(url: str, exc: ImportError) -> str:
    package = getattr(exc.__cause__, "name", None)  # fsspec knows who speaks which protocol, and raises from that
    wanted = "'vividset[remote]'" if package in (None, "s3fs") else package
    return f"{url} needs what isn't installed: pip install {wanted} ({exc})"


def _looked_up(url: str, wanted: Wanted) -> list[ListedPhoto]:
    source, _, path = map(escape, url.rpartition("/"))
    if not wanted(source, path):
        return []
    try:
        fs, root = _connect(url)
        return list(_single(url, wanted, fs.info(root)))
    except ImportError as exc:
        raise SourceError(_not_installed(url, exc)) from exc
    except Exception as exc:  # noqa: BLE001 - a file system raises whatever its library does
        return [ListedPhoto(source, path, None, None, str(_as_photo_error(exc, "the file can't be looked at")))]


def _single(url: str, wanted: Wanted, info: dict[str, Any]) -> Iterator[ListedPhoto]:
    source, _, path = map(escape, url.rpartition("/"))
    if wanted(source, path):
        yield from _file_or_members(source, path, _connect(url)[0], info)


def _files(fs: Any, root: str) -> Iterator[dict[str, Any]]:
    """Files below a folder: of S3 page by page, of others folder by folder."""
    if hasattr(fs, "call_s3"):
        yield from _objects(fs, root)
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        for entry in fs.ls(folder, detail=True):
            if entry["type"] != "directory":
                yield entry
            elif entry["name"].rstrip("/") != folder.rstrip("/"):
                folders.append(entry["name"])


def _objects(fs: Any, root: str) -> Iterator[dict[str, Any]]:
    bucket, _, prefix = root.partition("/")
    request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
    while True:
        page = fs.call_s3("list_objects_v2", **request)
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # what consoles make for a folder
                yield {"name": f"{bucket}/{entry['Key']}", "size": entry["Size"], "mtime": entry["LastModified"]}
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _file_or_members(source: str, path: str, fs: Any, info: dict[str, Any]) -> Iterator[ListedPhoto]:
    size, modified_ns = info.get("size"), _modified_ns(info)
    if is_packed_tar(path):
        yield ListedPhoto(source, path, size, modified_ns, str(UnsupportedFormat(PACKED)))
    elif not has_tar_name(path):
        yield ListedPhoto(source, path, size, modified_ns)
    else:
        try:
            with fs.open(info["name"], "rb") as stream:
                yield from members_of_stream(source, path, stream, stream.size, modified_ns)
        except Exception as exc:  # noqa: BLE001 - a file system raises whatever its library does
            yield ListedPhoto(source, path, None, None, str(_as_photo_error(exc, "the tar can't be read")))


def _modified_ns(info: dict[str, Any]) -> int | None:
    """When a file was written, under whatever name and type its file system tells it."""
    names = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
    value = next((info[name] for name in names if info.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = value.timestamp()
    return None if value is None else round(value * 1e6) * 1000


def _as_photo_error(exc: Exception, doing: str) -> PhotoError:
    if isinstance(exc, OSError):
        return as_photo_error(exc, doing)
    return ReadFailed(f"{doing}: {describe_error(exc)}")
