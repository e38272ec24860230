"""Tar files: members are read by their position; truncated, damaged and compressed tars are reported."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate import manifest
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources import list_photos, read_photo
from curate.sources.tar import list_stream_members

Pixels = NDArray[np.uint8]
Members = dict[str, bytes]


def tar_of(members: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def members(photos: Path) -> Members:
    """In WebDataset order: a photo, its metadata, the next photo."""
    return {
        "000/b.png": (photos / "more" / "b-gray.png").read_bytes(),
        "000/b.json": b'{"caption": "gray"}',
        "000/a.png": (photos / "a-vivid.png").read_bytes(),
        "000/a.cls": b"7",
        "c.png": (photos / "c-cut.png").read_bytes(),
    }


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in manifest.read_manifest(out).table.to_pylist()}


def test_members_of_a_tar_give_the_same_rows_as_files(members: Members, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "m.parquet"
    folder.mkdir()
    (folder / "0.tar").write_bytes(tar_of(members))
    for name, data in members.items():
        (folder / "0" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "0" / name).write_bytes(data)
    summary = scan_photos([folder], out, ScanOptions(engine="serial"))
    rows = rows_of(out)
    assert list(rows) == [
        *("0/000/a.png", "0/000/b.png", "0/c.png"),
        *("0.tar/000/a.png", "0.tar/000/b.png", "0.tar/c.png"),
    ]
    differing = {"path": "", "modified_ns": 0, "tar_offset": 0}
    for name in ("000/a.png", "000/b.png", "c.png"):
        assert rows[f"0.tar/{name}"] | differing == rows[f"0/{name}"] | differing
        assert rows[f"0.tar/{name}"]["modified_ns"] == (folder / "0.tar").stat().st_mtime_ns
    assert (summary.photos, summary.skipped) == (6, 4)


def test_a_photo_of_a_tar_is_read_again_from_its_row(members: Members, tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    scan_photos([tmp_path / "0.tar"], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    for path, row in rows_of(tmp_path / "m.parquet").items():
        data = read_photo(row["source"], path, offset=row["tar_offset"], size=row["bytes"])
        assert data == members[path.removeprefix("0.tar/")]


def test_photos_in_tars_can_be_packed(members: Members, tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    scan_photos([tmp_path / "0.tar"], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    summary = pack_photos(tmp_path / "m.parquet", tmp_path / "packed", PackOptions(size_px=32))
    assert (summary.photos, summary.failed) == (2, [])


def test_an_unchanged_tar_is_not_measured_again_and_a_changed_one_is(members: Members, tmp_path: Path) -> None:
    shard, out = tmp_path / "0.tar", tmp_path / "m.parquet"
    shard.write_bytes(tar_of(members))
    scan_photos([shard], out, ScanOptions(engine="serial"))
    assert scan_photos([shard], out, ScanOptions(engine="serial")).measured_now == 0
    del members["000/b.png"]
    shard.write_bytes(tar_of(members))
    os.utime(shard, ns=(7, 7))
    again = scan_photos([shard], out, ScanOptions(engine="serial"))
    assert (again.measured_now, again.missing) == (2, 1)
    assert [path for path, row in rows_of(out).items() if row["missing_since"]] == ["0.tar/000/b.png"]
    assert scan_photos([shard], out, ScanOptions(engine="serial", prune=True)).dropped == 1
    assert list(rows_of(out)) == ["0.tar/000/a.png", "0.tar/c.png"]


def test_a_tar_in_a_list_gives_its_members(members: Members, tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    (tmp_path / "list").write_bytes(os.fsencode(tmp_path / "0.tar"))
    summary = scan_photos(
        [], tmp_path / "m.parquet", ScanOptions(engine="serial", from_files=(str(tmp_path / "list"),))
    )
    assert summary.photos == 3


@pytest.mark.parametrize("where", ["in a member", "in a header", "between members", "in the end mark"])
def test_members_before_the_end_of_a_truncated_tar_are_measured_and_the_tar_is_a_row(
    where: str, members: Members, tmp_path: Path
) -> None:
    whole = tar_of(members)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        last = tar.getmembers()[-1]
    ends = last.offset_data + (last.size + 511) // 512 * 512
    cut = {
        "in a member": last.offset_data + 5,
        "in a header": last.offset_data - 300,
        "between members": last.offset_data - 512,
        "in the end mark": ends + 100,
    }
    (tmp_path / "0.tar").write_bytes(whole[: cut[where]])
    scan_photos([tmp_path / "0.tar"], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    rows = rows_of(tmp_path / "m.parquet")
    before = ["0.tar/c.png"] if where == "in the end mark" else []
    assert list(rows) == ["0.tar", "0.tar/000/a.png", "0.tar/000/b.png", *before]
    assert rows["0.tar"]["error"].startswith("BrokenTar: cut off or damaged before byte ")
    assert rows["0.tar/000/a.png"]["error"] is None


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz", "0.tar"])
def test_a_compressed_tar_is_an_entry_with_an_error(name: str, members: Members, tmp_path: Path) -> None:
    import gzip

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(gzip.compress(tar_of(members)))
    (found,) = list_photos([tmp_path / "in"])
    assert found.path == name
    assert (found.error or "").startswith("UnsupportedFormat: a compressed" if name != "0.tar" else "BrokenTar: ")


def test_an_empty_tar_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of({}))
    assert list(list_photos([tmp_path])) == []


def test_of_members_with_the_same_name_the_last_is_listed(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for data in (b"first", b"second!"):
            entry = tarfile.TarInfo("a.jpg")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    (tmp_path / "0.tar").write_bytes(file.getvalue())
    (found,) = list_photos([tmp_path])
    assert read_photo(found.source, found.path, offset=found.offset, size=found.bytes) == b"second!"


def test_odd_names_in_a_tar_are_listed_in_order(tmp_path: Path) -> None:
    names = ["./a.jpg", "é.jpg", "caf\udce9.jpg", "new\nline.jpg", "back\\slash.jpg", "x" * 200 + ".jpg", "a-b/1.jpg"]
    (tmp_path / "0.tar").write_bytes(tar_of({name: name.encode("utf-8", "surrogateescape") for name in names}))
    found = list(list_photos([tmp_path]))
    assert [photo.key for photo in found] == sorted(photo.key for photo in found)
    read_again = {read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes) for photo in found}
    assert read_again == {name.encode("utf-8", "surrogateescape") for name in names}


def test_a_tar_replaced_after_listing_is_an_error(
    members: Members, tmp_path: Path, encoded: Callable[..., bytes], vivid: Pixels
) -> None:
    from curate.scanning.scorer import ScoreOptions, score_photo

    shard = tmp_path / "0.tar"
    shard.write_bytes(tar_of(members))
    photo = next(iter(list_photos([shard])))
    shard.write_bytes(tar_of({"new.png": encoded(vivid, "PNG"), **members}))
    os.utime(shard, ns=(7, 7))
    record = score_photo(photo, ScoreOptions())
    assert record is not None
    assert (record.error or "").startswith("ChangedWhileRead: ")


WHOLE = tar_of({f"{number}.jpg": bytes([number]) * 700 for number in range(4)})


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_tar_gives_only_members_within_it_or_an_error(damage: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in damage:
        data[place] = value
    found = list(list_stream_members("/s", "0.tar", io.BytesIO(data), len(data), 1))
    good = [photo for photo in found if photo.error is None]
    assert all(0 <= (photo.offset or 0) <= len(data) - (photo.bytes or 0) for photo in good)
    assert len(good) == 4 or len(found) > len(good) or b"\0" * 512 in data[: -2 * 512]
