"""A manifest's photos as other tools want them: WebDataset tars, a Hugging Face imagefolder, plain copies or links."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, OutputError, PhotoError, Vanished
from curate.files import commit, locked_output_dir, write_atomic, write_failed_csv
from curate.manifest import unescape
from curate.sources import has_photo_name
from curate.sources.reader import KEY_COLUMNS, PhotoRef
from curate.text import describe_error

TAR_PHOTOS = 1000
LONGEST_BYTES = 160
"""Of a name: file systems take 255, of which some are for what is added to it."""
Kind = Literal["webdataset", "imagefolder", "copy", "links", "hardlinks"]
Progress = Callable[[int, int], None]
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


@dataclass(slots=True)
class ExportSummary:
    """What an export came to."""

    photos: int = 0
    exported_now: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One photo and the name that it gets."""

    row: dict[str, Any]
    """Its row of the manifest, without nulls."""
    name: str
    """Below the folder or in the tar, with `/` between parts."""

    @property
    def original(self) -> PhotoRef:
        """Where it comes from."""
        row = self.row
        return PhotoRef(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset"))


def export_photos(manifest_path: Path, out: Path, kind: Kind, *, progress: Progress | None = None) -> ExportSummary:
    """Bring the photos of a manifest into the folder `out`, each file whole or not at all.

    Names and folders are kept, without what other systems can't store, and made unique. Run again, it goes on where it
    was. Photos that fail are kept in `failed.csv`.

    Args:
        manifest_path: any manifest; rows with an error are left out.
        out: a new or empty folder, or one that holds this export or a part of it.
        kind: `webdataset`: tars with a photo and its row as JSON; `imagefolder`: a folder a split with metadata.jsonl;
            `copy`, `links`, `hardlinks`: the tree.
        progress: told how many photos are done, of how many.

    Raises:
        ManifestError: the manifest can't be read, or holds no photo.
        OutputError: `out` holds something else, is locked or can't be written, or a source is lost.
    """
    photos, sha256 = _to_export(manifest_path, kind)
    write = {"webdataset": _write_tars, "imagefolder": _write_imagefolder}.get(kind, _write_tree)
    summary = ExportSummary()
    told = progress or (lambda done, total: None)
    with locked_output_dir(out, {"manifest": sha256, "to": kind}):
        for done in write(photos, out, kind, summary):
            told(done, len(photos))
        write_failed_csv(out, summary.failed)
    return summary


def _to_export(path: Path, kind: Kind) -> tuple[list[Exported], str]:
    read = manifest.read_manifest(path, required=KEY_COLUMNS)
    table = read.table.filter(pc.is_valid(read.table["sha256"]))
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table["error"]))
    if not table.num_rows:
        raise ManifestError(manifest.no_photos_message(read))
    if kind == "webdataset":  # tars are read from front to back, so each should be a fair sample
        table = table.sort_by([("sha256", "ascending"), ("source", "ascending"), ("path", "ascending")])
    rows = [{name: value for name, value in row.items() if value is not None} for row in _rows(table)]
    several = len(pc.unique(table["source"])) > 1
    return [
        Exported(row, name) for row, name in zip(rows, _names(rows, kind, several=several), strict=True)
    ], read.sha256


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1024):
        yield from batch.to_pylist()


def _names(rows: Sequence[dict[str, Any]], kind: Kind, *, several: bool) -> Iterator[str]:
    """A name for each photo, unique where case doesn't count; in a tar up to the first dot of its last part."""
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
            if _key(folder, unique, suffix, kind) not in taken:
                break
        else:
            unique = f"{stem}-{row['sha256']}-{len(taken)}"
        taken.add(_key(folder, unique, suffix, kind))
        yield folder + unique + suffix


def _split_name(name: str) -> tuple[str, str, str]:
    path = PurePosixPath(name)
    folder = "" if path.parent == PurePosixPath() else f"{path.parent}/"
    return folder, path.stem, path.suffix


def _key(folder: str, stem: str, suffix: str, kind: Kind) -> str:
    return (folder + stem + ("" if kind == "webdataset" else suffix)).casefold()


def clean_name(path: str) -> str:
    r"""A manifest's path as a name that every file system takes; parts stay parts.

    >>> clean_name("a/caf\\xe9: <b>/con.jpg")
    'a/caf_xe9_ _b_/_con.jpg'
    """
    parts = (_UNSAFE.sub("_", _short(part)).strip(" ").rstrip(".") for part in path.split("/"))
    return "/".join(_RESERVED.sub(r"_\g<0>", part) if _RESERVED.match(part) else part for part in parts if part) or "_"


def _short(part: str) -> str:
    """One part of a path, with room for what makes it unique, a draft's name and a row's suffix."""
    if len(part.encode()) <= LONGEST_BYTES:
        return part
    stem, suffix = os.path.splitext(part)
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    return stem.encode()[: LONGEST_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix


def _write_tars(photos: list[Exported], out: Path, _kind: Kind, summary: ExportSummary) -> Iterator[int]:
    done = 0
    for split in dict.fromkeys(photo.name.partition("/")[0] for photo in photos):
        members = [photo for photo in photos if photo.name.startswith(f"{split}/")]
        for first in range(0, len(members), TAR_PHOTOS):
            chosen = members[first : first + TAR_PHOTOS]
            _write_tar(out / f"{split}-{first // TAR_PHOTOS:06d}.tar", chosen, summary)
            done += len(chosen)
            yield done


def _write_tar(path: Path, photos: list[Exported], summary: ExportSummary) -> None:
    if path.exists() and _is_whole(path, photos):
        summary.photos += len(photos)
        return
    draft = path.with_name(f".{path.name}.draft")
    with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
        for photo in photos:
            if (data := _read(photo, summary)) is not None:
                name = _in_tar(photo)
                _add(tar, name, data)
                _add(tar, os.path.splitext(name)[0] + ".json", json.dumps(photo.row).encode())
    commit(draft, path)


def _in_tar(photo: Exported) -> str:
    return photo.name.partition("/")[2]


def _is_whole(path: Path, photos: list[Exported]) -> bool:
    try:
        with tarfile.open(path, "r:") as tar:
            return {_in_tar(photo) for photo in photos} <= set(tar.getnames())
    except tarfile.TarError:
        return False


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _read(photo: Exported, summary: ExportSummary) -> bytes | None:
    try:
        data = photo.original.read()
    except PhotoError as exc:
        summary.failed.append((photo.row["path"], str(exc)))
        return None
    summary.photos += 1
    summary.exported_now += 1
    return data


def _write_imagefolder(photos: list[Exported], out: Path, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    """The tree below a folder a split, and a metadata.jsonl in each that names what is there."""
    yield from _write_tree(photos, out, kind, summary)
    columns = dict.fromkeys(name for photo in photos for name in photo.row)  # every line has all, or types would differ
    lines: dict[str, list[str]] = {}
    for photo in photos:
        if (out / photo.name).exists():
            split, _, name = photo.name.partition("/")
            row = {"file_name": name} | {column: photo.row.get(column) for column in columns}
            lines.setdefault(split, []).append(json.dumps(row) + "\n")
    for split, rows in lines.items():
        write_atomic("".join(rows).encode(), out / split / "metadata.jsonl")


def _write_tree(photos: list[Exported], out: Path, kind: Kind, summary: ExportSummary) -> Iterator[int]:
    for done, photo in enumerate(photos, start=1):
        target = out / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind in ("links", "hardlinks"):
            _link(photo, target, summary, hard=kind == "hardlinks")
        elif _is_there(photo, target):
            summary.photos += 1
        elif (data := _read(photo, summary)) is not None:
            _write(target, data)
        yield done


def _is_there(photo: Exported, target: Path) -> bool:
    return target.is_file() and target.stat().st_size == photo.row.get("bytes", -1)


def _write(target: Path, data: bytes) -> None:
    """Whole, but not fsynced: for small files that costs more than all else, and a size tells what a power cut left."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        draft.write_bytes(data)
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _link(photo: Exported, target: Path, summary: ExportSummary, *, hard: bool) -> None:
    source = os.path.join(unescape(photo.row["source"]), *unescape(photo.row["path"]).split("/"))
    if not os.path.isfile(source):
        reason = Vanished("it is gone, or no file of its own (in a tar, or remote: use --to copy)")
        summary.failed.append((photo.row["path"], str(reason)))
        return
    summary.photos += 1
    if os.path.samefile(source, target) if hard and target.exists() else _leads_to(target, source):
        return
    target.unlink(missing_ok=True)
    if hard:
        _hard_link(source, target)
    else:
        target.symlink_to(source)
    summary.exported_now += 1


def _leads_to(link: Path, place: str) -> bool:
    return link.is_symlink() and os.readlink(link) == place


def _hard_link(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):  # another disk, another owner, too many links
            raise
        raise OutputError(
            f"{source} can't be linked from {target.parent}: {describe_error(exc)}: use --to links or copy"
        ) from exc
