"""Decide what an argument names: a path on this machine, or a URL of a store that fsspec knows."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from urllib.parse import unquote

from curate.errors import UsageError, VividsetError
from curate.text import describe_error, install_hint

_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]+"  # two characters at least: c:/ is a drive of Windows
_LOCAL_SCHEMES = ("file", "local")
_READ_ONLY_SCHEMES = ("http", "https", "data", "github", "gist", "git", "zip", "tar", "libarchive", "reference")
_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "wasb", "wasbs", "hf", "oci", "oss", "tos", "r2", "b2"}
)
"""Schemes of stores in which a file that is being written can't be seen before it is whole."""
LISTED_SCHEMES = _OBJECT_STORES | {"http", "https", "hdfs", "webhdfs", "memory", *_LOCAL_SCHEMES}
"""Schemes that a list of photos may name. Others, like `sftp`, `smb` or `git`, and chains like `simplecache::s3`, could
make a list from a stranger reach hosts with the user's keys, write files or read archives: these need an argument."""
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
        if "::" in self.url or self.url.partition("://")[0] in _READ_ONLY_SCHEMES:
            raise OSError(errno.EROFS, "URLs of this kind can only be read")

    def _check_is_file_name(self) -> None:
        self.check_kind()
        scheme, _, path = self.url.partition("://")
        if scheme in _OBJECT_STORES and "/" not in path:
            raise OSError(errno.EISDIR, f"it is a bucket: add a name, like {self.url}/scan.parquet")


Location: TypeAlias = Path | RemotePath
"""Where a file or folder is."""
PathText: TypeAlias = str | os.PathLike[str] | RemotePath
"""What the functions of the API take as a location."""


def is_url(location: str) -> bool:
    """Whether a location is a URL for fsspec, and not a path.

    >>> is_url("s3://bucket/a.jpg"), is_url("photos/a.jpg"), is_url("c://photos")
    (True, False, False)
    """
    return re.match(rf"{_SCHEME}(::|://)", location) is not None


def may_be_listed(url: str) -> bool:
    """Whether a list of photos may name a URL; see `LISTED_SCHEMES`.

    >>> may_be_listed("hf://datasets/a/b/0.tar"), may_be_listed("simplecache::s3://a/b"), may_be_listed("sftp://a/b")
    (True, False, False)
    """
    return "::" not in url and url.partition("://")[0].lower() in LISTED_SCHEMES


def parse_location(value: PathText) -> Location:
    """Return the path or the URL that an argument names; a `file://` URL becomes a path.

    Raises:
        UsageError: it begins with `~`, or looks like a URL but has one slash or an unknown scheme; or the library for
            this kind of URL is not installed.

    >>> parse_location("s3://bucket/clean.parquet")
    RemotePath(url='s3://bucket/clean.parquet')
    >>> parse_location("file:///photos/a%20b").as_posix()
    '/photos/a b'
    """
    if isinstance(value, RemotePath):
        return value
    text = os.fspath(value)
    if is_url(text) and text.partition(":")[0].lower() not in _LOCAL_SCHEMES:
        check_scheme(text)
        scheme, separator, rest = text.partition("://")
        return RemotePath(scheme.lower() + separator + rest.rstrip("/"))
    return local_path(value)


def to_location(text: str) -> Location:
    """Return the path or URL that a manifest or a checkpoint records, without any check."""
    return RemotePath(text) if is_url(text) else Path(text)


def local_path(value: PathText, option: str = "") -> Path:
    """Return the path on this machine that an argument names; a `file://` URL becomes a path.

    Args:
        value: the argument.
        option: the option that it was given to, for the message.

    Raises:
        UsageError: it is a URL of a store, or as for `parse_location`.

    >>> local_path("./~").name, local_path("c:/photos").as_posix()
    ('~', 'c:/photos')
    """
    text = str(value) if isinstance(value, RemotePath) else os.fspath(value)
    check_local_name(text)
    scheme, _, rest = text.partition(":")
    if scheme.lower() in _LOCAL_SCHEMES and rest.startswith("/"):
        return _from_file_url(text, rest)
    if is_url(text):
        check_scheme(text)
        tool = "aws s3 cp" if scheme.lower() in ("s3", "s3a") else "a tool of that store"
        copy = f", and copy the files with {tool}"
        if scheme.lower() in ("http", "https"):
            copy = "" if option else ", and download the file first"
        raise UsageError(
            f"{option + ' ' if option else ''}{text} is a URL, and only a path on this machine is possible here: "
            f"give a local path{copy}"
        )
    # the text of Path("./~") is "~", which would be refused where it is read again
    return Path(os.path.abspath(text)) if _begins_with_dot(text) else Path(text)


def check_local_name(text: str, *, existing: bool = False) -> None:
    """Check that a path doesn't begin with `~`, which only a shell expands, and isn't a URL with one slash.

    Args:
        text: the path. One that begins with `./` is never refused.
        existing: don't refuse a file that exists, because a shell's pattern like `*.jpg` may have given its name.

    Raises:
        UsageError: it is one of these.
    """
    if existing and os.path.lexists(text):
        return
    if text.startswith("~"):
        expanded = os.path.expanduser(text)
        known = f"write {expanded}, or " if expanded != text else "write the whole path, or "
        raise UsageError(
            f"{text} begins with ~, which a shell expands only at the start of a word: {known}"
            f"{os.path.join(os.curdir, text)} if the name begins with ~"
        )
    match = re.match(rf"({_SCHEME}):/(?!/)(.*)", text, re.DOTALL)
    if match and match[1].lower() not in _LOCAL_SCHEMES and _is_known(match[1]):
        raise UsageError(
            f"{text} has one slash after its colon: write {match[1].lower()}://{match[2]} for the URL, or "
            f"{os.path.join(os.curdir, text)} for a folder called {match[1]}:"
        )


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


def _is_known(scheme: str) -> bool:
    from fsspec import available_protocols

    return scheme.lower() in available_protocols()


def _begins_with_dot(text: str) -> bool:
    return re.match(rf"\.[/\\]+(~|{_SCHEME}:/)", text) is not None


def _from_file_url(text: str, rest: str) -> Path:
    """The path of `file:/a`, `file:///a` or `file://localhost/a`."""
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest.lstrip("/"))
    if host not in ("", "localhost") or not slash:
        raise UsageError(
            f"{text} names the host {host!r}: write file:///{unquote(host + slash + path)} for a local path"
        )
    return Path("/" + unquote(path))


def connect(url: str) -> tuple[Any, str]:
    """The file system for a URL, and the path in it. fsspec also finds the credentials."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url, use_listings_cache=False)  # the cache would keep every listed name in memory
    except TypeError:  # some file systems don't know this option
        fs, path = url_to_fs(url)
    return fs, path


def _writes_whole_files(fs: Any) -> bool:
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return not _OBJECT_STORES.isdisjoint(protocols)


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
