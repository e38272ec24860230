"""The URL of a file or folder, with the methods of a path: reading, and writing whole files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from curate.errors import UsageError, VividsetError
from curate.locations.urls import OBJECT_STORES, READ_ONLY_SCHEMES, connect, missing_library
from curate.text import describe_error

_VERSION_KEYS = ("size", "ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """What a store says of a file or folder."""

    is_folder: bool
    bytes: int | None
    version: str
    """Text that changes when the file changes, as far as the store says so."""

    @classmethod
    def parse(cls, info: dict[str, Any]) -> RemoteInfo:
        """Convert what fsspec returns."""
        version = str([info.get(name) for name in _VERSION_KEYS])
        return cls(info["type"] == "directory", info.get("size"), version)


@dataclass(frozen=True, slots=True)
class RemotePath:
    """The URL of a file or folder, with the methods of `pathlib.Path` that the commands need.

    It has no `__fspath__`, so that `open` refuses it instead of taking it for a path on this machine. Methods that ask
    the store raise OSError, whatever the library of the store raises, and UsageError if that library is missing.

    >>> RemotePath("s3://bucket/scan.parquet").with_name("clean.parquet")
    RemotePath(url='s3://bucket/clean.parquet')
    """

    url: str
    """Without a slash at its end."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The URL up to the last slash."""
        return RemotePath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """The URL of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """The URL with another suffix."""
        return self.with_name(self.stem + suffix)

    def absolute(self) -> RemotePath:
        """The URL itself."""
        return self

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return self.info() is not None

    def is_file(self) -> bool:
        """Whether there is a file."""
        info = self.info()
        return info is not None and not info.is_folder

    def is_dir(self) -> bool:
        """Whether there is a folder: in an object store, whether any name begins with the URL and a slash."""
        info = self.info()
        return info is not None and info.is_folder

    def info(self) -> RemoteInfo | None:
        """What the store says of a file or folder; None if there is none."""
        with _os_errors(self.url):
            fs, path = connect(self.url)
            try:
                return RemoteInfo.parse(fs.info(path))
            except FileNotFoundError:
                return None

    def list_files(self) -> dict[str, RemoteInfo]:
        """What the store says of every file below a folder, by its name below that folder."""
        with _os_errors(self.url):
            fs, root = connect(self.url)
            try:
                found = fs.find(root, detail=True)
            except FileNotFoundError:
                return {}
            start = len(root.rstrip("/")) + 1
            return {name[start:]: RemoteInfo.parse(info) for name, info in found.items() if name[start:]}

    def read_bytes(self) -> bytes:
        """The content of the file."""
        with _os_errors(self.url):
            fs, path = connect(self.url)
            data: bytes = fs.cat_file(path)
            return data

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open the file for reading in parts; its attribute `size` is the size in bytes."""
        with _os_errors(self.url):
            fs, path = connect(self.url)
            with fs.open(path, "rb") as file:
                yield file

    def download(self, target: Path) -> None:
        """Copy the file to this machine."""
        with _os_errors(self.url):
            fs, path = connect(self.url)
            fs.get_file(path, os.fspath(target))

    def upload(self, source: Path) -> None:
        """Copy a file from this machine: whole or not at all, with one request or under another name first."""
        self._check_is_file_name()
        with _os_errors(self.url):
            fs, path = connect(self.url)
            if _writes_whole_files(fs):
                fs.put_file(os.fspath(source), path)
                return
            folder, _, name = path.rpartition("/")
            fs.makedirs(folder, exist_ok=True)
            draft = f"{folder}/.{name}.draft"
            try:
                fs.put_file(os.fspath(source), draft)
                fs.mv(draft, path)
            except BaseException:
                with suppress(Exception):
                    fs.rm_file(draft)
                raise

    def read_files(self, names: Sequence[str]) -> dict[str, bytes]:
        """The content of files below a folder, by name, several at the same time; without those that don't exist."""
        with _os_errors(self.url):
            fs, root = connect(self.url)
            paths = {f"{root}/{name}": name for name in names}
            found = fs.cat(list(paths), on_error="return") if paths else {}
            for content in found.values():
                if isinstance(content, BaseException) and not isinstance(content, FileNotFoundError):
                    raise content
            return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def write_files(self, contents: Mapping[str, bytes]) -> None:
        """Write files below a folder, each whole or not at all, several at the same time where the store allows it."""
        with _os_errors(self.url):
            fs, root = connect(self.url)
            if contents and _writes_whole_files(fs):
                fs.pipe({f"{root}/{name}": content for name, content in contents.items()})
                return
        with TemporaryDirectory(prefix="vividset-") as scratch:
            for name, content in contents.items():
                Path(scratch, "file").write_bytes(content)
                (self / name).upload(Path(scratch, "file"))

    def remove(self) -> None:
        """Delete the file, if it exists."""
        with _os_errors(self.url):
            fs, path = connect(self.url)
            with suppress(FileNotFoundError):
                fs.rm_file(path)

    def check_writable(self) -> None:
        """Check before long work that the file could be written; nothing is left behind."""
        self._check_is_file_name()
        with _os_errors(self.url):
            fs, path = connect(self.url)
            if hasattr(fs, "call_s3"):
                bucket, _, key = path.partition("/")
                begun = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
                fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=begun["UploadId"])
                return
            folder, _, name = path.rpartition("/")
            if not _writes_whole_files(fs):
                fs.makedirs(folder, exist_ok=True)
            fs.pipe_file(f"{folder}/.{name}.draft", b"")
            fs.rm_file(f"{folder}/.{name}.draft")

    def check_kind(self) -> None:
        """Check that files can be written to URLs of this kind.

        Raises:
            OSError: they can only be read; `strerror` says so.
        """
        if "::" in self.url or self.url.partition("://")[0] in READ_ONLY_SCHEMES:
            raise OSError(errno.EROFS, "URLs of this kind can only be read")

    def _check_is_file_name(self) -> None:
        self.check_kind()
        scheme, _, path = self.url.partition("://")
        if scheme in OBJECT_STORES and "/" not in path:
            raise OSError(errno.EISDIR, f"it is a bucket: add a name, like {self.url}/scan.parquet")


def _writes_whole_files(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return not OBJECT_STORES.isdisjoint(protocols)


@contextmanager
def _os_errors(url: str) -> Iterator[None]:
    """Raise OSError for whatever a file system raises in the block, and UsageError for a missing library."""
    try:
        yield
    except (OSError, VividsetError):
        raise
    except ImportError as exc:
        raise UsageError(missing_library(url, exc)) from exc
    except NotImplementedError as exc:
        raise OSError(errno.EROFS, "URLs of this kind can only be read") from exc
    except Exception as exc:  # a file system raises what its library raises
        raise OSError(describe_error(exc)) from exc
