"""Write WebDataset tars: each photo, what belongs to it, and its row as JSON."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator

from curate.exporting.folder import ExportFolder
from curate.exporting.items import ExportItem, ExportPlan, ExportSummary
from curate.exporting.json_values import to_json
from curate.exporting.names import Kind
from curate.locations import RemotePath
from curate.sources.sidecars import ROW_SUFFIX

TAR_PHOTOS = 1000
"""Photos per tar."""
COLUMNS_SUFFIX = ".metadata.json"
"""End of the member with what metadata files and other columns of the source say about a photo."""


def write_tars(plan: ExportPlan, out: ExportFolder, _kind: Kind, summary: ExportSummary) -> Iterator[int]:
    """Write one tar after another; yield the number of finished photos after each."""
    done = 0
    for split in dict.fromkeys(photo.name.partition("/")[0] for photo in plan.photos):
        members = [photo for photo in plan.photos if photo.name.startswith(f"{split}/")]
        for first in range(0, len(members), TAR_PHOTOS):
            chosen = members[first : first + TAR_PHOTOS]
            _write_tar(out, f"{split}-{first // TAR_PHOTOS:06d}.tar", chosen, summary)
            done += len(chosen)
            yield done


def _write_tar(out: ExportFolder, name: str, photos: list[ExportItem], summary: ExportSummary) -> None:
    if out.size(name) is not None and _is_complete(out, name, photos):
        summary.photos += len(photos)
        return
    failed = len(summary.failed), len(summary.failed_sidecars)
    with out.draft(name) as draft:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            for photo in photos:
                if (data := photo.read(summary)) is not None:
                    _add_sample(tar, photo, data, summary)
        if (len(summary.failed), len(summary.failed_sidecars)) > failed:
            out.record_failed([*summary.failed, *summary.failed_sidecars])


def _add_sample(tar: tarfile.TarFile, photo: ExportItem, data: bytes, summary: ExportSummary) -> None:
    """Add the members of one photo, which WebDataset reads together because they are adjacent and share their stem."""
    member = _member_name(photo.name)
    stem = os.path.splitext(member)[0]
    _add_member(tar, member, data)
    for name, sidecar in photo.sidecars:
        if (content := photo.read_sidecar(sidecar, summary)) is not None:
            _add_member(tar, _member_name(name), content)
    if photo.columns:
        _add_member(tar, stem + COLUMNS_SUFFIX, to_json(photo.columns).encode())
    _add_member(tar, stem + ROW_SUFFIX, to_json(photo.row).encode())


def _member_name(name: str) -> str:
    """A path in the export without the split."""
    return name.partition("/")[2]


def _is_complete(out: ExportFolder, name: str, photos: list[ExportItem]) -> bool:
    """Whether a tar that exists has everything; one at a URL is not read, because it was written whole."""
    if isinstance(out.out, RemotePath):
        paths = {path for photo in photos for path in (photo.row["path"], *(file.path for _, file in photo.sidecars))}
        return paths.isdisjoint(out.failed_before)
    wanted = {_member_name(name) for photo in photos for name in (photo.name, *(name for name, _ in photo.sidecars))}
    try:
        with tarfile.open(out.out / name, "r:") as tar:
            return wanted <= set(tar.getnames())
    except tarfile.TarError:
        return False


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
