"""Tests of curate/scanning/merge.py: merged parts equal one scan of everything; unsuitable parts are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import manifest
from curate.errors import ManifestError, UsageError
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.scanning.merge import merge_manifests
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import ScoreOptions
from curate.sources import ShardSpec


@pytest.fixture
def many(photos: Path) -> Path:
    """Twelve photos in folders that sort differently as text and as lists of path parts."""
    whole = (photos / "a-vivid.png").read_bytes()
    for name in ("a/1.png", "a/2.png", "a b/3.png", "a-b/4.png", "a.png", "b/c/5.png", "b/6.png", "é.png", "z.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(whole)
    return photos


def scan_in_parts(photos: Path, folder: Path, of: int) -> list[Path]:
    parts = [folder / f"part-{number:02}.parquet" for number in range(1, of + 1)]
    for number, part in enumerate(parts, 1):
        scan_photos([photos], part, ScanOptions(engine="serial", shard=ShardSpec(number, of)))
    return parts


@pytest.mark.parametrize("of", [2, 5, 20])
def test_merged_parts_equal_one_scan_of_everything(of: int, many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path / "parts", of)
    scan_photos([many], tmp_path / "whole.parquet", ScanOptions(engine="serial"))
    whole = manifest.read_manifest(tmp_path / "whole.parquet")
    lineage = merge_manifests(parts[::-1], tmp_path / "out.parquet", command="curate merge")
    joined = manifest.read_manifest(tmp_path / "out.parquet")
    assert joined.table.equals(whole.table)
    assert joined.lineage == lineage
    assert lineage.rows == whole.table.num_rows == 12
    assert len(lineage.options["parts"]) == of
    assert scan_photos([many], tmp_path / "out.parquet", ScanOptions(engine="serial")).measured_now == 0


def test_parts_of_an_older_version_can_be_merged(many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path / "parts", 2)
    whole = [manifest.read_manifest(part) for part in parts]
    for part, read in zip(parts, whole, strict=True):
        assert read.lineage is not None
        manifest.write_manifest(part, read.table.drop_columns(["missing_since"]), read.lineage)
    merge_manifests(parts, tmp_path / "out.parquet")
    scan_photos([many], tmp_path / "whole.parquet", ScanOptions(engine="serial"))
    assert manifest.read_manifest(tmp_path / "out.parquet").table.equals(
        manifest.read_manifest(tmp_path / "whole.parquet").table
    )


def test_a_folder_of_parts_can_be_read_as_a_manifest(many: Path, tmp_path: Path) -> None:
    scan_in_parts(many, tmp_path / "parts", 3)
    scan_photos([many], tmp_path / "whole.parquet", ScanOptions(engine="serial"))
    kept = []
    for source in (tmp_path / "parts", tmp_path / "whole.parquet"):
        out = tmp_path / "clean" / source.stem / "clean.parquet"
        filter_manifest(source, out, FilterOptions(20.0))
        kept.append(sorted(manifest.read_manifest(out).table["path"].to_pylist()))
    assert kept[0] == kept[1] != []
    _, lineage = manifest.read_schema_and_lineage(tmp_path / "parts")
    assert lineage is not None
    assert "shard" not in lineage.options
    assert lineage.rows == 12


def test_the_error_names_a_missing_part(many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path / "parts", 3)
    parts[1].unlink()
    with pytest.raises(ManifestError, match=r"of 3 parts 2 is missing: run `curate scan --shard 2/3`"):
        merge_manifests([tmp_path / "parts"], tmp_path / "out.parquet")
    with pytest.raises(ManifestError, match="of 3 parts 2 is missing"):
        manifest.read_manifest(tmp_path / "parts")
    assert not (tmp_path / "out.parquet").exists()


def test_the_error_names_a_damaged_part(many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path / "parts", 2)
    parts[1].write_bytes(parts[1].read_bytes()[:999])
    with pytest.raises(ManifestError, match=r"part-02.parquet can't be read"):
        merge_manifests([tmp_path / "parts"], tmp_path / "out.parquet")
    with pytest.raises(ManifestError, match=r"part-02.parquet can't be read"):
        manifest.read_schema_and_lineage(tmp_path / "parts")


def test_a_part_given_twice_or_made_with_other_options_is_refused(many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path, 2)
    with pytest.raises(ManifestError, match=r"part-01.* and .*part-01.* are both part 1/2"):
        merge_manifests([*parts, parts[0]], tmp_path / "out.parquet")
    other = ScanOptions(engine="serial", shard=ShardSpec(2, 2), score=ScoreOptions(max_pixels=9))
    scan_photos([many], parts[1], other)
    with pytest.raises(ManifestError, match="differ in their scorer or options"):
        merge_manifests(parts, tmp_path / "out.parquet")
    scan_photos([many / "a"], parts[1], ScanOptions(engine="serial", shard=ShardSpec(2, 2), overwrite=True))
    with pytest.raises(ManifestError, match="differ in their paths"):
        merge_manifests(parts, tmp_path / "out.parquet")


def test_merge_does_not_replace_an_existing_file(many: Path, tmp_path: Path) -> None:
    parts = scan_in_parts(many, tmp_path, 2)
    (tmp_path / "out.parquet").write_text("other text", encoding="utf-8")
    with pytest.raises(ManifestError, match="already exists"):
        merge_manifests(parts, tmp_path / "out.parquet")
    with pytest.raises(ManifestError, match="already exists"):
        merge_manifests(parts, parts[0], overwrite=True)
    merge_manifests(parts, tmp_path / "out.parquet", overwrite=True)
    with pytest.raises(ManifestError, match="would be in the folder of its parts"):
        merge_manifests([tmp_path], tmp_path / "new.parquet")


def test_an_undivided_scan_is_refused_as_part(many: Path, tmp_path: Path) -> None:
    scan_photos([many], tmp_path / "whole.parquet", ScanOptions(engine="serial"))
    with pytest.raises(ManifestError, match="is not a part of a divided scan"):
        merge_manifests([tmp_path / "whole.parquet"], tmp_path / "out.parquet")


def test_a_part_is_not_replaced_by_another_part(many: Path, tmp_path: Path) -> None:
    scan_photos([many], tmp_path / "m.parquet", ScanOptions(engine="serial", shard=ShardSpec(1, 2)))
    with pytest.raises(ManifestError, match="is the scan of part 1/2"):
        scan_photos([many], tmp_path / "m.parquet", ScanOptions(engine="serial", shard=ShardSpec(2, 2)))


@given(st.lists(st.text(max_size=9), unique=True, max_size=30), st.integers(1, 9))
def test_every_file_belongs_to_exactly_one_shard(paths: list[str], of: int) -> None:
    shares = [ShardSpec(number, of) for number in range(1, of + 1)]
    assert all(sum(share.contains("/photos", path) for share in shares) == 1 for path in paths)


def test_shards_have_about_the_same_size() -> None:
    held = sum(ShardSpec(3, 8).contains("/photos", f"{os.sep}{number}.jpg") for number in range(8000))
    assert 850 < held < 1150


@pytest.mark.parametrize("text", ["0/4", "5/4", "x/4", "3", "", "1/-1", "1.5/2"])
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write 1/8"):
        ShardSpec.parse(text)
