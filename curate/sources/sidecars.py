"""Find the files that lie beside a photo under its name, such as captions and labels, and read them.

In a folder, tar or ZIP, as img2dataset and WebDataset write them: `cat.jpg`, `cat.txt`, `cat.json`. A `metadata.csv`,
`metadata.jsonl` or `metadata.parquet` of a Hugging Face imagefolder belongs to all photos in its folder and below.
"""

from __future__ import annotations

import os
import tarfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from curate.errors import ChangedSinceScan, FileTooLarge
from curate.image.formats import PHOTO_SUFFIXES, RAW_SUFFIXES
from curate.locations import is_url
from curate.manifest import escape, unescape
from curate.sources.entry import ListedPhoto, Sidecar, as_photo_error
from curate.sources.exclude import Exclusion
from curate.sources.members import is_nested
from curate.sources.names import (
    COMPRESSED_TAR_SUFFIXES,
    METADATA_NAMES,
    TABLE_SUFFIXES,
    TAR_SUFFIX,
    ZIP_SUFFIX,
    has_zip_name,
    is_metadata,
)
from curate.sources.reader import locate_photo, read_bytes, read_photo
from curate.sources.tar.headers import BLOCK_BYTES

ROW_SUFFIX = ".vividset.json"
"""End of the member of a WebDataset tar in which `curate export` writes the row of the manifest; it is no sidecar."""
MAX_SHARED = 100
"""If more files than this have the name of a photo only up to the first dot, they are not its sidecars."""
MAX_SIDECAR_BYTES = 1 << 30
"""Larger sidecars are not read into memory."""
_NO_SIDECAR_SUFFIXES = PHOTO_SUFFIXES | RAW_SUFFIXES
_CONTAINER_ENDS = frozenset(
    f".{suffix.rpartition('.')[2]}" for suffix in (TAR_SUFFIX, ZIP_SUFFIX, *TABLE_SUFFIXES, *COMPRESSED_TAR_SUFFIXES)
)
"""The end, from the last dot, of every name for which `is_nested` may hold."""


def stem_of(name: str) -> str:
    """A file name up to its first dot, which is the key of a sample in WebDataset; dots at its start don't count.

    >>> stem_of("cat.left.jpg"), stem_of("cat"), stem_of(".cat.txt")
    ('cat', 'cat', '.cat')
    """
    end = name.find(".", len(name) - len(name.lstrip(".")))
    return name if end < 0 else name[:end]


def is_candidate(name: str) -> bool:
    """Whether a file may be a sidecar by its name: not a photo, camera raw file, container or row of an export."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix in _NO_SIDECAR_SUFFIXES:
        return False
    if suffix in _CONTAINER_ENDS:
        return not is_nested(name)
    return suffix != ".json" or not name.endswith(ROW_SUFFIX)


def _may_be_photo(name: str) -> bool:
    """Whether a file is looked at as a photo that may have sidecars; the content of one without a dot is not known."""
    return "." not in name or not is_candidate(name)


def sidecar_suffix(photo: str, sidecar: str) -> str:
    """The end of a sidecar's name, which it keeps if the photo gets another name.

    Args:
        photo: file name or path of the photo.
        sidecar: file name or path of the sidecar.

    >>> sidecar_suffix("a/cat.left.jpg", "a/cat.left.txt"), sidecar_suffix("a/cat.left.jpg", "a/cat.seg.npy")
    ('.txt', '.seg.npy')
    """
    photo, sidecar = photo.rpartition("/")[2], sidecar.rpartition("/")[2]
    stem = _long_stem(photo)
    if not sidecar.startswith(f"{stem}."):
        stem = stem_of(sidecar)
    return sidecar[len(stem) :]


def match_sidecars(names: Iterable[str]) -> dict[str, list[str]]:
    """The sidecars of each photo that has some, by name.

    A file belongs to the photos whose name before the last dot it continues (`a.b.txt` to `a.b.jpg`), the longest such
    name; otherwise to all photos with the same name up to the first dot (`a.json` to `a.left.jpg` and `a.right.jpg`). A
    file without any dot counts as a photo if no other photo has its name: the content of a file says what it is.

    Args:
        names: of all files in one folder, tar or ZIP; or paths, as far as they are in one folder.

    >>> match_sidecars(["a.jpg", "a.txt", "b.x.jpg", "b.json", "c.txt"])
    {'a.jpg': ['a.txt'], 'b.x.jpg': ['b.json']}
    """
    groups: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for name in names:
        groups[stem_of(name)][is_candidate(name)].append(name)
    found: dict[str, list[str]] = {}
    for stem, (photos, others) in groups.items():
        if photos and others:
            if len(photos) == 1 and _long_stem(photos[0]) == stem:
                found[photos[0]] = others  # as of most photos
            else:
                found |= _match_group(photos, others)
        elif not photos and stem in others:
            found |= _match_group([stem], [name for name in others if name != stem])
    return found


def _match_group(photos: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """The sidecars of the photos of one sample."""
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for photo in photos:
        if not is_nested(photo) and not photo.endswith(ROW_SUFFIX):
            stems[_long_stem(photo)].append(photo)
    found: defaultdict[str, list[str]] = defaultdict(list)
    shared = []
    for other in others:
        end = other.rfind(".")
        while end > 0 and other[:end] not in stems:
            end = other.rfind(".", 0, end)
        if end > 0:
            for photo in stems[other[:end]]:
                found[photo].append(other)
        else:
            shared.append(other)
    if len(shared) <= MAX_SHARED:
        for photo in (photo for same in stems.values() for photo in same) if shared else ():
            found[photo] = sorted([*found[photo], *shared])
    return dict(found)


def _long_stem(name: str) -> str:
    """A file name up to its last dot."""
    end = name.rfind(".")
    return name[:end] if end > 0 else name


class FolderSidecars:
    """The sidecars of the photos in one folder of this machine.

    Args:
        entries: everything in the folder.
        parts: its path below the source, as manifest text.
        exclusion: files that are skipped.
        metadata: path of the metadata file of a folder above it.
    """

    def __init__(
        self, entries: Collection[os.DirEntry[str]], parts: tuple[str, ...], exclusion: Exclusion, metadata: str | None
    ) -> None:
        self._prefix = "".join(f"{part}/" for part in parts)
        self._depth = len(parts)
        self._exclusion = exclusion
        by_name: dict[str, os.DirEntry[str]] = {}
        if any(is_candidate(entry.name) for entry in entries):
            by_name = {escape(entry.name): entry for entry in entries}
        own = next((name for name in METADATA_NAMES if name in by_name and self._is_file(name, by_name[name])), None)
        self.metadata = metadata if own is None else self._prefix + own
        """Path of the metadata file of this folder, or of the nearest one above it."""
        self._entries = by_name
        self._matches = match_sidecars(by_name)

    def of(self, name: str) -> tuple[Sidecar, ...]:
        """The sidecars of a photo, by its name as manifest text."""
        others = self._matches.get(name, ())
        if not others and self.metadata is None:  # most photos
            return ()
        beside = [other for other in others if self._is_file(other, self._entries[other])]
        metadata = [self.metadata] if self.metadata and _may_be_photo(name) else []
        return tuple(Sidecar(path) for path in [*(self._prefix + other for other in beside), *metadata])

    def _is_file(self, name: str, entry: os.DirEntry[str]) -> bool:
        with suppress(OSError):
            path, depth = (self._prefix + name, self._depth) if self._exclusion.patterns else (name, 0)
            return entry.is_file() and not self._exclusion.contains(path, start=depth)
        return False


def read_folder(folder: str, exclusion: Exclusion) -> FolderSidecars:
    """The sidecars in a folder that is itself the source; none if it can't be read."""
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError, ValueError), os.scandir(folder) as found:
        entries = list(found)
    return FolderSidecars(entries, (), exclusion, None)


SampleFile = tuple[str, int | None, int | None]
"""Path, offset and size of a file, as of a `ListedPhoto`."""


class SidecarIndex:
    """Finds the sidecars of photos among the entries of a listing.

    Args:
        find: returns the files that were added with one `sample_key`, also repeatedly.
    """

    def __init__(self, find: Callable[[str], Iterable[SampleFile]]) -> None:
        self._find = find
        self._metadata: dict[tuple[str, str], Sidecar] = {}
        """Metadata files by source and folder."""
        self.has_candidates = False
        """Whether some entry may be a sidecar."""
        self._last: tuple[str, _Sample] | None = None

    def sample_key(self, photo: ListedPhoto) -> str | None:
        """A text that is equal for entries that may belong together; None if the entry belongs to no other."""
        folder, _, name = photo.path.rpartition("/")
        if photo.error is not None or photo.is_table_row:
            return None
        if is_metadata(name):
            key = photo.source, folder
            known = self._metadata.get(key)
            if known is None or _metadata_rank(name) <= _metadata_rank(known.path):
                self._metadata[key] = _to_sidecar(photo.path, photo.offset, photo.bytes)
        self.has_candidates = self.has_candidates or is_candidate(name)
        return f"{photo.source}/{folder}/{stem_of(name)}"

    def add_to(self, photo: ListedPhoto, key: str | None) -> ListedPhoto:
        """The entry with its sidecars, after all entries were added; `key` is its `sample_key`."""
        name = photo.path.rpartition("/")[2]
        if not self.has_candidates or key is None or not _may_be_photo(name):
            return photo
        files = list(self._find(key))
        found = _match_only_photo(photo.path, name, files)
        if found is None:
            if self._last is None or self._last[0] != key:
                self._last = key, _Sample(files)
            found = [*self._last[1].sidecars(photo)]
        found += self._nearest_metadata(photo)
        return ListedPhoto(*photo[:-1], tuple(found)) if found else photo

    def _nearest_metadata(self, photo: ListedPhoto) -> Iterator[Sidecar]:
        """The nearest metadata file in the folder of a photo or above it, in the same tar or ZIP."""
        folder = photo.path
        while self._metadata and folder:
            folder = folder.rpartition("/")[0]
            file = self._metadata.get((photo.source, folder))
            if file is not None and (file.offset is None) == (photo.offset is None):
                yield file
                return


def _match_only_photo(path: str, name: str, files: Sequence[SampleFile]) -> list[Sidecar] | None:
    """The sidecars of a photo as most are: the only one of its sample, with one dot in its name; None for others."""
    others = {file[0] for file in files if file[0] != path}
    if name.find(".", 1) != name.rfind(".") or name[:1] == "." or len(others) != len(files) - 1:
        return None
    if not all(map(is_candidate, others)):
        return None
    return [_to_sidecar(*file) for file in sorted(files, key=_by_offset) if file[0] != path]


class _Sample:
    """The files of one sample, of which several members of a tar may have the same name.

    Args:
        files: all files of the sample, in any order, also repeatedly.
    """

    def __init__(self, files: Iterable[SampleFile]) -> None:
        self._places: defaultdict[str, list[Sidecar]] = defaultdict(list)
        for path, offset, size in sorted(set(files), key=_by_offset):
            self._places[path.rpartition("/")[2]].append(_to_sidecar(path, offset, size))
        self._matches = match_sidecars(self._places)

    def sidecars(self, photo: ListedPhoto) -> Iterator[Sidecar]:
        """The sidecars of one of the photos: of several members of one name that of the same number, or the last."""
        name = photo.path.rpartition("/")[2]
        same = [place.offset for place in self._places[name]]
        for other in self._matches.get(name, ()):
            places = self._places[other]
            yield places[same.index(photo.offset) if len(places) == len(same) else -1]


def _by_offset(file: SampleFile) -> tuple[int, str]:
    return -1 if file[1] is None else file[1], file[0]


def _metadata_rank(path: str) -> int:
    """Of several metadata files in a folder, that with the lowest number is taken."""
    return METADATA_NAMES.index(path.rpartition("/")[2])


def _to_sidecar(path: str, offset: int | None, size: int | None) -> Sidecar:
    return Sidecar(path, offset, None if offset is None else size)


def read_sidecar(source: str, sidecar: Sidecar, copies: Path | None = None) -> bytes:
    """Read a sidecar. A file of its own is read as it is now, a member of a tar or ZIP as it was scanned.

    Args:
        source: the `source` of the photo's row.
        sidecar: of the row.
        copies: a folder with copies of compressed tars; see `curate.sources.tar.copies`.

    Raises:
        PhotoError: it can't be read, is too large, or no member of this size is at its place any more.
    """
    if sidecar.offset is None:
        return _read_file(source, sidecar.path)
    size = sidecar.bytes or 0
    if size > MAX_SIDECAR_BYTES:
        raise _too_large(size)
    location = locate_photo(source, sidecar.path, offset=sidecar.offset)
    if location is None or has_zip_name(location):
        return read_photo(source, sidecar.path, offset=sidecar.offset, size=size)
    # The block before the bytes is the header of the member, which shows whether the tar was replaced.
    data = read_bytes(location, offset=sidecar.offset - BLOCK_BYTES, size=BLOCK_BYTES + size, copies=copies)
    try:
        header = tarfile.TarInfo.frombuf(data[:BLOCK_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError as exc:
        raise ChangedSinceScan("its tar isn't what was scanned: scan again") from exc
    if header.size != size:
        raise ChangedSinceScan("its tar isn't what was scanned: scan again")
    return data[BLOCK_BYTES:]


def _read_file(source: str, path: str) -> bytes:
    if not is_url(unescape(source)):
        location = locate_photo(source, path)
        try:
            size = os.path.getsize(location) if location else 0
        except OSError as exc:
            raise as_photo_error(exc, "the file can't be read") from exc
        if size > MAX_SIDECAR_BYTES:
            raise _too_large(size)
    return read_photo(source, path)


def _too_large(size: int) -> FileTooLarge:
    return FileTooLarge(f"{size} bytes are over the limit of {MAX_SIDECAR_BYTES} for a file beside a photo")
