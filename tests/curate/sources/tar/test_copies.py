"""Copies of the photos of compressed tars: one pass through each tar, and positions that follow from the sizes."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from curate.errors import ChangedWhileRead
from curate.files import make_drafts_folder
from curate.locations import Location, parse_location
from curate.manifest import SCAN_SCHEMA
from curate.sources import read_photo
from curate.sources.entry import Sidecar
from curate.sources.sidecars import read_sidecar
from curate.sources.tar.copies import TarCopies, copy_tar, find_compressed_tar

MANIFEST = pa.schema([SCAN_SCHEMA.field(name) for name in ("source", "path", "tar_offset", "bytes", "sidecars")])
PHOTOS = {"a.jpg": b"first", "b.jpg": b"", "c.jpg": b"third" * 1000}


def write_tar(path: Path, *, compress: bool) -> list[dict[str, object]]:
    """Write a tar of PHOTOS; return its rows in another order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in PHOTOS.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    path.write_bytes(gzip.compress(file.getvalue()) if compress else file.getvalue())
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        return [
            {
                "source": str(path.parent),
                "path": f"{path.name}/{member.name}",
                "tar_offset": member.offset_data,
                "bytes": member.size,
            }
            for member in reversed(tar.getmembers())
        ]


@pytest.mark.parametrize("where", ["disk", "URL"])
def test_photos_are_read_from_the_copies(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [*write_tar(tmp_path / "0.tar.gz", compress=True), *write_tar(tmp_path / "1.tar", compress=False)]
    rows += [{"source": str(tmp_path), "path": "x.jpg", "tar_offset": None, "bytes": 3}]
    out: Location = tmp_path if where == "disk" else parse_location(f"memory://{tmp_path.name}")
    copies = TarCopies(pa.Table.from_pylist(rows), out)
    assert (bool(copies), copies.photos) == (True, 3)
    (copy,) = copies.unfinished()
    copy_tar(copy)
    assert not list(copies.unfinished())
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(b"other content"))
    folder = make_drafts_folder(out)
    assert [read(row, folder) for row in rows[:3]] == list(reversed(PHOTOS.values()))
    copies.remove()
    assert not list(copy.target.parent.glob(".tar-*"))
    with pytest.raises(ChangedWhileRead):
        read(rows[0], folder)


def test_the_files_beside_photos_are_copied_with_their_headers(tmp_path: Path) -> None:
    rows = write_tar(tmp_path / "0.tar.gz", compress=True)
    photo, _, caption = rows
    sidecar = Sidecar(str(caption["path"]), int(str(caption["tar_offset"])), int(str(caption["bytes"])))
    table = pa.Table.from_pylist([photo | {"sidecars": [sidecar]}], schema=MANIFEST)
    (copy,) = TarCopies(table, tmp_path).unfinished()
    copy_tar(copy)
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(b"other content"))
    assert read_sidecar(str(tmp_path), sidecar, tmp_path) == PHOTOS["a.jpg"]


def read(row: dict[str, object], copies: Path) -> bytes:
    offset, size = (int(str(row[name])) for name in ("tar_offset", "bytes"))
    return read_photo(str(row["source"]), str(row["path"]), offset=offset, size=size, copies=copies)


def test_rows_without_compressed_tars_need_no_copies(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist(write_tar(tmp_path / "1.tar", compress=False))
    copies = TarCopies(rows, tmp_path)
    assert (bool(copies), list(copies.unfinished())) == (False, [])
    assert find_compressed_tar(rows) is None


def test_a_tar_that_is_gone_gets_no_copy(tmp_path: Path) -> None:
    rows = pa.Table.from_pylist(write_tar(tmp_path / "0.tar.gz", compress=True))
    assert find_compressed_tar(rows) == str(tmp_path / "0.tar.gz")
    (copy,) = TarCopies(rows, tmp_path).unfinished()
    (tmp_path / "0.tar.gz").unlink()
    copy_tar(copy)
    assert not list(tmp_path.glob(".tar-*"))
