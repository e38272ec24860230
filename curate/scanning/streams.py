"""Measure the photos of a compressed tar, which one worker reads front to back.

The whole tar is one part of the work: its part file appears when all its photos are measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from curate.errors import PhotoError, ScanError, TimedOut
from curate.executors.retry import ProcessWatchdog, run_isolated
from curate.executors.watchdog import Watchdog
from curate.image.formats import SNIFF_BYTES, looks_like_photo
from curate.scanning.scorer import MAX_BYTES, Record, ScoreOptions, is_wanted, score_members
from curate.scanning.stream_progress import StreamMeter
from curate.scanning.stream_rows import StreamRows
from curate.scanning.work_dir import Chunk, StreamCounts, WorkDir
from curate.sources import Exclusion, ListedPhoto, is_source_missing
from curate.sources.tar.stream import TarStream

BATCH_PHOTOS, BATCH_BYTES = 256, 64 << 20
"""Photos that are written to disk at a time to be measured in tasks of their own, and their size."""
READ_TIMEOUTS = 10
"""Without a worker, the next photo of a tar may take this many times as long as decoding a photo."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How to measure a compressed tar."""

    score: ScoreOptions
    exclude: tuple[str, ...]
    """Patterns of members to skip."""
    timeout_s: float
    """Seconds that one photo may take."""
    workers: int | None = None
    """Number of processes of `measure_isolated_stream`."""


def measure_stream(work: WorkDir, options: StreamOptions, chunk: Chunk) -> None:
    """In a worker: measure a compressed tar and write its part file.

    If a photo takes too long, the process ends and nothing is written; see `ProcessWatchdog`.

    Raises:
        ScanError: the source can't be reached any more.
        ManifestError: the part file can't be written.
    """
    watchdog = ProcessWatchdog(options.timeout_s)
    stream, rows = _open(chunk, options, watchdog)
    meter = StreamMeter(work.folder / work.progress_name(chunk.index))
    read: deque[ListedPhoto] = deque()
    with rows:
        try:
            for record in score_members(_with_beats(stream, watchdog, read), options.score):
                rows.add(read.popleft(), _check_source(chunk, record))
                meter.add(stream.share)
            meter.finish()
        finally:
            watchdog.stop()
        work.write_stream_part(chunk.index, rows.sorted(stream), rows.counts)


def measure_isolated_stream(work: WorkDir, options: StreamOptions, chunk: Chunk) -> None:
    """Measure a compressed tar again whose worker died, each photo in a task of its own.

    This process reads the tar, and writes its photos to temporary files, some at a time.
    """
    stream, rows = _open(chunk, options)
    watchdog = Watchdog(READ_TIMEOUTS * options.timeout_s)
    members = stream.members(is_wanted, max_bytes=MAX_BYTES)
    with rows, TemporaryDirectory(prefix="vividset-") as scratch:
        while batch := _extract_batch(watchdog, members, Path(scratch), chunk.photos[0]):
            results = run_isolated(
                partial(_score_extracted, options=options.score),
                [member for member in batch if member.file is not None],
                workers=options.workers,
                timeout_s=options.timeout_s,
            )
            measured = iter(results)
            for member in batch:
                result = _score_extracted(member, options.score) if member.file is None else next(measured)
                record = Record(member.photo, error=str(result)) if isinstance(result, PhotoError) else result
                rows.add(member.photo, _check_source(chunk, record))
        watchdog.close()
        work.write_stream_part(chunk.index, rows.sorted(stream), rows.counts)


def _open(
    chunk: Chunk, options: StreamOptions, watchdog: ProcessWatchdog | None = None
) -> tuple[TarStream, StreamRows]:
    (archive,) = chunk.photos
    exclusion = Exclusion(options.exclude)
    stream = TarStream(archive, exclusion, watchdog.beat if watchdog else lambda: None)
    return stream, StreamRows(StreamCounts(excluded=exclusion.counts))


def _with_beats(
    stream: TarStream, watchdog: ProcessWatchdog, read: deque[ListedPhoto]
) -> Iterator[tuple[ListedPhoto, bytes]]:
    """Yield the members, and append their entries to `read`."""
    for photo, data in stream.members(is_wanted, max_bytes=MAX_BYTES):
        watchdog.beat()
        read.append(photo)
        yield photo, data


def _check_source(chunk: Chunk, record: Record | None) -> Record | None:
    """Return the record; raise a ScanError if the tar can't be read because its source can't be reached any more."""
    (archive,) = chunk.photos
    if record and record.error and record.photo.path == archive.path:
        kind = record.error.partition(":")[0]
        if kind in ("Vanished", "ReadFailed", "NoPermission") and is_source_missing(archive.source):
            raise ScanError(
                f"{archive.source} can't be reached any more (is a disk or a network connection lost?): make it "
                "available and run the same command again; finished work is kept"
            )
    return record


@dataclass(frozen=True, slots=True)
class _ExtractedMember:
    """A member of a tar, and the file with its bytes; None for what is not decoded."""

    photo: ListedPhoto
    file: Path | None


def _extract_batch(
    watchdog: Watchdog, members: Iterator[tuple[ListedPhoto, bytes]], folder: Path, archive: ListedPhoto
) -> list[_ExtractedMember]:
    """Write the next photos of a tar to files; an empty list at its end."""
    batch: list[_ExtractedMember] = []
    size = 0
    while len(batch) < BATCH_PHOTOS and size < BATCH_BYTES:
        try:
            photo, data = watchdog.call(next, members, (None, b""))
        except TimedOut as exc:
            photo, data = archive._replace(offset=None, bytes=None, modified_ns=None, error=str(exc)), b""
        if photo is None:
            break
        file = folder / str(len(batch)) if looks_like_photo(data[:SNIFF_BYTES]) else None
        if file is not None:
            file.write_bytes(data)
            size += len(data)
        batch.append(_ExtractedMember(photo, file))
    return batch


def _score_extracted(member: _ExtractedMember, options: ScoreOptions) -> Record | None:
    data = member.file.read_bytes() if member.file else b""
    return next(score_members([(member.photo, data)], options))
