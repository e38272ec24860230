"""Write photos as files: copies or links in the folders of the originals, or a Hugging Face imagefolder."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from curate.errors import NotAFile, OutputError, PhotoError, Vanished
from curate.exporting.folder import ExportFolder, draft_path, open_draft
from curate.exporting.items import PASSED, ExportItem, ExportJob, JobResult, own_name
from curate.exporting.json_values import to_json
from curate.exporting.names import METADATA_NAME
from curate.locations import Location, is_url
from curate.manifest import unescape
from curate.sources.entry import Sidecar, modified_ns
from curate.sources.reader import read_in_row_order
from curate.text import describe_error

PART_PHOTOS = 256
"""Photos that a worker exports at a time."""


def write_part(out: Location, job: ExportJob) -> JobResult:
    """Write or link some photos and what belongs to them, in a worker.

    Returns:
        Counts, and the lines for the metadata files: of an imagefolder one for each photo, of a tree one for each photo
        with metadata.

    Raises:
        OSError: a file can't be written.
        OutputError: a source of photos is gone.
    """
    items, result = list(job.items()), JobResult()
    if isinstance(out, Path) and job.kind in ("links", "hardlinks"):
        for item in items:
            if _link(item, out, result, hard=job.kind == "hardlinks"):
                _link_sidecars(item, out, result, hard=job.kind == "hardlinks")
    else:
        _copy(ExportFolder(out, job.known), items, result)
    if job.line_columns:
        _add_lines(job, items, result)
    return result


def _copy(folder: ExportFolder, items: Sequence[ExportItem], result: JobResult) -> None:
    # A complete copy is judged by its size: reading all copies would take as long as copying.
    there = {item.number for item in items if folder.size(item.name) == item.row.get("bytes", -1)}
    result.photos += len(there)
    missing = read_in_row_order(item.photo for item in items if item.number not in there)
    for item in items:
        if item.number not in there:
            next(missing)  # which reads ahead
            if (data := item.read(result, folder.drafts)) is None:
                continue
            folder.write(item.name, data)
        _copy_sidecars(item, folder, result)
    folder.flush()


def _add_lines(job: ExportJob, items: Sequence[ExportItem], result: JobResult) -> None:
    """The lines of photos that were exported; in an imagefolder all have the same columns, by which types are found."""
    failed = set(result.failed_rows)
    source_columns = [name[len(PASSED) :] for name in job.rows.column_names if name.startswith(PASSED)]
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for item in items:
        if item.number in failed:
            continue
        if job.kind == "imagefolder":
            split, _, name = item.name.partition("/")
            row = item.columns | {own_name(column, source_columns): value for column, value in item.row.items()}
            line = {"file_name": name} | {column: row.get(column) for column in job.line_columns}
            lines[f"{split}/{METADATA_NAME}"].append(to_json(line) + "\n")
        elif item.columns:
            line = {"file_name": item.name} | {column: item.columns.get(column) for column in job.line_columns}
            lines[METADATA_NAME].append(to_json(line) + "\n")
    result.lines = {file: "".join(texts).encode() for file, texts in lines.items()}


class MetadataFiles:
    """Collects the lines of metadata files on disk, as parts are finished in any order.

    Args:
        spool: a new file.
    """

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._places: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
        """Number of the job, start and size of its lines, by the path of the file."""

    def add(self, number: int, lines: Mapping[str, bytes]) -> None:
        """Add the lines of a job."""
        for file, text in lines.items():
            self._places[file].append((number, self._spool.tell(), len(text)))
            self._spool.write(text)

    def write(self, out: Location) -> None:
        """Write the files, with the lines in the order of the jobs."""
        for file, places in self._places.items():
            with open_draft(out, file) as draft, open(draft, "wb") as target:
                for _, start, size in sorted(places):
                    self._spool.seek(start)
                    target.write(self._spool.read(size))


def _copy_sidecars(item: ExportItem, folder: ExportFolder, result: JobResult) -> None:
    for name, sidecar in item.sidecars:
        size = folder.size(name)
        if (size is None or size != _size(item, sidecar)) and (
            data := item.read_sidecar(sidecar, result, folder.drafts)
        ) is not None:
            folder.write(name, data)


def _size(item: ExportItem, sidecar: Sidecar) -> int | None:
    """Size of a sidecar in bytes; None if it can't be known without reading it."""
    if sidecar.bytes is not None:
        return sidecar.bytes
    try:
        return os.path.getsize(_source_path(item.photo.source, sidecar.path))
    except (OSError, ValueError):
        return None


def _source_path(source: str, path: str) -> str:
    return os.path.join(unescape(source), *unescape(path).split("/"))


def _link_sidecars(item: ExportItem, out: Path, result: JobResult, *, hard: bool) -> None:
    for name, sidecar in item.sidecars:
        source = _source_path(item.photo.source, sidecar.path)
        if os.path.isfile(source):
            _make_link(source, out, name, hard=hard)
        else:
            result.failed_sidecars.append((sidecar.path, str(Vanished("the file no longer exists"))))


def _link(item: ExportItem, out: Path, result: JobResult, *, hard: bool) -> bool:
    """Link a photo; False if that is not possible, with the reason in `result`."""
    source = _source_path(item.photo.source, item.row["path"])
    is_member = "tar_offset" in item.row
    if is_member or not os.path.isfile(source):
        remote = is_url(item.row["source"])
        reason: PhotoError = Vanished("the photo no longer exists")
        if is_member or remote:
            place = "has a URL" if remote else "is in a tar, a ZIP or a Parquet or Arrow file"
            reason = NotAFile(f"the photo {place} and can't be linked: use --to copy")
        result.fail(item, reason)
        return False
    status = os.stat(source)
    if (status.st_size, modified_ns(status)) != (item.row.get("bytes"), item.row.get("modified_ns")):
        try:
            item.photo.read()  # which compares the sha256
        except PhotoError as exc:
            result.fail(item, exc)
            return False
    result.photos += 1
    result.exported_now += _make_link(source, out, item.name, hard=hard)
    return True


def _make_link(source: str, folder: Path, name: str, *, hard: bool) -> bool:
    """Make a link below the output folder; False if it was there already."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = target.is_symlink() and os.readlink(target) == source
    if os.path.samefile(source, target) if hard and target.exists() else linked:
        return False
    link = _hard_link if hard else os.symlink
    try:
        link(source, target)
    except FileExistsError:  # another process may do the same, for a file that belongs to several photos
        with draft_path(folder) as draft:
            link(source, draft)
            os.replace(draft, target)
    return True


def _hard_link(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as exc:
        # another file system, another owner, too many links
        if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        raise OutputError(
            f"can't make a hard link to {source} in {target.parent}: {describe_error(exc)}: use --to links or --to copy"
        ) from exc
