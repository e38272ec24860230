"""Entries of a ZIP that are parsed together give the same listing as entries that are parsed one at a time."""

from __future__ import annotations

import io
import itertools
import random
import stat
import warnings
import zipfile

import pytest

from curate.sources.entry import ListedPhoto
from curate.sources.listing.sorting import sort_photos
from curate.sources.zip import directory
from curate.sources.zip.listing import list_zip_members
from curate.sources.zip.plain_entries import find_plain_entries

FOLDERS = ["", "a/", "./", "/", "../", "x\\y\\", "é/", "__MACOSX/"]
STEMS = ["a", "b.left", "é", "x\ny", "nul\0", "PK\1\2", "~", ".hidden"]
ENDS = [".jpg", ".JPG", ".txt", ".json", ".zip", ".tar.gz", ".parquet", "", "/", ".jpg/", ".Z"]
KINDS = [0, 0, 0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO]


def odd_zip(rng: random.Random) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        for number in range(rng.randrange(40)):
            name = rng.choice(FOLDERS) + rng.choice(STEMS) + rng.choice(ENDS)
            info = zipfile.ZipInfo(name if rng.random() < 0.5 else f"{number}.jpg")
            info.create_system = rng.choice([0, 3, 19, 7])
            info.external_attr = rng.choice(KINDS) << 16
            info.compress_type = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            info.extra = rng.choice([b"", b"\x55\x54\5\0\1\1\2\3\4"])
            info.comment = rng.choice([b"", b"", b"PK\1\2" * 20])
            data = rng.choice([b"", b"a.jpg", rng.randbytes(99)])
            with archive.open(info, "w", force_zip64=rng.random() < 0.1) as member:
                member.write(data)
    damaged = bytearray(file.getvalue())
    for _ in range(rng.choice([0, 0, 1, 3])):  # damage in the directory, which is at the end
        at = rng.randrange(max(0, damaged.find(b"PK\1\2")), len(damaged))
        damaged[at] = rng.choice([0, 1, 255, damaged[at] ^ (1 << rng.randrange(8))])
    return rng.choice([b"", b"", b"#!/bin/sh\n"]) + bytes(damaged)


def rows(data: bytes) -> list[ListedPhoto]:
    container = ListedPhoto("/in", "x.zip", None, 1)
    return list(sort_photos(list_zip_members(container, io.BytesIO(data), len(data))))


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 19])
def test_the_rows_are_those_of_entries_parsed_one_at_a_time(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(directory, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(directory, "_MAX_ENTRY_BYTES", 400)
    rng = random.Random(0)  # noqa: S311
    zips = [odd_zip(rng) for _ in range(80)]
    together = [rows(data) for data in zips]
    monkeypatch.setattr(directory, "find_plain_entries", lambda *_: iter(()))
    assert together == [rows(data) for data in zips]
    assert sum(photo.error is None for photo in itertools.chain(*together)) > 300


def test_all_but_the_last_of_usual_entries_are_plain() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(10):
            archive.writestr(f"photos/{number}.jpg", b"x" * number)
    data = file.getvalue()
    start = data.find(b"PK\1\2")
    (found,) = find_plain_entries(data[start:], 0, len(data))
    assert found.names == [f"photos/{number}.jpg" for number in range(9)]
    assert found.sizes == [*range(9)]
    assert [data[offset : offset + 4] for offset in found.offsets] == [b"PK\3\4"] * 9
    assert data[start + found.end :].startswith(b"PK\1\2")
