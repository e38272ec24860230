"""Listing folders and files: one stable order, each file once, odd names, links, pipes, unreadable paths."""

from __future__ import annotations

import errno
import inspect
import io
import os
import socket
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curate.errors import TRANSIENT_KINDS, SourceError
from curate.manifest import escape, unescape
from curate.scanning.scan import ScanOptions, scan_photos
from curate.sources import ListedPhoto, as_photo_error, has_photo_name, list_photos

name_bytes = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"-"))


def paths_of(*roots: Path) -> list[str]:
    return [photo.path for photo in list_photos(roots)]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@given(name_bytes)
def test_escape_and_unescape_return_any_name(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = escape(name)
    assert unescape(text) == name
    assert text.encode("utf-8").decode("utf-8") == text


@given(name_bytes, name_bytes)
def test_different_names_have_different_manifest_text(one: bytes, other: bytes) -> None:
    assert (escape(os.fsdecode(one)) == escape(os.fsdecode(other))) == (one == other)


def test_the_listing_is_sorted_by_key_and_not_by_plain_text(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "a/z.jpg", "a-b/y.jpg", "a.jpg", "a b.jpg", "A.jpg", "a/b/c.jpg", "é.jpg")
    found = list(list_photos([tmp_path]))
    assert [photo.key for photo in found] == sorted(photo.key for photo in found)
    assert [photo.path for photo in found] == [
        *("A.jpg", "a/b/c.jpg", "a/z.jpg", "a b.jpg", "a-b/y.jpg", "a.jpg", "b.jpg", "é.jpg")
    ]


@given(raw=st.lists(st.tuples(st.sampled_from([b"", b"a/", b"a-/", b"b/a/"]), name_bytes), min_size=1, max_size=8))
def test_odd_names_are_listed_once_and_in_order(
    raw: list[tuple[bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("names")
    made = set()
    for folder, name in raw:
        if name.strip(b".") == b"":
            continue
        full = os.path.join(os.fsencode(root), folder, name + b".jpg")
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb"):
            made.add(full)
    found = list(list_photos([root]))
    assert {os.fsencode(photo.open_path()) for photo in found} == made
    assert [photo.key for photo in found] == sorted({photo.key for photo in found})


def test_an_entry_has_the_files_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_234_567_891))
    assert list(list_photos([tmp_path])) == [ListedPhoto(str(tmp_path), "a.jpg", 5, 1_234_567_891)]


def test_nested_and_repeated_roots_list_each_file_once(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "a/b/2.jpg", "c/3.jpg")
    everything = [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path, tmp_path / "a" / "1.jpg"]
    assert paths_of(*everything) == ["a/1.jpg", "a/b/2.jpg", "c/3.jpg"]


def test_a_folder_whose_name_begins_like_another_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, "photos/1.jpg", "photos-old/2.jpg")
    assert paths_of(tmp_path / "photos-old", tmp_path / "photos") == ["1.jpg", "2.jpg"]


def test_the_order_of_roots_does_not_matter(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    roots = [tmp_path / "c" / "3.jpg", tmp_path / "a", tmp_path / "b"]
    assert list(list_photos(roots)) == list(list_photos(roots[::-1]))
    assert paths_of(*roots) == ["1.jpg", "2.jpg", "3.jpg"]


def test_relative_and_absolute_paths_of_a_root_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert list(list_photos([Path("a"), tmp_path / "a", Path("a/../a/1.jpg")])) == list(list_photos([tmp_path / "a"]))


def test_single_files_are_listed_without_the_rest_of_their_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.jpg", "c.txt")
    found = list(list_photos([tmp_path / "c.txt", tmp_path / "a.jpg"]))
    assert [(photo.source, photo.path) for photo in found] == [(str(tmp_path), "a.jpg"), (str(tmp_path), "c.txt")]


def test_links_are_followed_but_not_in_a_loop(tmp_path: Path) -> None:
    fill(tmp_path, "in/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "in" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self").symlink_to("self")
    (tmp_path / "in" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    assert paths_of(tmp_path / "in") == ["1.jpg", "out/2.jpg"]


def test_a_link_to_itself_with_a_photos_name_is_an_entry_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (found,) = list_photos([tmp_path])
    assert found.error is not None
    assert found.error.startswith("ReadFailed: ")


def test_a_folder_with_a_photos_name_is_an_entry_and_its_content_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg/inside.jpg", "b/c.jpg")
    folder, inside, other = list_photos([tmp_path])
    assert (folder.path, folder.error) == ("a.jpg", "NotAFile: a folder with a photo's name")
    assert (inside.path, inside.error) == ("a.jpg/inside.jpg", None)
    assert (other.path, other.error) == ("b/c.jpg", None)


def test_pipes_sockets_and_broken_links_are_entries_only_with_a_photos_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    for name in ("pipe.jpg", "pipe"):
        os.mkfifo(name)
    for name in ("broken.jpg", "broken"):
        Path(name).symlink_to("nowhere")
    for name in ("socket.jpg", "socket"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    errors = {photo.path: (photo.error or "").partition(" (")[0] for photo in list_photos([tmp_path])}
    assert list(errors) == ["broken.jpg", "pipe.jpg", "socket.jpg"]
    assert errors["broken.jpg"].startswith("Vanished: ")
    assert errors["pipe.jpg"] == "NotAFile: it is a pipe"
    assert errors["socket.jpg"] == "NotAFile: it is a socket"


def test_a_broken_link_named_itself_is_an_entry_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "y.jpg").symlink_to("nowhere")
    (found,) = list_photos([tmp_path / "y.jpg"])
    assert found.error is not None
    assert found.error.startswith("Vanished: ")


def test_excluded_folders_are_not_entered_through_a_link_either(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "work/2.jpg")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "work")
    assert [photo.path for photo in list_photos([tmp_path], exclude=[tmp_path / "work"])] == ["a/1.jpg"]


def test_an_empty_folder_lists_nothing(tmp_path: Path) -> None:
    assert paths_of(tmp_path) == []


def test_a_root_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere doesn't exist"):
        paths_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("os_error", "kind"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "NoPermission"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "Vanished"),
        (OSError(errno.EIO, "Input/output error"), "ReadFailed"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "ReadFailed"),
    ],
)
def test_operating_system_errors_become_transient_photo_errors(os_error: OSError, kind: str) -> None:
    error = as_photo_error(os_error, "the file can't be read")
    assert str(error) == f"{kind}: the file can't be read: {os_error.strerror}"
    assert kind in TRANSIENT_KINDS


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "x/y.Png", "b.c.webp", "z.tif", "n\n.heic", ".hidden.jpg"])
def test_has_photo_name(name: str) -> None:
    assert has_photo_name(name)


@pytest.mark.parametrize("name", ["a.txt", "jpg", ".jpg", "a.jpg.xmp", "a.jpg/b", "a.nef"])
def test_has_no_photo_name(name: str) -> None:
    assert not has_photo_name(name)


@pytest.mark.parametrize("time_s", [10_413_792_000, -12_000_000_000])  # the years 2300 and 1589
@pytest.mark.parametrize("name", ["a.jpg", "a.tar"])
def test_times_that_64_bits_do_not_hold_are_limited_and_known_by_the_next_scan(
    name: str, time_s: int, vivid: NDArray[np.uint8], tmp_path: Path
) -> None:
    photo = io.BytesIO()
    Image.fromarray(vivid).save(photo, "JPEG")
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(photo.getvalue())
    photo.seek(0)
    if name == "a.tar":
        member = tarfile.TarInfo("b.jpg")
        member.size = len(photo.getvalue())
        with tarfile.open(path, "w") as tar:
            tar.addfile(member, photo)
    os.utime(path, ns=(time_s * 10**9, time_s * 10**9))
    held = path.stat().st_mtime_ns  # file systems have limits of their own
    (*_, found) = list_photos([tmp_path / "in"])
    assert found.modified_ns == min(max(held, -(2**63)), 2**63 - 1)  # int64 holds the years 1677 to 2262
    options = ScanOptions(engine="serial")
    assert scan_photos([tmp_path / "in"], tmp_path / "m.parquet", options).errors == {}
    assert scan_photos([tmp_path / "in"], tmp_path / "m.parquet", options).measured_now == 0


def test_the_depth_of_folders_is_not_limited_by_pythons_recursion(tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["d"] * 200, "a.jpg")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        found = paths_of(tmp_path)
    finally:
        sys.setrecursionlimit(before)
    assert found == [path.relative_to(tmp_path).as_posix()]
