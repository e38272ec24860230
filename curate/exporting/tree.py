"""Write photos as files: copies or links in the folders of the originals, or a Hugging Face imagefolder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from curate.errors import NotAFile, OutputError, PhotoError, Vanished
from curate.exporting.folder import ExportFolder
from curate.exporting.items import ExportItem, ExportPlan, ExportSummary
from curate.exporting.json_values import to_json
from curate.exporting.names import Kind
from curate.files import write_atomic
from curate.locations import is_url
from curate.manifest import unescape
from curate.sources.entry import Sidecar, modified_ns
from curate.text import describe_error

METADATA_NAME = "metadata.jsonl"


def write_imagefolder(plan: ExportPlan, out: ExportFolder, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    """One folder per split, each with a metadata.jsonl that lists its photos; it is written last."""
    yield from _write_files(plan, out, kind, summary)
    # Every line gets all columns: `datasets` infers the types from the lines.
    columns = dict.fromkeys([*plan.column_names, *(name for photo in plan.photos for name in plan.merge_row(photo))])
    lines: dict[str, list[str]] = {}
    for photo in plan.photos:
        if out.size(photo.name) is not None:
            split, _, name = photo.name.partition("/")
            row = plan.merge_row(photo)
            line = {"file_name": name} | {column: row.get(column) for column in columns}
            lines.setdefault(split, []).append(to_json(line) + "\n")
    for split, rows in lines.items():
        write_atomic("".join(rows).encode(), out.out / split / METADATA_NAME)


def write_tree(plan: ExportPlan, out: ExportFolder, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    """The photos in the folders of the originals; with a metadata.jsonl, if there is metadata of the photos."""
    yield from _write_files(plan, out, kind, summary)
    if plan.column_names:
        names = [photo for photo in plan.photos if photo.columns and out.size(photo.name) is not None]
        rows = [{name: photo.columns.get(name) for name in plan.column_names} for photo in names]
        lines = [to_json({"file_name": photo.name} | row) + "\n" for photo, row in zip(names, rows, strict=True)]
        write_atomic("".join(lines).encode(), out.out / METADATA_NAME)


def _write_files(plan: ExportPlan, out: ExportFolder, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    for done, photo in enumerate(plan.photos, start=1):
        if isinstance(out.out, Path) and kind in ("links", "hardlinks"):
            if _link(photo, out.out / photo.name, summary, hard=kind == "hardlinks"):
                _link_sidecars(photo, out.out, summary, hard=kind == "hardlinks")
        elif out.size(photo.name) == photo.row.get("bytes", -1):
            # A complete copy, judged by its size: reading all copies would take as long as copying.
            summary.photos += 1
            _copy_sidecars(photo, out, summary)
        elif (data := photo.read(summary)) is not None:
            out.write(photo.name, data)
            _copy_sidecars(photo, out, summary)
        yield done
    out.flush()


def _copy_sidecars(photo: ExportItem, out: ExportFolder, summary: ExportSummary) -> None:
    for name, sidecar in photo.sidecars:
        size = out.size(name)
        if (size is None or size != _size(photo, sidecar)) and (
            data := photo.read_sidecar(sidecar, summary)
        ) is not None:
            out.write(name, data)


def _size(photo: ExportItem, sidecar: Sidecar) -> int | None:
    """Size of a sidecar in bytes; None if it can't be known without reading it."""
    if sidecar.bytes is not None:
        return sidecar.bytes
    try:
        return os.path.getsize(_source_path(photo.row["source"], sidecar.path))
    except (OSError, ValueError):
        return None


def _source_path(source: str, path: str) -> str:
    return os.path.join(unescape(source), *unescape(path).split("/"))


def _link_sidecars(photo: ExportItem, out: Path, summary: ExportSummary, *, hard: bool) -> None:
    for name, sidecar in photo.sidecars:
        source = _source_path(photo.row["source"], sidecar.path)
        if os.path.isfile(source):
            _make_link(source, out / name, hard=hard)
        else:
            summary.failed_sidecars.append((sidecar.path, str(Vanished("the file no longer exists"))))


def _link(photo: ExportItem, target: Path, summary: ExportSummary, *, hard: bool) -> bool:
    """Link a photo; False if that is not possible, with the reason in `summary`."""
    source = _source_path(photo.row["source"], photo.row["path"])
    is_member = "tar_offset" in photo.row
    if is_member or not os.path.isfile(source):
        remote = is_url(photo.row["source"])
        reason: PhotoError = Vanished("the photo no longer exists")
        if is_member or remote:
            place = "has a URL" if remote else "is in a tar, a ZIP or a Parquet or Arrow file"
            reason = NotAFile(f"the photo {place} and can't be linked: use --to copy")
        summary.failed.append((photo.row["path"], str(reason)))
        return False
    status = os.stat(source)
    if (status.st_size, modified_ns(status)) != (photo.row.get("bytes"), photo.row.get("modified_ns")):
        try:
            photo.photo_ref.read()  # which compares the sha256
        except PhotoError as exc:
            summary.failed.append((photo.row["path"], str(exc)))
            return False
    summary.photos += 1
    summary.exported_now += _make_link(source, target, hard=hard)
    return True


def _make_link(source: str, target: Path, *, hard: bool) -> bool:
    """Make a link; False if it was there already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = target.is_symlink() and os.readlink(target) == source
    if os.path.samefile(source, target) if hard and target.exists() else linked:
        return False
    target.unlink(missing_ok=True)
    if hard:
        _hard_link(source, target)
    else:
        target.symlink_to(source)
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
