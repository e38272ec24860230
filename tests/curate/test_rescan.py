"""Scanning again: what is known stays known under whatever name, and nothing is given up without a word."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import manifest, rows, words
from curate.errors import ManifestError, ScanError, SourceError
from curate.manifest import SCAN_SCHEMA
from curate.known import Line
from curate.scan import ScanOptions, Summary, measure_shard, scan
from curate.score import ScoreOptions
from curate.sources import Share, Sources
from curate.worklist import Worklist

SERIAL = ScanOptions(engine="serial")


@pytest.fixture
def tree(photos: Path) -> Path:
    """Photos in folders whose order as text isn't that of their parts, and in a tar."""
    whole = (photos / "a-vivid.png").read_bytes()
    for name in ("a/1.png", "a/b/2.png", "a/c.png", "a b/3.png", "a-b/4.png", "a-b/c/5.png", "z/6.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(whole)
    with tarfile.open(photos / "a" / "n.tar", "w") as tar:
        tar.add(photos / "a-vivid.png", "7.png")
    return photos


def rescanned(first: list[Path], then: list[Path], out: Path, options: ScanOptions = SERIAL) -> Summary:
    scan(first, out, options)
    return scan(then, out, options)


def paths_in(out: Path) -> list[str]:
    paths: list[str] = manifest.read(out).table["path"].to_pylist()
    return paths


@pytest.mark.parametrize(
    "before", [["a"], ["a", "a b", "a-b"], ["a-b/c", "a", "z/6.png"], ["a-b/c", "a-b/4.png", "a/b"]]
)
def test_a_wider_source_measures_only_what_is_new(before: list[str], tree: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "m.parquet", tmp_path / "fresh.parquet"
    first = scan([tree / name for name in before], out, SERIAL)
    again = scan([tree], out, SERIAL)
    whole = scan([tree], fresh, SERIAL)
    assert again.measured_now == whole.photos - first.photos
    assert (again.gone, again.emptied) == (0, {})
    assert manifest.read(out).table.equals(manifest.read(fresh).table)
    assert scan([tree], out, SERIAL).measured_now == 0


def test_a_wider_source_takes_over_what_a_list_found(tree: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "m.parquet", tmp_path / "list"
    names.write_text(f"{tree}/a/1.png\n{tree}/a-b/4.png\n{tree}/z/6.png\n{tree}/a-vivid.png\n", encoding="utf-8")
    listed = replace(SERIAL, from_files=(str(names),))
    scan([], out, listed)
    assert scan([tree], out, listed).measured_now == 11 - 4
    assert scan([tree], out, listed).measured_now == 0


@pytest.mark.parametrize("before", [["a/n.tar"], ["a/n.tar", "a/1.png"], ["a/n.tar", "z"]])
def test_a_tar_or_photo_named_by_itself_is_known_as_it_was(before: list[str], tree: Path, tmp_path: Path) -> None:
    out, named = tmp_path / "m.parquet", [tree / name for name in before]
    assert rescanned(named, named, out).measured_now == 0
    first = len(paths_in(out))
    assert scan([tree], out, SERIAL).measured_now == 11 - first


def test_a_source_named_by_a_link_is_the_folder_itself(tree: Path, tmp_path: Path) -> None:
    out, link = tmp_path / "m.parquet", tmp_path / "link"
    link.symlink_to(tree / "a")
    assert rescanned([link], [tree / "a"], out).measured_now == 0
    assert scan([tree], out, SERIAL).measured_now == 7
    assert set(manifest.read(out).table["source"].to_pylist()) == {str(tree)}


def test_a_photo_that_is_listed_by_a_link_stays_it(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree / "a")
    assert rescanned([tree, link / "1.png"], [tree, link / "1.png"], tmp_path / "m.parquet").measured_now == 0


def test_what_a_killed_scan_finished_is_known_to_a_wider_one(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree / "a"], out, SERIAL)
    known = manifest.read(out)
    assert known.lineage is not None
    work = tmp_path / ".m.parquet.scan"
    work.mkdir()
    manifest.write(work / "known-0000.parquet", known.table, known.lineage)
    (work / "made_by").write_text(str(known.lineage.options["made_by"]), encoding="utf-8")
    out.unlink()
    assert scan([tree], out, SERIAL).measured_now == 7
    assert not work.exists()


places = st.lists(st.text("ab-. ", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40)
@given(
    found=st.lists(st.tuples(places, places), min_size=1, max_size=12, unique_by=lambda row: row[0] + row[1]),
    few=st.booleans(),
)
def test_renamed_rows_are_in_the_order_of_the_wider_listing(
    found: list[tuple[tuple[str, ...], tuple[str, ...]]], few: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("known")
    known = sorted(("/p/" + "/".join(source), path) for source, path in found)
    table = pa.table({"source": [source for source, _ in known], "path": ["/".join(path) for _, path in known]})
    with manifest.writer(folder / "known.parquet", SCAN_SCHEMA) as file:
        empty = SCAN_SCHEMA.empty_table()
        file.write_table(pa.concat_tables([empty, table], promote_options="permissive").cast(SCAN_SCHEMA))
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(moved, "ROWS_A_GROUP", 2)
            patch.setattr(rows, "ROWS_A_GROUP", 2)
        renamed = as_named_now(folder / "known.parquet", folder, Sources(("/p",)))
    names = manifest.read(renamed).table["path"].to_pylist()
    assert names == sorted(("/".join(source + path) for source, path in found), key=lambda name: name.split("/"))
    assert len(list(folder.iterdir())) <= 2


def in_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def mount_point(folder: Path, *inside: str) -> None:
    """Make an empty folder that has been there for long."""
    (folder / Path(*inside)).mkdir(parents=True)
    for place, _, _ in os.walk(folder):
        os.utime(place, (0, 0))


@contextlib.contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """A folder as it is where its disk isn't mounted."""
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    mount_point(folder)
    yield
    folder.rmdir()
    away.rename(folder)


@pytest.mark.parametrize("where", ["a", "a/b", "z"])
def test_a_lost_mount_below_a_source_stops_the_scan(where: str, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree], out, SERIAL)
    before = out.read_bytes()
    aside = tmp_path / "aside"
    shutil.move(tree / where, aside)
    mount_point(tree / where, "empty", "folders")
    with pytest.raises(
        ScanError, match=rf"/{where} is empty or out of reach, and .*m.parquet knows \d photos? of it"
    ) as no:
        scan([tree], out, SERIAL)
    assert in_line(no).endswith(f"to give them up, add --forget {tree / where}")
    assert out.read_bytes() == before
    shutil.rmtree(tree / where)
    shutil.move(aside, tree / where)
    assert scan([tree], out, SERIAL).measured_now == 0


def test_photos_of_an_empty_folder_are_given_up_when_asked_alone(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree], out, SERIAL)
    for name in ("a", "z"):
        shutil.rmtree(tree / name)
        mount_point(tree / name)
    with pytest.raises(ScanError, match=r"photos/a is empty .* knows 4 photos of it \(and 1 folder more like it\)"):
        scan([tree], out, SERIAL)
    with pytest.raises(ScanError, match=r"photos/z is empty .* knows 1 photo of it:"):
        scan([tree], out, replace(SERIAL, forget=(f"{tree}/a",)))
    given_up = scan([tree], out, replace(SERIAL, forget=(f"{tree}/a", f"{tree}/z")))
    assert (given_up.measured_now, given_up.gone, given_up.photos) == (0, 5, 6)


def test_a_folder_that_was_emptied_by_hand_is_named_and_stops_nothing(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree], out, SERIAL)
    (tree / "z" / "6.png").unlink()
    shutil.rmtree(tree / "a-b" / "c")
    (tree / "a-b" / "4.png").unlink()
    summary = scan([tree], out, SERIAL)
    assert (summary.measured_now, summary.gone, summary.emptied) == (0, 3, {f"{tree}/a-b": 2, f"{tree}/z": 1})


def test_a_folder_that_is_gone_altogether_is_named(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree], out, SERIAL)
    for name in ("a", "z"):
        shutil.rmtree(tree / name)
    summary = scan([tree], out, SERIAL)
    assert (summary.gone, summary.emptied) == (5, {f"{tree}/a": 4, f"{tree}/z": 1})
    said = [line for line in words.of_scan(summary, out) if line.startswith("Warning: ")]
    assert said == [
        f"Warning: {tree}/a holds none of its 4 photos any more: if a disk is missing there, mount it and scan again",
        f"Warning: {tree}/z holds none of its 1 photo any more: if a disk is missing there, mount it and scan again",
    ]


def test_a_source_that_is_empty_now_doesnt_empty_the_manifest(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree / "a", tree / "z"], out, SERIAL)
    before = out.read_bytes()
    with unmounted(tree / "z"):
        for again in ([tree / "a", tree / "z"], [tree]):  # also as a part of another source
            with pytest.raises(ScanError, match=r"/z is empty or out of reach, and .* knows 1 photo of it: if a disk"):
                scan(again, out, SERIAL)
    with pytest.raises(SourceError, match=r"nowhere doesn't exist"):
        scan([tree / "a", tree / "nowhere"], out, SERIAL)
    assert out.read_bytes() == before
    assert not out.with_name(".m.parquet.scan").exists()


def test_a_source_is_given_up_alone(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree / "a", tree / "z"], out, SERIAL)
    shutil.rmtree(tree / "z")
    with pytest.raises(
        ManifestError, match=rf"leaves out: name it too, give its photos up with --forget {tree}/z, choose"
    ):
        scan([tree / "a"], out, SERIAL)
    summary = scan([tree / "a"], out, replace(SERIAL, forget=(f"{tree}/z",)))
    assert (summary.measured_now, summary.photos, summary.gone) == (0, 4, 1)
    assert scan([tree / "a"], out, SERIAL).gone == 0


@pytest.mark.parametrize(
    ("names", "photos_left"),
    [
        (["a-b", "a/b", "a"], 6),
        (["a/n.tar"], 1),
        (["a-vivid.png", "a/b/2.png", "a-b/4.png", "a-b/c"], 4),
        (["a/b", "a/1.png", "a/n.tar"], 3),
    ],
)
def test_a_narrower_source_measures_nothing_and_gives_up_the_rest_when_asked(
    names: list[str], photos_left: int, tree: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "m.parquet", tmp_path / "fresh.parquet"
    narrow = [tree / name for name in names]
    summary = rescanned([tree], narrow, out, replace(SERIAL, forget=(str(tree),)))
    assert (summary.measured_now, summary.photos, summary.gone) == (0, photos_left, 11 - photos_left)
    scan(narrow, fresh, SERIAL)
    assert manifest.read(out).table.equals(manifest.read(fresh).table)


def test_a_source_in_another_changes_no_name(tree: Path, tmp_path: Path) -> None:
    assert rescanned([tree], [tree, tree / "a"], tmp_path / "m.parquet").measured_now == 0
    assert scan([tree / "a", tree], tmp_path / "m.parquet", SERIAL).measured_now == 0


def test_forgetting_gives_up_nothing_that_is_there(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    assert rescanned([tree], [tree], out, replace(SERIAL, forget=(str(tree),))).measured_now == 0
    assert len(paths_in(out)) == 11


def test_a_lost_mount_is_noticed_by_another_scorer_too(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan([tree], out, SERIAL)
    with unmounted(tree / "a"), pytest.raises(ScanError, match="/a is empty or out of reach"):
        scan([tree], out, replace(SERIAL, score=ScoreOptions(fidelity="fast")))


def test_a_list_whose_disk_is_lost_keeps_its_rows(tree: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "m.parquet", tmp_path / "list"
    names.write_text(f"{tree}/a/1.png\n{tree}/a/c.png\n{tree}/z/6.png\n", encoding="utf-8")
    listed = replace(SERIAL, from_files=(str(names),))
    scan([], out, listed)
    before = out.read_bytes()
    with unmounted(tree / "a"):
        with pytest.raises(ScanError, match=r"/a is empty or out of reach, and .* knows 2 photos of it"):
            scan([], out, listed)
        assert out.read_bytes() == before
        assert scan([], out, replace(listed, forget=(f"{tree}/a",))).errors == {"Vanished": 2}
    (tree / "a" / "1.png").unlink()  # one alone is a row, as ever
    assert scan([], out, listed).errors == {"Vanished": 1}


def test_a_folder_of_links_to_a_lost_disk_keeps_its_rows(tree: Path, tmp_path: Path) -> None:
    out, links = tmp_path / "m.parquet", tmp_path / "links"
    links.mkdir()
    for number, name in enumerate(("1.png", "c.png")):
        (links / f"{number}.png").symlink_to(tree / "a" / name)
    scan([links], out, SERIAL)
    with unmounted(tree / "a"), pytest.raises(ScanError, match=r"/links is empty or out of reach, and .* 2 photos"):
        scan([links], out, SERIAL)
    assert scan([links], out, SERIAL).measured_now == 0


def test_a_disk_that_goes_while_its_photos_are_measured_stops_the_scan(tree: Path, tmp_path: Path) -> None:
    work = Worklist(tmp_path)
    work.write_listing(map(Line, Sources((tree,)).photos()))
    first, *_, last = work.shards()
    with (
        unmounted(tree / "a"),
        pytest.raises(ScanError, match=r"/a is empty all of a sudden \(a lost mount\?\): bring"),
    ):
        measure_shard(work, SERIAL, first)
    assert not list(tmp_path.glob("part-*"))
    with unmounted(tree / "z"):  # one photo alone is a row
        measure_shard(work, SERIAL, last)
    (part,) = tmp_path.glob("part-*")
    assert (manifest.read(part).table["error"].to_pylist()[-1] or "").startswith("Vanished: ")


def test_a_part_of_a_scan_isnt_lost_where_other_parts_have_files(photos: Path, tmp_path: Path) -> None:
    out, part = tmp_path / "m.parquet", replace(SERIAL, share=Share(1, 2))
    for number in range(9):
        shutil.copy(photos / "a-vivid.png", photos / f"{number}.png")
    scan([photos], out, part)
    mine = [photos / path for path in paths_in(out)]
    assert 0 < len(mine) < 12
    for path in mine:
        path.unlink()
    shutil.rmtree(photos / "more", ignore_errors=True)
    summary = scan([photos], out, part)
    assert (summary.photos, summary.gone) == (0, len(mine))


def test_photos_that_are_gone_are_counted(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    assert rescanned([photos], [photos], out).gone == 0
    (photos / "c-cut.png").unlink()
    shutil.rmtree(photos / "more")
    shutil.copy(photos / "a-vivid.png", photos / "new.png")
    summary = scan([photos], out, SERIAL)
    assert (summary.photos, summary.gone) == (2, 2)
    assert os.listdir(photos) != []
