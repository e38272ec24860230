"""Small copies of the photos that the page shows, decoded beside each other in worker processes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.errors import PhotoError
from curate.executors import engines
from curate.image.decode import decode, memory_errors
from curate.sources import locate_photo, read_bytes, remote

_QUALITY = 70
_MAX_ASPECT = 2.5
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A photo as it is now, small."""

    webp: bytes
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class PhotoLocation:
    """A photo's key and where it may have moved."""

    source: str
    path: str
    size: int | None = None
    """The row's `bytes`."""
    tar_offset: int | None = None
    """Where it begins in a tar; None for a file of its own."""
    roots: tuple[Path, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any], roots: tuple[Path, ...]) -> PhotoLocation:
        """From a manifest's row, whatever of it there is."""
        size, offset = (None if row.get(name) is None else int(row[name]) for name in ("bytes", "tar_offset"))
        return cls(row["source"], row["path"], size, offset, roots)

    def located(self) -> str | None:
        """Path or URL of the file or its tar; None if it is gone."""
        return locate_photo(self.source, self.path, self.roots, offset=self.tar_offset)

    def url(self) -> str | None:
        """What leads a browser on this machine to the file; None if it is gone, remote, or a tar's member."""
        place = self.located() if self.tar_offset is None else None
        return None if place is None or remote.is_url(place) else Path(place).absolute().as_uri()


def side_px(photos: int) -> int:
    """The short side that lets so many thumbnails fit on the page: the fewer, the larger.

    >>> side_px(40), side_px(500), side_px(1200)
    (320, 224, 160)
    """
    return 320 if photos <= 200 else 224 if photos <= 500 else 160


def thumbnails(
    places: Sequence[PhotoLocation], short_side_px: int, *, workers: int | None
) -> Mapping[PhotoLocation, Thumbnail]:
    """Thumbnails of those photos that are there and can be read; a decoder that crashes or hangs costs its photo."""
    draw = partial(thumbnail, short_side_px=short_side_px)
    outcomes = engines.map_in_processes(draw, places, workers=workers, timeout_s=_TIMEOUT_S)
    return {
        outcome.item: outcome.result
        for outcome in outcomes
        if isinstance(outcome, engines.TaskResult) and outcome.result is not None
    }


def thumbnail(place: PhotoLocation, short_side_px: int) -> Thumbnail | None:
    """Decode one photo and shrink it; None if it is gone or can't be read."""
    file_path = place.located()
    if file_path is None:
        return None
    try:
        with memory_errors("shrinking it"):
            data = read_bytes(file_path, offset=place.tar_offset, size=place.size)
            return _small(decode(data, short_side_px=short_side_px).pixels, short_side_px)
    except PhotoError:
        return None


def _small(pixels: NDArray[np.uint8], short_side_px: int) -> Thumbnail:
    height, width = pixels.shape[:2]
    scale = min(1.0, short_side_px / min(height, width), _MAX_ASPECT * short_side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=_QUALITY)
    return Thumbnail(file.getvalue(), *size)
