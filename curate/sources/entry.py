"""One file of a listing, and what an operating system's refusal means for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from curate.errors import NoPermission, PhotoError, ReadFailed, Vanished
from curate.image.formats import PHOTO_SUFFIXES
from curate.manifest import unescape
from curate.text import describe_error

TAR_SUFFIX = ".tar"

Wanted = Callable[[str, str], bool]
"""Whether a file, by source and path, is to be listed."""


Key = tuple[str, ...]
"""See `ListedPhoto.key`."""


def photo_location(source: str, path: str) -> str:
    """The absolute path or URL of a row's photo, as manifest text: the same from whatever folder it was scanned.

    >>> photo_location("/photos/a", "0.tar/1.jpg"), photo_location("/photos", "a/0.tar/1.jpg")
    ('/photos/a/0.tar/1.jpg', '/photos/a/0.tar/1.jpg')
    """
    return f"{source.rstrip('/')}/{path}"


@dataclass(frozen=True, slots=True)
class ListedPhoto:
    """One file of a listing, or one member of a tar."""

    source: str
    """The root that was scanned, absolute or a URL, as manifest text."""
    path: str
    """The path below it, as manifest text; with `source` the key. A member's goes on behind that of its tar."""
    bytes: int | None
    modified_ns: int | None
    error: str | None = None
    """`Kind: what was wrong` where listing alone shows that it can't be read."""
    offset: int | None = None
    """Where in its tar the member's bytes begin; None for a file of its own."""

    @property
    def key(self) -> Key:
        """Its location, part by part: the order of listings, and what known rows are found by."""
        return tuple(photo_location(self.source, self.path).split("/"))

    @property
    def has_photo_name(self) -> bool:
        """Whether its name is a photo's: then it gets a row even if the content is none."""
        return has_photo_name(self.path)

    def open_path(self) -> str:
        """What `open` takes: the file on this machine, or the tar that it is in."""
        file = self.path if self.offset is None else file_of(self.path)
        return os.path.join(unescape(self.source), *unescape(file).split("/"))


def has_photo_name(path: str) -> bool:
    """Whether a name ends like a photo's, in any case.

    >>> has_photo_name("a/B.JPG"), has_photo_name("notes.txt")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES


def has_tar_name(path: str) -> bool:
    """Whether a name ends in `.tar`, in any case."""
    return path.lower().endswith(TAR_SUFFIX)


def file_of(path: str) -> str:
    """The tar's own path in a member's path: up to the first part that is named like a tar; all of it if none is.

    >>> file_of("shards/0001.tar/cat.jpg"), file_of("cat.jpg")
    ('shards/0001.tar', 'cat.jpg')
    """
    parts = path.split("/")
    end = next((number for number, part in enumerate(parts, 1) if has_tar_name(part)), len(parts))
    return "/".join(parts[:end])


def as_photo_error(exc: OSError, doing: str) -> PhotoError:
    """What an operating system's refusal means for a photo."""
    text = f"{doing}: {describe_error(exc)}"
    if isinstance(exc, PermissionError):
        return NoPermission(text)
    if isinstance(exc, FileNotFoundError):
        return Vanished(text)
    return ReadFailed(text)
