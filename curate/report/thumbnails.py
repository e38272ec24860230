"""Thumbnails of the photos that the report shows, made in parallel."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.errors import PhotoError
from curate.executors import engines
from curate.image.decode import decode_bytes, memory_errors
from curate.sources import check_unchanged, is_url, keep_streams_open, locate_photo, read_bytes
from curate.sources.tar.stream import is_compressed_tar

_QUALITY = 70
_MAX_ASPECT = 2.5
_TIMEOUT_S = 20.0
_STREAM_BYTES_PER_S = 10 << 20
"""A compressed tar that is read more slowly is given up."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small copy of a photo as it is now, as a JPEG file: WebP would be a quarter smaller, at 25 times the cost."""

    jpeg: bytes
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class PhotoLocation:
    """The key of a photo (`source` and `path`) and the folders that it may have moved to."""

    source: str
    path: str
    size: int | None = None
    """Column `bytes` of the manifest."""
    tar_offset: int | None = None
    """Byte offset in a tar or ZIP file; None for a single file."""
    roots: tuple[Path, ...] = ()
    sha256: str | None = None
    """Column `sha256` of the manifest."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any], roots: tuple[Path, ...]) -> PhotoLocation:
        """From a row of a manifest; only `source` and `path` are required."""
        size, offset = (None if row.get(name) is None else int(row[name]) for name in ("bytes", "tar_offset"))
        return cls(row["source"], row["path"], size, offset, roots, row.get("sha256"))

    def resolve(self) -> str | None:
        """Path or URL of the photo or its tar or ZIP file; None if it doesn't exist."""
        return locate_photo(self.source, self.path, self.roots, offset=self.tar_offset)

    def file_url(self) -> str | None:
        """URL of the file for a browser on this machine; None if it is missing, remote or in a tar or ZIP."""
        path = self.resolve() if self.tar_offset is None else None
        return None if path is None or is_url(path) else Path(path).absolute().as_uri()


def thumbnail_side_px(photos: int) -> int:
    """Short side of the thumbnails, so that this number of photos fits into the page.

    >>> thumbnail_side_px(40), thumbnail_side_px(500), thumbnail_side_px(1200)
    (320, 224, 160)
    """
    return 320 if photos <= 200 else 224 if photos <= 500 else 160


def make_thumbnails(
    locations: Sequence[PhotoLocation], short_side_px: int, *, workers: int | None
) -> Mapping[PhotoLocation, Thumbnail]:
    """Thumbnails of the photos that are unchanged and can be read; one that crashes the decoder or hangs gets none.

    The photos of one compressed tar are read together, front to back.
    """
    tars: defaultdict[str, list[PhotoLocation]] = defaultdict(list)
    others = []
    for location in locations:
        path = location.resolve() if location.tar_offset is not None else None
        if path is not None and is_compressed_tar(path):
            tars[path].append(location)
        else:
            others.append(location)
    make = partial(make_thumbnail, short_side_px=short_side_px)
    outcomes = engines.map_in_processes(make, others, workers=workers, timeout_s=_TIMEOUT_S)
    found = {outcome.item: outcome.result for outcome in outcomes if isinstance(outcome, engines.TaskResult)}
    groups = [sorted(group, key=lambda location: location.tar_offset or 0) for group in tars.values()]
    bytes_to_read = max((group[-1].tar_offset or 0 for group in groups), default=0)
    timeout_s = _TIMEOUT_S * max(map(len, groups), default=0) + bytes_to_read / _STREAM_BYTES_PER_S
    make_group = partial(_make_group, short_side_px=short_side_px)
    for outcome in engines.map_in_processes(make_group, groups, workers=workers, timeout_s=timeout_s):
        if isinstance(outcome, engines.TaskResult):
            found |= dict(zip(outcome.item, outcome.result, strict=True))
    return {location: thumbnail for location, thumbnail in found.items() if thumbnail is not None}


def _make_group(locations: Sequence[PhotoLocation], short_side_px: int) -> list[Thumbnail | None]:
    """The thumbnails of photos of one compressed tar, in its order."""
    with keep_streams_open():
        return [make_thumbnail(location, short_side_px) for location in locations]


def make_thumbnail(location: PhotoLocation, short_side_px: int) -> Thumbnail | None:
    """Decode one photo and make its thumbnail; None if it is missing, has changed or can't be read."""
    path = location.resolve()
    if path is None:
        return None
    try:
        with memory_errors("resizing it"):
            data = read_bytes(path, offset=location.tar_offset, size=location.size)
            check_unchanged(data, location.sha256)
            return _shrink(decode_bytes(data, short_side_px=short_side_px).pixels, short_side_px)
    except PhotoError:
        return None


def _shrink(pixels: NDArray[np.uint8], short_side_px: int) -> Thumbnail:
    height, width = pixels.shape[:2]
    scale = min(1.0, short_side_px / min(height, width), _MAX_ASPECT * short_side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    file = io.BytesIO()
    Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)).save(file, "JPEG", quality=_QUALITY)
    return Thumbnail(file.getvalue(), *size)
