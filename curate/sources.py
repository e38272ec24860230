"""Folders to a listing: every file that may be a photo, in one stable order, without opening any."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate.decode import PHOTO_SUFFIXES
from curate.errors import NoPermission, NotAFile, PhotoError, ReadFailed, SourceError, Vanished
from curate.manifest import escape, unescape


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a listing."""

    source: str
    """The root that was scanned, absolute, as manifest text."""
    path: str
    """The path below it, as manifest text; with `source` the key."""
    bytes: int | None
    modified_ns: int | None
    problem: str | None = None
    """`Kind: what was wrong` where listing alone shows that it can't be read."""

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Sorts as listings do: by source, then part by part."""
        return self.source, tuple(self.path.split("/"))

    @property
    def promises_photo(self) -> bool:
        """Whether its name is a photo's: then it gets a row even if the content is none."""
        return has_photo_name(self.path)

    def open_path(self) -> str:
        """What `open` takes."""
        return os.path.join(unescape(self.source), *unescape(self.path).split("/"))


def has_photo_name(path: str) -> bool:
    """Whether a name ends like a photo's, in any case.

    >>> has_photo_name("a/B.JPG"), has_photo_name("notes.txt")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES


def listing(paths: Sequence[Path], *, leave_out: Sequence[Path] = ()) -> Iterator[Listed]:
    """List every file below some folders (or the files themselves), each once, sorted by `Listed.key`.

    Links are followed, except to a folder that one is already inside. What is no plain file gets a row only if its name
    is a photo's; so does a folder with a photo's name, whose content is listed all the same. A folder that can't be
    listed is a row with the reason.

    Args:
        paths: folders or files; one inside another is listed once.
        leave_out: folders not to enter (our own work folders).

    Raises:
        SourceError: a path doesn't exist or can't be listed at all.
    """
    skip = {os.path.realpath(path) for path in leave_out}
    for root, only in _roots(paths):
        source = escape(root)
        if only is not None:
            for name in only:
                yield _listed(source, escape(name), os.path.join(root, name))
        else:
            yield from _walk(source, root, (), (_identity(os.stat(root)),), skip)


def check(paths: Sequence[Path]) -> None:
    """Raise what `listing` would at once.

    Raises:
        SourceError: a path doesn't exist or can't be listed at all.
    """
    _roots(paths)


def _roots(paths: Sequence[Path]) -> list[tuple[str, list[str] | None]]:
    """Absolute roots in order; for a root whose single files were named, their names."""
    folders: set[str] = set()
    files: dict[str, set[str]] = {}
    for path in paths:
        absolute = os.path.abspath(path)
        if os.path.isdir(absolute):
            _check_folder(absolute)
            folders.add(absolute)
        elif os.path.lexists(absolute):
            files.setdefault(os.path.dirname(absolute), set()).add(os.path.basename(absolute))
        else:
            raise SourceError(f"{escape(str(path))} doesn't exist: name a folder of photos, or a photo")
    outermost = {root for root in folders if not _inside(root, folders - {root})}
    roots: list[tuple[str, list[str] | None]] = [(root, None) for root in outermost]
    roots += [
        (root, sorted(names, key=escape))
        for root, names in files.items()
        if root not in outermost and not _inside(root, outermost)
    ]
    return sorted(roots, key=lambda entry: escape(entry[0]))


def _check_folder(root: str) -> None:
    try:
        os.scandir(root).close()
    except OSError as exc:
        raise SourceError(f"{escape(root)} can't be listed: {exc.strerror}: check its permissions") from exc


def _inside(path: str, folders: set[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _walk(
    source: str, folder: str, parts: tuple[str, ...], above: tuple[tuple[int, int], ...], skip: set[str]
) -> Iterator[Listed]:
    try:
        with os.scandir(folder) as entries:
            names = sorted((escape(entry.name), entry.name) for entry in entries)
    except OSError as exc:
        yield Listed(source, "/".join(parts), None, None, str(as_photo_error(exc, "the folder can't be listed")))
        return
    for text, name in names:
        full = os.path.join(folder, name)
        try:
            found = os.stat(full)
        except OSError as exc:
            if has_photo_name(text):
                problem = str(as_photo_error(exc, "the file can't be looked at"))
                yield Listed(source, "/".join((*parts, text)), None, None, problem)
            continue
        if not stat.S_ISDIR(found.st_mode):
            yield from _candidates(_from_stat(source, "/".join((*parts, text)), found))
            continue
        if has_photo_name(text):
            yield Listed(source, "/".join((*parts, text)), None, None, str(NotAFile("a folder with a photo's name")))
        if _identity(found) not in above and os.path.realpath(full) not in skip:
            yield from _walk(source, full, (*parts, text), (*above, _identity(found)), skip)


def _listed(source: str, path: str, full: str) -> Listed:
    try:
        return _from_stat(source, path, os.stat(full))
    except OSError as exc:
        return Listed(source, path, None, None, str(as_photo_error(exc, "the file can't be looked at")))


def _from_stat(source: str, path: str, found: os.stat_result) -> Listed:
    if stat.S_ISREG(found.st_mode):
        return Listed(source, path, found.st_size, found.st_mtime_ns)
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "no plain file")
    return Listed(source, path, None, None, str(NotAFile(f"it is {kind}")))


def _candidates(found: Listed) -> Iterator[Listed]:
    if found.problem is None or found.promises_photo:
        yield found


def as_photo_error(exc: OSError, doing: str) -> PhotoError:
    """What an operating system's refusal means for a photo."""
    text = f"{doing}: {exc.strerror}"
    if isinstance(exc, PermissionError):
        return NoPermission(text)
    if isinstance(exc, FileNotFoundError):
        return Vanished(text)
    return ReadFailed(text)
