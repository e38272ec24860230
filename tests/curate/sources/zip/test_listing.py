"""ZIP files: members are read where they lie. And all containers give the rows of the same photos in a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import manifest
from curate.errors import BrokenZip, PhotoError
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources import ListedPhoto, list_photos, read_listed_photo, read_photo
from curate.sources.listing.containers import list_stream_members
from curate.sources.listing.sorting import sort_photos
from curate.sources.zip.member import ZipMember

SERIAL_EXPORT = ExportOptions(engine="serial")

SERIAL = ScanOptions(engine="serial")
LINK, PIPE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644
JPEG_START = b"\xff\xd8\xff\xe0"
Members = dict[str, bytes]
Make = Callable[[Members, Path], None]


class Unseekable(io.BytesIO):
    """A stream for which zipfile writes sizes and checksums behind the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_args: int) -> int:
        raise OSError("not seekable")


def zip_of(members: Members, method: int = zipfile.ZIP_DEFLATED, file: io.BytesIO | None = None) -> bytes:
    file = file or io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def zip64_of(members: Members) -> bytes:
    """With sizes in the extra field of local headers, as zipfile writes them for members of unknown size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return file.getvalue()


def tar_of(members: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def table_of(members: Members) -> pa.Table:
    """The photos of the members as Hugging Face `datasets` stores images; it has no files that are no photos."""
    names = [name for name in sorted(members) if not name.endswith((".json", ".txt"))]
    images = [{"bytes": members[name], "path": name} for name in names]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"image": pa.array(images, kind), "label": range(len(names))})


def parquet_of(members: Members) -> bytes:
    file = io.BytesIO()
    pq.write_table(table_of(members), file, row_group_size=3)
    return file.getvalue()


def arrow_of(members: Members) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table_of(members).schema) as writer:
        writer.write_table(table_of(members), max_chunksize=3)
    return file.getvalue()


def write_folder(members: Members, folder: Path) -> None:
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


CONTAINERS: dict[str, Callable[[Members], bytes]] = {
    "0.tar": tar_of,
    "0.tar.gz": lambda members: gzip.compress(tar_of(members)),
    "0.tar.zst": lambda members: pa.Codec("zstd").compress(tar_of(members), asbytes=True),
    "stored.zip": lambda members: zip_of(members, zipfile.ZIP_STORED),
    "deflated.ZIP": zip_of,
    "bzip2.zip": lambda members: zip_of(members, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda members: zip_of(members, zipfile.ZIP_LZMA),
    "streamed.zip": lambda members: zip_of(members, file=Unseekable()),
    "streamed-stored.zip": lambda members: zip_of(members, zipfile.ZIP_STORED, Unseekable()),
    "zip64.zip": zip64_of,
    "after-a-program.zip": lambda members: b"#!/bin/sh\n" * 99 + zip_of(members),
    "0.parquet": parquet_of,
    "0.arrow": arrow_of,
}


@pytest.fixture
def members(photos: Path) -> Members:
    """A vivid, a gray and a broken photo, a photo without a photo's name, and two files that are no photos."""
    return {
        "000/b.png": (photos / "more" / "b-gray.png").read_bytes(),
        "000/b.json": b'{"caption": "gray"}',
        "000/a.png": (photos / "a-vivid.png").read_bytes(),
        "000/photo": (photos / "a-vivid.png").read_bytes(),
        "c.png": (photos / "c-cut.png").read_bytes(),
        "notes.txt": b"",
    }


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in manifest.read_manifest(out).table.to_pylist()}


def measures_of(source: Path | str, out: Path, prefix: str) -> dict[str, dict[str, Any]]:
    """The rows of a scan by the name of the photo, without what depends on where the photo is."""
    scan_photos([source], out, SERIAL)
    place = ("source", "path", "modified_ns", "tar_offset", "sidecars")
    return {
        path.removeprefix(prefix): {name: value for name, value in row.items() if name not in place}
        for path, row in rows_of(out).items()
    }


WHERE = [*itertools.product(CONTAINERS, ["disk", "URL"]), *itertools.product(list(CONTAINERS)[:5], ["bucket"])]


@pytest.mark.parametrize(("name", "where"), WHERE)
def test_the_same_photos_give_the_same_measures_from_a_folder_and_all_containers(
    name: str, where: str, members: Members, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_folder(members, tmp_path / "folder")
    expected = measures_of(tmp_path / "folder", tmp_path / "folder.parquet", "")
    assert sorted(expected) == ["000/a.png", "000/b.png", "000/photo", "c.png"]
    container: Path | str = tmp_path / name
    (tmp_path / name).write_bytes(CONTAINERS[name](members))
    if where == "URL":
        container = f"memory://{tmp_path.name}/{name}"
        fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/{name}", (tmp_path / name).read_bytes())
    elif where == "bucket":
        container = f"s3://bucket/{tmp_path.name}/{name}"
        request.getfixturevalue("s3").pipe(container, (tmp_path / name).read_bytes())
    out = tmp_path / "m.parquet"
    names = {name: name for name in members}
    if name in ("0.parquet", "0.arrow"):
        names = {f"{row:09d}": name for row, name in enumerate(sorted(expected))}
    found = measures_of(container, out, f"{name}/")
    assert {names[path]: row for path, row in found.items()} == expected
    for path, row in rows_of(out).items():
        data = read_photo(row["source"], path, offset=row["tar_offset"], size=row["bytes"])
        assert data == members[names[path.removeprefix(f"{name}/")]]
    assert scan_photos([container], out, SERIAL).measured_now == 0


def test_a_zip_in_a_folder_or_list_is_scanned_packed_and_exported(members: Members, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.zip").write_bytes(zip_of(members))
    (tmp_path / "list").write_bytes(os.fsencode(tmp_path / "in" / "0.zip"))
    for paths, options in (
        ([tmp_path / "in"], SERIAL),
        ([], ScanOptions(engine="serial", from_files=(str(tmp_path / "list"),), overwrite=True)),
    ):
        scan_photos(paths, tmp_path / "m.parquet", options)
        assert list(rows_of(tmp_path / "m.parquet")) == [
            *("0.zip/000/a.png", "0.zip/000/b.png", "0.zip/000/photo", "0.zip/c.png")
        ]
    assert pack_photos(tmp_path / "m.parquet", tmp_path / "packed", PackOptions(size_px=32)).photos == 3
    exported = export_photos(tmp_path / "m.parquet", tmp_path / "copies", "copy", SERIAL_EXPORT)
    assert (exported.photos, exported.failed) == (3, [])
    assert (tmp_path / "copies" / "0.zip" / "000" / "a.png").read_bytes() == members["000/a.png"]


def add(archive: zipfile.ZipFile, name: str, data: bytes = b"", *, mode: int = 0o644, system: int = 3) -> None:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = system, mode << 16
    archive.writestr(entry, data)


def listed(data: bytes) -> list[ListedPhoto]:
    return list(sort_photos(list_stream_members("/s", "0.zip", io.BytesIO(data), len(data), 1)))


def contents(data: bytes) -> dict[str, bytes | str]:
    """By path: the bytes of each member, or the kind of its error."""
    found: dict[str, bytes | str] = {}
    for photo in listed(data):
        found[photo.path.removeprefix("0.zip/")] = (photo.error or "").partition(":")[0] or read_member(data, photo)
    return found


def read_member(data: bytes, photo: ListedPhoto) -> bytes | str:
    assert photo.offset is not None
    assert photo.bytes is not None
    member = ZipMember(lambda start, end: data[start:end], photo.offset, photo.bytes)
    try:
        read = member.read(7) + member.read(photo.bytes)
        member.check()
    except PhotoError as exc:
        return str(exc).partition(":")[0]
    return read


def test_names_are_only_names_and_stay_unique() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        add(archive, "a.jpg", b"0")
        with pytest.warns(UserWarning, match="Duplicate"):
            add(archive, "a.jpg", b"1")
        for number, name in enumerate(("../b.jpg", "/c.jpg", "./d.jpg", "é/ü.jpg", "café.jpg"), 2):
            add(archive, name, b"%d" % number)
        add(archive, "w\\x.jpg", b"w", system=0)
        add(archive, "folder.jpg/", b"")
        add(archive, "folder/", b"")
        add(archive, "", b"8")
        add(archive, "pipe.jpg", b"", mode=PIPE)
        add(archive, "pipe", b"", mode=PIPE)
    assert contents(file.getvalue()) == {
        "": b"8",
        "../b.jpg": b"2",
        "/c.jpg": b"3",
        "a.jpg": b"0",
        "a~2.jpg": b"1",
        "café.jpg": b"6",
        "d.jpg": b"4",
        "folder.jpg": "NotAFile",
        "pipe.jpg": "NotAFile",
        "w/x.jpg": b"w",
        "é/ü.jpg": b"5",
    }


@pytest.mark.parametrize(
    ("raw", "system", "name"),
    [(b"caf\x82.jpg", 0, "café.jpg"), (b"caf\x82.jpg", 3, "café.jpg"), ("café.jpg".encode(), 3, "café.jpg")],
)
def test_names_without_the_flag_are_cp437_or_what_unix_wrote(raw: bytes, system: int, name: str) -> None:
    file = io.BytesIO()  # code page 437: byte 0x82 is é (Unicode's mapping table CP437.TXT)
    with zipfile.ZipFile(file, "w") as archive:
        add(archive, "x" * len(raw), b"1", system=system)
    assert contents(file.getvalue().replace(b"x" * len(raw), raw)) == {name: b"1"}


def test_links_give_the_bytes_of_the_member_that_they_lead_to_or_an_error() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "real/a.jpg", b"a")
        add(archive, "links/file.jpg", b"../real/a.jpg", mode=LINK)
        add(archive, "twice.jpg", b"links/file.jpg", mode=LINK)
        add(archive, "folder", b"real", mode=LINK)
        add(archive, "through.jpg", b"folder/a.jpg", mode=LINK)
        add(archive, "loop.jpg", b"loop.jpg", mode=LINK)
        add(archive, "out.jpg", b"../../etc/passwd", mode=LINK)
        add(archive, "out", b"/etc/passwd", mode=LINK)
    found = contents(file.getvalue())
    assert {name for name, value in found.items() if value == b"a"} == {
        *("real/a.jpg", "links/file.jpg", "twice.jpg", "through.jpg")
    }
    assert {name for name, value in found.items() if value == "NotAFile"} == {"loop.jpg", "out.jpg"}
    assert len(found) == 6


def with_flags(data: bytes, *, flags: int = 0, method: int | None = None) -> bytes:
    """A ZIP of one member with other flags and method, in the local header and in the directory."""
    changed = bytearray(data)
    for start in (data.index(b"PK\3\4") + 6, data.index(b"PK\1\2") + 8):
        changed[start] |= flags
        if method is not None:
            changed[start + 2] = method
    return bytes(changed)


def test_members_that_cannot_be_read_are_errors() -> None:
    one = zip_of({"a.jpg": b"data"})
    assert contents(with_flags(one, flags=1)) == {"a.jpg": "UnsupportedFormat"}
    assert "encrypted" in (listed(with_flags(one, flags=1))[0].error or "")
    assert contents(with_flags(one, method=9)) == {"a.jpg": "UnsupportedFormat"}  # Deflate64, as Windows writes it
    nested = zip_of({"in.zip": one, "in.tar": b"", "in.tar.gz": b"", "z.jpg": b"1"})
    assert contents(nested) == dict.fromkeys(("in.tar", "in.tar.gz", "in.zip"), "UnsupportedFormat") | {"z.jpg": b"1"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("file", [io.BytesIO, Unseekable])
def test_a_changed_byte_of_the_data_is_noticed(method: int, file: Callable[[], io.BytesIO]) -> None:
    photo = np.random.default_rng(1).bytes(2000)
    whole = zip_of({"a.jpg": photo}, method, file())
    assert contents(whole) == {"a.jpg": photo}
    for position in (100, 1000):
        changed = bytearray(whole)
        changed[position] ^= 4
        assert contents(bytes(changed)) == {"a.jpg": "BrokenZip"}


def test_a_zip_without_a_valid_directory_is_one_error(tmp_path: Path) -> None:
    whole = zip_of({"a.jpg": b"a" * 99, "b.jpg": b"b"})
    html = b"<html>not found</html>"
    for data in (b"", b"PK", html, whole[:-1], whole[: len(whole) // 2], whole[:-22] + bytes(22)):
        assert contents(data) == {"0.zip": "BrokenZip"}
    assert contents(zip_of({})) == {}
    outside = whole.replace(b"PK\3\4", b"PK\3\5", 1)
    assert contents(outside) == {"a.jpg": "BrokenZip", "b.jpg": b"b"}
    (tmp_path / "0.jpg").write_bytes(whole)
    scan_photos([tmp_path], tmp_path / "m.parquet", SERIAL)
    assert rows_of(tmp_path / "m.parquet")["0.jpg"]["error"].startswith("NotAPhoto: it is a ZIP archive")


def test_a_zip_before_another_in_one_file_is_an_error(members: Members) -> None:
    earlier = io.BytesIO(zip_of(members))
    with zipfile.ZipFile(earlier, "a") as archive:
        archive.comment = b"made by hand"
    joined = contents(earlier.getvalue() + zip_of({"last.jpg": b"last"}))
    assert joined == {"0.zip": "BrokenZip", "last.jpg": b"last"}
    assert contents(earlier.getvalue() + zip_of({})) == {"0.zip": "BrokenZip"}
    program = b"PK\5\6" + bytes(40)  # of a self-extracting file; no end record ends where the ZIP begins
    assert contents(program + zip_of({"a.jpg": b"a"})) == {"a.jpg": b"a"}


def test_sizes_that_are_wrong_are_errors_and_bombs_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zip_of({"a.jpg": JPEG_START + bytes(1 << 20)})
    monkeypatch.setattr("curate.sources.zip.listing.BOMB_BYTES", 1 << 16)
    assert contents(bomb) == {"a.jpg": "FileTooLarge"}
    directory = bomb.index(b"PK\1\2")
    for size in (0, 5, 1 << 16):  # less than the data: no more is unpacked
        changed = bytearray(bomb)
        changed[directory + 24 : directory + 28] = size.to_bytes(4, "little")
        assert contents(bytes(changed)) == {"a.jpg": "BrokenZip"}


def test_an_endless_stream_without_output_is_given_up() -> None:
    empty_blocks = b"\0\0\0\xff\xff" * (1 << 20)  # RFC 1951, section 3.2.4: stored blocks of length 0
    header = zip_of({"a.jpg": b"x" * 50})[:35]
    read: list[int] = []

    def read_range(start: int, end: int) -> bytes:
        read.append(end - start)
        return (header + empty_blocks)[start:end]

    with pytest.raises(BrokenZip, match="end too early"):
        ZipMember(read_range, 0, 50).read(50)
    assert sum(read) < 100_000


def test_a_zip_that_changed_since_the_listing_is_an_error(members: Members, tmp_path: Path) -> None:
    (tmp_path / "0.zip").write_bytes(zip_of(members))
    photo = next(list_photos([tmp_path]))
    os.utime(tmp_path / "0.zip", ns=(7, 7))
    with pytest.raises(PhotoError, match="ChangedWhileRead"):
        read_listed_photo(photo, lambda _: True, max_bytes=1 << 20)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_mutated_zips_give_entries_or_errors_and_never_an_exception(method: int, members: Members) -> None:
    whole = zip_of(members, method)
    directory = whole.index(b"PK\1\2")
    chance = np.random.default_rng(method)
    hashes = {hashlib.sha256(data).digest() for data in members.values()}
    for number in range(40):
        data = bytearray(whole)
        first = directory if number % 2 else 0
        for _ in range(chance.integers(1, 9)):
            data[chance.integers(first, len(data))] = chance.integers(256)
        if number % 5 == 0:
            del data[chance.integers(len(data)) : chance.integers(len(data))]
        for value in contents(bytes(data)).values():
            assert isinstance(value, str) or hashlib.sha256(value).digest() in hashes or zlib.crc32(value) == 0
