"""Measure every photo once: listing, shards, part files, manifest. Kill it anywhere, run it again, and it finishes."""

from __future__ import annotations

import faulthandler
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curate import manifest
from curate.engines import Done, Lost, processes
from curate.errors import ManifestError, PhotoError, ScanError, TimedOut, WorkerDied
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.score import Record, ScoreOptions, score, score_all
from curate.sources import Listed, check, listing
from curate.worklist import Shard, Worklist


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan; none of it changes a score, except what `score` holds."""

    workers: int = 1
    """Processes that decode."""
    score: ScoreOptions = field(default_factory=ScoreOptions)
    timeout_s: float = 60.0
    """A photo whose decoding takes longer is given up."""
    retry_errors: bool = False
    """Measure unchanged files again that failed before."""
    overwrite: bool = False
    """Forget what the output and an interrupted scan know."""


@dataclass(slots=True)
class Summary:
    """What a finished manifest holds."""

    photos: int = 0
    scored: int = 0
    measured_now: int = 0
    passed_over: int = 0
    """Files whose name and content are no photo's."""
    errors: Counter[str] = field(default_factory=Counter)
    tones: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)


Progress = Callable[[int, int], None]
"""Called with the number of photos measured and to be measured."""


def scan(
    paths: Sequence[Path], out: Path, options: ScanOptions, *, command: str = "", progress: Progress | None = None
) -> Summary:
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
    check(paths)
    work = Worklist(out.with_name(f".{out.name}.scan"))
    with _locked(work, out):
        if options.overwrite:
            _forget(work)
        made_by = _made_by(options.score)
        known = _known(out, paths, options, made_by)
        work.salvage(made_by)
        known = [*work.known_paths(), *known]
        found = listing(paths, leave_out=[work.folder])
        files, to_do = work.write_listing(found, known, retry_errors=options.retry_errors)
        if not files:
            raise ScanError(f"no photos below {', '.join(map(str, paths))}: name a folder that holds some")
        _measure(work, options, to_do, progress or (lambda done, total: None))
        try:
            lineage = _lineage(paths, options, command, files)
            summary = _finish(work, known, out, lineage)
        except ScanError:
            _forget(work)
            raise
        summary.measured_now = to_do - summary.passed_over
        _forget(work)
    return summary


def count_to_do(paths: Sequence[Path], out: Path) -> tuple[int, int]:
    """Files and bytes that a scan would look at, for a dry run."""
    files = total = 0
    for photo in listing(paths, leave_out=[out.with_name(f".{out.name}.scan")]):
        files += 1
        total += photo.bytes or 0
    return files, total


def _made_by(options: ScoreOptions) -> str:
    return f"scorer {manifest.SCORER_VERSION} {sorted(asdict(options).items())}"


@contextmanager
def _locked(work: Worklist, out: Path) -> Iterator[None]:
    """Hold the work folder; a scan that died let go of it with its process."""
    try:
        work.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work.folder / "lock")
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise ScanError(f"another scan is writing {out}: wait for it, or choose another output with -o") from exc
    except OSError as exc:
        raise ScanError(f"{out} can't be written: {exc.strerror}: choose another output with -o") from exc
    try:
        yield
    finally:
        lock.release()
        if not any(path.match("part-*") or path.match("known-*") for path in work.folder.iterdir()):
            shutil.rmtree(work.folder, ignore_errors=True)


def _forget(work: Worklist) -> None:
    for path in work.folder.iterdir():
        if path.name != "lock":
            path.unlink()


def _known(out: Path, paths: Sequence[Path], options: ScanOptions, made_by: str) -> list[Path]:
    """The existing manifest, if its rows still hold; refuses to replace one that is something else."""
    if options.overwrite or not out.exists():
        return []
    advice = "choose another output with -o, or replace it with --overwrite"
    try:
        _, lineage = manifest.inspect(out)
    except ManifestError as exc:
        raise ManifestError(f"{out} is in the way and is no manifest of ours: {advice}") from exc
    if lineage is None or lineage.kind != "scan":
        raise ManifestError(f"{out} is in the way and is no scan: {advice}")
    here = [os.path.abspath(path) for path in paths]
    left_out = [before for before in lineage.options["paths"] if not _covered(manifest.unescape(before), here)]
    if left_out:
        raise ManifestError(
            f"{out} holds the scan of {left_out[0]}, which this one leaves out: {advice}, or name it too"
        )
    return [out] if lineage.options.get("made_by") == made_by else []


def _covered(path: str, by: list[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in by)


def _measure(work: Worklist, options: ScanOptions, total: int, progress: Progress) -> None:
    """Measure all shards; those that take a process with them are gone through photo by photo."""
    done = 0
    suspects: list[Shard] = []
    progress(0, total)
    measure = partial(measure_shard, work, options)
    for outcome in processes(measure, work.shards(), workers=options.workers):
        if isinstance(outcome, Lost):
            suspects.append(outcome.item)
            continue
        done += len(outcome.item.photos)
        progress(done, total)
    for shard in suspects:
        records = _one_by_one(shard, options)
        _write_part(work, shard, records)
        done += len(shard.photos)
        progress(done, total)


def measure_shard(work: Worklist, options: ScanOptions, shard: Shard) -> None:
    """In a worker: measure a shard and write its part. A decoder that hangs takes the process with it."""
    records = score_all(_watched(shard.photos, options.timeout_s), options.score)
    _write_part(work, shard, [_unless_source_gone(record) for record in records])


def _watched(photos: Iterable[Listed], timeout_s: float) -> Iterator[Listed]:
    """The photos; if the next isn't asked for in time, the process ends."""
    armed_at = -math.inf
    for photo in photos:
        now = time.monotonic()
        if now - armed_at > timeout_s / 4:  # arming starts a thread, which costs as much as a small photo
            faulthandler.dump_traceback_later(1.25 * timeout_s, exit=True)
            armed_at = now
        yield photo
    faulthandler.cancel_dump_traceback_later()


def _one_by_one(shard: Shard, options: ScanOptions) -> list[Record | None]:
    """Measure each photo in a task of its own, so that the one that kills or hangs is named."""
    records: dict[Listed, Record | None] = {}
    function = partial(_score, options=options.score)
    for outcome in processes(function, shard.photos, workers=options.workers, timeout_s=options.timeout_s):
        match outcome:
            case Done(photo, record):
                records[photo] = record
            case Lost(photo, reason):
                error: PhotoError = WorkerDied("decoding it ended the process")
                if reason == "timed out":
                    error = TimedOut(f"decoding it took over {options.timeout_s:g} s (--timeout)")
                records[photo] = Record(photo, error=str(error))
    return [records[photo] for photo in shard.photos]


def _score(photo: Listed, options: ScoreOptions) -> Record | None:
    return _unless_source_gone(score(photo, options))


def _unless_source_gone(record: Record | None) -> Record | None:
    if record and record.error and record.error.startswith("Vanished"):
        _check_source(record.photo)
    return record


def _check_source(photo: Listed) -> None:
    root = manifest.unescape(photo.source)
    if not os.path.isdir(root):
        raise ScanError(
            f"{photo.source} is gone (a lost mount?): bring it back and run the same command; what is done is kept"
        )


def _write_part(work: Worklist, shard: Shard, records: Iterable[Record | None]) -> None:
    kept = [(record.row(), position) for record, position in zip(records, shard.positions, strict=True) if record]
    work.write_part(shard.index, [row for row, _ in kept], [position for _, position in kept])


def _lineage(paths: Sequence[Path], options: ScanOptions, command: str, files: int) -> Lineage:
    recorded = asdict(options.score) | {
        "made_by": _made_by(options.score),
        "paths": [manifest.escape(os.path.abspath(path)) for path in paths],
    }
    return Lineage("scan", command, recorded, metric=options.score.metric, counts={"files_listed": files})


def _finish(work: Worklist, known: list[Path], out: Path, lineage: Lineage) -> Summary:
    """Merge into the manifest, counting on the way."""
    summary = Summary()
    draft = work.folder / "manifest.parquet"
    with manifest.writer(draft, SCAN_SCHEMA) as file:
        for table in work.merged(known):
            if table.num_rows:
                file.write_table(table)
            _count(table, summary)
        if not summary.photos:
            raise ScanError("none of the files is a photo, by name or by content: name a folder that holds some")
        summary.passed_over = lineage.counts["files_listed"] - summary.photos
        file.add_key_value_metadata(replace(lineage, rows=summary.photos).encoded())
    _replace(draft, out)
    return summary


def _replace(draft: Path, out: Path) -> None:
    try:
        os.replace(draft, out)
        manifest.sync_folder(out.parent)
    except OSError as exc:
        raise ManifestError(f"{out} can't be written: {exc.strerror}: choose another output with -o") from exc


def _count(table: Any, summary: Summary) -> None:
    errors = [text.partition(":")[0] for text in table["error"].drop_null().to_pylist()]
    summary.photos += table.num_rows
    summary.scored += table.num_rows - len(errors)
    summary.errors.update(errors)
    summary.tones.update(table["tone"].drop_null().to_pylist())
    summary.levels.update(table["colorfulness_level"].drop_null().to_pylist())
