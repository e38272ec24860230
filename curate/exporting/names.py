"""Name the photos of an export, and what belongs to them, so that every file system can store the names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from curate.sources import has_photo_name
from curate.sources.entry import ROW_DIGITS, Sidecar, parse_row_path
from curate.sources.sidecars import sidecar_suffix

MAX_NAME_BYTES = 160
"""Length of one part of an exported path: file systems allow 255, and suffixes are added to it."""
Kind = Literal["webdataset", "imagefolder", "copy", "links", "hardlinks", "parquet"]
_NOT_ALLOWED = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def unique_names(rows: Sequence[dict[str, Any]], kind: Kind, *, several: bool) -> Iterator[str]:
    """A name for each photo, unique also on file systems that ignore case.

    In a tar, names are unique up to the first dot of the file name, because WebDataset groups members by that part.
    """
    taken: set[str] = set()
    for row in rows:
        path = file_path(row["path"])
        name = clean_name(f"{PurePosixPath(row['source']).name}/{path}" if several else path)
        if not has_photo_name(name):
            name += "." + row.get("format", "jpg").lower()
        folder, stem, suffix = _split_name(name)
        if kind == "webdataset":
            stem, suffix = stem.replace(".", "_"), suffix.lower()
        if kind in ("webdataset", "imagefolder"):
            folder = f"{row.get('split', 'train')}/{folder}"
        unique = stem
        for length in (0, 8, 16, 64):
            unique = f"{stem}-{row['sha256'][:length]}" if length else stem
            if _collision_key(folder, unique, suffix, kind) not in taken:
                break
        else:
            unique = f"{stem}-{row['sha256']}-{len(taken)}"
        taken.add(_collision_key(folder, unique, suffix, kind))
        yield folder + unique + suffix


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


def _collision_key(folder: str, stem: str, suffix: str, kind: Kind) -> str:
    return (folder + stem + ("" if kind == "webdataset" else suffix)).casefold()


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


class SidecarNames:
    """Names the sidecars of exported photos; those in a folder are unique also on file systems that ignore case."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def name(self, photo: str, original: str, sidecar: Sidecar, *, source: str) -> str:
        """The path of a sidecar in an export: its own file name where the photo has its own, else the photo's new stem.

        Args:
            photo: path of the photo in the export.
            original: path of the photo below its source.
            sidecar: of the photo.
            source: of the photo.
        """
        folder, stem, suffix = _split_name(photo)
        own = sidecar.path.rpartition("/")[2]
        end = clean_name(f"x{sidecar_suffix(original, sidecar.path)}")[1:]
        name = folder + stem + end
        if photo.rpartition("/")[2] == original.rpartition("/")[2] and clean_name(own) == own:
            name = folder + own
        place = f"{source}/{sidecar.path}@{sidecar.offset}"
        if self._taken.setdefault(name.casefold(), place) != place:
            name = folder + stem + suffix + end
            self._taken.setdefault(name.casefold(), place)
        return name
