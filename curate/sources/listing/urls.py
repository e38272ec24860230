"""List photos at URLs, with the file systems of fsspec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from curate.errors import SourceError
from curate.locations import connect, missing_library
from curate.manifest import escape
from curate.sources.entry import EntryFilter, ListedPhoto
from curate.sources.exclude import Exclusion
from curate.sources.listing.containers import CANNOT_READ, list_stream_members
from curate.sources.names import has_container_name, is_metadata
from curate.sources.remote import as_remote_photo_error, remote_modified_ns, source_errors
from curate.sources.tables.columns import ColumnChoice

LOOKUPS_AT_ONCE = 32
"""Number of URLs of a list that are looked up at the same time, because each lookup waits for a server."""


def list_url(url: str, include: EntryFilter, exclusion: Exclusion, choice: ColumnChoice) -> Iterator[ListedPhoto]:
    """List all files below a URL, or the one file that it names, unsorted.

    A container gives its members.

    Args:
        url: of a folder, a bucket or a file.
        include: which files to list.
        exclusion: files not to list, by name.
        choice: columns of Parquet and Arrow files to list.

    Raises:
        SourceError: it cannot be listed completely, or a file has other columns of images.
    """
    with source_errors(url):
        fs, root = connect(url)
        info = fs.info(root)
        if info["type"] != "directory":
            yield from exclusion.filter_photos(_list_one_file(url, include, info, choice), start=1)
            return
        source, start = escape(url), len(root.rstrip("/")) + 1
        for entry in _walk_files(fs, root):
            path = escape(entry["name"][start:])
            # every part of a divided listing needs the metadata files
            if path and not exclusion.skips_below(path) and (include(source, path) or is_metadata(path)):
                members = _file_or_members(source, path, fs, entry, choice, named=False)
                yield from exclusion.filter_photos(members, start=path.count("/") + 1)


def list_urls(
    urls: Iterable[str], include: EntryFilter, exclusion: Exclusion, choice: ColumnChoice
) -> Iterator[ListedPhoto]:
    """List files by their URLs, several at the same time. Every URL gives an entry.

    A container gives its members.

    Args:
        urls: of files.
        include: which of them to list.
        exclusion: members of containers not to list.
        choice: columns of Parquet and Arrow files to list.

    Raises:
        SourceError: the library for this kind of URL is not installed, or a file has other columns of images.
    """
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
        for entries in pool.map(partial(_look_up, include=include, choice=choice), urls):
            yield from exclusion.filter_photos(entries, start=1)


def _look_up(url: str, include: EntryFilter, choice: ColumnChoice) -> list[ListedPhoto]:
    """The entries for one URL of a list."""
    source, _, path = map(escape, url.rpartition("/"))
    if not include(source, path):
        return []
    try:
        fs, root = connect(url)
        return list(_list_one_file(url, include, fs.info(root), choice))
    except SourceError:
        raise
    except ImportError as exc:
        raise SourceError(missing_library(url, exc)) from exc
    except Exception as exc:  # noqa: BLE001 - a file system raises what its library raises
        return [ListedPhoto(source, path, None, None, str(as_remote_photo_error(exc, "the file can't be read")))]


def _list_one_file(url: str, include: EntryFilter, info: dict[str, Any], choice: ColumnChoice) -> Iterator[ListedPhoto]:
    """The entries of a URL that names a file; its source is the URL of its folder."""
    source, _, path = map(escape, url.rpartition("/"))
    if include(source, path):
        yield from _file_or_members(source, path, connect(url)[0], info, choice, named=True)


def _walk_files(fs: Any, root: str) -> Iterator[dict[str, Any]]:
    """All files below a folder: from S3 page by page, from other file systems folder by folder, to bound memory."""
    if hasattr(fs, "call_s3"):
        yield from _s3_objects(fs, root)
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        for entry in fs.ls(folder, detail=True):
            if entry["type"] != "directory":
                yield entry
            elif entry["name"].rstrip("/") != folder.rstrip("/"):
                folders.append(entry["name"])


def _s3_objects(fs: Any, root: str) -> Iterator[dict[str, Any]]:
    """All objects of a bucket whose names begin with a prefix."""
    bucket, _, prefix = root.partition("/")
    request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
    while True:
        page = fs.call_s3("list_objects_v2", **request)
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):  # an empty object that S3 consoles create for a folder
                yield {"name": f"{bucket}/{entry['Key']}", "size": entry["Size"], "mtime": entry["LastModified"]}
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _file_or_members(
    source: str, path: str, fs: Any, info: dict[str, Any], choice: ColumnChoice, *, named: bool
) -> Iterator[ListedPhoto]:
    """The entry of a remote file, or the entries of the members of a container."""
    size, modified_ns = info.get("size"), remote_modified_ns(info)
    size = size if isinstance(size, int) and 0 <= size < 2**63 else None
    if not has_container_name(path):
        yield ListedPhoto(source, path, size, modified_ns)
    else:
        try:
            with fs.open(info["name"], "rb") as stream:
                yield from list_stream_members(source, path, stream, stream.size, modified_ns, choice, named=named)
        except SourceError:
            raise
        except Exception as exc:  # noqa: BLE001 - a file system raises what its library raises
            yield ListedPhoto(source, path, None, None, str(as_remote_photo_error(exc, CANNOT_READ)))
