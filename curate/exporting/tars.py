"""Write WebDataset tars: each photo, what belongs to it, and its row as JSON."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from curate.exporting.folder import ExportFolder, open_draft
from curate.exporting.items import ExportItem, ExportJob, JobResult
from curate.exporting.json_values import to_json
from curate.files import write_atomic
from curate.locations import Location
from curate.sources.reader import read_in_row_order
from curate.sources.sidecars import ROW_SUFFIX

TAR_PHOTOS = 1000
"""Photos per tar."""
COLUMNS_SUFFIX = ".metadata.json"
"""End of the member with what metadata files and other columns of the source say about a photo."""
_OTHER_COLUMNS_SUFFIX = ".vividset-metadata.json"
"""The same for a photo that has a file of its own with the other end."""


def failed_marker(tar: str) -> str:
    """The name of the file that says what a tar lacks; it is there before the tar is."""
    return f".{tar}.failed"


def write_tar(out: Location, job: ExportJob) -> JobResult:
    """Write one tar, in a worker; it gets its name when it is whole.

    A tar that is there is kept, unless something in it failed.

    Raises:
        OSError: it can't be written.
        OutputError: a source of photos is gone.
    """
    folder = ExportFolder(out, job.known)
    marker = failed_marker(job.file)
    if folder.size(marker) is None and _is_tar(folder, job.file):
        return JobResult(photos=job.rows.num_rows)
    result = JobResult()
    with open_draft(out, job.file) as draft:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            items = list(job.items())
            for item, _ in zip(items, read_in_row_order(item.photo for item in items), strict=True):
                if (data := item.read(result, folder.drafts)) is not None:
                    _add_sample(tar, item, data, result, folder.drafts)
        if failed := [*result.failed, *result.failed_sidecars]:
            write_atomic(json.dumps(failed).encode(), out / marker)
    if not failed:
        folder.remove(marker)
    return result


def _is_tar(folder: ExportFolder, name: str) -> bool:
    """Whether a tar is there; one on this machine is opened."""
    if folder.size(name) is None:
        return False
    return not isinstance(folder.out, Path) or tarfile.is_tarfile(folder.out / name)


def _add_sample(tar: tarfile.TarFile, item: ExportItem, data: bytes, result: JobResult, copies: Path) -> None:
    """Add the members of one photo, which WebDataset reads together because they are adjacent and share their stem."""
    member = _member_name(item.name)
    stem = os.path.splitext(member)[0]
    _add_member(tar, member, data)
    names = {_member_name(name) for name, _ in item.sidecars}
    for name, sidecar in item.sidecars:
        if (content := item.read_sidecar(sidecar, result, copies)) is not None:
            _add_member(tar, _member_name(name), content)
    if item.columns:
        suffix = _OTHER_COLUMNS_SUFFIX if stem + COLUMNS_SUFFIX in names else COLUMNS_SUFFIX
        _add_member(tar, stem + suffix, to_json(item.columns).encode())
    _add_member(tar, stem + ROW_SUFFIX, to_json(item.row).encode())


def _member_name(name: str) -> str:
    """A path in the export without the split."""
    return name.partition("/")[2]


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
