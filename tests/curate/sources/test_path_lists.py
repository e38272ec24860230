"""Lists of paths: any order, any name, each photo once, sorted without holding the list in memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

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
from curate.sources import ListedPhoto, Sources
from curate.sources.path_lists import read_entries, sort_photos

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


@given(st.lists(st.binary(max_size=8).map(lambda raw: raw.replace(b"\0", b"")), max_size=20))
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
