"""Archives and data files that are not read: a named error each; documents are not mistaken for them."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from curate import manifest
from curate.image.containers import MIN_DATA_BYTES, find_container
from curate.scanning.scan import ScanOptions, scan_photos


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("a.7z", b"", "a 7z archive: unpack it"),
        ("a.RAR", b"", "a RAR archive: unpack it"),
        ("photos.bin", b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        ("shard-00", bytes(257) + b"ustar", "a tar: name it .tar"),
        ("photos", b"PK\3\4", "a ZIP: name it .zip"),
        ("train.csv.gz", b"\x1f\x8b\x08", "compressed: unpack it"),
        ("blob", b"\x1f\x8b\x08", "gzip data: unpack it; if it is a tar, name it .tar.gz"),
        ("train.h5", b"", "an HDF5 file: write its photos as files"),
        ("x.tfrecord", b"", "a TFRecord file"),
        ("labels.mat", b"", "a MATLAB file"),
        ("x.npz", b"PK\3\4", "a file of NumPy arrays"),
        ("data.mdb", b"", "an LMDB database"),
    ],
)
def test_containers_are_named(name: str, head: bytes, said: str) -> None:
    assert f"UnsupportedFormat: it is {said}" in str(find_container(name, head))


@pytest.mark.parametrize(
    ("name", "head"), [("a.docx", b"PK\3\4"), ("a.svgz", b"\x1f\x8b\x08"), ("a.txt", b"text"), ("a.npy", b"\x93NUMPY")]
)
def test_other_files_are_none(name: str, head: bytes) -> None:
    assert find_container(name, head) is None


def test_small_data_files_are_annotations_of_photos() -> None:
    assert find_container("cat.npz", b"PK\3\4", MIN_DATA_BYTES - 1) is None
    assert find_container("cat.npz", b"PK\3\4", MIN_DATA_BYTES) is not None


def test_a_container_is_a_row_wherever_it_is(photos: Path, tmp_path: Path) -> None:
    (photos / "more" / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    (photos / "blob").write_bytes(gzip.compress(b"data"))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.rar", b"Rar!")
        archive.writestr("in.zip", b"PK\3\4")
    (photos / "0.zip").write_bytes(inner.getvalue())
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    rows = manifest.read_manifest(tmp_path / "m.parquet").table.to_pylist()
    errors = {row["path"]: row["error"].partition(":")[0] for row in rows if row["error"]}
    unsupported = {path for path, error in errors.items() if error == "UnsupportedFormat"}
    assert unsupported == {"more/x.7z", "blob", "0.zip/a.rar", "0.zip/in.zip"}
