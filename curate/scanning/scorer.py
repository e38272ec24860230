"""Read, decode and measure one listed photo, or a batch of them: this is what workers do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from curate.errors import OutOfMemory, PhotoError, UsageError
from curate.image.containers import find_container
from curate.image.decode import MAX_PIXELS, Header, decode_bytes, memory_errors
from curate.image.formats import SNIFF_BYTES, check_raw_name, has_raw_name, looks_like_photo
from curate.image.orientation import apply_orientation, mirrored_axes
from curate.image.source_type import read_source_type
from curate.manifest import METRIC
from curate.measures.measure import Measures, PixelSummary, measure_batch, summarize_pixels
from curate.measures.names import Networks, NetworkSize
from curate.sources import ListedPhoto, read_listed_photo
from curate.sources.members import nested_error
from curate.sources.names import is_metadata
from curate.sources.tables.parquet import is_parquet
from curate.sources.tables.reader import holds_images

Fidelity = Literal["exact", "fast"]

MAX_BYTES = 1 << 31
"""Larger files are not read: twice the size of an uncompressed 16-bit photo with the default number of pixels."""
BATCH_PHOTOS = 64
"""Photos that are decoded before they are measured; their pixel summaries take about 20 MB."""
RESERVED_BYTES = 48 << 20
"""The memory that measuring a batch, or decoding a photo of web size, needs at most."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Options that change the measures, or decide whether a photo has any; stored in the manifest."""

    max_pixels: int = MAX_PIXELS
    """Photos with more pixels are errors."""
    fidelity: Fidelity = "exact"
    """`fast` decodes color JPEGs at a quarter of their size; docs/results/fidelity.md says how the measures change."""
    tone_network: NetworkSize = "small"
    """`large` evaluates the network at 224 px for photos whose tone is in doubt; see docs/results/tone.md."""
    kind_network: NetworkSize = "small"
    """`large` evaluates a second network for all but the clearest photos; see docs/results/kind.md."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels must be 1 or more, not {self.max_pixels}")
        if self.fidelity not in get_args(Fidelity):
            raise UsageError(
                f"--fidelity {self.fidelity!r} does not exist: choose from {', '.join(get_args(Fidelity))}"
            )
        for option, size in (("--tone-network", self.tone_network), ("--kind-network", self.kind_network)):
            if size not in get_args(NetworkSize):
                raise UsageError(f"{option} {size!r} does not exist: choose from {', '.join(get_args(NetworkSize))}")

    @property
    def networks(self) -> Networks:
        """How the networks for tone and kind are evaluated."""
        return Networks(self.tone_network, self.kind_network)

    @property
    def metric(self) -> str:
        """The variant of the `colorfulness` column, as stored in lineages."""
        return METRIC if self.fidelity == "exact" else f"{METRIC}-{self.fidelity}"


@dataclass(frozen=True, slots=True)
class Record:
    """The result for one photo, a row of the manifest: it has either measures or an error."""

    photo: ListedPhoto
    sha256: str | None = None
    """Hex sha256 of the whole file; None if the file wasn't read completely."""
    header: Header | None = None
    measures: Measures | None = None
    error: str | None = None
    """`Kind: reason`."""
    digital_source_type: str | None = None
    """See `read_source_type`; None if the file has none."""

    def __post_init__(self) -> None:
        if (self.measures is None) == (self.error is None):
            raise ValueError("a record has measures or an error, never both or neither")
        if (self.measures is None) != (self.header is None):
            raise ValueError("measures come with a header")

    def to_row(self) -> dict[str, Any]:
        """The record as a row in the scan schema; columns without a value are None or left out."""
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
            measures = self.measures
            small = (measures.tone, measures.kind, measures.borders, measures.edits)
            for group in (self.header, measures.appearance, *small):
                row |= {entry.name: getattr(group, entry.name) for entry in fields(group)}
            row["digital_source_type"] = self.digital_source_type
            row["colorfulness"] = measures.colorfulness
            row["colorfulness_level"] = measures.colorfulness_level
            row["fingerprint"] = measures.fingerprint
        return row


@dataclass(frozen=True, slots=True)
class _DecodedPhoto:
    """A photo that is decoded but not measured yet."""

    photo: ListedPhoto
    sha256: str | None
    header: Header
    summary: PixelSummary
    digital_source_type: str | None


def score_photo(photo: ListedPhoto, options: ScoreOptions) -> Record | None:
    """Read, hash, decode and measure one photo.

    Returns:
        The record, with an error if the photo can't be used; None if the file is not a photo by name or content.
    """
    return _measure_decoded([_decode_photo(photo, options)], options.networks)[0]


def score_photos(photos: Iterable[ListedPhoto], options: ScoreOptions) -> Iterator[Record | None]:
    """Read, hash, decode and measure photos; yield for each what `score_photo` returns, in order.

    A batch of photos is decoded before it is measured. If decoding and measuring alternated, each would evict the
    other's code and data from the CPU caches, and measuring would take two to three times as long.
    """
    decoded = (_decode_photo(photo, options) for photo in photos)
    yield from _measure_all(decoded, options.networks)


def score_members(members: Iterable[tuple[ListedPhoto, bytes]], options: ScoreOptions) -> Iterator[Record | None]:
    """Hash, decode and measure members of a compressed tar, as `score_photos` does photos.

    Args:
        members: entries and their bytes, as `TarStream.members` yields them.
        options: see `ScoreOptions`.
    """
    decoded = (_decode_bytes(photo, data, options) for photo, data in members)
    yield from _measure_all(decoded, options.networks)


def is_wanted(photo: ListedPhoto, head: bytes) -> bool:
    """Whether to read the rest of a file, by its first SNIFF_BYTES bytes: whether it is a photo, or may hold some.

    Raises:
        UnsupportedFormat: it is camera raw.
    """
    check_raw_name(photo.path, head)
    return looks_like_photo(head) or _is_nested_parquet(photo, head)


def _is_nested_parquet(photo: ListedPhoto, head: bytes) -> bool:
    """Whether a member of a tar or ZIP is a Parquet file with the name of a metadata file."""
    return photo.offset is not None and is_metadata(photo.path) and is_parquet(head)


def _measure_all(decoded: Iterator[Record | _DecodedPhoto | None], networks: Networks) -> Iterator[Record | None]:
    """Measure photos in batches, as they are decoded."""
    _reserve_memory()
    while batch := list(islice(decoded, BATCH_PHOTOS)):
        yield from _measure_decoded(batch, networks)


def _reserve_memory() -> None:
    """Let glibc keep `RESERVED_BYTES` of freed memory; otherwise each photo costs a page fault per 4 KB.

    glibc keeps up to twice the size of the largest block that was freed so far. This block is never written to, so the
    system assigns no memory to it.
    """
    np.empty(RESERVED_BYTES // 2, np.uint8)


def _decode_photo(photo: ListedPhoto, options: ScoreOptions) -> Record | _DecodedPhoto | None:
    """Read and decode a photo; a record if it has an error, None if the file is not a photo."""
    if photo.error is not None:
        return Record(photo, error=photo.error)
    try:
        with memory_errors("measuring it"):
            photo, data = _read_photo(photo)
    except PhotoError as exc:
        return Record(photo, error=str(exc))
    return _decode_bytes(photo, data, options)


def _decode_bytes(photo: ListedPhoto, data: bytes, options: ScoreOptions) -> Record | _DecodedPhoto | None:
    """Decode a photo, or the first bytes of a file that is not one; see `_decode_photo`."""
    if photo.error is not None:
        return Record(photo, error=photo.error)
    head = data[:SNIFF_BYTES]
    if not (looks_like_photo(head) or photo.has_photo_name or has_raw_name(photo.path)):
        error = _find_container(photo, data)
        return Record(photo, error=str(error)) if error else None
    digest = None
    try:
        with memory_errors("measuring it"):
            if len(data) == photo.bytes:
                digest = hashlib.sha256(data).hexdigest()
            fast = options.fidelity == "fast"
            decoded = decode_bytes(data, max_pixels=options.max_pixels, quarter=fast, upright=False)
            turn = decoded.remaining_orientation
            summary = summarize_pixels(
                *(decoded.pixels, decoded.visible, mirrored_axes(turn)),
                transposed=turn >= 5,
            )
            if turn != 1:  # the copies, the sample and the bands are turned instead of all pixels
                parts = (summary.small, summary.sample, summary.large)
                small, sample, large = (apply_orientation(part, turn) for part in parts)
                borders = summary.borders.turn(lambda sides: apply_orientation(sides, turn))
                summary = replace(summary, small=small, sample=sample, borders=borders, large=large)
            return _DecodedPhoto(photo, digest, decoded.header, summary, read_source_type(data))
    except PhotoError as exc:
        return Record(photo, digest, error=str(exc))


def _find_container(photo: ListedPhoto, data: bytes) -> PhotoError | None:
    """The error of a file that is not a photo, but may hold some; None for any other file."""
    if is_metadata(photo.path):
        return nested_error() if _is_nested_parquet(photo, data) and holds_images(data) else None
    return find_container(photo.path, data[:SNIFF_BYTES], photo.bytes)


def _measure_decoded(batch: Sequence[Record | _DecodedPhoto | None], networks: Networks) -> list[Record | None]:
    """Measure a batch of decoded photos; if that needs too much memory, measure them one at a time."""
    decoded = [entry for entry in batch if isinstance(entry, _DecodedPhoto)]
    try:
        with memory_errors("measuring it"):
            measures = iter(measure_batch([entry.summary for entry in decoded], networks))
    except OutOfMemory as exc:
        if len(batch) > 1:
            return [record for entry in batch for record in _measure_decoded([entry], networks)]
        return [Record(decoded[0].photo, decoded[0].sha256, error=str(exc))]
    return [
        Record(
            *(entry.photo, entry.sha256, entry.header, next(measures)), digital_source_type=entry.digital_source_type
        )
        if isinstance(entry, _DecodedPhoto)
        else entry
        for entry in batch
    ]


def _read_photo(photo: ListedPhoto) -> tuple[ListedPhoto, bytes]:
    """Read a file; return its listing entry as it is now, and its bytes, or only the first if it is not a photo.

    Raises:
        PhotoError: it can't be read, is too large, changed while it was read, or is camera raw.
    """
    return read_listed_photo(photo, partial(is_wanted, photo), max_bytes=MAX_BYTES)
