"""Folders and single files of this machine to a listing, without opening any but tars."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from curate.errors import NotAFile, SourceError, UnsupportedFormat
from curate.manifest import escape
from curate.sources.entry import ListedPhoto, Wanted, as_photo_error, has_photo_name, has_tar_name
from curate.sources.path_lists import in_order
from curate.sources.tar import PACKED, is_packed_tar, members


@dataclass(frozen=True, slots=True)
class Walk:
    """A folder to list, and what to leave out."""

    root: str
    """Absolute."""
    wanted: Wanted
    skip: frozenset[str] = frozenset()
    """Real paths of folders not to enter."""
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", escape(self.root))

    def photos(self) -> Iterator[ListedPhoto]:
        """Every file below the folder, sorted by `ListedPhoto.key`.

        Raises:
            SourceError: it went away before its end, a lost mount for instance.
        """
        began = _identity(os.stat(self.root))
        yield from self._below(self.root, (), (began,))
        if not (os.path.isdir(self.root) and _identity(os.stat(self.root)) == began):
            raise SourceError(f"{self.source} went away while it was listed: bring it back and run the same command")

    def _below(self, folder: str, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[ListedPhoto]:
        try:
            with os.scandir(folder) as entries:
                names = sorted((escape(entry.name), entry.name) for entry in entries)
        except OSError as exc:
            problem = str(as_photo_error(exc, "the folder can't be listed"))
            yield from self._if_wanted(ListedPhoto(self.source, "/".join(parts), None, None, problem))
            return
        for text, name in names:
            full, path = os.path.join(folder, name), "/".join((*parts, text))
            try:
                found = os.stat(full)
            except OSError as exc:
                if has_photo_name(text) or not _leads_nowhere(exc):
                    problem = str(as_photo_error(exc, "it can't be looked at"))
                    yield from self._if_wanted(ListedPhoto(self.source, path, None, None, problem))
                continue
            if not stat.S_ISDIR(found.st_mode):
                if self.wanted(self.source, path):
                    yield from file_or_members(self.source, path, full, found)
                continue
            if has_photo_name(text):
                problem = str(NotAFile("a folder with a photo's name"))
                yield from self._if_wanted(ListedPhoto(self.source, path, None, None, problem))
            if _identity(found) not in above and os.path.realpath(full) not in self.skip:
                yield from self._below(full, (*parts, text), (*above, _identity(found)))

    def _if_wanted(self, photo: ListedPhoto) -> Iterator[ListedPhoto]:
        if self.wanted(photo.source, photo.path):
            yield photo


def _leads_nowhere(exc: OSError) -> bool:
    """Whether it is a link to nothing or to itself, rather than something that can't be reached."""
    return isinstance(exc, FileNotFoundError) or exc.errno == errno.ELOOP


def check_folder(root: str) -> None:
    """Raise a SourceError where a folder can't be listed at all."""
    try:
        os.scandir(root).close()
    except OSError as exc:
        raise SourceError(f"{escape(root)} can't be listed: {exc.strerror}: check its permissions") from exc


def single(full: str, wanted: Wanted) -> Iterator[ListedPhoto]:
    """A file that was named by itself, always a row; its folder is its source. A tar gives its members."""
    source, path = escape(os.path.dirname(full)), escape(os.path.basename(full))
    if not wanted(source, path):
        return
    try:
        found = os.stat(full)
    except OSError as exc:
        yield ListedPhoto(source, path, None, None, str(as_photo_error(exc, "the file can't be looked at")))
        return
    if has_tar_name(path) or is_packed_tar(path):
        yield from file_or_members(source, path, full, found)
    else:
        yield _from_stat(source, path, found)


def file_or_members(source: str, path: str, full: str, found: os.stat_result) -> Iterator[ListedPhoto]:
    """A file as a listing has it: a tar's members, a photo, a candidate, or nothing if it can't be one."""
    photo = _from_stat(source, path, found)
    if photo.error is None and has_tar_name(path):
        yield from _tar(photo, full, found)
    elif photo.error is None and is_packed_tar(path):
        yield ListedPhoto(source, path, photo.bytes, photo.modified_ns, str(UnsupportedFormat(PACKED)))
    elif photo.error is None or photo.has_photo_name:
        yield photo


def _tar(photo: ListedPhoto, full: str, found: os.stat_result) -> Iterator[ListedPhoto]:
    if any(map(has_tar_name, photo.path.split("/")[:-1])):
        problem = str(UnsupportedFormat("a tar in a folder that is named like a tar: rename the folder"))
        yield ListedPhoto(photo.source, photo.path, None, None, problem)
    else:
        yield from in_order(members(photo.source, photo.path, full, found))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _from_stat(source: str, path: str, found: os.stat_result) -> ListedPhoto:
    if stat.S_ISREG(found.st_mode):
        return ListedPhoto(source, path, found.st_size, found.st_mtime_ns)
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder: name it beside the list",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "no plain file")
    return ListedPhoto(source, path, None, None, str(NotAFile(f"it is {kind}")))
