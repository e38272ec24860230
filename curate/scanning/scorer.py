"""One photo to one Record: the function that every engine maps."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from curate.errors import OutOfMemory, PhotoError, UnsupportedFormat, UsageError
from curate.image.decode import MAX_PIXELS, Header, decode, memory_errors
from curate.image.formats import RAW_SUFFIXES, SNIFF_BYTES, looks_like_photo
from curate.manifest import METRIC
from curate.measures.measure import Measures, PixelSummary, measure_batch, summarize_pixels
from curate.sources import ListedPhoto, read_listed_photo

Fidelity = Literal["exact", "fast"]

MAX_BYTES = 1 << 31
"""A larger file isn't read; twice what an uncompressed 16-bit photo of the default pixel limit takes."""
BATCH_PHOTOS = 64
"""What is kept of so many photos until they are described takes some 6 MB."""
KEPT_BYTES = 32 << 20
"""What describing a batch takes at most, and decoding a photo on the web."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What changes a score or decides whether there is one; recorded in the manifest."""

    max_pixels: int = MAX_PIXELS
    fidelity: Fidelity = "exact"
    """`fast` decodes colour JPEGs at a quarter of their size; docs/results/fidelity.md tells what that costs."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels must be 1 or more, not {self.max_pixels}")
        if self.fidelity not in get_args(Fidelity):
            raise UsageError(
                f"--fidelity {self.fidelity!r} does not exist: choose from {', '.join(get_args(Fidelity))}"
            )

    @property
    def metric(self) -> str:
        """The variant of the `colorfulness` column, as lineages name it."""
        return METRIC if self.fidelity == "exact" else f"{METRIC}-{self.fidelity}"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a scan: measures or an error, never both or neither."""

    photo: ListedPhoto
    sha256: str | None = None
    header: Header | None = None
    measures: Measures | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.measures is None) == (self.error is None):
            raise ValueError("a record has measures or an error, never both or neither")
        if (self.measures is None) != (self.header is None):
            raise ValueError("measures come with a header")

    def row(self) -> dict[str, Any]:
        """As a row in the scan schema; absent values are None."""
        row: dict[str, Any] = {
            "source": self.photo.source,
            "path": self.photo.path,
            "tar_offset": self.photo.offset,
            "bytes": self.photo.bytes,
            "modified_ns": self.photo.modified_ns,
            "sha256": self.sha256,
            "error": self.error,
            "missing_since": None,
        }
        if self.header and self.measures:
            for group in (self.header, self.measures.appearance, self.measures.tone):
                row |= {entry.name: getattr(group, entry.name) for entry in fields(group)}
            row["colorfulness"] = self.measures.colorfulness
            row["colorfulness_level"] = self.measures.colorfulness_level
            row["fingerprint"] = self.measures.fingerprint
        return row


@dataclass(frozen=True, slots=True)
class _Seen:
    """A photo that was decoded and not described yet."""

    photo: ListedPhoto
    sha256: str | None
    header: Header
    look: PixelSummary


def score(photo: ListedPhoto, options: ScoreOptions) -> Record | None:
    """Read, hash, decode and measure one file.

    Returns:
        The record: with an error if the file can't be used. None if neither its name nor its content is a photo's.
    """
    return _described([_seen(photo, options)])[0]


def score_all(photos: Iterable[ListedPhoto], options: ScoreOptions) -> Iterator[Record | None]:
    """As `score`, for one photo after another.

    Some are decoded before they are described: code that takes turns with a decoder runs from cold caches, at
    two to three times its cost.
    """
    _keep_freed_memory()
    seen = (_seen(photo, options) for photo in photos)
    while batch := list(islice(seen, BATCH_PHOTOS)):
        yield from _described(batch)


def _keep_freed_memory() -> None:
    """Have glibc keep KEPT_BYTES that were freed: memory handed back and taken again costs a page fault per 4 KB.

    How much it keeps follows from the largest block freed so far. This one is never written to, so it costs nothing.
    """
    np.empty(KEPT_BYTES // 2, np.uint8)


def _seen(photo: ListedPhoto, options: ScoreOptions) -> Record | _Seen | None:
    if photo.error is not None:
        return Record(photo, error=photo.error)
    digest = None
    try:
        with memory_errors("measuring it"):
            photo, data = _read(photo)
            if data is None:
                return None
            if len(data) == photo.bytes:
                digest = hashlib.sha256(data).hexdigest()
            shown = decode(data, max_pixels=options.max_pixels, quarter=options.fidelity == "fast")
            return _Seen(photo, digest, shown.header, summarize_pixels(shown.pixels, shown.visible))
    except PhotoError as exc:
        return Record(photo, digest, error=str(exc))


def _described(batch: list[Record | _Seen | None]) -> list[Record | None]:
    """The batch's records; where it takes too much memory as a whole, one photo after another."""
    looks = [(seen.photo, seen.sha256, seen.look) for seen in batch if isinstance(seen, _Seen)]
    try:
        with memory_errors("measuring it"):
            measures = iter(measure_batch([look for _, _, look in looks]))
    except OutOfMemory as exc:
        if len(batch) > 1:
            return [record for seen in batch for record in _described([seen])]
        ((photo, digest, _),) = looks
        return [Record(photo, digest, error=str(exc))]
    return [
        Record(seen.photo, seen.sha256, seen.header, next(measures)) if isinstance(seen, _Seen) else seen
        for seen in batch
    ]


def _read(photo: ListedPhoto) -> tuple[ListedPhoto, bytes | None]:
    """The file's bytes, and the listing entry as the file is now; no bytes where it is no photo of any kind."""
    if os.path.splitext(photo.path)[1].lower() in RAW_SUFFIXES:
        raise UnsupportedFormat("camera raw isn't decoded: develop it to JPEG or TIFF first")
    photo, data = read_listed_photo(photo, looks_like_photo, max_bytes=MAX_BYTES)
    known = looks_like_photo(data[:SNIFF_BYTES]) or photo.has_photo_name
    return photo, data if known else None
