"""What lies beside a photo: found in folders, tars, ZIPs, lists and URLs, and read again."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from curate import manifest
from curate.errors import ChangedSinceScan, FileTooLarge, Vanished
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources import ListedPhoto, ShardSpec, Sources, list_photos, sidecars
from curate.sources.entry import Sidecar
from curate.sources.sidecars import match_sidecars, read_sidecar, sidecar_suffix

FILES = {
    "a.jpg": b"photo a",
    "a.txt": b"a cat\n",
    "a.json": b'{"a": 1}',
    "b.left.jpg": b"photo left",
    "b.left.npy": b"npy",
    "b.right.jpg": b"photo right",
    "b.cls": b"7",
    "c.jpg": b"photo c",
    "sub/metadata.csv": b"file_name,text\nd.jpg,dog\n",
    "sub/x/d.jpg": b"photo d",
    "sub/x/notes.md": b"no photo's",
    "a.vividset.json": b"row of an export",
    "raw.jpg": b"photo raw",
    "raw.cr2": b"raw",
}
EXPECTED = {
    "a.jpg": {"a.json", "a.txt"},
    "b.left.jpg": {"b.left.npy", "b.cls"},
    "b.right.jpg": {"b.cls"},
    "sub/x/d.jpg": {"sub/metadata.csv"},
}


def write_files(folder: Path) -> Path:
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_container(path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w") as tar:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def found(photos: list[ListedPhoto], prefix: str = "") -> dict[str, set[str]]:
    return {
        photo.path.removeprefix(prefix): {file.path.removeprefix(prefix) for file in photo.sidecars}
        for photo in photos
        if photo.sidecars
    }


def check_contents(photos: list[ListedPhoto], prefix: str = "") -> None:
    for photo in photos:
        for file in photo.sidecars:
            assert read_sidecar(photo.source, file) == FILES[file.path.removeprefix(prefix)]


def test_files_of_a_folder_belong_to_photos_by_name(tmp_path: Path) -> None:
    photos = list(list_photos([write_files(tmp_path / "in")]))
    assert found(photos) == EXPECTED
    check_contents(photos)


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_members_belong_to_photos_as_files_do(tmp_path: Path, name: str) -> None:
    photos = list(list_photos([write_container(tmp_path / name)]))
    assert found(photos, f"{name}/") == EXPECTED
    check_contents(photos, f"{name}/")


def test_urls_and_listed_files_have_sidecars_too(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    for name, data in FILES.items():
        fs.pipe_file(f"/sidecars/{name}", data)
    photos = list(list_photos(["memory://sidecars"]))
    assert found(photos) == EXPECTED
    check_contents(photos)
    folder = write_files(tmp_path / "in")
    (tmp_path / "list").write_text(f"{folder}/a.jpg\n{folder}/c.jpg\n", encoding="utf-8")
    assert found(list(Sources(lists=(str(tmp_path / "list"),)).photos())) == {"a.jpg": {"a.json", "a.txt"}}


@pytest.mark.parametrize("where", ["folder", "url"])
def test_parts_of_a_divided_listing_have_the_same_sidecars(tmp_path: Path, where: str) -> None:
    root = str(write_files(tmp_path / "in")) if where == "folder" else "memory://sidecars"
    for name, data in FILES.items():
        fsspec.filesystem("memory").pipe_file(f"/sidecars/{name}", data)
    together: dict[str, set[str]] = {}
    for number in (1, 2, 3):
        together |= found(list(Sources((root,), shard=ShardSpec(number, 3)).photos()))
    assert together == EXPECTED


def test_excluded_files_are_no_sidecars(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in")
    (folder / "a.d").mkdir()
    options = ScanOptions(engine="serial", exclude=("*.json", "metadata.*"))
    assert found(list(options.sources([folder]).photos()))["a.jpg"] == {"a.txt"}


def test_members_of_one_name_have_the_sidecars_of_their_number(tmp_path: Path) -> None:
    joined = tmp_path / "x.tar"
    joined.write_bytes(2 * write_container(tmp_path / "y.tar").read_bytes())
    photos = {photo.path: photo for photo in list_photos([joined])}
    half = joined.stat().st_size // 2
    first, second = photos["x.tar/a.jpg"], photos["x.tar/a~2.jpg"]
    assert [(file.offset or 0) + half for file in first.sidecars] == [file.offset for file in second.sidecars]


@pytest.mark.parametrize(
    ("names", "matches"),
    [
        (["a", "a.txt", "b.txt"], {"a": ["a.txt"]}),
        (["a.jpg", "a.b.jpg", "a.b.txt"], {"a.b.jpg": ["a.b.txt"]}),
        (["a.jpg", "a.jpg.xmp"], {"a.jpg": ["a.jpg.xmp"]}),
        ([".a.jpg", ".a.txt", "b.txt"], {".a.jpg": [".a.txt"]}),
        (["a.1.jpg", "a.2.jpg", *(f"a.x{n}.bin" for n in range(101))], {}),
        (["a.jpg", "a.tar", "a.tar.gz", "a.png"], {}),
    ],
)
def test_names_that_belong_together(names: list[str], matches: dict[str, list[str]]) -> None:
    assert match_sidecars(names) == matches


def test_the_end_of_a_name_is_kept_for_renamed_photos() -> None:
    assert sidecar_suffix("x.tar/a~2.jpg", "x.tar/a.seg.npy") == ".seg.npy"


def test_a_sidecar_that_is_gone_changed_or_too_large_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = write_container(tmp_path / "x.tar")
    (photo,) = (photo for photo in list_photos([tar]) if photo.path == "x.tar/a.jpg")
    with tarfile.open(tar, "w") as changed:
        changed.addfile(tarfile.TarInfo("a.txt"))
    for file in photo.sidecars:
        with pytest.raises(ChangedSinceScan):
            read_sidecar(photo.source, file)
    with pytest.raises(Vanished):
        read_sidecar(str(tmp_path), Sidecar("gone.txt"))
    monkeypatch.setattr(sidecars, "MAX_SIDECAR_BYTES", 10)
    for file in (Sidecar("x.tar"), Sidecar("x.tar/a.txt", 512, 11)):
        with pytest.raises(FileTooLarge):
            read_sidecar(str(tmp_path), file)


def test_the_manifest_refers_to_sidecars_and_a_rescan_to_new_ones(photos: Path, tmp_path: Path) -> None:
    (photos / "a-vivid.txt").write_text("vivid", encoding="utf-8")
    out = tmp_path / "scan.parquet"
    scan_photos([photos], out, ScanOptions(engine="serial"))
    rows = {row["path"]: row for row in manifest.read_manifest(out).table.to_pylist()}
    assert rows["a-vivid.png"]["sidecars"] == [{"path": "a-vivid.txt", "offset": None, "bytes": None}]
    assert rows["more/b-gray.png"]["sidecars"] is None
    (photos / "more" / "b-gray.json").write_text("{}", encoding="utf-8")
    (photos / "a-vivid.png").unlink()
    again = scan_photos([photos], out, ScanOptions(engine="serial"))
    assert (again.measured_now, again.missing) == (0, 1)
    rows = {row["path"]: row for row in manifest.read_manifest(out).table.to_pylist()}
    assert [file["path"] for file in rows["more/b-gray.png"]["sidecars"]] == ["more/b-gray.json"]
    assert [file["path"] for file in rows["a-vivid.png"]["sidecars"]] == ["a-vivid.txt"]
