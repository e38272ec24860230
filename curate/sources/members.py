"""What the listings of containers share: paths of members, entries for what cannot be read, and links."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from curate.errors import NotAFile, PhotoError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto
from curate.sources.names import has_container_name, is_metadata

MAX_LINK_BYTES = 1 << 16
"""Longer targets of links are not followed."""
_MAX_LINKS = 40
"""Links that are followed from one name, as in Linux."""


def is_nested(name: str) -> bool:
    """Whether a member is itself a container, by its name."""
    return has_container_name(name) and not is_metadata(name)


def nested_error() -> PhotoError:
    """The error of a member for which `is_nested` holds."""
    return UnsupportedFormat("a tar, ZIP, Parquet or Arrow file inside another is not read: unpack the outer one")


def link_error(target: str, kind: str) -> PhotoError:
    """The error of a link to something that is not in its tar or ZIP.

    Args:
        target: the file that the link names.
        kind: `tar` or `ZIP`.
    """
    return NotAFile(f"a link to {escape(target)}, which is no file of this {kind}: unpack the {kind} beside that file")


def member_path(container: ListedPhoto, name: str) -> str:
    """The path of a member below the source, as manifest text."""
    text = name.removeprefix("./")
    if not text.isascii() or "\\" in text or "\0" in text:
        text = escape(text).replace("\0", r"\x00")
    return f"{container.path}/{text}"


def failed_member(container: ListedPhoto, name: str, error: PhotoError) -> ListedPhoto:
    """The entry of a member that can't be read."""
    return container._replace(path=member_path(container, name), modified_ns=None, error=str(error))


def normalize_name(name: str) -> str:
    """A member's name or a link's target with which names can be compared.

    >>> normalize_name("./a/../b.jpg"), normalize_name("/b.jpg")
    ('b.jpg', 'b.jpg')
    """
    return posixpath.normpath(name).lstrip("/")


def link_target(member: str, target: str) -> str:
    """The name of the member that a symbolic link leads to, as `normalize_name` returns names.

    >>> link_target("a/link.jpg", "../b.jpg")
    'b.jpg'
    """
    return normalize_name(posixpath.join(posixpath.dirname(member), target))


def follow_links(path: str, targets: Mapping[str, str]) -> str:
    """The path without links in it, also without links to folders; any path on a cycle of links.

    Args:
        path: as `normalize_name` returns it.
        targets: the target of each link, by the link's name; both as `normalize_name` returns them.
    """
    for _ in range(_MAX_LINKS):
        parts = path.split("/")
        prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        link = next((prefix for prefix in prefixes if prefix in targets), None)
        if link is None or targets[link] == link or len(path) > MAX_LINK_BYTES:
            break
        path = normalize_name(targets[link] + path.removeprefix(link))
    return path
