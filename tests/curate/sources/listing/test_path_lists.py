"""Lists of paths: any order, any name, each photo once, sorted without holding the list in memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.errors import ScanError, SourceError
from curate.manifest import unescape
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources import ListedPhoto, Sources, list_photos, locate_photo, read_bytes
from curate.sources.listing.path_lists import read_entries
from curate.sources.listing.sorting import sort_photos

Pixels = NDArray[np.uint8]


def listed(*lines: bytes, folder: Path, null: bool = False, paths: tuple[Path, ...] = ()) -> list[ListedPhoto]:
    end = b"\0" if null else b"\n"
    (folder / "list").write_bytes(b"".join(line + end for line in lines))
    return list(Sources(paths, (str(folder / "list"),), null).photos())


def test_a_list_gives_the_same_entries_as_naming_its_photos(photos: Path, tmp_path: Path) -> None:
    names = ["more/b-gray.png", "a-vivid.png", "c-cut.png"]
    found = listed(*(os.fsencode(photos / name) for name in names), folder=tmp_path)
    assert found == list(Sources(tuple(photos / name for name in names)).photos())
    assert [(photo.source, photo.path) for photo in found] == [
        (str(photos), "a-vivid.png"),
        (str(photos), "c-cut.png"),
        (str(photos / "more"), "b-gray.png"),
    ]


def test_a_rescan_with_the_same_list_measures_nothing(photos: Path, tmp_path: Path) -> None:
    out, name = tmp_path / "m.parquet", str(tmp_path / "list")
    Path(name).write_text(f"{photos}/more/b-gray.png\n{photos}/a-vivid.png\n{photos}/gone.png\n", encoding="utf-8")
    options = ScanOptions(engine="serial", from_files=(name,))
    first = scan_photos([], out, options)
    rows = manifest.read_manifest(out).table
    again = scan_photos([], out, options)
    assert (first.measured_now, first.errors) == (3, {"Vanished": 1})
    assert (again.measured_now, again.errors) == (1, {"Vanished": 1})  # it may be back
    assert manifest.read_manifest(out).table.equals(rows)


def test_relative_paths_are_below_the_current_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos / "more")
    (found,) = listed(b"../more/b-gray.png", folder=tmp_path)
    assert (found.source, found.path, found.error) == (str(photos / "more"), "b-gray.png", None)


def test_repeated_lines_and_photos_of_a_named_folder_are_listed_once(photos: Path, tmp_path: Path) -> None:
    lines = [os.fsencode(photos / name) for name in ("a-vivid.png", "more/b-gray.png", "a-vivid.png", "./a-vivid.png")]
    assert len(listed(*lines, folder=tmp_path)) == 2
    both = listed(*lines, folder=tmp_path, paths=(photos / "more",))
    assert [(photo.source, photo.path) for photo in both] == [
        (str(photos), "a-vivid.png"),
        (str(photos / "more"), "b-gray.png"),
    ]


def test_names_with_newlines_and_invalid_utf8_are_read_between_nul_bytes(photos: Path, tmp_path: Path) -> None:
    names = [b"new\nline.png", b"caf\xe9.png", b"back\\slash.png", b" leading space.png", b"return\r.png"]
    for name in names:
        with open(os.path.join(os.fsencode(photos), name), "wb") as file:
            file.write((photos / "a-vivid.png").read_bytes())
    lines = [os.path.join(os.fsencode(photos), name) for name in names]
    found = listed(*lines, folder=tmp_path, null=True)
    assert {os.fsencode(unescape(photo.path)) for photo in found} == set(names)
    assert not [photo for photo in found if photo.error]


def test_windows_line_ends_and_empty_lines_are_accepted(photos: Path, tmp_path: Path) -> None:
    (found,) = listed(b"", os.fsencode(photos / "a-vivid.png") + b"\r", b"", folder=tmp_path)
    assert (found.path, found.error) == ("a-vivid.png", None)


def test_every_entry_of_a_list_is_listed_whatever_it_is(photos: Path, tmp_path: Path) -> None:
    found = listed(*(os.fsencode(photos / name) for name in ("more", "nowhere", "notes.txt")), folder=tmp_path)
    errors = {photo.path: (photo.error or "fine").partition(":")[0] for photo in found}
    assert errors == {"more": "NotAFile", "nowhere": "Vanished", "notes.txt": "fine"}


def test_a_list_can_be_read_from_standard_input(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    command = [sys.executable, "-m", "curate", "scan", "--from-file", "-", "-0", "-o", str(out), "--workers", "1"]
    paths = b"\0".join(os.fsencode(photos / name) for name in ("c-cut.png", "a-vivid.png"))
    done = subprocess.run(command, input=paths, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert manifest.read_manifest(out, columns=("path",)).table["path"].to_pylist() == ["a-vivid.png", "c-cut.png"]


@pytest.mark.parametrize("content", ["missing", "folder"])
def test_a_list_that_cannot_be_read_is_an_error(content: str, tmp_path: Path) -> None:
    if content == "folder":
        (tmp_path / "list").mkdir()
    sources = Sources(lists=(str(tmp_path / "list"),))
    with pytest.raises(SourceError, match=r"the list .* name another with --from-file"):
        list(sources.photos())
    if content == "missing":
        with pytest.raises(SourceError, match="doesn't exist"):
            sources.check()


WINDOWS_ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
"""As Notepad and PowerShell write them. Python writes byte order marks for utf-16 and utf-32, not for -le and -be."""


@pytest.mark.parametrize("encoding", WINDOWS_ENCODINGS)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_lists_are_read_in_the_encodings_of_windows(encoding: str, end: str, photos: Path, tmp_path: Path) -> None:
    names = ["a-vivid.png", "größe.png", "写真.png"]
    for name in names:
        (photos / name).touch()
    (tmp_path / "list").write_bytes("".join(f"{photos / name}{end}" for name in names).encode(encoding))
    found = list(Sources(lists=(str(tmp_path / "list"),)).photos())
    assert [(photo.path, photo.error) for photo in found] == [(name, None) for name in names]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_with_nul_characters_may_have_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("/a\0/é\n\0".encode(encoding))
    assert list(read_entries(str(tmp_path / "list"), null=True)) == ["/a", "/é\n"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "/a.jpg\n/größe.jpg\n".encode("cp1252"),
            "line 2 of the list .* is not UTF-8 text, .*: save the list as UTF-8",
        ),
        ("/a.jpg\n/b.jpg\n".encode("utf-16") + b"/c.jpg\n", "line 3 is not UTF-16-LE text: save it as UTF-8"),
        (b"x" * (5 << 20), "too long for a path"),
        (b"/a.jpg\0/b.jpg", "has NUL bytes: use -0"),
    ],
)
def test_lists_in_other_encodings_are_one_error_that_names_the_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(read_entries(str(tmp_path / "list"), null=False))


def test_a_name_that_is_not_utf8_may_be_in_a_list_of_lines_if_there_is_such_a_file(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    with open(path, "wb"):
        pass
    (found,) = listed(path, folder=tmp_path)
    assert (found.path, found.error) == (r"caf\xe9.jpg", None)


Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, Form] = ("NFC", "NFD")


@pytest.mark.parametrize(("on_disk", "in_list"), [FORMS, FORMS[::-1]])
def test_names_are_found_in_the_other_unicode_normal_form(on_disk: Form, in_list: Form, tmp_path: Path) -> None:
    name = "Zürich/größe é.jpg"
    path = tmp_path / unicodedata.normalize(on_disk, name)
    path.parent.mkdir()
    path.touch()
    other = tmp_path / unicodedata.normalize(in_list, name)
    (found,) = listed(os.fsencode(other), folder=tmp_path)
    assert (found.open_path(), found.error) == (str(path), None)
    # a folder and a list name the photo once
    sources = Sources((path.parent,), lists=(str(tmp_path / "list"),))
    assert [photo.open_path() for photo in sources.photos()] == [str(path)]
    assert [photo.open_path() for photo in list_photos([other])] == [str(path)]
    assert locate_photo("/moved", unicodedata.normalize(in_list, name), [tmp_path]) == str(path)
    assert read_bytes(str(other)) == b""


def test_of_two_files_whose_names_differ_in_the_normal_form_each_has_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / unicodedata.normalize(form, "é.jpg") for form in FORMS]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this file system takes both for one name")
    found = listed(*map(os.fsencode, paths), folder=tmp_path)
    assert sorted(photo.open_path() for photo in found) == sorted(map(str, paths))
    assert [read_bytes(str(path)) for path in paths] == [b"\0", b"\1"]
    # a name in neither form that could be either of them is none
    neither = "é" + unicodedata.normalize("NFD", "é")
    for form in FORMS:
        (tmp_path / unicodedata.normalize(form, neither)).touch()
    (missing,) = listed(os.fsencode(tmp_path / neither), folder=tmp_path)
    assert (missing.error or "").startswith("Vanished: ")


@given(st.lists(st.binary(max_size=8).map(lambda raw: raw.replace(b"\0", b"").strip(b"\xef\xfe\xff")), max_size=20))
def test_any_bytes_between_nul_bytes_are_an_entry(lines: list[bytes]) -> None:
    file = io.BytesIO(b"\0".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert [os.fsencode(entry) for entry in read_entries("-", null=True)] == [line for line in lines if line]


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.sampled_from(["/a", "/a/b", "/é"]), names), max_size=20))
def test_sorting_on_disk_equals_sorting_by_key(keys: list[tuple[str, str]]) -> None:
    found = [ListedPhoto(source, path, number, None) for number, (source, path) in enumerate(keys)]
    expected = {photo.key: photo for photo in found}  # of one key the last
    assert list(sort_photos(found)) == [expected[key] for key in sorted(expected)]


def test_a_long_list_is_not_held_in_memory() -> None:
    tracemalloc.start()
    many = (ListedPhoto("/photos", f"{number * 7919 % 50_000:06}.jpg", number, number) for number in range(50_000))
    assert sum(1 for _ in sort_photos(many)) == 50_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_photos_of_a_list_become_measured_rows(vivid: Pixels, tmp_path: Path) -> None:
    Image.fromarray(vivid).save(tmp_path / "a.png")
    (tmp_path / "list").write_bytes(os.fsencode(tmp_path / "a.png"))
    assert (
        scan_photos(
            [], tmp_path / "m.parquet", ScanOptions(engine="serial", from_files=(str(tmp_path / "list"),))
        ).scored
        == 1
    )


def test_closed_or_empty_standard_input_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ScanOptions(engine="serial", from_files=("-",))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match="the list - can't be read: standard input is closed"):
        scan_photos([], tmp_path / "m.parquet", options)
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(ScanError, match="no photos in standard input: give a folder or a list"):
            scan_photos([], tmp_path / "m.parquet", options)
