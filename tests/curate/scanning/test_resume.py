"""Tests of curate/scanning/resume.py: known photos are not measured again, rows of missing photos are kept."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import manifest
from curate.cli import summaries
from curate.errors import ManifestError, ScanError, SourceError
from curate.manifest import SCAN_SCHEMA
from curate.scanning.merge import merge_manifests, sort_file_by_location
from curate.scanning.resume import ListingRow
from curate.scanning.scan import ScanOptions, measure_chunk, preview_scan, scan_photos
from curate.scanning.scorer import ScoreOptions
from curate.scanning.summary import ScanSummary
from curate.scanning.work_dir import WorkDir
from curate.sources import ListedPhoto, ShardSpec, Sources

SERIAL = ScanOptions(engine="serial")


@pytest.fixture
def tree(photos: Path) -> Path:
    """Photos in a tar, and in folders that sort differently as text and as lists of path parts."""
    whole = (photos / "a-vivid.png").read_bytes()
    for name in ("a/1.png", "a/b/2.png", "a/c.png", "a b/3.png", "a-b/4.png", "a-b/c/5.png", "z/6.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(whole)
    with tarfile.open(photos / "a" / "n.tar", "w") as tar:
        tar.add(photos / "a-vivid.png", "7.png")
    return photos


def scan_twice(first: list[Path], then: list[Path], out: Path, options: ScanOptions = SERIAL) -> ScanSummary:
    scan_photos(first, out, options)
    return scan_photos(then, out, options)


def paths_in(out: Path) -> list[str]:
    paths: list[str] = manifest.read_manifest(out).table["path"].to_pylist()
    return paths


@pytest.mark.parametrize(
    "before", [["a"], ["a", "a b", "a-b"], ["a-b/c", "a", "z/6.png"], ["a-b/c", "a-b/4.png", "a/b"]]
)
def test_a_scan_of_a_parent_folder_measures_only_new_photos(before: list[str], tree: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "m.parquet", tmp_path / "fresh.parquet"
    first = scan_photos([tree / name for name in before], out, SERIAL)
    again = scan_photos([tree], out, SERIAL)
    whole = scan_photos([tree], fresh, SERIAL)
    assert again.measured_now == whole.photos - first.photos
    assert (again.missing, again.dropped) == (0, 0)
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(fresh).table)
    assert scan_photos([tree], out, SERIAL).measured_now == 0


def test_photos_known_from_a_list_are_not_measured_again(tree: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "m.parquet", tmp_path / "list"
    names.write_text(f"{tree}/a/1.png\n{tree}/a-b/4.png\n{tree}/z/6.png\n{tree}/a-vivid.png\n", encoding="utf-8")
    listed = replace(SERIAL, from_files=(str(names),))
    scan_photos([], out, listed)
    assert scan_photos([tree], out, listed).measured_now == 11 - 4
    assert scan_photos([tree], out, listed).measured_now == 0


@pytest.mark.parametrize("before", [["a/n.tar"], ["a/n.tar", "a/1.png"], ["a/n.tar", "z"]])
def test_a_tar_or_photo_that_was_a_source_stays_known(before: list[str], tree: Path, tmp_path: Path) -> None:
    out, named = tmp_path / "m.parquet", [tree / name for name in before]
    assert scan_twice(named, named, out).measured_now == 0
    first = len(paths_in(out))
    assert scan_photos([tree], out, SERIAL).measured_now == 11 - first


def test_a_photo_that_is_listed_by_a_link_stays_known(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree / "a")
    assert scan_twice([tree, link / "1.png"], [tree, link / "1.png"], tmp_path / "m.parquet").measured_now == 0


def test_photos_that_a_killed_scan_measured_are_known_to_a_scan_of_a_parent_folder(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree / "a"], out, SERIAL)
    known = manifest.read_manifest(out)
    assert known.lineage is not None
    work = tmp_path / ".m.parquet.scan"
    work.mkdir()
    manifest.write_manifest(work / "known-0000.parquet", known.table, known.lineage)
    (work / "made_by").write_text(str(known.lineage.options["made_by"]), encoding="utf-8")
    out.unlink()
    assert scan_photos([tree], out, SERIAL).measured_now == 7
    assert not work.exists()


path_parts = st.lists(st.text("ab-. ", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)


def write_rows(path: Path, keys: list[tuple[str, str]], *, leave_out: str = "") -> None:
    """Write rows of photos that don't exist, without one of the columns."""
    table = pa.table({"source": [source for source, _ in keys], "path": [path for _, path in keys]})
    table = pa.concat_tables([SCAN_SCHEMA.empty_table(), table], promote_options="permissive").cast(SCAN_SCHEMA)
    table = table.drop_columns([leave_out] if leave_out else [])
    with manifest.open_writer(path, table.schema) as file:
        file.write_table(table)


@settings(max_examples=40)
@given(
    found=st.lists(st.tuples(path_parts, path_parts), max_size=12, unique_by=lambda row: row[0] + row[1]),
    small_groups=st.booleans(),
)
def test_rows_of_an_older_version_are_sorted_in_listing_order(
    found: list[tuple[tuple[str, ...], tuple[str, ...]]], small_groups: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("known")
    known = sorted((("/p/" + "/".join(source), path) for source, path in found))
    write_rows(folder / "old.parquet", [(source, "/".join(path)) for source, path in known], leave_out="missing_since")
    with pytest.MonkeyPatch.context() as patch:
        if small_groups:
            patch.setattr("curate.scanning.merge.ROW_GROUP_SIZE", 2)
        ordered = sort_file_by_location(folder / "old.parquet", folder)
    table = manifest.read_manifest(ordered).table
    assert table.schema.equals(SCAN_SCHEMA)
    keys = [ListedPhoto(row["source"], row["path"], None, None).key for row in table.to_pylist()]
    assert keys == sorted(("", "p", *source, *path) for source, path in found)
    assert len(list(folder.iterdir())) == 2
    assert sort_file_by_location(ordered, folder) == ordered


def save_as_older_version(out: Path) -> None:
    """Save a scan as an older version did: without the column `missing_since`, sorted by source first."""
    whole = manifest.read_manifest(out)
    assert whole.lineage is not None
    old = whole.table.drop_columns(["missing_since"]).to_pylist()
    old.sort(key=lambda row: (row["source"], row["path"].split("/")))
    schema = pa.schema([column for column in SCAN_SCHEMA if column.name != "missing_since"])
    manifest.write_manifest(out, pa.Table.from_pylist(old, schema), whole.lineage)


def test_the_manifest_of_an_older_version_can_be_updated(tree: Path, tmp_path: Path) -> None:
    out, named = tmp_path / "m.parquet", [tree / "z" / "6.png", tree / "a-vivid.png", tree / "a", tree / "a-b"]
    scan_photos(named, out, SERIAL)
    fresh = manifest.read_manifest(out).table
    save_as_older_version(out)
    (tree / "a" / "c.png").unlink()
    assert preview_scan(named, out, SERIAL).to_measure == 0
    summary = scan_photos(named, out, SERIAL)
    assert (summary.measured_now, summary.missing) == (0, 1)
    assert (
        manifest.read_manifest(out).table.drop_columns(["missing_since"]).equals(fresh.drop_columns(["missing_since"]))
    )


def missing_in(out: Path) -> dict[str, datetime]:
    """The value of `missing_since` of each missing photo, by its path."""
    return {
        row["path"]: row["missing_since"]
        for row in manifest.read_manifest(out).table.to_pylist()
        if row["missing_since"]
    }


def test_a_missing_photo_keeps_its_row_and_measures_until_it_is_back(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    before = manifest.read_manifest(out).table
    shutil.move(tree / "a", tmp_path / "aside")
    started = datetime.now(UTC)
    summary = scan_photos([tree], out, SERIAL)
    assert (summary.photos, summary.measured_now, summary.missing, summary.dropped) == (7, 0, 4, 0)
    since = missing_in(out)
    assert list(since) == ["a/1.png", "a/b/2.png", "a/c.png", "a/n.tar/7.png"]
    assert all(started <= time <= datetime.now(UTC) for time in since.values())
    now = manifest.read_manifest(out)
    assert now.table.drop_columns(["missing_since"]).equals(before.drop_columns(["missing_since"]))
    assert now.lineage is not None
    assert now.lineage.rows == 11
    scan_photos([tree], out, SERIAL)
    assert missing_in(out) == since
    shutil.move(tmp_path / "aside", tree / "a")
    again = scan_photos([tree], out, SERIAL)
    assert (again.photos, again.measured_now, again.missing) == (11, 0, 0)
    assert manifest.read_manifest(out).table.equals(before)


def test_a_missing_photo_that_comes_back_changed_is_measured(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    (tree / "z" / "6.png").unlink()
    scan_photos([tree], out, SERIAL)
    shutil.copy(tree / "more" / "b-gray.png", tree / "z" / "6.png")
    summary = scan_photos([tree], out, SERIAL)
    assert (summary.measured_now, summary.missing) == (1, 0)
    assert manifest.read_manifest(out).table.to_pylist()[-1]["tone"] == "grayscale"
    assert missing_in(out) == {}


def test_prune_drops_the_rows_of_missing_photos(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    (tree / "z" / "6.png").unlink()
    scan_photos([tree], out, SERIAL)
    (tree / "a" / "1.png").unlink()  # missing for the first time
    listed = preview_scan([tree], out, replace(SERIAL, prune=True))
    assert (listed.files, listed.to_measure, listed.missing, listed.dropped) == (
        10,
        1,
        0,
        2,
    )  # notes.txt is read each time
    assert len(missing_in(out)) == 1
    summary = scan_photos([tree], out, replace(SERIAL, prune=True))
    assert (summary.photos, summary.measured_now, summary.missing, summary.dropped) == (9, 0, 0, 2)
    assert len(paths_in(out)) == 9
    lines = list(summaries.scan_summary(summary, out))
    assert "  missing: 2 photos; rows removed" in lines


def test_the_error_row_of_a_removed_file_is_dropped(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    (tree / "c-cut.png").unlink()
    summary = scan_photos([tree], out, SERIAL)
    assert (summary.photos, summary.missing, summary.dropped) == (10, 0, 0)
    assert "c-cut.png" not in paths_in(out)


def test_the_summary_counts_missing_photos_and_names_prune(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    shutil.rmtree(tree / "a")
    listed = preview_scan([tree], out, SERIAL)
    assert (listed.files, listed.to_measure, listed.missing) == (8, 1, 4)
    assert "  missing: 4 photos; rows would be kept" in summaries.dry_scan_summary(listed)
    summary = scan_photos([tree], out, SERIAL)
    lines = [line for line in summaries.scan_summary(summary, out) if "missing" in line]
    assert lines == ["  missing: 4 photos; rows kept (`curate scan --prune` removes them)"]
    assert sum(summary.errors.values()) == 1


def test_an_empty_mount_point_makes_all_photos_missing(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    before = manifest.read_manifest(out).table
    tree.rename(tmp_path / "away")
    tree.mkdir()
    summary = scan_photos([tree], out, SERIAL)
    assert (summary.photos, summary.measured_now, summary.missing) == (0, 0, 10)
    with pytest.raises(ScanError, match="no photos in"):  # --prune doesn't leave an empty manifest
        scan_photos([tree], out, replace(SERIAL, prune=True))
    assert len(missing_in(out)) == 10
    tree.rmdir()
    (tmp_path / "away").rename(tree)
    assert scan_photos([tree], out, SERIAL).measured_now == 1  # the error row wasn't kept
    assert manifest.read_manifest(out).table.equals(before)


def test_a_source_that_does_not_exist_stops_the_scan(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree / "a", tree / "z"], out, SERIAL)
    before = out.read_bytes()
    shutil.rmtree(tree / "z")
    with pytest.raises(SourceError, match=r"/z doesn't exist: name a folder of photos, or a photo$"):
        scan_photos([tree / "a", tree / "z"], out, SERIAL)
    assert out.read_bytes() == before
    assert not out.with_name(".m.parquet.scan").exists()


def test_a_source_can_be_left_out_only_with_forget(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree / "a", tree / "z"], out, SERIAL)
    with pytest.raises(
        ManifestError, match=rf"doesn't include: add it to the command, remove its rows with --forget {tree}/z,"
    ):
        scan_photos([tree / "a"], out, SERIAL)
    summary = scan_photos([tree / "a"], out, replace(SERIAL, forget=(f"{tree}/z",)))
    assert (summary.measured_now, summary.photos, summary.dropped) == (0, 4, 1)
    again = scan_photos([tree / "a"], out, SERIAL)
    assert (again.missing, again.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("names", "photos_left"),
    [
        (["a-b", "a/b", "a"], 6),
        (["a/n.tar"], 1),
        (["a-vivid.png", "a/b/2.png", "a-b/4.png", "a-b/c"], 4),
        (["a/b", "a/1.png", "a/n.tar"], 3),
    ],
)
def test_a_scan_of_subfolders_with_forget_drops_all_other_rows(
    names: list[str], photos_left: int, tree: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "m.parquet", tmp_path / "fresh.parquet"
    narrow = [tree / name for name in names]
    summary = scan_twice([tree], narrow, out, replace(SERIAL, forget=(str(tree),)))
    assert (summary.measured_now, summary.photos, summary.dropped) == (0, photos_left, 11 - photos_left)
    scan_photos(narrow, fresh, SERIAL)
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(fresh).table)


def test_a_missing_photo_is_found_again_by_scans_of_other_folders(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree / "a"], out, SERIAL)
    shutil.move(tree / "a" / "b", tmp_path / "aside")
    scan_photos([tree / "a"], out, SERIAL)
    assert scan_photos([tree], out, SERIAL).missing == 1
    shutil.move(tmp_path / "aside", tree / "a" / "b")
    summary = scan_photos([tree / "a" / "b"], out, replace(SERIAL, forget=(str(tree),)))
    assert (summary.photos, summary.measured_now, summary.missing) == (1, 0, 0)
    assert paths_in(out) == ["2.png"]


def test_a_source_inside_another_source_changes_nothing(tree: Path, tmp_path: Path) -> None:
    assert scan_twice([tree], [tree, tree / "a"], tmp_path / "m.parquet").measured_now == 0
    assert scan_photos([tree / "a", tree], tmp_path / "m.parquet", SERIAL).measured_now == 0


def test_a_source_given_as_another_relative_path_is_the_same(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tree], out, SERIAL)
    monkeypatch.chdir(tree.parent)
    for name in (f"./{tree.name}", tree.name, f"{tree.name}/a/.."):
        assert scan_photos([name], out, SERIAL).measured_now == 0


def test_paths_to_forget_of_which_the_scan_has_no_row_are_named(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    forget = (f"{tree}/a/b", f"{tree}/typo", f"{tree}/a/n.tar", str(tree.parent))
    assert scan_photos([tree / "a"], out, replace(SERIAL, forget=forget)).unknown_paths == forget
    summary = scan_photos([tree / "a"], out, replace(SERIAL, forget=forget))
    assert summary.unknown_paths == (f"{tree}/typo",)
    printed = "\n".join(summaries.scan_summary(summary, out))
    assert f"! --forget {tree}/typo: the earlier scan has no photo there" in printed


def test_forget_keeps_photos_that_exist(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    (tree / "z" / "7.png").write_bytes((tree / "z" / "6.png").read_bytes())
    scan_photos([tree], out, SERIAL)
    for name in ("z/7.png", "a/1.png"):
        (tree / name).unlink()
    summary = scan_photos([tree], out, replace(SERIAL, forget=(f"{tree}/z",)))
    assert (summary.measured_now, summary.photos, summary.missing, summary.dropped) == (0, 10, 1, 1)
    assert list(missing_in(out)) == ["a/1.png"]


def test_another_scorer_measures_again_and_clears_the_measures_of_missing_photos(tree: Path, tmp_path: Path) -> None:
    out, fast = tmp_path / "m.parquet", replace(SERIAL, score=ScoreOptions(fidelity="fast"))
    scan_photos([tree], out, SERIAL)
    shutil.move(tree / "a", tmp_path / "aside")
    summary = scan_photos([tree], out, fast)
    assert (summary.measured_now, summary.missing, sum(summary.errors.values())) == (7, 4, 1)
    lost = [row for row in manifest.read_manifest(out).table.to_pylist() if row["missing_since"]]
    assert len(lost) == 4
    for row in lost:
        assert row["error"].startswith("Vanished: it was missing when all photos were measured again")
        assert (row["colorfulness"], row["tone"], row["width"]) == (None, None, None)
        assert row["sha256"] is not None
    assert scan_photos([tree], out, fast).missing == 4
    shutil.move(tmp_path / "aside", tree / "a")
    assert scan_photos([tree], out, fast).measured_now == 4
    assert missing_in(out) == {}


def test_a_listed_photo_that_is_gone_is_missing_if_it_was_measured_and_an_error_otherwise(
    tree: Path, tmp_path: Path
) -> None:
    out, names = tmp_path / "m.parquet", tmp_path / "list"
    names.write_text(f"{tree}/a/1.png\n{tree}/a/c.png\n{tree}/z/6.png\n{tree}/never.png\n", encoding="utf-8")
    listed = replace(SERIAL, from_files=(str(names),))
    assert scan_photos([], out, listed).errors == {"Vanished": 1}
    shutil.move(tree / "a", tmp_path / "aside")
    summary = scan_photos([], out, listed)
    assert (summary.errors, summary.missing, summary.scored) == ({"Vanished": 1}, 2, 1)
    shutil.copy(out, tmp_path / "copy.parquet")
    assert scan_photos([], tmp_path / "copy.parquet", replace(listed, prune=True)).errors == {"Vanished": 3}
    shutil.move(tmp_path / "aside", tree / "a")
    assert scan_photos([], out, listed).measured_now == 1  # the photo that never existed
    assert missing_in(out) == {}


def test_a_photo_that_is_removed_from_a_list_is_missing(tree: Path, tmp_path: Path) -> None:
    out, names, other = tmp_path / "m.parquet", tmp_path / "list", tmp_path / "other"
    names.write_text(f"{tree}/a/1.png\n{tree}/a/c.png\n", encoding="utf-8")
    other.write_text(f"{tree}/z/6.png\n", encoding="utf-8")
    listed = replace(SERIAL, from_files=(str(names), str(other)))
    scan_photos([], out, listed)
    names.write_text(f"{tree}/a/1.png\n", encoding="utf-8")
    assert scan_photos([], out, listed).missing == 1
    with pytest.raises(ManifestError, match="which this scan doesn't include"):
        scan_photos([], out, replace(listed, from_files=(str(other),)))
    summary = scan_photos([], out, replace(listed, from_files=(str(other),), forget=(str(names),)))
    assert (summary.photos, summary.missing, summary.dropped, summary.measured_now) == (1, 0, 2, 0)


def test_photos_of_broken_links_are_missing_if_they_were_measured(tree: Path, tmp_path: Path) -> None:
    out, links = tmp_path / "m.parquet", tmp_path / "links"
    links.mkdir()
    for number, name in enumerate(("1.png", "c.png")):
        (links / f"{number}.png").symlink_to(tree / "a" / name)
    (links / "never.png").symlink_to("nowhere")
    scan_photos([links], out, SERIAL)
    shutil.move(tree / "a", tmp_path / "aside")
    summary = scan_photos([links], out, SERIAL)
    assert (summary.photos, summary.missing, summary.errors) == (1, 2, {"Vanished": 1})
    shutil.move(tmp_path / "aside", tree / "a")
    assert scan_photos([links], out, SERIAL).measured_now == 1


def test_photos_that_are_removed_during_the_scan_are_rows(tree: Path, tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    work.write_listing(map(ListingRow, Sources((tree,)).photos()))
    first, *_ = work.unfinished_chunks()
    shutil.rmtree(tree / "a")
    measure_chunk(work, SERIAL, first)
    (part,) = tmp_path.glob("part-*")
    assert any(
        (error or "").startswith("Vanished: ") for error in manifest.read_manifest(part).table["error"].to_pylist()
    )


def test_a_shard_marks_only_its_own_photos_as_missing(photos: Path, tmp_path: Path) -> None:
    out, part = tmp_path / "m.parquet", replace(SERIAL, shard=ShardSpec(1, 2))
    other_out, other = tmp_path / "other.parquet", replace(SERIAL, shard=ShardSpec(2, 2))
    for number in range(9):
        shutil.copy(photos / "a-vivid.png", photos / f"{number}.png")
    (photos / "c-cut.png").unlink()
    scan_photos([photos], out, part)
    scan_photos([photos], other_out, other)
    mine = [photos / path for path in paths_in(out)]
    assert 0 < len(mine) < 11
    for path in mine:
        path.unlink()
    summary = scan_photos([photos], out, part)
    assert (summary.photos, summary.missing) == (0, len(mine))
    assert scan_photos([photos], other_out, other).missing == 0
    merge_manifests([out, other_out], tmp_path / "whole.parquet")
    assert len(missing_in(tmp_path / "whole.parquet")) == len(mine)
    assert scan_photos([photos], tmp_path / "whole.parquet", replace(SERIAL, prune=True)).dropped == len(mine)
