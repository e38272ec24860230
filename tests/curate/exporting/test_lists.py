"""Lists of paths and tables: what `curate scan --from-file` and pandas read again."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pytest

import curate
from curate import manifest
from curate.errors import ManifestError, OutputError, UsageError
from curate.exporting.lists import export_list
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.sources import Sources

ROWS: list[dict[str, object]] = [
    {
        "source": "/p",
        "path": "a.jpg",
        "sha256": "00",
        "colorfulness": 25.5,
        "width": 4,
        "tone": "color",
        "sidecars": [{"path": "a.json"}, {"path": "a.txt"}],
    },
    {"source": "/p", "path": r"caf\xe9, b.jpg", "error": "BrokenPhoto: cut off"},
    {"source": "/p", "path": "x.zip", "error": "BrokenZip: cut off"},
    {"source": "/p", "path": "x.zip/b.jpg", "error": "UnsupportedFormat: it is encrypted"},
    {"source": "/p", "path": "y.tar/b.jpg", "sha256": "01", "tar_offset": 512},
    {"source": "s3://b", "path": "c.jpg", "sha256": "02"},
]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write(tmp_path / "scan.parquet", ROWS)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    manifest.write_manifest(path, pa.Table.from_pylist(rows, SCAN_SCHEMA), Lineage("scan", "curate scan /p", {}))
    return path


@pytest.mark.parametrize("null", [False, True])
def test_a_list_names_each_file_and_nothing_in_a_tar_or_zip(scan: Path, tmp_path: Path, null: bool) -> None:
    out = tmp_path / "new" / "list.txt"
    summary = curate.export_photos(scan, out, "txt", null=null)
    assert (summary.photos, summary.left_out) == (3, 3)
    end = b"\0" if null else b"\n"
    assert out.read_bytes() == end.join([b"/p/a.jpg", b"/p/caf\xe9, b.jpg", b"s3://b/c.jpg", b""])
    assert os.listdir(out.parent) == ["list.txt"]


def test_a_scan_reads_the_list_again(photos: Path, scanned: tuple[Path, object], tmp_path: Path) -> None:
    curate.export_photos(scanned[0], tmp_path / "list.txt", "txt")
    again = [f"{photo.source}/{photo.path}" for photo in Sources((), (str(tmp_path / "list.txt"),)).photos()]
    assert again == [str(photos / name) for name in ("a-vivid.png", "c-cut.png", "more/b-gray.png")]


def test_a_table_has_the_location_and_the_chosen_columns(scan: Path, tmp_path: Path) -> None:
    curate.export_photos(scan, tmp_path / "t.csv", "csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table) == ["location", "width", "height", "colorfulness", "tone", "error"]
    assert table["location"].tolist()[:2] == ["/p/a.jpg", r"/p/caf\xe9, b.jpg"]
    assert len(table) == len(ROWS)
    curate.export_photos(scan, "memory://lists/t.csv", "csv", columns=["sha256", "colorfulness", "sidecars"])
    text = fsspec.filesystem("memory").cat("/lists/t.csv").decode()
    assert text.splitlines()[:2] == ["location,sha256,colorfulness,sidecars", "/p/a.jpg,00,25.5,a.json; a.txt"]


def test_what_a_list_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"source": "/p", "path": "a\nb.jpg", "sha256": "00"}]
    scan, out = write(tmp_path / "scan.parquet", rows), tmp_path / "list.txt"
    with pytest.raises(OutputError, match="use -0"):
        export_list(scan, out, "txt")
    assert os.listdir(tmp_path) == ["scan.parquet"]
    assert export_list(scan, out, "txt", null=True) == (1, 0)
    with pytest.raises(ManifestError, match="in tars, ZIPs or Parquet or Arrow files"):
        export_list(write(scan, ROWS[4:5]), out, "txt")


def test_a_file_of_another_kind_is_not_replaced(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    for out in (scan, tmp_path / "a.jpg"):
        with pytest.raises(UsageError, match="choose another file"):
            export_list(scan, out, "txt")
    with pytest.raises(UsageError, match="--column is for"):
        export_list(scan, tmp_path / "list.txt", "txt", columns=["width"])
    with pytest.raises(ManifestError, match="no column 'nothing'"):
        export_list(scan, tmp_path / "t.csv", "csv", columns=["nothing"])
