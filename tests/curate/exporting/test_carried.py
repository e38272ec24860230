"""What lies beside photos goes through exports and packs unchanged."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate import manifest
from curate.cli import summaries
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.exporting.names import Kind
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.packing.pack import PackOptions, pack_photos
from curate.packing.shards import shard_path
from curate.scanning.scan import ScanOptions, scan_photos

SERIAL_EXPORT = ExportOptions(engine="serial")

TREES: tuple[Kind, ...] = ("copy", "links", "hardlinks")
ALL_KINDS = frozenset({"photo", "graphic"})
"""The drawn pictures here need not look like photos."""
SIDECARS = {
    "a.txt": b"a caption \xe9 that is not UTF-8\r\n",
    "a.json": b'{ "width": "mine" }',
    "more/b.x.cls": b"007",
    "more/b.npy": bytes(range(256)),
}
METADATA = 'file_name,width,text\na.png,"9","one, two"\nmore/b.x.png,8,\n'


def content() -> dict[str, bytes]:
    """Two photos and what belongs to them; one more without anything."""
    files = dict(SIDECARS)
    for number, name in enumerate(("a.png", "more/b.x.png", "plain.png")):
        colors = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        out = io.BytesIO()
        Image.fromarray(colors).save(out, "PNG")
        files[name] = out.getvalue()
    return files


def scan(tmp_path: Path, where: str, files: dict[str, bytes]) -> Path:
    """The clean manifest of files in a folder, tar or ZIP."""
    root = tmp_path / ("in" if where == "folder" else f"in.{where}")
    if where == "folder":
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    elif where == "zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(root, "w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    scan_photos([root], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    filter_manifest(tmp_path / "scan.parquet", tmp_path / "clean.parquet", FilterOptions(0, keep_kinds=ALL_KINDS))
    return tmp_path / "clean.parquet"


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != "." and path.name != "README.md")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def members_of(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


@pytest.mark.parametrize("where", ["folder", "tar", "zip"])
def test_webdataset_has_every_file_unchanged_and_the_row_beside_it(tmp_path: Path, where: str) -> None:
    clean = scan(tmp_path, where, content() | {"metadata.csv": METADATA.encode()})
    summary = export_photos(clean, tmp_path / "out", "webdataset", SERIAL_EXPORT)
    assert (summary.photos, summary.failed, summary.failed_sidecars) == (3, [], [])
    members = members_of(tmp_path / "out")
    prefix = "" if where == "folder" else f"in.{where}/"
    for name, data in SIDECARS.items():
        assert members[prefix + name.replace("b.x", "b_x").replace("b.npy", "b_x.npy")] == data
    assert json.loads(members[f"{prefix}a.vividset.json"])["width"] == 50
    assert json.loads(members[f"{prefix}a.metadata.json"]) == {"width": 9, "text": "one, two"}
    assert json.loads(members[f"{prefix}more/b_x.metadata.json"]) == {"width": 8}
    assert len(members) == 3 + 4 + 3 + 2
    scan_photos(sorted((tmp_path / "out").glob("*.tar")), tmp_path / "again.parquet", ScanOptions(engine="serial"))
    measures = [
        {(row["sha256"], row["colorfulness"], row["fingerprint"], row["tone_score"]) for row in table.to_pylist()}
        for table in (manifest.read_manifest(path).table for path in (clean, tmp_path / "again.parquet"))
    ]
    assert measures[0] == measures[1]
    export_photos(tmp_path / "again.parquet", tmp_path / "copy", "copy", SERIAL_EXPORT)
    carried = set(files_in(tmp_path / "copy").values())
    assert set(SIDECARS.values()) <= carried


@pytest.mark.parametrize("kind", TREES)
def test_trees_have_every_file_unchanged(tmp_path: Path, kind: Kind) -> None:
    files = content()
    clean = scan(tmp_path, "folder", files | {"more/metadata.csv": b"file_name,t\nb.x.png,5\n"})
    summary = export_photos(clean, tmp_path / "out", kind, SERIAL_EXPORT)
    assert summary.failed_sidecars == []
    out = files_in(tmp_path / "out")
    lines = out.pop("metadata.jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"file_name": "more/b.x.png", "t": 5}]
    assert out == files
    assert (tmp_path / "out" / "a.txt").is_symlink() == (kind == "links")
    assert export_photos(clean, tmp_path / "out", kind, SERIAL_EXPORT).exported_now == 0


def test_an_imagefolder_has_the_columns_of_metadata_files_under_their_own_names(tmp_path: Path) -> None:
    clean = scan(tmp_path, "zip", content() | {"metadata.csv": METADATA.encode()})
    export_photos(clean, tmp_path / "out", "imagefolder", SERIAL_EXPORT)
    out = files_in(tmp_path / "out")
    rows: dict[str, dict[str, object]] = {}
    for name in out:
        if name.endswith("metadata.jsonl"):
            folder = name.removesuffix("metadata.jsonl")
            rows |= {folder + (row := json.loads(line))["file_name"]: row for line in out[name].decode().splitlines()}
    by_photo = {name.partition("in.zip/")[2]: row for name, row in rows.items()}
    assert [by_photo["a.png"][name] for name in ("width", "vividset_width", "text")] == [9, 50, "one, two"]
    assert [by_photo["plain.png"][name] for name in ("width", "vividset_width")] == [None, 50]
    assert set(SIDECARS.values()) <= set(out.values())


@pytest.mark.parametrize("where", ["folder", "tar", "zip"])
def test_a_metadata_file_may_be_parquet(tmp_path: Path, where: str) -> None:
    table = pa.table({"file_name": ["a.png", "more/b.x.png"], "tags": [["x"], None], "data": [b"\0", b"\xff"]})
    pq.write_table(table, tmp_path / "m.parquet")
    clean = scan(tmp_path, where, content() | {"metadata.parquet": (tmp_path / "m.parquet").read_bytes()})
    assert manifest.read_manifest(tmp_path / "scan.parquet").table["error"].null_count == 3
    export_photos(clean, tmp_path / "out", "parquet", SERIAL_EXPORT)
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    found = {row["image"]["path"].rpartition("/")[2]: (row["tags"], row["data"]) for row in rows}
    assert found == {"a.png": (["x"], b"\0"), "b.x.png": (None, b"\xff"), "plain.png": (None, None)}


def test_a_file_that_is_named_like_ours_is_kept_beside_it(tmp_path: Path) -> None:
    own = {"a.metadata.json": b"mine", "failed.csv": b"mine, too", "failed.png": content()["plain.png"]}
    clean = scan(tmp_path, "folder", content() | own | {"metadata.csv": METADATA.encode()})
    export_photos(clean, tmp_path / "out", "webdataset", SERIAL_EXPORT)
    members = members_of(tmp_path / "out")
    assert (members["a.metadata.json"], members["failed.csv"]) == (b"mine", b"mine, too")
    assert json.loads(members["a.vividset-metadata.json"]) == {"width": 9, "text": "one, two"}
    export_photos(clean, tmp_path / "copies", "copy", SERIAL_EXPORT)
    assert (tmp_path / "copies" / "failed.png.csv").read_bytes() == b"mine, too"


@pytest.mark.parametrize("kind", ["webdataset", *TREES])
def test_a_missing_file_is_named_and_exported_by_the_next_run(tmp_path: Path, kind: Kind) -> None:
    clean = scan(tmp_path, "folder", content())
    (tmp_path / "in" / "a.txt").rename(tmp_path / "kept")
    summary = export_photos(clean, tmp_path / "out", kind, SERIAL_EXPORT)
    assert (summary.photos, summary.failed) == (3, [])
    assert [(path, reason.partition(":")[0]) for path, reason in summary.failed_sidecars] == [("a.txt", "Vanished")]
    assert any(line.startswith("! 1 file beside") for line in summaries.export_summary(summary, tmp_path / "out"))
    assert "a.txt,Vanished" in (tmp_path / "out" / "failed.csv").read_text(encoding="utf-8").replace(chr(34), "")
    (tmp_path / "kept").rename(tmp_path / "in" / "a.txt")
    assert export_photos(clean, tmp_path / "out", kind, SERIAL_EXPORT).failed_sidecars == []
    out = members_of(tmp_path / "out") if kind == "webdataset" else files_in(tmp_path / "out")
    assert out["a.txt"] == SIDECARS["a.txt"]


@pytest.mark.parametrize("where", ["folder", "tar"])
def test_a_pack_has_the_content_of_every_file(tmp_path: Path, where: str) -> None:
    clean = scan(tmp_path, where, content() | {"metadata.csv": METADATA.encode()})
    if where == "folder":
        (tmp_path / "in" / "a.txt").unlink()
    summary = pack_photos(clean, tmp_path / "pack", PackOptions(32, engine="serial"))
    assert [reason.partition(":")[0] for _, reason in summary.failed_sidecars] == ["Vanished"] * (where == "folder")
    with pa.OSFile(str(shard_path(tmp_path / "pack", 0))) as file:
        shard = pa.ipc.open_file(file).read_all()
    found = {file["suffix"]: file["data"] for files in shard["sidecars"].to_pylist() for file in files}
    assert found == {
        ".txt": SIDECARS["a.txt"] if where == "tar" else None,
        ".json": SIDECARS["a.json"],
        ".cls": b"007",
        ".npy": SIDECARS["more/b.npy"],
    }
    rows = manifest.read_manifest(tmp_path / "pack" / "manifest.parquet").table.to_pylist()
    metadata = {row["path"].rpartition("/")[2]: row["metadata"] for row in rows}
    assert metadata["a.png"] == {"width": 9, "text": "one, two"}
    if where == "tar":
        again = pack_photos(clean, tmp_path / "pack", PackOptions(32, engine="serial"))
        assert (again.packed_now, again.photos) == (0, 3)
