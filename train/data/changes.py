"""Finds photos that are missing, or have changed since the scan, before they are used.

Where size and time of the file are those of the manifest, the photo counts as unchanged; where only the time differs,
its bytes decide, so that touched and copied files are accepted. Photos at URLs are not looked up one by one. What this
leaves, bytes that changed without size and time, or later, is noticed when the photo is read: its hash is compared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate.errors import ManifestError, PhotoError, TimedOut
from curate.executors.watchdog import Watchdog
from curate.locations import Location
from curate.sources import has_table_name, has_zip_name, locate_photo, read_bytes
from curate.text import pluralize

CHUNK_PHOTOS = 256
"""Photos that are checked in one call of the watchdog."""
CHECK_TIMEOUT_S = 300.0
"""Checking a chunk may take this long."""
SAID_FROM_PHOTOS = 1_000
"""Reading more photos than this, only to compare them, is worth a line."""
Row = tuple[int, str, str, int | None, int | None, int | None, str | None]
"""Number, and the columns source, path, bytes, tar_offset, modified_ns and sha256 of a row."""


def ignore(_line: str) -> None:
    """Print nothing."""


def int_column(rows: pa.Table, name: str) -> pa.Array:
    """Return a column of integers, all null if the table lacks it."""
    if name not in rows.column_names:
        return pa.nulls(len(rows), pa.int64())
    return rows[name].cast(pa.int64()).combine_chunks()


def leave_out_changed(
    manifest_path: Location,
    rows: pa.Table,
    used: pa.Array,
    roots: Sequence[Path],
    *,
    skip_changed: bool,
    say: Callable[[str], None],
    advice: str = "run `curate scan` and `curate filter` again",
) -> pa.Table:
    """Check the photos of a manifest's rows.

    Args:
        manifest_path: the manifest, for messages.
        rows: with the columns source and path; bytes, tar_offset, modified_ns and sha256 are used if present.
        used: which rows to check.
        roots: folders to look in if the photos have moved.
        skip_changed: leave out photos that have changed, instead of refusing.
        say: prints a line for the user.
        advice: what to do about changed photos, besides leaving them out.

    Returns:
        The rows, without those of changed photos.

    Raises:
        ManifestError: photos are missing, or have changed, or their disk doesn't answer.
    """
    total = pluralize(sum(used.to_pylist()), "photo")
    watchdog = Watchdog(CHECK_TIMEOUT_S)
    try:
        missing, changed = _find_changed(watchdog, _chunks(rows, used), roots, say)
    except TimedOut as exc:
        raise ManifestError(f"the photos of {manifest_path} can't be looked up: their disk does not answer") from exc
    finally:
        watchdog.close()
    if missing:
        raise ManifestError(_describe_missing(missing, total, manifest_path, roots))
    if not changed:
        return rows
    verb = "has" if len(changed) == 1 else "have"
    name = rows["path"][changed[0]].as_py()
    what = f"{len(changed):,} of {total} of {manifest_path} {verb} changed since the scan, for example {name}"
    if not skip_changed:
        raise ManifestError(f"{what}: {advice}, or leave such photos out with --skip-changed")
    say(f"left out: {what}")
    kept = np.ones(rows.num_rows, bool)
    kept[changed] = False
    return rows.filter(pa.array(kept))


def _find_changed(
    watchdog: Watchdog, chunks: Iterator[list[Row]], roots: Sequence[Path], say: Callable[[str], None]
) -> tuple[list[str], list[int]]:
    """Return the places of missing photos; and if there are none, the numbers of rows whose photo has changed.

    Raises:
        TimedOut: a photo's disk doesn't answer.
    """
    changed: list[int] = []
    doubtful: list[Row] = []
    missing: list[str] = []
    for chunk in chunks:
        found = watchdog.call(_check_files, chunk, roots)
        missing += found[0]
        changed += found[1]
        doubtful += found[2]
    if missing:
        return missing, []
    if len(doubtful) > SAID_FROM_PHOTOS:
        say(f"comparing {pluralize(len(doubtful), 'photo')} whose time is not that of the scan")
    return [], sorted(changed + [row[0] for row in doubtful if watchdog.call(_has_changed, row, roots)])


def _chunks(rows: pa.Table, used: pa.Array) -> Iterator[list[Row]]:
    """Yield the used rows, some at a time."""
    names = [name for name in ("source", "path", "sha256") if name in rows.column_names]
    checked = rows.select(names).append_column("row", pa.array(np.arange(rows.num_rows)))
    for name in ("bytes", "tar_offset", "modified_ns"):
        checked = checked.append_column(name, int_column(rows, name))
    for batch in checked.filter(used).to_batches(CHUNK_PHOTOS):
        columns = {name: batch[name].to_pylist() for name in batch.schema.names}
        hashes = columns.get("sha256", [None] * batch.num_rows)
        order = ("row", "source", "path", "bytes", "tar_offset", "modified_ns")
        yield list(zip(*(columns[name] for name in order), hashes, strict=True))


def _check_files(chunk: list[Row], roots: Sequence[Path]) -> tuple[list[str], list[int], list[Row]]:
    """Return the paths of missing photos, the rows of changed ones, and those that only their bytes can decide."""
    missing: list[str] = []
    changed: list[int] = []
    doubtful: list[Row] = []
    for row in chunk:
        number, source, path, size, offset, modified_ns, sha256 = row
        location = locate_photo(source, path, roots, offset=offset)
        if location is None:
            missing.append(path)
        elif "://" not in location and size is not None:
            try:
                status = os.stat(location)
            except OSError:  # gone in this moment
                missing.append(path)
                continue
            if not _may_hold(location, status.st_size, offset, size):
                changed.append(number)
            elif sha256 is not None and modified_ns not in (None, status.st_mtime_ns):
                doubtful.append(row)
    return missing, changed, doubtful


def _may_hold(location: str, file_bytes: int, offset: int | None, size: int) -> bool:
    """Whether a file has the size of the photo, or a tar or ZIP is long enough for its member."""
    if offset is None:
        return file_bytes == size
    if has_table_name(location):
        return True  # the offset is the number of an image, not a position
    return file_bytes >= offset + (0 if has_zip_name(location) else size)  # members of ZIPs are compressed


def _has_changed(row: Row, roots: Sequence[Path]) -> bool:
    """Whether the bytes of a photo are not those of the scan; not if they can't be read, which training reports."""
    _, source, path, size, offset, _, sha256 = row
    try:
        data = read_bytes(locate_photo(source, path, roots, offset=offset) or "", offset=offset, size=size)
    except PhotoError:
        return False
    return hashlib.sha256(data).hexdigest() != sha256


def _describe_missing(missing: Sequence[str], total: str, manifest_path: Location, roots: Sequence[Path]) -> str:
    looked_in = f"in {', '.join(map(str, roots))}" if roots else "where they were scanned"
    return (
        f"{len(missing):,} of {total} of {manifest_path} {'was' if len(missing) == 1 else 'were'} not found "
        f"{looked_in}, for example {missing[0]}: name the folder that they moved to with --root, "
        "or run `curate scan` and `curate filter` again"
    )
