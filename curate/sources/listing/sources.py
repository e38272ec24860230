"""List everything that a scan is given: every file that may be a photo, once, in one stable order."""

from __future__ import annotations

import heapq
import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from curate.errors import SourceError, UnsupportedFormat, UsageError
from curate.locations import is_url, may_be_listed
from curate.manifest import escape, unescape
from curate.sources import remote
from curate.sources.entry import ListedPhoto
from curate.sources.exclude import Exclusion
from curate.sources.listing import path_lists
from curate.sources.listing.local import FolderListing, check_folder, list_file
from curate.sources.listing.sorting import sort_photos
from curate.sources.listing.urls import list_url, list_urls
from curate.sources.names import has_container_name, has_table_name, photo_location
from curate.sources.sidecars import read_folder, stem_of
from curate.sources.tables.columns import ColumnChoice
from curate.sources.tables.reader import check_images
from curate.text import describe_error
from curate.unicode import find_path

FOLDERS_IN_MEMORY = 8
"""Folders of listed files whose names are kept: the folders above the present one, as a listing is sorted."""
BATCH_ENTRIES = 4096
"""Number of entries of a list of paths that are looked up together."""


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """One of several parts of a listing of about equal size, for scans on several machines.

    A container, such as a tar, a ZIP or a Parquet file, is not divided.
    """

    number: int
    """1 to `of`."""
    of: int
    """Number of parts."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError("--shard isn't understood: write 1/8, 2/8 and so on to 8/8 for eight parts")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> ShardSpec:
        """Parse text like `3/8`.

        Raises:
            UsageError: the text is not of this form.
        """
        number, _, of = text.partition("/")
        return cls(int(number), int(of)) if number.isdecimal() and of.isdecimal() else cls(0, 0)

    def contains(self, source: str, path: str) -> bool:
        """Whether a file belongs to this part, by a hash of its location: every file is in exactly one part.

        The name counts only up to its first dot, so that a photo and what belongs to it are in the same part.
        """
        folder, _, name = photo_location(source, path).rpartition("/")
        return zlib.crc32(f"{folder}/{stem_of(name)}".encode()) % self.of == self.number - 1


ALL_SHARDS = ShardSpec(1, 1)


@dataclass(frozen=True, slots=True)
class Sources:
    """What to scan, and the listing of it."""

    paths: tuple[str | Path, ...] = ()
    """Folders, photos, containers (tars, ZIPs, Parquet and Arrow files), or their URLs. A path inside another is listed
    once."""
    lists: tuple[str, ...] = ()
    """Files with one path or URL per line; `-` is standard input."""
    null: bool = False
    """Entries of `lists` are separated by NUL bytes instead of newlines."""
    shard: ShardSpec = ALL_SHARDS
    """The part of the listing to return."""
    exclusion: Exclusion = field(default_factory=Exclusion)
    """Files and folders that are skipped below folders and URLs and in containers."""
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    """Columns of Parquet and Arrow files that are listed."""

    def roots(self) -> list[str]:
        """The paths, absolute, and URLs, as manifest text."""
        return [escape(_locate(path)) for path in self.paths]

    def list_names(self) -> list[str]:
        """The names of the lists, absolute, as manifest text."""
        return [name if name == path_lists.STDIN else escape(remote.absolute_location(name)) for name in self.lists]

    def excludes(self, location: str) -> bool:
        """Whether the listing skips a file below one of the paths; see `photo_location`."""
        for root in self.roots():
            if location != root and contains(root, location):
                source = root.rpartition("/")[0] if has_container_name(root) else root.rstrip("/")
                named = 1 if has_container_name(root) else 0  # the container itself was named
                if self.exclusion.contains(location[len(source) + 1 :], start=named):
                    return True
                break
        return self.choice.excludes(location)

    def check(self) -> None:
        """Check that all paths and lists exist, without listing anything.

        Raises:
            SourceError: a path or list does not exist, a folder cannot be listed, or a Parquet or Arrow file has no
                images, or other columns of images than those that `choice` names.
        """
        roots = _Roots.sort(self.paths)
        for location in filter(has_table_name, (*roots.files, *roots.urls)):
            check_images(location, self.choice)
        for name in self.lists:
            if is_url(name):
                remote.check_url(name)
            elif name != path_lists.STDIN:
                path_lists.check_list(name)

    def photos(self, *, exclude: Sequence[Path] = ()) -> Iterator[ListedPhoto]:
        """List every file that may be a photo, each once, sorted by `ListedPhoto.key`.

        - Links are followed, but not to a folder that contains the link.
        - A pipe, socket or device is listed only if its name is a photo's, with an error. So is a folder with a
          photo's name; its content is listed, too.
        - A folder that cannot be listed is one entry with an error.
        - A tar or ZIP is listed as its members, a Parquet or Arrow file as the images of its rows.
        - Every entry of a list gives at least one entry, whatever it is.
        - What `exclusion` skips is not listed, but counted there; so are Parquet and Arrow files without images, in
          `choice`, unless they were named themselves.

        Args:
            exclude: folders not to enter, such as the work folder of a scan.

        Raises:
            SourceError: a path does not exist or cannot be listed; a list cannot be read; there are other columns of
                images than those that `choice` names.
        """
        roots = _Roots.sort(self.paths)
        skip = frozenset(os.path.realpath(path) for path in exclude)
        folders = (
            FolderListing(root, self.shard.contains, skip, self.exclusion, self.choice) for root in roots.folders
        )
        in_folders = itertools.chain.from_iterable(folder.photos() for folder in folders)
        if not (roots.files or roots.urls or self.lists):
            return self._check_columns(in_folders)
        elsewhere = self._add_neighbors(sort_photos(self._list_files_and_urls(roots)))
        return self._check_columns(heapq.merge(in_folders, elsewhere, key=lambda photo: photo.key))

    def _check_columns(self, photos: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
        """Yield the photos; then check that each column that was named was found, except in a part of a listing."""
        yield from photos
        if self.shard == ALL_SHARDS:
            self.choice.check_found()

    def _add_neighbors(self, photos: Iterable[ListedPhoto]) -> Iterator[ListedPhoto]:
        """Give single files of this machine the sidecars in their folders, which no list has to name."""
        read = lru_cache(FOLDERS_IN_MEMORY)(partial(read_folder, exclusion=self.exclusion))
        for photo in photos:
            is_local = photo.offset is None and photo.error is None and not is_url(photo.source)
            yield photo._replace(sidecars=read(unescape(photo.source)).of(photo.path)) if is_local else photo

    def _list_files_and_urls(self, roots: _Roots) -> Iterator[ListedPhoto]:
        """What is below the URLs, the single files, and the entries of the lists, unsorted."""
        refused: list[ListedPhoto] = []
        for url in roots.urls:
            yield from list_url(url, self.shard.contains, self.exclusion, self.choice)
        listed = itertools.chain.from_iterable(path_lists.read_entries(name, null=self.null) for name in self.lists)
        entries = itertools.chain(roots.files, self._refuse_urls(listed, refused))
        while batch := list(itertools.islice(entries, BATCH_ENTRIES)):
            locations = [
                location
                for location in map(_locate, batch)
                if not roots.contain(location) or self.excludes(escape(location))
            ]
            urls = filter(is_url, locations)
            yield from list_urls(urls, self.shard.contains, self.exclusion, self.choice)
            for path in itertools.filterfalse(is_url, locations):
                yield from list_file(path, self.shard.contains, self.exclusion, self.choice)
            yield from refused
            refused.clear()
        yield from refused

    def _refuse_urls(self, entries: Iterable[str], refused: list[ListedPhoto]) -> Iterator[str]:
        """Yield the entries of lists; those that `may_be_listed` forbids are added to `refused`, with an error."""
        for entry in entries:
            if not is_url(entry) or may_be_listed(entry):
                yield entry
                continue
            source, _, path = escape(entry).rpartition("/")
            if self.shard.contains(source, path):
                error = UnsupportedFormat(
                    "a list can't name this kind of URL, nor a chain of URLs (::): name it as an argument instead"
                )
                refused.append(ListedPhoto(source, path, None, None, str(error)))


def list_photos(paths: Sequence[str | Path], *, exclude: Sequence[Path] = ()) -> Iterator[ListedPhoto]:
    """List folders, photos, containers and URLs; see `Sources.photos`."""
    return Sources(tuple(paths)).photos(exclude=exclude)


def contains(root: str, location: str) -> bool:
    """Whether a path or URL equals another one or is below it, by their text alone."""
    return location == root or location.startswith(root.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class _Roots:
    """The paths of a scan by kind; none is inside another folder or URL."""

    folders: tuple[str, ...]
    """Absolute, in the order of the listing."""
    files: tuple[str, ...]
    """Absolute."""
    urls: tuple[str, ...]

    @classmethod
    def sort(cls, paths: Sequence[str | Path]) -> _Roots:
        """Check the paths and sort them by kind.

        Raises:
            SourceError: a path does not exist or cannot be listed.
        """
        folders, files, urls = set(), set(), set()
        for path in paths:
            location = _locate(path)
            if is_url(location):
                remote.check_url(location)
                urls.add(location)
            elif os.path.isdir(location):
                check_folder(location)
                folders.add(location)
            else:
                _check_file(location)
                files.add(location)
        outermost = {root for root in folders if not _is_inside(root, folders - {root})}
        outermost_urls = {url for url in urls if not _is_inside(url, urls - {url})}
        in_order = sorted(outermost, key=lambda root: escape(root).split("/"))
        return cls(tuple(in_order), tuple(sorted(files)), tuple(sorted(outermost_urls)))

    def contain(self, location: str) -> bool:
        """Whether a path or URL is in a folder or URL that is listed anyway."""
        return _is_inside(location, self.folders) or _is_inside(location, self.urls)


def _locate(path: str | Path) -> str:
    """A path, absolute and as its file is named on disk (see `find_path`), or a URL."""
    location = remote.absolute_location(path)
    return location if is_url(location) else find_path(location)


def _check_file(path: str) -> None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError(f"{escape(path)} doesn't exist: name a folder of photos, or a photo") from exc
    except (OSError, ValueError) as exc:
        raise SourceError(
            f"{escape(path)} can't be read: {describe_error(exc)}: correct that, or name another path"
        ) from exc


def _is_inside(path: str, folders: Sequence[str] | set[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
