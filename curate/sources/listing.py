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
from curate.sources import path_lists, remote
from curate.sources.entry import ListedPhoto, photo_location
from curate.sources.local import Walk, check_folder, single
from curate.text import describe_error


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """One of several equal parts of a listing, for scans that run beside each other. A tar is never divided."""

    number: int
    """1 to `of`."""
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError("--shard isn't understood: write 1/8, 2/8 and so on to 8/8 for eight parts")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> ShardSpec:
        """From `3/8`."""
        number, _, of = text.partition("/")
        return cls(int(number), int(of)) if number.isdecimal() and of.isdecimal() else cls(0, 0)

    def contains(self, source: str, path: str) -> bool:
        """Whether a file belongs to this part: by its key alone, so that no file is lost or doubled."""
        return zlib.crc32(photo_location(source, path).encode()) % self.of == self.number - 1


ALL_SHARDS = ShardSpec(1, 1)
BATCH_ENTRIES = 4096
"""Of a list, so many are looked up together."""


@dataclass(frozen=True, slots=True)
class _Roots:
    folders: tuple[str, ...]
    """Absolute, none inside another, in the order of listings."""
    files: tuple[str, ...]
    urls: tuple[str, ...]

    @classmethod
    def of(cls, paths: Sequence[str | Path]) -> _Roots:
        folders, files, urls = set(), set(), set()
        for path in paths:
            place = remote.absolute(path)
            if remote.is_url(place):
                remote.check(place)
                urls.add(place)
            elif os.path.isdir(place):
                check_folder(place)
                folders.add(place)
            else:
                _check_file(place)
                files.add(place)
        outermost = {root for root in folders if not _inside(root, folders - {root})}
        highest = {url for url in urls if not _inside(url, urls - {url})}
        in_order = sorted(outermost, key=lambda root: escape(root).split("/"))
        return cls(tuple(in_order), tuple(sorted(files)), tuple(sorted(highest)))

    def hold(self, place: str) -> bool:
        """Whether a path or URL is in what is listed anyway."""
        return _inside(place, self.folders) or _inside(place, self.urls)


@dataclass(frozen=True, slots=True)
class Sources:
    """What to scan."""

    paths: tuple[str | Path, ...] = ()
    """Folders, photos and tars, or URLs of such; one inside another is listed once."""
    lists: tuple[str, ...] = ()
    """Files with a path a line; `-` is standard input."""
    null: bool = False
    """Lists have NUL bytes between paths."""
    shard: ShardSpec = ALL_SHARDS
    """The part of it all that is wanted."""

    def roots(self) -> list[str]:
        """The paths, absolute, and URLs, as manifest text."""
        return [escape(remote.absolute(path)) for path in self.paths]

    def list_names(self) -> list[str]:
        """The lists, absolute, as manifest text."""
        return [name if name == path_lists.STDIN else escape(remote.absolute(name)) for name in self.lists]

    def check(self) -> None:
        """Raise what `photos` would at once.

        Raises:
            SourceError: a path or list doesn't exist, or a folder can't be listed at all.
        """
        _Roots.of(self.paths)
        for name in self.lists:
            if remote.is_url(name):
                remote.check(name)
            elif name != path_lists.STDIN:
                path_lists.check(name)

    def photos(self, *, exclude: Sequence[Path] = ()) -> Iterator[ListedPhoto]:
        """List every file that may be a photo, each once, sorted by `ListedPhoto.key`.

        Links are followed, except to a folder that one is already inside. What is no plain file gets a row only if its
        name is a photo's; so does a folder with a photo's name, whose content is listed all the same. A folder that
        can't be listed is a row with the reason. A tar gives its members. What a list names is always a row.

        Args:
            exclude: folders not to enter (our own work folders).

        Raises:
            SourceError: a path doesn't exist or can't be listed at all; a list can't be read.
        """
        roots = _Roots.of(self.paths)
        skip = frozenset(os.path.realpath(path) for path in exclude)
        walks = (Walk(root, wanted=self.shard.contains, skip=skip) for root in roots.folders)
        walked = itertools.chain.from_iterable(walk.photos() for walk in walks)
        if not (roots.files or roots.urls or self.lists):
            return walked
        return heapq.merge(walked, path_lists.in_order(self._apart(roots)), key=lambda photo: photo.key)

    def _apart(self, roots: _Roots) -> Iterator[ListedPhoto]:
        """What was named by itself, in no order."""
        for url in roots.urls:
            yield from remote.below(url, self.shard.contains)
        entries = itertools.chain(roots.files, *(path_lists.entries(name, null=self.null) for name in self.lists))
        while batch := list(itertools.islice(entries, BATCH_ENTRIES)):
            places = [place for place in map(remote.absolute, batch) if not roots.hold(place)]
            yield from remote.each(filter(remote.is_url, places), self.shard.contains)
            for place in itertools.filterfalse(remote.is_url, places):
                yield from single(place, self.shard.contains)


def list_photos(paths: Sequence[str | Path], *, exclude: Sequence[Path] = ()) -> Iterator[ListedPhoto]:
    """List some folders, photos, tars and URLs: see `Sources.photos`."""
    return Sources(tuple(paths)).photos(exclude=exclude)


def _check_file(place: str) -> None:
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError(f"{escape(place)} doesn't exist: name a folder of photos, or a photo") from exc
    except (OSError, ValueError) as exc:
        raise SourceError(
            f"{escape(place)} can't be looked at: {describe_error(exc)}: name another, or mend that"
        ) from exc


def contains(root: str, place: str) -> bool:
    """Whether a path or URL is another one or below it, by their texts alone."""
    return place == root or place.startswith(root.rstrip("/") + "/")


def _inside(path: str, folders: Sequence[str] | set[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
