"""Measure every photo once: listing, shards, part files, manifest. Kill it anywhere, run it again, and it finishes."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, PhotoError, ScanError
from curate.executors.engines import ENGINES, EngineName
from curate.executors.retry import Progress, run_groups, run_isolated, with_watchdog
from curate.files import fsync_dir, write_errors
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.scanning.merge import sort_file_by_location
from curate.scanning.resume import KnownRowMatcher, ListingStats, MissingRows, check_output
from curate.scanning.scorer import Record, ScoreOptions, score, score_all
from curate.scanning.work_dir import Chunk, WorkDir
from curate.sources import ALL_SHARDS, ListedPhoto, ShardSpec, Sources, is_source_missing
from curate.text import describe_error


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan; none of it changes a score, except what `score` holds."""

    workers: int | None = None
    """Processes that decode; None is one a core, of the whole cluster where the engine has one."""
    score: ScoreOptions = field(default_factory=ScoreOptions)
    timeout_s: float = 60.0
    """A photo whose decoding takes longer is given up."""
    retry_errors: bool = False
    """Measure unchanged files again that failed before."""
    overwrite: bool = False
    """Forget what the output and an interrupted scan know."""
    from_files: tuple[str, ...] = ()
    """Lists of further paths; see `Sources.lists`."""
    null: bool = False
    """See `Sources.null`."""
    engine: EngineName = "processes"
    """What maps the shards."""
    share: ShardSpec = ALL_SHARDS
    """The part of everything that this scan measures."""
    forget: tuple[str, ...] = ()
    """Paths or URLs below which rows leave the manifest unless this scan finds their photos."""
    prune: bool = False
    """Rows whose photos this scan doesn't find leave the manifest."""

    def sources(self, paths: Sequence[str | Path]) -> Sources:
        """What to scan, of these paths."""
        return Sources(tuple(paths), self.from_files, self.null, self.share)


@dataclass(slots=True)
class ScanSummary:
    """What a finished manifest holds."""

    photos: int = 0
    scored: int = 0
    measured_now: int = 0
    passed_over: int = 0
    """Files whose name and content are no photo's."""
    missing: int = 0
    """Rows of photos that this scan didn't find; `photos` and the other counts don't contain them."""
    dropped: int = 0
    """Rows of such photos that left the manifest, pruned or forgotten."""
    errors: Counter[str] = field(default_factory=Counter)
    tones: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)


def scan_photos(
    paths: Sequence[str | Path], out: Path, options: ScanOptions, *, command: str = "", progress: Progress | None = None
) -> ScanSummary:
    """Score every photo below `paths` into the manifest `out`.

    Photos that `out` knows unchanged are not read again; what an interrupted scan finished is kept.

    Args:
        paths: folders or photos.
        out: the manifest to write or bring up to date.
        options: see `ScanOptions`.
        command: kept in the manifest's lineage.
        progress: told now and then how far it is.

    Raises:
        SourceError: a path can't be listed.
        ScanError: no photos, another scan holds the output, a source was lost on the way.
        ManifestError: the output is something else, or can't be written.
    """
    sources = options.sources(paths)
    sources.check()
    if out.is_dir():
        raise ManifestError(f"{out} is a folder: choose another output with -o, like {out / 'scan.parquet'}")
    work = WorkDir(_work_folder(out))
    with _locked(work, out):
        if options.overwrite:
            _forget(work)
        listed, known = _list(work, out, sources, options)
        if not (listed.files or listed.missing) and options.share == ALL_SHARDS:
            named = ", ".join("standard input" if name == "-" else str(name) for name in (*paths, *options.from_files))
            raise ScanError(f"no photos in {named}: name a folder or a list that holds some")
        _measure(work, options, listed.to_do, progress)
        try:
            lineage = _lineage(sources, options, command, listed.files)
            summary = _finish(work, known, out, lineage)
        except ScanError:
            _forget(work)
            raise
        summary.measured_now = listed.to_do - summary.passed_over
        summary.dropped = listed.dropped
        _forget(work)
    return summary


def _work_folder(out: Path) -> Path:
    return out.absolute().with_name(f".{out.name}.scan")


@dataclass(frozen=True, slots=True)
class _Known:
    """Files of known rows, by their index in the listing."""

    files: Sequence[Path]
    stale: Path | None = None
    """The manifest among them, if another scorer or other options made it."""


def _list(work: WorkDir, out: Path, sources: Sources, options: ScanOptions) -> tuple[ListingStats, _Known]:
    """Write the listing; what was found, and the known rows that it refers to."""
    forget, made_by = tuple(Sources(options.forget).roots()), _made_by(options.score)
    lineage = None if options.overwrite else check_output(out, sources, forget)
    work.salvage(made_by)
    salvaged = work.known_paths()
    earlier = sort_file_by_location(out, work.folder) if lineage else None
    holds = lineage is None or lineage.options.get("made_by") == made_by
    lists_left_out = lineage is not None and set(lineage.options.get("lists", ())) - set(sources.list_names())
    now_us = time.time_ns() // 1000
    missing = MissingRows(now_us, options.prune, forget, tuple(sources.roots()) if lists_left_out else None)
    matcher = KnownRowMatcher(
        salvaged, earlier, earlier_holds=holds, missing=missing, retry_errors=options.retry_errors
    )
    found = sources.photos(exclude=[work.folder, _work_folder(out)])
    listed = replace(work.write_listing(matcher.lines(found)), dropped=matcher.dropped)
    return listed, _Known([*salvaged, *([earlier] if earlier else [])], None if holds else earlier)


def count_to_do(paths: Sequence[str | Path], out: Path, options: ScanOptions) -> ListingStats:
    """What a scan would find, writing nothing that stays; what an interrupted one finished counts as not done.

    Raises:
        As `scan_photos`.
    """
    sources = options.sources(paths)
    sources.check()
    with TemporaryDirectory() as scratch:
        return _list(WorkDir(Path(scratch)), out, sources, options)[0]


def _made_by(options: ScoreOptions) -> str:
    return f"schema {manifest.SCHEMA_VERSION} scorer {manifest.SCORER_VERSION} {sorted(asdict(options).items())}"


@contextmanager
def _locked(work: WorkDir, out: Path) -> Iterator[None]:
    """Hold the work folder; a scan that died let go of it with its process."""
    from filelock import FileLock, Timeout  # here, as workers don't need it

    try:
        work.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work.folder / "lock")
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise ScanError(f"another scan is writing {out}: wait for it, or choose another output with -o") from exc
    except (OSError, NotImplementedError) as exc:
        raise ScanError(f"{out} can't be written: {describe_error(exc)}: choose another output with -o") from exc
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # the disk is gone, perhaps, which is being said already
            if not any(path.match("part-*") or path.match("known-*") for path in work.folder.iterdir()):
                shutil.rmtree(work.folder, ignore_errors=True)


def _forget(work: WorkDir) -> None:
    for path in work.folder.iterdir():
        if path.name != "lock":
            path.unlink()


def _measure(work: WorkDir, options: ScanOptions, total: int, progress: Progress | None) -> None:
    """Measure all shards."""
    run_groups(
        ENGINES[options.engine],
        partial(measure_shard, work, options),
        work.shards(),
        retry_group=partial(_measure_apart, work, options),
        workers=options.workers,
        total=total,
        progress=progress,
    )


def measure_shard(work: WorkDir, options: ScanOptions, shard: Chunk) -> None:
    """In a worker: measure a shard and write its part. A decoder that hangs takes the process with it."""
    records = score_all(with_watchdog(shard.photos, options.timeout_s), options.score)
    _write_part(work, shard, [_unless_source_gone(record) for record in records])


def _measure_apart(work: WorkDir, options: ScanOptions, shard: Chunk) -> None:
    function = partial(_score, options=options.score)
    found = run_isolated(function, shard.photos, workers=options.workers, timeout_s=options.timeout_s)
    records = [
        Record(photo, error=str(each)) if isinstance(each, PhotoError) else each
        for photo, each in zip(shard.photos, found, strict=True)
    ]
    _write_part(work, shard, records)


def _score(photo: ListedPhoto, options: ScoreOptions) -> Record | None:
    return _unless_source_gone(score(photo, options))


def _unless_source_gone(record: Record | None) -> Record | None:
    """The record, unless it failed because nothing of its source can be reached any more."""
    if record and record.photo.error is None and record.error:
        kind, source = record.error.partition(":")[0], record.photo.source
        if kind in ("Vanished", "ReadFailed", "NoPermission") and is_source_missing(source):
            raise ScanError(
                f"{source} is gone (a lost mount or connection?): bring it back and run the same command; "
                "what is done is kept"
            )
    return record


def _write_part(work: WorkDir, shard: Chunk, records: Sequence[Record | None]) -> None:
    kept = [(record.row(), position) for record, position in zip(records, shard.positions, strict=True) if record]
    work.write_part(shard.index, [row for row, _ in kept], [position for _, position in kept])


def _lineage(sources: Sources, options: ScanOptions, command: str, files: int) -> Lineage:
    recorded = asdict(options.score) | {
        "made_by": _made_by(options.score),
        "paths": sources.roots(),
        "lists": sources.list_names(),
    }
    if sources.shard != ALL_SHARDS:
        recorded["shard"] = str(sources.shard)
    return Lineage("scan", command, recorded, metric=options.score.metric, counts={"files_listed": files})


def _finish(work: WorkDir, known: _Known, out: Path, lineage: Lineage) -> ScanSummary:
    """Merge into the manifest, counting on the way."""
    summary = ScanSummary()
    draft = work.folder / "manifest.parquet"
    with manifest.open_writer(draft, SCAN_SCHEMA) as file:
        for table in work.merged(known.files, known.stale):
            if table.num_rows:
                file.write_table(table)
            _count(table, summary)
        if not (summary.photos or summary.missing) and "shard" not in lineage.options:
            raise ScanError("none of the files is a photo, by name or by content: name a folder that holds some")
        summary.passed_over = lineage.counts["files_listed"] - summary.photos
        file.add_key_value_metadata(replace(lineage, rows=summary.photos + summary.missing).to_metadata())
    with write_errors(out, ManifestError, "-o"):
        os.replace(draft, out)
        fsync_dir(out.parent)
    return summary


def _count(table: Any, summary: ScanSummary) -> None:
    found = table.filter(pc.is_null(table["missing_since"]))
    summary.missing += table.num_rows - found.num_rows
    table = found
    errors = [text.partition(":")[0] for text in table["error"].drop_null().to_pylist()]
    summary.photos += table.num_rows
    summary.scored += table.num_rows - len(errors)
    summary.errors.update(errors)
    summary.tones.update(table["tone"].drop_null().to_pylist())
    summary.levels.update(table["colorfulness_level"].drop_null().to_pylist())
