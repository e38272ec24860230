"""The directory of a ZIP, read in pieces: the entries that zipfile finds, whatever is before and between them."""

from __future__ import annotations

import io
import zipfile

import pytest

from curate.sources.zip import directory
from curate.sources.zip.directory import ZipDirectory


def entries(data: bytes) -> list[tuple[object, ...]]:
    names = directory.ZipEntry._fields
    with zipfile.ZipFile(io.BytesIO(data)) as expected:
        whole = [tuple(getattr(member, name) for name in names) for member in expected.infolist()]
    found = [tuple(entry) for entry in ZipDirectory(io.BytesIO(data), len(data))]
    assert found == whole
    return found


def zip_of(count: int, *, zip64: bool = False, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            with archive.open(f"café/{number}.jpg", "w", force_zip64=zip64) as member:
                member.write(b"x" * number)
        archive.comment = comment
    return file.getvalue()


@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n" * 50])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_entries_are_those_of_zipfile(count: int, prefix: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(directory, "_MAX_ENTRY_BYTES", 400)
    assert len(entries(prefix + zip_of(count, comment=b"a comment"))) == count


def test_a_zip_with_more_than_65535_entries_is_read_by_its_zip64_records() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(65_600):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
    assert len(entries(file.getvalue())) == 65_600


@pytest.mark.parametrize("damage", [(-6, b"\xff\xff\xff\x7f"), (-10, b"\xff\xff\xff\x7f"), (-22, b"xx")])
def test_a_damaged_end_is_an_error(damage: tuple[int, bytes]) -> None:
    data = bytearray(zip_of(3))
    at = len(data) + damage[0]
    data[at : at + len(damage[1])] = damage[1]
    with pytest.raises(zipfile.BadZipFile):
        list(ZipDirectory(io.BytesIO(data), len(data)))
