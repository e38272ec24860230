"""List folders and single files of this machine. Of the files, only containers are opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from curate.errors import NotAFile, SourceError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import EntryFilter, ListedPhoto, Sidecar, as_photo_error, modified_ns
from curate.sources.exclude import Exclusion
from curate.sources.listing.containers import list_members
from curate.sources.listing.sorting import MEMBERS_IN_MEMORY, sort_photos
from curate.sources.names import ROW_DIGITS, container_path, has_container_name, has_photo_name, has_table_name
from curate.sources.sidecars import FolderSidecars
from curate.sources.tables.columns import ColumnChoice

_Subfolder = tuple[str, tuple[str, ...], tuple[tuple[int, int], ...], str | None]
"""The arguments of `FolderListing._list_folder`."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The listing of one folder with all its subfolders."""

    root: str
    """Absolute path of the folder."""
    include: EntryFilter
    """Which files to list."""
    skip: frozenset[str] = frozenset()
    """Real paths of folders not to enter."""
    exclusion: Exclusion = field(default_factory=Exclusion)
    """Files and folders not to list, by name."""
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    """Columns of Parquet and Arrow files to list."""
    source: str = field(init=False)
    """The root as manifest text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", escape(self.root))

    def photos(self) -> Iterator[ListedPhoto]:
        """List every file below the folder, sorted by `ListedPhoto.key`.

        Raises:
            SourceError: the folder was unmounted, replaced or deleted before the listing was complete.
        """
        before = _identity(os.stat(self.root))
        levels = [
            self._list_folder(self.root, (), (before,), None)
        ]  # not recursive: folders may be thousands of levels deep
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
            elif isinstance(found, ListedPhoto):
                yield found
            else:
                levels.append(self._list_folder(*found))
        if not (os.path.isdir(self.root) and _identity(os.stat(self.root)) == before):
            raise SourceError(
                f"{self.source} disappeared while it was listed (a lost mount?): bring it back and run the same command"
            )

    def _list_folder(
        self, folder: str, parts: tuple[str, ...], parents: tuple[tuple[int, int], ...], metadata: str | None
    ) -> Iterator[ListedPhoto | _Subfolder]:
        """List one folder; a subfolder is given as the arguments with which to list it.

        Args:
            folder: its path for the operating system.
            parts: its path below the root, as manifest text.
            parents: identities of it and of all folders above, to notice links that lead back.
            metadata: path of the nearest metadata file in a folder above it.
        """
        try:
            with os.scandir(folder) as found:
                entries = list(found)
            names = sorted((escape(entry.name), entry.name) for entry in entries)
        except OSError as exc:
            yield from self._failed("/".join(parts), str(as_photo_error(exc, "the folder can't be listed")))
            return
        sidecars = FolderSidecars(entries, parts, self.exclusion, metadata)
        for text, name in names:
            full, path = os.path.join(folder, name), "/".join((*parts, text))
            try:
                status = os.stat(full)
            except OSError as exc:
                yield from self._unreadable(path, exc)
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if self.exclusion.skips(path, is_folder=is_folder):
                continue
            if not is_folder:
                if self.include(self.source, path):
                    yield from self._list_entry(path, full, status, sidecars.of(text))
                continue
            if has_photo_name(text):
                yield from self._failed(path, str(NotAFile("a folder with a photo's name")))
            if _identity(status) not in parents and os.path.realpath(full) not in self.skip:
                yield full, (*parts, text), (*parents, _identity(status)), sidecars.metadata

    def _list_entry(
        self, path: str, full: str, status: os.stat_result, beside: tuple[Sidecar, ...]
    ) -> Iterator[ListedPhoto]:
        """The entries of a file in a folder; `beside` are its sidecars, if it is a photo of its own."""
        members = list_file_or_members(self.source, path, full, status, self.exclusion, self.choice, named=False)
        if not beside:
            yield from members
            return
        for photo in members:
            yield photo._replace(sidecars=beside) if photo.offset is None and photo.error is None else photo

    def _unreadable(self, path: str, exc: OSError) -> Iterator[ListedPhoto]:
        """The entry for a file whose status cannot be read; nothing for a broken link without a photo's name."""
        broken_link = isinstance(exc, FileNotFoundError) or exc.errno == errno.ELOOP
        if not self.exclusion.skips(path, is_folder=False) and (has_photo_name(path) or not broken_link):
            yield from self._failed(path, str(as_photo_error(exc, "the file can't be read")))

    def _failed(self, path: str, error: str) -> Iterator[ListedPhoto]:
        """The entry for a path that cannot be listed or read, if the listing includes the path."""
        if self.include(self.source, path):
            yield ListedPhoto(self.source, path, None, None, error)


def check_folder(root: str) -> None:
    """Check that a folder can be listed.

    Raises:
        SourceError: it cannot.
    """
    try:
        os.scandir(root).close()
    except OSError as exc:
        raise SourceError(f"{escape(root)} can't be listed: {exc.strerror}: check its permissions") from exc


def list_file(full: str, include: EntryFilter, exclusion: Exclusion, choice: ColumnChoice) -> Iterator[ListedPhoto]:
    """List a file that was named itself, always with an entry; its folder is its source.

    A container gives its members, unsorted.

    Args:
        full: absolute path.
        include: whether to list it.
        exclusion: members of a container not to list.
        choice: columns of a Parquet or Arrow file to list.

    Raises:
        SourceError: the file has other columns of images.
    """
    source, path = escape(os.path.dirname(full)), escape(os.path.basename(full))
    if not include(source, path):
        return
    try:
        status = os.stat(full)
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, "the file can't be read")))
        return
    if has_container_name(path):
        yield from list_file_or_members(source, path, full, status, exclusion, choice, named=True)
    else:
        yield _from_status(source, path, status)


def list_file_or_members(
    source: str,
    path: str,
    full: str,
    status: os.stat_result,
    exclusion: Exclusion,
    choice: ColumnChoice,
    *,
    named: bool,
) -> Iterator[ListedPhoto]:
    """List one file: the members of a container; nothing for a pipe without a photo's name.

    Args:
        source: the file's source, as manifest text.
        path: its path below the source, as manifest text.
        full: its path for the operating system.
        status: its status.
        exclusion: members of a container not to list.
        choice: columns of a Parquet or Arrow file to list.
        named: whether it was named itself, and not a folder that contains it. Then the members are neither sorted nor
            get their sidecars.

    Raises:
        SourceError: the file has other columns of images.
    """
    photo = _from_status(source, path, status)
    if photo.error is None and has_container_name(path):
        if container_path(f"{path}/{'0' * ROW_DIGITS}") != path:
            error = str(UnsupportedFormat("it is in a folder that is named like a tar or ZIP: rename the folder"))
            yield ListedPhoto(source, path, None, None, error)
        else:
            members = list_members(source, path, full, status, choice, named=named)
            if has_table_name(path) and not exclusion.patterns:
                yield from members
                return
            if not (named or has_table_name(path)):  # whose rows are in order
                members = sort_photos(members, MEMBERS_IN_MEMORY)
            yield from exclusion.filter_photos(members, start=path.count("/") + 1)
    elif photo.error is None or photo.has_photo_name:
        yield photo


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _from_status(source: str, path: str, status: os.stat_result) -> ListedPhoto:
    """The entry of a file, with an error if it is not a regular file."""
    if stat.S_ISREG(status.st_mode):
        return ListedPhoto(source, path, status.st_size, modified_ns(status))
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder: name it as a path to scan, not in a list",
    }
    kind = kinds.get(stat.S_IFMT(status.st_mode), "not a regular file")
    return ListedPhoto(source, path, None, None, str(NotAFile(f"it is {kind}")))
