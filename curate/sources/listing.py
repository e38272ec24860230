"""What was named for a scan, to one listing: every file that may be a photo, once, in one stable order."""

from __future__ import annotations

import heapq
import itertools
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import SourceError, UsageError
from curate.manifest import escape
from curate.sources import lists
from curate.sources.folders import Walk, check_folder, single
from curate.sources.listed import Listed


@dataclass(frozen=True, slots=True)
class Share:
    """One of several equal parts of a listing, for scans that run beside each other. A tar is never divided."""

    number: int
    """1 to `of`."""
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(f"--shard {self} isn't understood: write 1/8 to 8/8 for eight parts")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, source: str, path: str) -> bool:
        """Whether a file belongs to this part: by its key alone, so that no file is lost or doubled."""
        return zlib.crc32(f"{source}/{path}".encode()) % self.of == self.number - 1


WHOLE = Share(1, 1)


@dataclass(frozen=True, slots=True)
class _Roots:
    folders: tuple[str, ...]
    """Absolute, none inside another, in the order of their text."""
    files: tuple[str, ...]

    @classmethod
    def of(cls, paths: Sequence[str | Path]) -> _Roots:
        folders, files = set(), set()
        for path in paths:
            absolute = os.path.abspath(path)
            if os.path.isdir(absolute):
                check_folder(absolute)
                folders.add(absolute)
            elif os.path.lexists(absolute):
                files.add(absolute)
            else:
                raise SourceError(f"{escape(str(path))} doesn't exist: name a folder of photos, or a photo")
        outermost = {root for root in folders if not _inside(root, folders - {root})}
        return cls(tuple(sorted(outermost, key=escape)), tuple(sorted(files)))


@dataclass(frozen=True, slots=True)
class Sources:
    """What to scan."""

    paths: tuple[str | Path, ...] = ()
    """Folders, photos and tars; one inside another is listed once."""
    lists: tuple[str, ...] = ()
    """Files with a path a line; `-` is standard input."""
    null: bool = False
    """Lists have NUL bytes between paths."""
    share: Share = WHOLE
    """The part of it all that is wanted."""

    def roots(self) -> list[str]:
        """The paths, absolute, as manifest text."""
        return [escape(os.path.abspath(path)) for path in self.paths]

    def list_names(self) -> list[str]:
        """The lists, absolute, as manifest text."""
        return [name if name == lists.STDIN else escape(os.path.abspath(name)) for name in self.lists]

    def check(self) -> None:
        """Raise what `photos` would at once.

        Raises:
            SourceError: a path or list doesn't exist, or a folder can't be listed at all.
        """
        _Roots.of(self.paths)
        for name in self.lists:
            if name != lists.STDIN and not os.path.exists(name):
                raise SourceError(f"the list {name} doesn't exist: name another with --from-file")

    def photos(self, *, leave_out: Sequence[Path] = ()) -> Iterator[Listed]:
        """List every file that may be a photo, each once, sorted by `Listed.key`.

        Links are followed, except to a folder that one is already inside. What is no plain file gets a row only if its
        name is a photo's; so does a folder with a photo's name, whose content is listed all the same. A folder that
        can't be listed is a row with the reason. A tar gives its members. What a list names is always a row.

        Args:
            leave_out: folders not to enter (our own work folders).

        Raises:
            SourceError: a path doesn't exist or can't be listed at all; a list can't be read.
        """
        roots = _Roots.of(self.paths)
        skip = frozenset(os.path.realpath(path) for path in leave_out)
        walks = (Walk(root, wanted=self.share.holds, skip=skip) for root in roots.folders)
        walked = itertools.chain.from_iterable(walk.photos() for walk in walks)
        if not roots.files and not self.lists:
            return walked
        return heapq.merge(walked, lists.in_order(self._apart(roots)), key=lambda photo: photo.key)

    def _apart(self, roots: _Roots) -> Iterator[Listed]:
        """What was named by itself, in no order."""
        listed = (entry for name in self.lists for entry in lists.entries(name, null=self.null))
        for entry in itertools.chain(roots.files, listed):
            full = os.path.abspath(entry)
            if not _inside(full, roots.folders):
                yield from single(full, self.share.holds)


def listing(paths: Sequence[str | Path], *, leave_out: Sequence[Path] = ()) -> Iterator[Listed]:
    """List some folders, photos and tars: see `Sources.photos`."""
    return Sources(tuple(paths)).photos(leave_out=leave_out)


def _inside(path: str, folders: Sequence[str] | set[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
