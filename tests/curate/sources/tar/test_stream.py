"""Compressed tars: read front to back, once; damaged ones and bombs are reported."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from curate.sources import list_photos, read_photo
from curate.sources.compression import BOMB_BYTES
from curate.sources.listing.containers import list_stream_members
from curate.sources.tar import stream as tar_stream
from curate.sources.tar.stream import TarStream, keep_streams_open

NOISE = os.urandom(300_000)
Contents = dict[str, bytes]


def zstd(data: bytes) -> bytes:
    sink = io.BytesIO()
    with pa.CompressedOutputStream(pa.PythonFile(sink, mode="w"), "zstd") as out:
        out.write(data)
        sink.close = lambda: None  # type: ignore[method-assign]  # or its content would be lost
    return sink.getvalue()


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                entry = tarfile.TarInfo(member[0])
                entry.size = len(member[1])
                tar.addfile(entry, io.BytesIO(member[1]))
    return file.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "tar.gz": gzip.compress,
    "tar.zst": zstd,
    "tar.bz2": bz2.compress,
    "tar.xz": lambda data: lzma.compress(data, preset=0),
}
PHOTOS = ("a.jpg", NOISE), ("notes.txt", b"text"), ("b/c.jpg", NOISE[:1000]), ("d.jpg", b"")


def contents(path: Path) -> Contents:
    """By path: the bytes of each member, or its error."""
    (archive,) = list_photos([path])
    assert archive.is_stream
    members = TarStream(archive).members(lambda _, __: True, max_bytes=1 << 30)
    return {photo.path: (photo.error or "").encode() or data for photo, data in members}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["x.tar.gz", "x.TAR"])  # the content says how it is compressed
def test_members_are_read_in_order_and_again_at_their_position(codec: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CODECS[codec](tar_of(*PHOTOS)))
    (archive,) = list_photos([tmp_path])
    assert (archive.path, archive.bytes, archive.error) == (name, (tmp_path / name).stat().st_size, None)
    found = list(TarStream(archive).members(lambda photo, _: photo.has_photo_name, max_bytes=1 << 30))
    assert [(photo.path, data) for photo, data in found] == [(f"{name}/{member}", data) for member, data in PHOTOS]
    for photo, data in reversed(found):
        assert read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes) == data


def test_a_tar_that_is_named_as_if_it_were_compressed_is_read_at_positions(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_of(*PHOTOS))
    listed = list(list_photos([tmp_path]))
    assert [photo.path for photo in listed] == [
        "x.tar.gz/a.jpg",
        "x.tar.gz/b/c.jpg",
        "x.tar.gz/d.jpg",
        "x.tar.gz/notes.txt",
    ]
    assert read_photo(listed[0].source, listed[0].path, offset=listed[0].offset, size=listed[0].bytes) == NOISE


@pytest.mark.parametrize("head", [b"\x04\x22\x4d\x18", b"\x1f\x9d", b"LZIP"])
def test_other_compressions_are_named(head: bytes) -> None:
    data = head + bytes(600)
    (found,) = list_stream_members("/s", "x.tar.lz4", io.BytesIO(data), len(data), 1)
    assert "UnsupportedFormat: a tar that is compressed by" in (found.error or "")


def test_links_lead_to_members_of_the_same_tar(tmp_path: Path) -> None:
    tar = tar_of(
        link("early.jpg", "b/c.jpg"),
        *PHOTOS,
        link("hard.jpg", "a.jpg", tarfile.LNKTYPE),
        link("b/up.jpg", "../a.jpg"),
        link("out.jpg", "/etc/hosts"),
    )
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar))
    (archive,) = list_photos([tmp_path])
    stream = TarStream(archive)
    members = [photo for photo, _ in stream.members(lambda _, __: False, max_bytes=1)]
    by_path = {photo.path: photo.offset for photo in members}
    links = {photo.path: (photo.offset, photo.error) for photo in stream.resolve_links(members)}
    assert links["x.tgz/early.jpg"] == (by_path["x.tgz/b/c.jpg"], None)
    assert links["x.tgz/hard.jpg"] == links["x.tgz/b/up.jpg"] == (by_path["x.tgz/a.jpg"], None)
    assert "NotAFile: a link to etc/hosts" in (links["x.tgz/out.jpg"][1] or "")


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_before_the_cut_is_read(codec: str, tmp_path: Path) -> None:
    whole = CODECS[codec](tar_of(("0.jpg", b"first"), ("a.jpg", NOISE), ("b.jpg", NOISE)))
    (tmp_path / "x.tar.gz").write_bytes(whole[: -len(NOISE) // 2])
    found = contents(tmp_path / "x.tar.gz")
    assert b"BrokenTar: cut off at byte" in found.pop("x.tar.gz")
    if codec == "tar.bz2":  # its blocks have 900 kB
        return
    assert found["x.tar.gz/0.jpg"] == b"first"
    assert b"BrokenTar: the tar is cut off in this member" in list(found.values())[-1]


def test_a_wrong_checksum_is_an_error_of_the_tar(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(tar_of(("a.jpg", b"small"))))
    data[-8] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(data)
    found = contents(tmp_path / "x.tar.gz")
    assert found.pop("x.tar.gz/a.jpg") == b"small"
    assert b"BrokenTar: damaged before byte" in found.pop("x.tar.gz")
    assert not found


def test_several_members_of_gzip_and_zeros_are_one_tar_and_other_data_are_an_error(tmp_path: Path) -> None:
    tar = tar_of(*PHOTOS)
    joined = gzip.compress(tar[:700]) + gzip.compress(tar[700:])
    (tmp_path / "x.tar.gz").write_bytes(joined + bytes(10_000))
    assert list(contents(tmp_path / "x.tar.gz")) == [f"x.tar.gz/{name}" for name, _ in PHOTOS]
    (tmp_path / "x.tar.gz").write_bytes(joined + b"something else")
    found = contents(tmp_path / "x.tar.gz")
    assert b"other data follow the compressed data" in found.pop("x.tar.gz")
    assert len(found) == len(PHOTOS)


@pytest.mark.parametrize("codec", ["tar.gz", "tar.zst"])
def test_a_bomb_is_given_up(codec: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(CODECS[codec](tar_of(("0.jpg", b"first")) + bytes(BOMB_BYTES + (1 << 21))))
    found = contents(tmp_path / "x.tar.gz")
    assert b"FileTooLarge: " in found["x.tar.gz"]
    assert found["x.tar.gz/0.jpg"] == b"first"


def test_compressed_data_that_are_no_tar_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(NOISE))
    assert list(contents(tmp_path / "x.tar.gz")) == ["x.tar.gz"]


def test_a_tar_that_has_changed_since_the_listing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tar_of(*PHOTOS)))
    (archive,) = list_photos([tmp_path])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tar_of(*PHOTOS)) + bytes(1))
    (entry,) = TarStream(archive).members(lambda _, __: True, max_bytes=1)
    assert (entry[0].error or "").startswith("ChangedWhileRead")


def test_a_kept_stream_reads_a_tar_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_checked = tar_stream._open_checked

    def counted(location: str) -> object:
        opened.append(location)
        return open_checked(location)

    monkeypatch.setattr(tar_stream, "_open_checked", counted)
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar_of(*PHOTOS)))
    (archive,) = list_photos([tmp_path])
    members = [photo for photo, _ in TarStream(archive).members(lambda _, __: True, max_bytes=1 << 30)]
    opened.clear()
    with keep_streams_open():
        for photo in members:
            read_photo(photo.source, photo.path, offset=photo.offset, size=photo.bytes)
    assert len(opened) == 1


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    assert tar_stream._kept._stream is None
