"""Name the photos of an export, and what belongs to them, so that every file system can store the names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

from curate.files import FAILED_NAME, LOCK, STAMP, is_temporary
from curate.sources import has_photo_name
from curate.sources.entry import Sidecar
from curate.sources.names import ROW_DIGITS, parse_row_path
from curate.sources.sidecars import sidecar_suffix, stem_of

MAX_NAME_BYTES = 160
"""Length of one part of an exported path: file systems allow 255, and suffixes are added to it."""
METADATA_NAME = "metadata.jsonl"
CARD_NAME = "README.md"
Kind = Literal["webdataset", "imagefolder", "copy", "links", "hardlinks", "parquet"]
_NOT_ALLOWED = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_OWN_NAMES = frozenset(name.casefold() for name in (FAILED_NAME, LOCK, STAMP, CARD_NAME, METADATA_NAME))
"""Files that an export writes into its folder."""
_SAMPLE = "\0"
"""Added to the stem of a photo in a tar, so that no other photo gets that stem; no file name has this character."""


class ExportNames:
    """Names the photos of an export, and the files beside them, in the order of the export.

    Names are unique, also on file systems that ignore case, and none is that of a file that the export itself writes.
    In a tar, the names of photos are unique up to the first dot of the file name, because WebDataset groups members by
    that part.

    Args:
        kind: of the export.
        several: whether the photos have several sources; then each has a folder.
    """

    def __init__(self, kind: Kind, *, several: bool) -> None:
        self._kind, self._several = kind, several
        self._taken: dict[int, int] = {}
        """Hash of the content's place by the hash of each name; numbers take a fifth of the memory of the names."""
        self._folders: dict[str, str] = {"": ""}
        """The folder in the export of each folder."""
        self._folder_keys: set[int] = set()

    def photo(self, row: Mapping[str, Any]) -> str:
        """The path of a photo in the export, with its split as the first folder unless it is a tree of copies or links.

        Args:
            row: of the manifest, without null values.
        """
        path = file_path(row["path"])
        name = clean_name(f"{PurePosixPath(row['source']).name}/{path}" if self._several else path)
        if not has_photo_name(name):
            name += "." + row.get("format", "jpg").lower()
        folder, stem, suffix = _split_name(name)
        if self._kind == "webdataset":
            stem, suffix = stem.replace(".", "_"), suffix.lower()
        if self._kind in ("webdataset", "imagefolder"):
            folder = f"{split_folder(row.get('split', 'train'))}/{folder}"
        folder = self._folder(folder)
        ends = (_SAMPLE, suffix) if self._kind == "webdataset" else (suffix,)
        place = f"photo {len(self._taken)}"
        for unique in _variants(stem, row["sha256"]):
            if all(self._claim(folder + unique + end, place) for end in ends):
                return folder + unique + suffix
        raise AssertionError  # the variants have no end

    def sidecar(self, photo: str, row: Mapping[str, Any], sidecar: Sidecar) -> str:
        """The path of a sidecar in an export: its own file name if that goes with the photo's, else the photo's stem.

        Args:
            photo: path of the photo in the export.
            row: of the photo.
            sidecar: of the photo.
        """
        folder, stem, suffix = _split_name(photo)
        own = sidecar.path.rpartition("/")[2]
        original = row["path"]
        end = clean_name(f"x{sidecar_suffix(original, sidecar.path)}")[1:]
        name = folder + stem + end
        keeps_name = photo.rpartition("/")[2] == original.rpartition("/")[2] and stem_of(own) == stem_of(stem + suffix)
        if keeps_name and clean_name(own) == own:
            name = folder + own
        place = f"{row['source']}/{sidecar.path}@{sidecar.offset}"
        if self._claim(name, place):
            return name
        stems = _variants(stem + suffix, row["sha256"])
        return next(name for name in (folder + unique + end for unique in stems) if self._claim(name, place))

    def _folder(self, folder: str) -> str:
        """The folder in the export, with a slash at its end: another one if a file has that name."""
        if folder not in self._folders:
            parent, _, name = folder.rstrip("/").rpartition("/")
            above = self._folder(f"{parent}/" if parent else "")
            while _key(above + name) in self._taken or self._is_own(above, name):
                name = f"_{name}"
            self._folders[folder] = f"{above}{name}/"
            self._folder_keys.add(_key(above + name))
        return self._folders[folder]

    def _claim(self, name: str, place: str) -> bool:
        """Take a name for a file; False if another file or a folder has it."""
        folder, _, own = name.rpartition("/")
        if self._is_own(f"{folder}/" if folder else "", own) or _key(name) in self._folder_keys:
            return False
        key = _key(place)
        return self._taken.setdefault(_key(name), key) == key

    def _is_own(self, folder: str, name: str) -> bool:
        """Whether the export writes a file of this name itself."""
        if self._kind == "webdataset":  # the names are inside of tars
            return False
        if self._kind == "imagefolder":
            return folder.count("/") == 1 and name.casefold() == METADATA_NAME
        return not folder and (name.casefold() in _OWN_NAMES or is_temporary(name))


def _key(name: str) -> int:
    data = name.casefold().encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _variants(stem: str, sha256: str) -> Iterator[str]:
    """A name's stem, and others that differ from it by the content of the photo, then by a number."""
    yield stem
    for length in (8, 16, 64):
        yield f"{stem}-{sha256[:length]}"
    number = 2
    while True:
        yield f"{stem}-{sha256}-{number}"
        number += 1


def split_folder(split: str) -> str:
    """The name of a split as the name of a folder or file."""
    return clean_name(split).replace("/", "_")


def file_path(path: str) -> str:
    """The path of a photo in a manifest as that of a file; it differs for photos in Parquet and Arrow files.

    >>> file_path("a/cat.jpg"), file_path("a/train.parquet/000000017/image")
    ('a/cat.jpg', 'a/train/000000017-image')
    """
    place = parse_row_path(path)
    if place is None:
        return path
    column = "" if place.column is None else f"-{place.column}"
    return f"{PurePosixPath(place.container).with_suffix('')}/{place.row:0{ROW_DIGITS}d}{column}"


def _split_name(name: str) -> tuple[str, str, str]:
    path = PurePosixPath(name)
    folder = "" if path.parent == PurePosixPath() else f"{path.parent}/"
    return folder, path.stem, path.suffix


def clean_name(path: str) -> str:
    r"""A path of a manifest as a relative path that every file system can store.

    >>> clean_name("a/caf\\xe9: <b>/con.jpg")
    'a/caf_xe9_ _b_/_con.jpg'
    """
    parts = (_NOT_ALLOWED.sub("_", _shorten(part)).strip(" ").rstrip(".") for part in path.split("/"))
    return (
        "/".join(
            _WINDOWS_DEVICE.sub(r"_\g<0>", part) if _WINDOWS_DEVICE.match(part) else part for part in parts if part
        )
        or "_"
    )


def _shorten(part: str) -> str:
    """One part of a path, cut so that a hash, a suffix and the name of a draft still fit; its suffix is kept."""
    if len(part.encode()) <= MAX_NAME_BYTES:
        return part
    stem, suffix = os.path.splitext(part)
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    return stem.encode()[: MAX_NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix
