"""Scan photos: list them, measure the new ones in workers, write the manifest.

A scan that was interrupted, even by `kill -9`, continues when it is run again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from curate import manifest
from curate.errors import ManifestError, PhotoError, ScanError
from curate.executors.engines import ENGINES, EngineName, check_engine_options
from curate.executors.retry import Progress, run_groups, run_isolated, with_watchdog
from curate.files import cache_folder, commit, local_copy, write_errors
from curate.locations import Location, RemotePath
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.scanning.merge import sort_file_by_location
from curate.scanning.resume import KnownRowMatcher, MissingRowPolicy, check_output, find_unknown_paths
from curate.scanning.scorer import Record, ScoreOptions, score_photo, score_photos
from curate.scanning.stream_progress import with_stream_progress
from curate.scanning.streams import StreamOptions, measure_isolated_stream, measure_stream
from curate.scanning.summary import ScanSummary
from curate.scanning.work_dir import Chunk, ListingStats, StreamCounts, WorkDir
from curate.sources import ALL_SHARDS, ColumnChoice, Exclusion, ListedPhoto, ShardSpec, Sources, is_source_missing
from curate.text import advise, describe_error, pluralize


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan. Only `score` changes what is measured."""

    workers: int | None = None
    """Number of processes that decode; None: one per available core, or per core of the Ray cluster."""
    score: ScoreOptions = field(default_factory=ScoreOptions)
    timeout_s: float = 60.0
    """Seconds after which decoding a photo is given up."""
    retry_errors: bool = False
    """Measure unchanged files again if they failed before."""
    overwrite: bool = False
    """Ignore the rows of the output and of an interrupted scan, and measure everything again."""
    from_files: tuple[str, ...] = ()
    """Files that list further paths; see `Sources.lists`."""
    null: bool = False
    """The paths in these files end in NUL bytes; see `Sources.null`."""
    engine: EngineName = "processes"
    """Where the photos are measured."""
    shard: ShardSpec = ALL_SHARDS
    """The part of a divided scan that is measured."""
    forget: tuple[str, ...] = ()
    """Paths or URLs; rows below them are dropped from the manifest unless this scan finds their photos."""
    prune: bool = False
    """Drop all rows whose photos this scan doesn't find."""
    exclude: tuple[str, ...] = ()
    """Patterns of files and folders to skip; see `curate.sources.exclude.Exclusion`."""
    image_columns: tuple[str, ...] = ()
    """Columns of Parquet and Arrow files to scan; none is all columns of images."""

    def __post_init__(self) -> None:
        check_engine_options(self.engine, self.workers, self.timeout_s)
        Exclusion(self.exclude)  # raises UsageError for a pattern that has no meaning

    def sources(self, paths: Sequence[str | Path]) -> Sources:
        """The sources of a scan of these paths."""
        choice = ColumnChoice(self.image_columns)
        return Sources(tuple(paths), self.from_files, self.null, self.shard, Exclusion(self.exclude), choice)


def scan_photos(
    paths: Sequence[str | Path],
    out: Location,
    options: ScanOptions,
    *,
    command: str = "",
    progress: Progress | None = None,
) -> ScanSummary:
    """Measure every photo below `paths` and write one manifest row per photo.

    Photos that `out` already contains unchanged are not read again, nor are those that an interrupted scan measured.

    Args:
        paths: folders, photos, containers (tars, ZIPs, Parquet and Arrow files) or URLs of such.
        out: the manifest to write or update; its work folder is beside it, or in `cache_folder` if it is a URL.
        options: see `ScanOptions`.
        command: the command as it was typed; stored in the manifest's lineage.
        progress: called with the number of photos done and of all photos to measure; see `with_stream_progress`.

    Raises:
        SourceError: a path can't be listed.
        ScanError: there are no photos, another scan is writing `out`, or a source can't be reached any more.
        ManifestError: `out` is another kind of file, the scan of something else, or can't be written.
    """
    sources = options.sources(paths)
    sources.check()
    before = _remote_version(out)
    _check_out(out)
    work = WorkDir(_work_folder(out))
    with _lock(work, out):
        if options.overwrite:
            _clear(work)
        listed, known = _write_listing(work, out, sources, options)
        if not (listed.files or listed.missing) and options.shard == ALL_SHARDS:
            raise _no_photos_error((*paths, *options.from_files), listed)
        with with_stream_progress(work.folder, work.progress_name("*"), progress) as report:
            run_groups(
                ENGINES[options.engine],
                partial(measure_chunk, work, options),
                work.unfinished_chunks(),
                retry_group=partial(_measure_isolated, work, options),
                workers=options.workers,
                total=listed.to_measure,
                progress=report,
            )
        try:
            draft, summary = _write_draft(work, known, listed, _make_lineage(sources, options, command))
        except ScanError:
            _clear(work)
            raise
        if _remote_version(out) != before:
            raise ScanError(
                f"another run has written {out} during this scan: run the same command again, which keeps the photos "
                "of both"
            )
        with write_errors(out, ManifestError, "-o", resumable=True):
            commit(draft, out)
        _clear(work)
    return summary


def _check_out(out: Location) -> None:
    """Check before long work that the manifest could be written."""
    with write_errors(out, ManifestError, "-o"):
        is_folder = out.is_dir()
        if isinstance(out, RemotePath) and not is_folder:
            out.check_writable()
    if is_folder:
        raise ManifestError(f"{out} is a folder: choose another output with -o, like {out / 'scan.parquet'}")


def _no_photos_error(names: Sequence[str | Path], listed: ListingStats) -> ScanError:
    """The error of a listing without photos, which says what was skipped."""
    named = ", ".join("standard input" if name == "-" else str(name) for name in names)
    skipped = sum(listed.excluded.values())
    but = f" (but {pluralize(skipped, 'name')} to skip)" if skipped else ""
    if listed.tables_without_images:
        but = f" (but {pluralize(listed.tables_without_images, 'Parquet or Arrow file')} without images)"
    return ScanError(f"no photos in {named}{but}: give a folder or a list that contains photos")


def preview_scan(paths: Sequence[str | Path], out: Location, options: ScanOptions) -> ListingStats:
    """Count the files that a scan would find and those that it would measure, without writing or reading a photo.

    Photos that an interrupted scan measured count as not measured. The arguments and errors are those of `scan_photos`.
    """
    sources = options.sources(paths)
    sources.check()
    with TemporaryDirectory() as scratch:
        return _write_listing(WorkDir(Path(scratch)), out, sources, options)[0]


def measure_chunk(work: WorkDir, options: ScanOptions, chunk: Chunk) -> None:
    """In a worker: measure a chunk and write its part file.

    If decoding a photo takes too long, the process ends and nothing is written; see `with_watchdog`.

    Raises:
        ScanError: the source of a photo can't be reached any more.
        ManifestError: the part file can't be written.
    """
    if chunk.photos[0].is_stream:
        measure_stream(work, _stream_options(options), chunk)
        return
    records = score_photos(with_watchdog(chunk.photos, options.timeout_s), options.score)
    _write_part(work, chunk, [_check_source(record) for record in records])


def _measure_isolated(work: WorkDir, options: ScanOptions, chunk: Chunk) -> None:
    """Measure a chunk again whose worker died, each photo in a task of its own."""
    if chunk.photos[0].is_stream:
        measure_isolated_stream(work, _stream_options(options), chunk)
        return
    function = partial(_score_reachable_photo, options=options.score)
    results = run_isolated(function, chunk.photos, workers=options.workers, timeout_s=options.timeout_s)
    records = [
        Record(photo, error=str(result)) if isinstance(result, PhotoError) else result
        for photo, result in zip(chunk.photos, results, strict=True)
    ]
    _write_part(work, chunk, records)


def _stream_options(options: ScanOptions) -> StreamOptions:
    return StreamOptions(options.score, options.exclude, options.timeout_s, options.workers)


def _score_reachable_photo(photo: ListedPhoto, options: ScoreOptions) -> Record | None:
    return _check_source(score_photo(photo, options))


def _check_source(record: Record | None) -> Record | None:
    """Return the record; raise a ScanError if it failed because its source can't be reached any more.

    Otherwise a disk that is lost during a scan would turn all remaining photos into errors.
    """
    if record and record.photo.error is None and record.error:
        kind, source = record.error.partition(":")[0], record.photo.source
        if kind in ("Vanished", "ReadFailed", "NoPermission") and is_source_missing(source):
            raise ScanError(
                f"{source} can't be reached any more (is a disk or a network connection lost?): make it available and "
                "run the same command again; finished work is kept"
            )
    return record


def _write_part(work: WorkDir, chunk: Chunk, records: Sequence[Record | None]) -> None:
    kept = [(record.to_row(), position) for record, position in zip(records, chunk.positions, strict=True) if record]
    work.write_part(chunk.index, [row for row, _ in kept], [position for _, position in kept])


def _work_folder(out: Location) -> Path:
    if isinstance(out, Path):
        return out.absolute().with_name(f".{out.name}.scan")
    return cache_folder() / "scans" / f"{hashlib.sha256(out.url.encode()).hexdigest()[:16]}-{out.name}"[:100]


def _remote_version(out: Location) -> str | None:
    """Text that changes when another run writes the same URL; None for a path, and for a URL without a file."""
    with write_errors(out, ManifestError, "-o", resumable=True):
        info = out.info() if isinstance(out, RemotePath) else None
    return info.version if info else None


@contextmanager
def _lock(work: WorkDir, out: Location) -> Iterator[None]:
    """Lock the work folder for this scan; the system releases the lock of a scan that was killed."""
    from filelock import FileLock, Timeout  # here, because workers import this module and don't need it

    try:
        work.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work.folder / "lock")
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise ScanError(f"another scan is writing {out}: wait for it, or choose another output with -o") from exc
    except (OSError, NotImplementedError) as exc:  # NotImplementedError: the file system has no locks
        advice = f"{advice}, or " if (advice := advise(exc)) else ""
        if isinstance(out, RemotePath):
            raise ScanError(
                f"the work folder {work.folder} can't be written: {describe_error(exc)}: {advice}set XDG_CACHE_HOME to "
                "a folder for it"
            ) from exc
        raise ScanError(
            f"{out} can't be written: {describe_error(exc)}: {advice}choose another output with -o"
        ) from exc
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # if the disk is lost, another error is being reported
            if not any(path.match("part-*") or path.match("known-*") for path in work.folder.iterdir()):
                shutil.rmtree(work.folder, ignore_errors=True)


def _clear(work: WorkDir) -> None:
    for path in work.folder.iterdir():
        if path.name != "lock":
            path.unlink()


@dataclass(frozen=True, slots=True)
class _KnownFiles:
    """Files of known rows, by their index in the listing."""

    files: Sequence[Path]
    outdated: Path | None = None
    """The manifest among them, if another scorer or other options made it."""


def _write_listing(
    work: WorkDir, out: Location, sources: Sources, options: ScanOptions
) -> tuple[ListingStats, _KnownFiles]:
    """Write the listing; return its counts and the files of known rows that it refers to."""
    forget, made_by = tuple(Sources(options.forget).roots()), _made_by(options.score)
    lineage = None if options.overwrite else check_output(out, sources, forget)
    same_exclude = work.recover_interrupted(made_by, options.exclude)
    recovered = work.recovered_paths()
    earlier = sort_file_by_location(local_copy(out), work.folder) if lineage else None
    is_current = lineage is None or lineage.options.get("made_by") == made_by
    list_left_out = lineage is not None and set(lineage.options.get("lists", ())) - set(sources.list_names())
    missing = MissingRowPolicy(
        now_us=time.time_ns() // 1000,
        prune=options.prune,
        forget=forget,
        keep_below=tuple(sources.roots()) if list_left_out else None,
        excludes=sources.excludes,
    )
    earlier_exclude = lineage.options.get("exclude", ()) if lineage else ()
    matcher = KnownRowMatcher(
        recovered,
        earlier,
        earlier_is_current=is_current,
        missing=missing,
        retry_errors=options.retry_errors,
        same_exclude=(same_exclude, tuple(earlier_exclude) == options.exclude),
    )
    photos = sources.photos(exclude=[work.folder, _work_folder(out)])
    listed = replace(
        work.write_listing(matcher.match(photos)),
        dropped=matcher.dropped,
        excluded=dict(sources.exclusion.counts),
        excluded_rows=matcher.excluded,
        tables_without_images=sources.choice.tables_without_images,
        tables_passed_over=tuple(sources.choice.examples),
        unknown_paths=find_unknown_paths(forget, earlier, lineage),
    )
    return listed, _KnownFiles([*recovered, *([earlier] if earlier else [])], None if is_current else earlier)


def _made_by(options: ScoreOptions) -> str:
    """Versions and options that decide the measures, as text; rows of another text are measured again."""
    return f"schema {manifest.SCHEMA_VERSION} scorer {manifest.SCORER_VERSION} {sorted(asdict(options).items())}"


def _make_lineage(sources: Sources, options: ScanOptions, command: str) -> Lineage:
    lineage_options = asdict(options.score) | {
        "made_by": _made_by(options.score),
        "paths": sources.roots(),
        "lists": sources.list_names(),
    }
    if sources.exclusion.patterns:
        lineage_options["exclude"] = list(sources.exclusion.patterns)
    if options.image_columns:
        lineage_options["image_columns"] = list(options.image_columns)
    if sources.shard != ALL_SHARDS:
        lineage_options["shard"] = str(sources.shard)
    return Lineage("scan", command, lineage_options, metric=options.score.metric)


def _write_draft(work: WorkDir, known: _KnownFiles, listed: ListingStats, lineage: Lineage) -> tuple[Path, ScanSummary]:
    """Merge known and measured rows into the draft of the manifest, and count them."""
    summary, streams = ScanSummary(), StreamCounts()
    draft = work.folder / "manifest.parquet"
    with manifest.open_writer(draft, SCAN_SCHEMA) as file:
        for table in work.merge_rows(known.files, known.outdated, streams):
            if table.num_rows:
                file.write_table(table)
            summary.add_rows(table)
        if not (summary.photos or summary.missing) and "shard" not in lineage.options:
            raise ScanError("none of the files is a photo, by name or content: give a folder that contains photos")
        files = listed.files - listed.streams + streams.photos + streams.skipped
        summary.skipped = files - summary.photos
        summary.measured_now = listed.to_measure - listed.streams + streams.photos + streams.skipped - summary.skipped
        summary.excluded = streams.excluded
        summary.excluded.update(listed.excluded)
        summary.excluded_rows = listed.excluded_rows
        summary.dropped, summary.unknown_paths = listed.dropped, listed.unknown_paths
        summary.tables_without_images = listed.tables_without_images
        summary.tables_passed_over = listed.tables_passed_over
        counted = replace(lineage, rows=summary.photos + summary.missing, counts={"files_listed": files})
        file.add_key_value_metadata(counted.to_metadata())
    return draft, summary
