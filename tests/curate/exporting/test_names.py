"""Names of exported photos and of the files beside them."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.exporting.names import ExportNames, Kind, clean_name
from curate.sources.entry import Sidecar


def names(paths: list[str], kind: Kind) -> list[str]:
    """The name of a photo with each path."""
    namer = ExportNames(kind, several=False)
    return [
        namer.photo({"source": "/s", "path": path, "sha256": f"{number:064x}", "format": "PNG"})
        for number, path in enumerate(paths)
    ]


paths = st.lists(st.text(max_size=9) | st.text("äa/.", max_size=600), min_size=1, max_size=12)


@given(paths, st.sampled_from(["webdataset", "copy", "imagefolder"]))
def test_names_are_portable_relative_and_unique_for_any_paths(paths: list[str], kind: Kind) -> None:
    found = names(paths, kind)
    keys = {name.casefold() for name in found}
    assert len(keys) == len(paths)
    for name in found:
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert not any(character in name for character in '<>:"|?*\\\0\n')
        assert all(len(part.encode()) <= 240 for part in name.split("/"))
        assert not any(key.startswith(f"{name.casefold()}/") for key in keys)


@pytest.mark.parametrize("kind", ["webdataset", "copy", "imagefolder"])
def test_a_folder_and_a_file_of_one_name_get_different_names(kind: Kind) -> None:
    for paths in (["a.jpg", "a.jpg/b.jpg", "A.JPG/c.jpg"], ["a.jpg/b.jpg", "a.jpg"]):
        found = names(paths, kind)
        assert not any(other.casefold().startswith(f"{name.casefold()}/") for name, other in product(found, found))
    assert [name.rpartition("train/")[2] for name in names(["a.jpg", "a/b.jpg"], kind)] == ["a.jpg", "a/b.jpg"]


def test_photos_of_several_sources_get_one_folder_each() -> None:
    rows = [
        {"source": f"/{root}", "path": name, "sha256": "0" * 64} for root, name in product("xy", ("a.jpg", "b.jpg"))
    ]
    namer, one = ExportNames("copy", several=True), ExportNames("copy", several=False)
    assert list(map(namer.photo, rows)) == ["x/a.jpg", "x/b.jpg", "y/a.jpg", "y/b.jpg"]
    assert list(map(one.photo, rows))[2] == "a-00000000.jpg"


@pytest.mark.parametrize(("path", "clean"), [("a/../b.jpg", "a/b.jpg"), ("con.jpg", "_con.jpg"), ("?", "_"), ("", "_")])
def test_names_are_cleaned(path: str, clean: str) -> None:
    assert clean_name(path) == clean


def test_files_that_the_export_writes_are_not_replaced_by_others() -> None:
    namer = ExportNames("copy", several=False)

    def sidecar(photo: str, name: str) -> str:
        row = {"source": "/s", "path": photo, "sha256": "0" * 64}
        return namer.sidecar(namer.photo(row), row, Sidecar(name))

    assert sidecar("failed.jpg", "failed.csv") == "failed.jpg.csv"
    assert sidecar("README.jpg", "README.md") == "README.jpg.md"
    assert sidecar("more/failed.jpg", "more/failed.csv") == "more/failed.csv"
    assert namer.photo({"source": "/s", "path": "failed.csv/a.jpg", "sha256": "0" * 64}) == "_failed.csv/a.jpg"


@pytest.mark.parametrize("kind", ["webdataset", "copy"])
def test_the_file_beside_the_second_member_of_a_name_gets_the_name_of_its_photo(kind: Kind) -> None:
    namer = ExportNames(kind, several=False)
    found = []
    for number, path in enumerate(("0.tar/a~2.jpg", "0.tar/a.jpg")):
        row = {"source": "/s", "path": path, "sha256": f"{number:064x}"}
        found.append(namer.sidecar(namer.photo(row), row, Sidecar("0.tar/a.txt", number, 5)).removeprefix("train/"))
    assert found == ["0.tar/a~2.txt", "0.tar/a.txt"]


def test_a_split_is_one_folder_of_the_output() -> None:
    row = {"source": "/s", "path": "a.jpg", "sha256": "0" * 64, "split": "../x/y"}
    assert ExportNames("imagefolder", several=False).photo(row) == "x_y/a.jpg"
