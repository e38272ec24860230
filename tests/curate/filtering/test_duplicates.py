"""The rule on duplicates: one photo of a group is kept, by size and usual colorfulness, and a group has one split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.filter import assign_split, filter_manifest, filter_table
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA
from curate.measures import hash_groups
from curate.measures.perceptual_hash import MIRROR
from curate.scanning.scan import ScanOptions, scan_photos

Words = NDArray[np.uint64]


def photo(number: int, look: int, **columns: Any) -> dict[str, Any]:
    """A row of a scan; fingerprints of photos with the same `look` differ in one or two bits."""
    word = int(hashlib.sha256(str(look).encode()).hexdigest()[:32], 16) ^ (1 << number)
    return {
        "source": "/s",
        "path": f"{number}.jpg",
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "width": 400,
        "height": 300,
        "colorfulness": 50.0,
        "tone": "color",
        "fingerprint": f"{word:032x}",
        **columns,
    }


def make_scan(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCAN_SCHEMA)


def deduplicate(table: pa.Table, mode: str, **options: Any) -> tuple[list[str], dict[str, list[str]]]:
    result = filter_table(table, FilterOptions(duplicates=mode, **options))
    rejected = zip(result.rejected["path"].to_pylist(), result.rejected["reject_reasons"].to_pylist(), strict=True)
    return result.kept["path"].to_pylist(), dict(rejected)


def test_the_largest_photo_of_a_group_is_kept() -> None:
    larger, vivid = {"width": 401, "colorfulness": 90.0}, {"colorfulness": 60.0}
    assert deduplicate(make_scan(photo(0, 0), photo(1, 0, **vivid), photo(2, 0, **larger)), "drop-near") == (
        ["2.jpg"],
        {"0.jpg": ["duplicate of 2.jpg (distance 2)"], "1.jpg": ["duplicate of 2.jpg (distance 2)"]},
    )


@pytest.mark.parametrize(
    ("colorfulness", "kept"),
    [
        ([41.2, 95.0, 40.8, 41.0, 41.1, 22.0], 3),  # a copy with an orange cast and a faded one; the median is 41.05
        ([50.0, 90.0, 52.0], 2),  # the median itself
        ([60.0, 50.0], 1),  # equally near to the median: the less colorful one
        ([50.0, 60.0, 50.0, 60.0], 0),  # all equally near, two with the lower M: the first of the scan
        ([70.0, 30.0, 30.0, 70.0, 50.25, 49.75], 5),
        ([50.0, 50.0, 50.0], 0),
    ],
)
def test_of_photos_with_one_size_that_nearest_to_the_median_colorfulness_is_kept(
    colorfulness: list[float], kept: int
) -> None:
    rows = [photo(n, 0, colorfulness=m) for n, m in enumerate(colorfulness)]
    lone, others = photo(8, 1), [photo(n, 2, colorfulness=99.0 - n) for n in (9, 10, 11)]
    assert deduplicate(make_scan(*rows, lone, *others), "drop-near")[0] == [f"{kept}.jpg", "8.jpg", "10.jpg"]


def test_the_median_is_that_of_the_whole_group_whichever_photos_are_large_or_pass() -> None:
    small = [photo(n, 0, width=100, colorfulness=30.0) for n in range(3)]
    large = [
        photo(3, 0, colorfulness=80.0),
        photo(4, 0, colorfulness=45.0),
        photo(5, 0, colorfulness=31.0, tone="sepia"),
    ]
    assert deduplicate(make_scan(*small, *large), "drop-near")[0] == ["4.jpg"]


def test_the_best_photo_that_passes_other_rules_is_kept_and_reasons_add_up() -> None:
    toned = photo(0, 0, width=900, tone="sepia")
    kept, rejected = deduplicate(make_scan(toned, photo(1, 0), photo(2, 0)), "drop-near")
    assert kept == ["1.jpg"]
    assert rejected == {
        "0.jpg": ["tone is sepia", "duplicate of 1.jpg (distance 2)"],
        "2.jpg": ["duplicate of 1.jpg (distance 2)"],
    }


def test_equal_contents_are_named_and_drop_exact_ignores_near_copies() -> None:
    same = photo(0, 0)["sha256"]
    copies = make_scan(photo(0, 0), photo(1, 0, sha256=same, fingerprint=photo(0, 0)["fingerprint"]), photo(2, 0))
    assert deduplicate(copies, "keep")[1] == {}
    assert deduplicate(copies, "drop-exact") == (["0.jpg", "2.jpg"], {"1.jpg": ["duplicate of 0.jpg (same content)"]})
    assert deduplicate(copies, "drop-near")[1]["1.jpg"] == ["duplicate of 0.jpg (same content)"]


def test_the_reason_names_a_mirrored_copy() -> None:
    mirrored = int(photo(0, 0)["fingerprint"], 16) ^ int(MIRROR, 16)
    rows = make_scan(photo(0, 0), photo(1, 1, fingerprint=f"{mirrored:032x}"))
    assert deduplicate(rows, "drop-near")[1] == {"1.jpg": ["duplicate of 0.jpg (distance 0, mirrored)"]}


def test_unreadable_photos_are_not_duplicates() -> None:
    broken = [{**photo(n, 0), "colorfulness": None, "fingerprint": None, "error": "BrokenPhoto: cut"} for n in range(2)]
    rejected = {f"{n}.jpg": ["unreadable: BrokenPhoto: cut"] for n in range(2)}
    assert deduplicate(make_scan(*broken), "drop-near") == ([], rejected)


def test_with_several_sources_the_reason_names_the_source() -> None:
    rows = make_scan(photo(0, 0), photo(1, 0, source="/t"))
    assert deduplicate(rows, "drop-near")[1] == {"1.jpg": ["duplicate of /s/0.jpg (distance 2)"]}


@pytest.mark.parametrize("mode", ["together", "drop-near"])
def test_a_group_has_the_split_of_its_smallest_hash_whichever_photos_are_kept(mode: str) -> None:
    rows = [photo(n, n // 8, colorfulness=20.0 + n % 8) for n in range(64)]
    split = Split(34, 33, 33)
    for threshold in (20, 25):
        result = filter_table(make_scan(*rows), FilterOptions(threshold, duplicates=mode, split=split)).kept
        for name, drawn in zip(result["path"].to_pylist(), result["split"].to_pylist(), strict=True):
            group = int(name.removesuffix(".jpg")) // 8
            smallest = min(row["sha256"] for row in rows[8 * group : 8 * group + 8])
            assert drawn == assign_split(pa.chunked_array([[smallest[24:]]]), split)[0].as_py()
    assert len(set(result["split"].to_pylist())) == 3


def test_groups_are_spread_over_the_splits_by_their_shares() -> None:
    rows = [photo(n, n // 4, fingerprint=photo(n % 60, n // 4)["fingerprint"]) for n in range(1200)]
    groups = filter_table(make_scan(*rows), FilterOptions(duplicates="drop-near", split=Split(34, 33, 33))).kept
    assert groups.num_rows == 300
    assert groups["split"].to_pylist().count("train") == pytest.approx(102, abs=33)  # four standard deviations


def test_copies_of_one_content_keep_the_split_of_that_content() -> None:
    rows = [photo(n, 0, sha256="f" * 64) for n in range(3)]
    assert (
        filter_table(make_scan(*rows), FilterOptions(duplicates="together")).kept["split"].to_pylist() == ["test"] * 3
    )


def test_missing_or_wrong_fingerprints_are_one_clear_error() -> None:
    with pytest.raises(ManifestError, match="'fingerprint' is of another version"):
        filter_table(make_scan(photo(0, 0, fingerprint="00" * 8)), FilterOptions(duplicates="drop-near"))
    with pytest.raises(ManifestError, match="no column 'fingerprint'"):
        filter_table(make_scan(photo(0, 0)).drop_columns(["fingerprint"]), FilterOptions(duplicates="drop-near"))


def test_a_real_copy_is_dropped_from_a_real_scan_read_in_parts(
    tmp_path: Path, real_photo: Callable[[str], NDArray[np.uint8]]
) -> None:
    folder, parts = tmp_path / "photos", tmp_path / "parts"
    folder.mkdir()
    parts.mkdir()
    coffee = Image.fromarray(real_photo("coffee"))
    coffee.resize((300, 200)).save(folder / "a-small.jpg")
    coffee.save(folder / "b-large.jpg")
    Image.fromarray(real_photo("chelsea")).save(folder / "c-cat.png")
    scan_photos([folder], tmp_path / "scan.parquet", ScanOptions())
    table = manifest.read_manifest(tmp_path / "scan.parquet").table
    for row in range(3):
        manifest.write_manifest(parts / f"{row}.parquet", table.slice(row, 1), manifest.Lineage("scan", "", {}))
    result = filter_manifest(parts, tmp_path / "clean.parquet", FilterOptions(duplicates="drop-near"))
    assert manifest.read_manifest(tmp_path / "clean.parquet").table["path"].to_pylist() == ["b-large.jpg", "c-cat.png"]
    assert result.rejected_by_rule["duplicate"] == 1


def test_the_pigeonhole_holds() -> None:
    assert hash_groups.NEAR_BITS < 2 * hash_groups.BANDS
    assert hash_groups.QUICK_BITS < hash_groups.BANDS
