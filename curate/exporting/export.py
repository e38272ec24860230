"""Export the photos of a manifest: WebDataset tars, Hugging Face imagefolder, copies or links."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, NotAFile, OutputError, PhotoError, UsageError, Vanished
from curate.executors.retry import Progress
from curate.exporting.folder import ExportFolder
from curate.files import locked_output_dir, write_atomic, write_failed_csv
from curate.locations import Location, RemotePath, is_url
from curate.manifest import unescape
from curate.sources import has_photo_name
from curate.sources.entry import modified_ns
from curate.sources.reader import PHOTO_REF_COLUMNS, PhotoRef
from curate.text import describe_error

TAR_PHOTOS = 1000
"""Photos per tar."""
MAX_NAME_BYTES = 160
"""Length of one part of an exported path: file systems allow 255, and suffixes are added to it."""
Kind = Literal["webdataset", "imagefolder", "copy", "links", "hardlinks"]
_NOT_ALLOWED = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(slots=True)
class ExportSummary:
    """Counts of an export."""

    photos: int = 0
    """Photos in the output folder."""
    exported_now: int = 0
    """Photos that this run wrote or linked; the others were there already."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each photo that could not be exported."""
    left_out: int = 0
    """Rows that are no files of their own, and so are not in a list of paths."""


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One photo and its name in the export."""

    row: dict[str, Any]
    """The manifest row, without null values."""
    name: str
    """Path below the output folder, with `/` as separator; its first part is the split, except in a tree."""

    @property
    def photo_ref(self) -> PhotoRef:
        """The original photo."""
        row = self.row
        return PhotoRef(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset"))


def export_photos(
    manifest_path: Location, out: Location, kind: Kind, *, progress: Progress | None = None
) -> ExportSummary:
    """Export the photos of a manifest into the folder `out`; each file is written completely or not at all.

    File names and folders are kept; characters that some file systems can't store are replaced, and names are made
    unique. An interrupted export continues. Photos that fail are listed in `failed.csv`.

    Args:
        manifest_path: any manifest; rows with an error are skipped.
        out: a new or empty folder, or one with this export or an unfinished part of it.
        kind: `webdataset`: tars with each photo and its row as JSON; `imagefolder`: one folder per split, with
            metadata.jsonl; `copy`, `links`, `hardlinks`: files in the same folders as the originals.
        progress: called with the number of finished photos and the total.

    Raises:
        ManifestError: the manifest can't be read, or has no photo.
        OutputError: `out` has other content, is locked or can't be written, or a source of photos is gone.
    """
    if isinstance(out, RemotePath) and kind in ("links", "hardlinks"):
        raise UsageError(
            f"{out} is a URL, where nothing can be linked: use --to copy, or choose a local folder with -o"
        )
    photos, sha256 = _list_photos(manifest_path, kind)
    write = {"webdataset": _write_tars, "imagefolder": _write_imagefolder}.get(kind, _write_tree)
    summary = ExportSummary()
    report = progress or (lambda done, total: None)
    with locked_output_dir(out, {"manifest": sha256, "to": kind}):
        for done in write(photos, ExportFolder(out), kind, summary):
            report(done, len(photos))
        write_failed_csv(out, summary.failed)
    return summary


def _list_photos(path: Location, kind: Kind) -> tuple[list[ExportItem], str]:
    """The photos of a manifest that can be exported, and the sha256 of the manifest."""
    read = manifest.read_manifest(path, required=PHOTO_REF_COLUMNS)
    table = read.table.filter(pc.is_valid(read.table["sha256"]))
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    if kind == "webdataset":  # tars are read sequentially, so each should be a random sample
        table = table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])
    rows = [{name: value for name, value in row.items() if value is not None} for row in _rows(table)]
    several = len(pc.unique(table["source"])) > 1
    return [
        ExportItem(row, name) for row, name in zip(rows, _unique_names(rows, kind, several=several), strict=True)
    ], read.sha256


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1024):
        yield from batch.to_pylist()


def _unique_names(rows: Sequence[dict[str, Any]], kind: Kind, *, several: bool) -> Iterator[str]:
    """A name for each photo, unique also on file systems that ignore case.

    In a tar, names are unique up to the first dot of the file name, because WebDataset groups members by that part.
    """
    taken: set[str] = set()
    for row in rows:
        name = clean_name(f"{PurePosixPath(row['source']).name}/{row['path']}" if several else row["path"])
        if not has_photo_name(name):
            name += "." + row.get("format", "jpg").lower()
        folder, stem, suffix = _split_name(name)
        if kind == "webdataset":
            stem, suffix = stem.replace(".", "_"), suffix.lower()
        if kind in ("webdataset", "imagefolder"):
            folder = f"{row.get('split', 'train')}/{folder}"
        unique = stem
        for length in (0, 8, 16, 64):
            unique = f"{stem}-{row['sha256'][:length]}" if length else stem
            if _collision_key(folder, unique, suffix, kind) not in taken:
                break
        else:
            unique = f"{stem}-{row['sha256']}-{len(taken)}"
        taken.add(_collision_key(folder, unique, suffix, kind))
        yield folder + unique + suffix


def _split_name(name: str) -> tuple[str, str, str]:
    path = PurePosixPath(name)
    folder = "" if path.parent == PurePosixPath() else f"{path.parent}/"
    return folder, path.stem, path.suffix


def _collision_key(folder: str, stem: str, suffix: str, kind: Kind) -> str:
    return (folder + stem + ("" if kind == "webdataset" else suffix)).casefold()


def clean_name(path: str) -> str:
    r"""A path of a manifest as a relative path that every file system can store.

    >>> clean_name("a/caf\\xe9: <b>/con.jpg")
    'a/caf_xe9_ _b_/_con.jpg'
    """
    parts = (_NOT_ALLOWED.sub("_", _shorten(part)).strip(" ").rstrip(".") for part in path.split("/"))
    return (
        "/".join(
            _WINDOWS_DEVICE.sub(r"_\g<0>", part) if _WINDOWS_DEVICE.match(part) else part for part in parts if part
        )
        or "_"
    )


def _shorten(part: str) -> str:
    """One part of a path, cut so that a hash, a suffix and the name of a draft still fit; its suffix is kept."""
    if len(part.encode()) <= MAX_NAME_BYTES:
        return part
    stem, suffix = os.path.splitext(part)
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    return stem.encode()[: MAX_NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix


def _write_tars(photos: list[ExportItem], out: ExportFolder, _kind: Kind, summary: ExportSummary) -> Iterator[int]:
    done = 0
    for split in dict.fromkeys(photo.name.partition("/")[0] for photo in photos):
        members = [photo for photo in photos if photo.name.startswith(f"{split}/")]
        for first in range(0, len(members), TAR_PHOTOS):
            chosen = members[first : first + TAR_PHOTOS]
            _write_tar(out, f"{split}-{first // TAR_PHOTOS:06d}.tar", chosen, summary)
            done += len(chosen)
            yield done


def _write_tar(out: ExportFolder, name: str, photos: list[ExportItem], summary: ExportSummary) -> None:
    if out.size(name) is not None and _is_complete(out, name, photos):
        summary.photos += len(photos)
        return
    failed = len(summary.failed)
    with out.draft(name) as draft:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            for photo in photos:
                if (data := _read(photo, summary)) is not None:
                    member = _member_name(photo)
                    _add_member(tar, member, data)
                    _add_member(tar, os.path.splitext(member)[0] + ".json", json.dumps(photo.row).encode())
        if len(summary.failed) > failed:
            out.record_failed(summary.failed)


def _member_name(photo: ExportItem) -> str:
    return photo.name.partition("/")[2]


def _is_complete(out: ExportFolder, name: str, photos: list[ExportItem]) -> bool:
    """Whether a tar that exists has all photos; one at a URL is not read, because it was written whole."""
    if isinstance(out.out, RemotePath):
        return not any(photo.row["path"] in out.failed_before for photo in photos)
    try:
        with tarfile.open(out.out / name, "r:") as tar:
            return {_member_name(photo) for photo in photos} <= set(tar.getnames())
    except tarfile.TarError:
        return False


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _read(photo: ExportItem, summary: ExportSummary) -> bytes | None:
    """The bytes of a photo; None if it can't be read, with the reason in `summary`."""
    try:
        data = photo.photo_ref.read()
    except PhotoError as exc:
        summary.failed.append((photo.row["path"], str(exc)))
        return None
    summary.photos += 1
    summary.exported_now += 1
    return data


def _write_imagefolder(
    photos: list[ExportItem], out: ExportFolder, kind: Kind, summary: ExportSummary
) -> Iterator[int]:
    """One folder per split, each with a metadata.jsonl that lists its photos; it is written last."""
    yield from _write_tree(photos, out, kind, summary)
    # Every line gets all columns: `datasets` infers the types from the lines.
    columns = dict.fromkeys(name for photo in photos for name in photo.row)
    lines: dict[str, list[str]] = {}
    for photo in photos:
        if out.size(photo.name) is not None:
            split, _, name = photo.name.partition("/")
            row = {"file_name": name} | {column: photo.row.get(column) for column in columns}
            lines.setdefault(split, []).append(json.dumps(row) + "\n")
    for split, rows in lines.items():
        write_atomic("".join(rows).encode(), out.out / split / "metadata.jsonl")


def _write_tree(photos: list[ExportItem], out: ExportFolder, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    for done, photo in enumerate(photos, start=1):
        if isinstance(out.out, Path) and kind in ("links", "hardlinks"):
            _link(photo, out.out / photo.name, summary, hard=kind == "hardlinks")
        elif out.size(photo.name) == photo.row.get("bytes", -1):
            # A complete copy, judged by its size: reading all copies would take as long as copying.
            summary.photos += 1
        elif (data := _read(photo, summary)) is not None:
            out.write(photo.name, data)
        yield done
    out.flush()


def _link(photo: ExportItem, target: Path, summary: ExportSummary, *, hard: bool) -> None:
    source = os.path.join(unescape(photo.row["source"]), *unescape(photo.row["path"]).split("/"))
    is_member = "tar_offset" in photo.row
    if is_member or not os.path.isfile(source):
        remote = is_url(photo.row["source"])
        reason: PhotoError = Vanished("the photo no longer exists")
        if is_member or remote:
            place = "has a URL" if remote else "is in a tar or ZIP"
            reason = NotAFile(f"the photo {place} and can't be linked: use --to copy")
        summary.failed.append((photo.row["path"], str(reason)))
        return
    status = os.stat(source)
    if (status.st_size, modified_ns(status)) != (photo.row.get("bytes"), photo.row.get("modified_ns")):
        try:
            photo.photo_ref.read()  # which compares the sha256
        except PhotoError as exc:
            summary.failed.append((photo.row["path"], str(exc)))
            return
    summary.photos += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = target.is_symlink() and os.readlink(target) == source
    if os.path.samefile(source, target) if hard and target.exists() else linked:
        return
    target.unlink(missing_ok=True)
    if hard:
        _hard_link(source, target)
    else:
        target.symlink_to(source)
    summary.exported_now += 1


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
