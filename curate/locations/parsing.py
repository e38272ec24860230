"""Decide what an argument names: a path on this machine, or a URL of a store that fsspec knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from curate.errors import UsageError
from curate.locations.remote_path import RemotePath
from curate.locations.urls import LOCAL_SCHEMES, SCHEME, check_scheme, is_known_scheme, is_url

Location: TypeAlias = Path | RemotePath
"""Where a file or folder is."""
PathText: TypeAlias = str | os.PathLike[str] | RemotePath
"""What the functions of the API take as a location."""


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
    if is_url(text) and text.partition(":")[0].lower() not in LOCAL_SCHEMES:
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
    if scheme.lower() in LOCAL_SCHEMES and rest.startswith("/"):
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
    match = re.match(rf"({SCHEME}):/(?!/)(.*)", text, re.DOTALL)
    if match and match[1].lower() not in LOCAL_SCHEMES and is_known_scheme(match[1]):
        raise UsageError(
            f"{text} has one slash after its colon: write {match[1].lower()}://{match[2]} for the URL, or "
            f"{os.path.join(os.curdir, text)} for a folder called {match[1]}:"
        )


def _begins_with_dot(text: str) -> bool:
    return re.match(rf"\.[/\\]+(~|{SCHEME}:/)", text) is not None


def _from_file_url(text: str, rest: str) -> Path:
    """The path of `file:/a`, `file:///a` or `file://localhost/a`."""
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest.lstrip("/"))
    if host not in ("", "localhost") or not slash:
        raise UsageError(
            f"{text} names the host {host!r}: write file:///{unquote(host + slash + path)} for a local path"
        )
    return Path("/" + unquote(path))
