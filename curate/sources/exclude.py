"""Names that a listing skips: what file managers and storage devices leave behind, and the user's patterns.

The rules apply to what is found below folders and URLs and in tars and ZIPs. A photo, tar or ZIP that is named itself,
as an argument or in a list, is always taken.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from curate.errors import UsageError
from curate.sources.entry import ListedPhoto

SYSTEM_NAMES = (
    "._*",  # AppleDouble data of macOS on disks of other systems
    *(".AppleDouble", ".DS_Store", ".Spotlight-V100", ".Trashes", ".Trash", ".Trash-*", ".fseventsd"),
    *(".TemporaryItems", ".DocumentRevisions-V100", "__MACOSX"),
    *("Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information"),
    *("@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", ".@__thumb"),  # Synology and QNAP
    *("@Transcode", ".snapshot", ".snapshots", ".zfs"),  # QNAP; NetApp, Snapper, ZFS
    *(".thumbnails", ".dtrash", "lost+found"),  # Linux desktops, digiKam
)
"""Names of files and folders that are skipped wherever they are, in upper or lower case."""

_PLAIN_NAMES = {name.casefold(): name for name in SYSTEM_NAMES if "*" not in name}
_PREFIXES = {name.casefold().rstrip("*"): name for name in SYSTEM_NAMES if "*" in name}
_PREFIX_TEXTS = tuple(_PREFIXES)
_SAFE_STARTS = frozenset(map(chr, range(ord("!"), 0x7F))) - {
    start for name in SYSTEM_NAMES for start in (name[0].upper(), name[0].lower())
}
"""Characters with which none of these names begins."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern of the user."""

    text: str
    """As it was given."""
    globs: tuple[str, ...]
    """One for each part of a path; `**` matches any number of parts."""
    folders_only: bool

    @classmethod
    def parse(cls, text: str) -> _Pattern:
        """Raises UsageError if the pattern matches nothing or everything, or has syntax that is not supported."""
        body = _normalize(text).removesuffix("/")
        globs = tuple(body.removeprefix("/").split("/"))
        if not body.strip("/*") or text.startswith("!") or {"", ".", ".."} & set(globs):
            raise UsageError(
                f"--exclude {text!r} is not a pattern: write a name like *.gif, or a path like previews/**"
            )
        return cls(text, globs if "/" in body else ("**", *globs), text.endswith("/"))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Which files and folders a listing skips, and how many it has skipped."""

    patterns: tuple[str, ...] = ()
    """Patterns as in .gitignore, without `!`: one without a slash matches a name at any depth, one with a slash a path
    below the source; `*` and `?` do not match a slash, `**` does; a slash at the end matches folders only."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of files and folders that were skipped, by the name or pattern that they match. What is in a skipped
    folder is not counted."""
    _parsed: tuple[_Pattern, ...] = field(init=False)
    _last: list[str] = field(default_factory=list)
    """The folder or file that was counted last, so that each is counted once in a sorted listing."""
    _clean: list[object] = field(default_factory=list)
    """The folder, with a slash, of the last file of which no part is skipped, and its `start`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parsed", tuple(map(_Pattern.parse, self.patterns)))

    def skips(self, path: str, *, is_folder: bool) -> bool:
        """Whether a file or folder is skipped, given that no folder above it is; if so, count it.

        Args:
            path: below the source, as manifest text.
            is_folder: whether it is a folder.
        """
        rule = self._rule(path, is_folder=is_folder)
        if rule is not None:
            self.counts[rule] += 1
        return rule is not None

    def contains(self, path: str, *, start: int = 0) -> bool:
        """Whether a file, or a folder above it, is skipped.

        Args:
            path: of the file, below the source, as manifest text.
            start: number of first parts of the path that are not checked.
        """
        return self._find(path, start) is not None

    def skips_below(self, path: str, *, start: int = 0) -> bool:
        """Whether a file, or a folder above it, is skipped; if so, count the file or that folder.

        The arguments are those of `contains`.
        """
        found = self._find(path, start)
        if found is not None and self._last != [found[0]]:
            self._last[:] = [found[0]]
            self.counts[found[1]] += 1
        return found is not None

    def filter_photos(self, photos: Iterable[ListedPhoto], *, start: int) -> Iterator[ListedPhoto]:
        """The entries that are not skipped; see `skips_below`."""
        clean: str | None = None
        """A folder, with a slash, that is not skipped."""
        for photo in photos:
            path = photo.path
            name = path.rfind("/") + 1
            if path[name : name + 1] in _SAFE_STARTS and path[:name] == clean:
                yield photo
            elif not self.skips_below(path, start=start):
                clean = None if self.patterns else path[:name]
                yield photo

    def _find(self, path: str, start: int) -> tuple[str, str] | None:
        """The outermost file or folder of a path that is skipped, and the rule; None if none is."""
        folder = path[: path.rfind("/") + 1]
        if self._clean == [folder, start]:
            rule = self._rule(path, is_folder=False)
            return (path, rule) if rule else None
        parts = path.split("/")
        for end in range(start + 1, len(parts) + 1):
            outer = "/".join(parts[:end])
            if rule := self._rule(outer, is_folder=end < len(parts)):
                return outer, rule
        if start < len(parts):
            self._clean[:] = folder, start
        return None

    def _rule(self, path: str, *, is_folder: bool) -> str | None:
        """The name or pattern that a path matches, without regard to the folders above it."""
        name = path[path.rfind("/") + 1 :].casefold()
        rule = _PLAIN_NAMES.get(name)
        if rule is None and name.startswith(_PREFIX_TEXTS):
            rule = next(rule for prefix, rule in _PREFIXES.items() if name.startswith(prefix))
        if rule or not self._parsed:
            return rule
        normalized = tuple(_normalize(path).split("/"))
        patterns = (pattern for pattern in self._parsed if is_folder or not pattern.folders_only)
        return next((pattern.text for pattern in patterns if _matches(normalized, pattern.globs)), None)


def _matches(parts: tuple[str, ...], globs: tuple[str, ...]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        if len(globs) == 1:
            return bool(parts)  # as in .gitignore, what is below a folder, but not the folder itself
        return any(_matches(parts[start:], globs[1:]) for start in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _matches(parts[1:], globs[1:])


def _normalize(text: str) -> str:
    """Text in one Unicode form, because file systems of macOS store accents apart from their letters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
