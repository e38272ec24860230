"""Tar files: members are read by their position; truncated, damaged and compressed tars are reported."""

from __future__ import annotations

import hashlib
import io
import itertools
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
from curate.sources import ListedPhoto, list_photos, read_photo
from curate.sources.listing.containers import list_stream_members
from curate.sources.listing.sorting import sort_photos
from curate.sources.tar.headers import parse_plain_file

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
    differing = {"path": "", "modified_ns": 0, "tar_offset": 0, "sidecars": None}
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
    before = {"in the end mark": ["0.tar/c.png"], "in a member": ["0.tar/c.png"]}.get(where, [])
    is_row = where != "in a member"
    assert list(rows) == [*["0.tar"][:is_row], "0.tar/000/a.png", "0.tar/000/b.png", *before]
    if is_row:
        assert rows["0.tar"]["error"].startswith("BrokenTar: cut off or damaged at byte ")
    else:
        text = f"BrokenTar: the tar is cut off in this member, at byte {cut[where]}: "
        assert rows["0.tar/c.png"]["error"].startswith(text)
    assert rows["0.tar/000/a.png"]["error"] is None


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(data), kind, link
    tar.addfile(entry, io.BytesIO(data))


def listed(data: bytes) -> list[ListedPhoto]:
    return list(sort_photos(list_stream_members("/s", "0.tar", io.BytesIO(data), len(data), 1)))


def contents(data: bytes) -> dict[str, bytes | str]:
    """By path: the bytes at the position of each entry, or the kind of its error."""
    found = {}
    for photo in listed(data):
        kind = (photo.error or "").partition(":")[0]
        found[photo.path] = kind or data[photo.offset or 0 : (photo.offset or 0) + (photo.bytes or 0)]
    return found


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(1 << 20)])
def test_joined_tars_give_the_members_of_all_of_them(between: bytes) -> None:
    first, second = tar_of({"a.jpg": b"1", "b.jpg": b"2"}), tar_of({"c.jpg": b"3", "a.jpg": b"4"})
    assert contents(first + between + second) == {
        "0.tar/a.jpg": b"1",
        "0.tar/a~2.jpg": b"4",
        "0.tar/b.jpg": b"2",
        "0.tar/c.jpg": b"3",
    }


def test_a_number_for_a_repeated_name_is_not_the_name_of_another_member() -> None:
    file = io.BytesIO()
    names = ["a.jpg", "a", "a.jpg", "a~2.jpg", "a.jpg", "a", "b/a.jpg", "aa.jpg"]
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number, name in enumerate(names):
            add(tar, name, bytes([number]))
    assert contents(file.getvalue()) == {
        "0.tar/a": b"\1",
        "0.tar/a.jpg": b"\0",
        "0.tar/aa.jpg": b"\7",
        "0.tar/a~2": b"\5",
        "0.tar/a~2.jpg": b"\3",
        "0.tar/a~2~2.jpg": b"\2",
        "0.tar/a~3.jpg": b"\4",
        "0.tar/b/a.jpg": b"\6",
    }
    keys = [photo.key for photo in listed(file.getvalue())]
    assert keys == sorted(set(keys))


def test_links_give_the_bytes_of_the_member_that_they_lead_to_or_an_error() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "./d/a.jpg", b"old")
        add(tar, "hard.jpg", kind=tarfile.LNKTYPE, link="./d/a.jpg")
        add(tar, "./d/a.jpg", kind=tarfile.LNKTYPE, link="./d/a.jpg")  # as of `tar -c a.jpg a.jpg`
        add(tar, "d/a.jpg", b"new")
        add(tar, "soft.jpg", kind=tarfile.SYMTYPE, link="d/a.jpg")
        add(tar, "up/soft.jpg", kind=tarfile.SYMTYPE, link="../d/a.jpg")
        add(tar, "e", kind=tarfile.SYMTYPE, link="d")
        add(tar, "chain.jpg", kind=tarfile.SYMTYPE, link="e/a.jpg")
        add(tar, "early.jpg", kind=tarfile.SYMTYPE, link="late")
        add(tar, "late", b"blob")
        add(tar, "cycle.jpg", kind=tarfile.SYMTYPE, link="cycle.jpg")
        add(tar, "growing.jpg", kind=tarfile.SYMTYPE, link="growing.jpg/x")
        add(tar, "outside.jpg", kind=tarfile.SYMTYPE, link="../../other.jpg")
        add(tar, "outside", kind=tarfile.SYMTYPE, link="nowhere")
        add(tar, "sparse.jpg", kind=tarfile.GNUTYPE_SPARSE)
        add(tar, "to-sparse.jpg", kind=tarfile.LNKTYPE, link="sparse.jpg")
    whole = contents(file.getvalue())
    joined = contents(file.getvalue() + file.getvalue())  # each link leads to a member of its own tar
    assert joined["0.tar/soft.jpg"] == joined["0.tar/soft~2.jpg"] == b"new"
    assert whole == {
        "0.tar/chain.jpg": b"new",
        "0.tar/cycle.jpg": "NotAFile",
        "0.tar/d/a.jpg": b"old",
        "0.tar/d/a~2.jpg": b"new",
        "0.tar/early.jpg": b"blob",
        "0.tar/growing.jpg": "NotAFile",
        "0.tar/hard.jpg": b"old",
        "0.tar/late": b"blob",
        "0.tar/outside.jpg": "NotAFile",
        "0.tar/soft.jpg": b"new",
        "0.tar/sparse.jpg": "UnsupportedFormat",
        "0.tar/to-sparse.jpg": "UnsupportedFormat",
        "0.tar/up/soft.jpg": b"new",
    }


def test_members_that_are_no_files_are_errors_only_if_their_name_is_a_photos() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            add(tar, f"{kind.decode()}.jpg", kind=kind)
            add(tar, f"{kind.decode()}", kind=kind)
        add(tar, "label.jpg", kind=b"V")
        add(tar, "rest.jpg", b"rest", kind=b"M")
        add(tar, "unknown.jpg", b"data", kind=b"Z")  # POSIX: types that a reader doesn't know are regular files
        add(tar, "inner.tar", tar_of({"a.jpg": b"x"}))
        add(tar, "inner.tar.gz", b"x")
        add(tar, "z.jpg", b"last")
    assert contents(file.getvalue()) == {
        "0.tar/3.jpg": "NotAFile",
        "0.tar/5.jpg": "NotAFile",
        "0.tar/6.jpg": "NotAFile",
        "0.tar/inner.tar": "UnsupportedFormat",
        "0.tar/inner.tar.gz": "UnsupportedFormat",
        "0.tar/rest.jpg": "UnsupportedFormat",
        "0.tar/unknown.jpg": b"data",
        "0.tar/z.jpg": b"last",
    }


def test_members_after_damage_are_listed_beside_the_error() -> None:
    data = bytearray(tar_of({name: name.encode() for name in ("a.jpg", "b.jpg", "c.jpg")}))
    data[1024 + 10] ^= 1  # in the header of b.jpg: each member has a block of header and one of data
    error = "BrokenTar: cut off or damaged at byte 1024: copy it again, then scan again"
    assert [photo.error for photo in listed(bytes(data)) if photo.error] == [error]
    assert list(contents(bytes(data))) == ["0.tar", "0.tar/a.jpg", "0.tar/c.jpg"]
    behind = tar_of({"a.jpg": b"x"}) + b"garbage"
    assert contents(behind) == {"0.tar": "BrokenTar", "0.tar/a.jpg": b"x"}


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"77777777777\0"])
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"S"])
def test_impossible_sizes_are_damage_and_neither_a_loop_nor_an_exception(kind: bytes, size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("b.jpg").tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[156:157], header[148:156] = size, kind, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found = contents(tar_of({"a.jpg": b"1"})[:1024] + bytes(header) + tar_of({"c.jpg": b"3"}))
    assert found.pop("0.tar/a.jpg") == b"1"
    assert "BrokenTar" in found.values()


def test_a_long_chain_of_headers_is_damage() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    chain = (header.tobuf(tarfile.GNU_FORMAT) + b"n".ljust(512, b"\0")) * 2000  # each names the next header
    assert contents(chain + tar_of({"c.jpg": b"3"}))["0.tar"] == "BrokenTar"


def test_photos_of_a_joined_tar_are_scanned_packed_and_exported(members: Members, tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of(members) + tar_of({"c.png": members["000/a.png"]}))
    scan_photos([tmp_path / "0.tar"], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    rows = rows_of(tmp_path / "m.parquet")
    same = [rows[f"0.tar/{name}"]["sha256"] for name in ("000/a.png", "c~2.png")]
    assert same[0] == same[1] == hashlib.sha256(members["000/a.png"]).hexdigest()
    assert pack_photos(tmp_path / "m.parquet", tmp_path / "packed", PackOptions(size_px=32)).photos == 3
    assert scan_photos([tmp_path / "0.tar"], tmp_path / "m.parquet", ScanOptions(engine="serial")).measured_now == 0


def test_an_empty_tar_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(tar_of({}))
    assert list(list_photos([tmp_path])) == []


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


def test_plain_headers_are_parsed_as_tarfile_does() -> None:
    member = tarfile.TarInfo("f" * 90 + "/photo.jpg")
    member.size = 0o7123
    for whole in (member.tobuf(tarfile.USTAR_FORMAT), member.tobuf(tarfile.GNU_FORMAT)):
        assert parse_plain_file(whole) is not None
        for position, value in itertools.product(range(512), b"\0 /18x\xff"):
            changed = bytearray(whole)
            changed[position] = value
            if not 148 <= position < 156:
                changed[148:156] = b" " * 8
                changed[148:156] = b"%06o\0 " % sum(changed)
            found = parse_plain_file(bytes(changed))
            if found is not None:
                expected = tarfile.TarInfo.frombuf(changed, "utf-8", "surrogateescape")
                assert (found.name, found.size, found.type) == (expected.name, expected.size, expected.type)
