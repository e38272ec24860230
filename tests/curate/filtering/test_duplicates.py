"""Copies of photos: found exactly, without comparing all pairs; the best stays; a group has one split."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.filter import assign_split, filter_manifest, filter_table
from curate.filtering.options import FilterOptions, Split
from curate.manifest import SCAN_SCHEMA
from curate.measures import hash_groups
from curate.measures.hash_groups import (
    NEAR_BITS,
    QUICK_BITS,
    group_exact_duplicates,
    group_near_duplicates,
    hamming_distances,
)
from curate.measures.measure import measure
from curate.measures.perceptual_hash import MIRROR, compute_fingerprint, hamming_distance
from curate.scanning.scan import ScanOptions, scan_photos

Words = NDArray[np.uint64]


def some_fingerprints(rng: np.random.Generator) -> Words:
    """Random ones; copies with up to 14 bits changed, mirrored, equal; and a crowd that fills a small ball."""
    random = rng.integers(0, 2**64, (200, 2), dtype=np.uint64)
    copies = [random]
    for changes in (0, 1, 5, 10, 11, 12, 14):
        changed = random.copy()
        for _ in range(changes):
            bits = rng.integers(0, 64, len(random)).astype(np.uint64)
            changed[np.arange(len(random)), rng.integers(0, 2, len(random))] ^= np.uint64(1) << bits
        copies.append(changed)
    mirrored = copies[2] ^ np.frombuffer(bytes.fromhex(MIRROR), ">u8").astype(np.uint64)
    crowd = rng.integers(0, 2**13, (1500, 2), dtype=np.uint64)
    return np.concatenate([*copies, mirrored, crowd])


def by_comparing_all(fingerprints: Words, best_first: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The same grouping as the module's docstring says it, one by one."""
    leaders: list[int] = []
    group: dict[tuple[int, ...], int] = {}
    for row in best_first.tolist():
        key = tuple(fingerprints[row].tolist())
        if key in group:
            continue
        apart = hamming_distances(fingerprints[row], fingerprints[leaders])
        near = bool(leaders) and apart.min() <= bits
        group[key] = leaders[int(apart.argmin())] if near else row
        leaders += [] if near else [row]
    return np.array([group[tuple(key)] for key in fingerprints.tolist()])


@pytest.mark.parametrize("bits", [NEAR_BITS, QUICK_BITS])
def test_groups_are_those_that_comparing_all_pairs_finds(bits: int) -> None:
    rng = np.random.default_rng(bits)
    fingerprints = some_fingerprints(rng)
    best_first = rng.permutation(len(fingerprints))
    found = group_near_duplicates(fingerprints, best_first, bits)
    assert np.array_equal(found, by_comparing_all(fingerprints, best_first, bits))
    assert (hamming_distances(fingerprints, fingerprints[found]) <= bits).all()
    assert 200 < len(np.unique(found)) < 2500


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=40), st.data())
def test_of_equal_contents_the_highest_by_each_measure_in_turn_stays(
    photos: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    hashes = np.array([[content % 2 << 63, content // 2] for content, _, _ in photos], np.uint64).reshape(-1, 2)
    best = [np.array([photo[k] for photo in photos], np.float32) for k in (1, 2)]
    rows = sorted(data.draw(st.sets(st.integers(0, len(photos) - 1)))) if photos else []
    found = group_exact_duplicates(hashes, np.array(rows, np.int64), best).tolist()
    for row, (content, *_) in enumerate(photos):
        alike = [other for other in rows if photos[other][0] == content]
        wanted = max(alike, key=lambda other: (*photos[other][1:], -other)) if row in alike else row
        assert found[row] == wanted


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos_are_groups_too(count: int) -> None:
    fingerprints = np.zeros((count, 2), np.uint64)
    assert group_near_duplicates(fingerprints, np.arange(count)).tolist() == [0] * count


def test_a_crowd_of_equal_photos_neither_explodes_nor_swallows_others() -> None:
    rng = np.random.default_rng(0)
    many = np.concatenate([np.zeros((100_000, 2), np.uint64), rng.integers(0, 2**64, (500, 2), dtype=np.uint64)])
    groups = group_near_duplicates(many, np.arange(len(many)))
    assert set(groups[:100_000]) == {0}
    assert groups[100_000:].tolist() == list(range(100_000, 100_500))


def test_a_chain_of_likenesses_is_cut() -> None:
    ones = np.array([[0, (1 << bits) - 1] for bits in range(0, 60, 6)], np.uint64)
    groups = group_near_duplicates(ones, np.arange(len(ones)))
    assert groups.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]


def reencoded(image: Image.Image, **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket", "motorcycle_left"])
def test_copies_of_a_real_photo_are_near_and_other_photos_are_not(
    name: str, real_photo: Callable[[str], NDArray[np.uint8]]
) -> None:
    original = Image.fromarray(real_photo("astronaut" if name == "rocket" else name))
    own = measure(np.asarray(original)).fingerprint
    small = original.resize((original.width * 2 // 3, original.height * 2 // 3))
    for copy in (reencoded(original, quality=50), reencoded(small, quality=80)):
        assert hamming_distance(own, measure(np.asarray(copy)).fingerprint) <= NEAR_BITS
    mirrored = int(measure(np.asarray(reencoded(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))).fingerprint, 16)
    assert hamming_distance(own, f"{mirrored ^ int(MIRROR, 16):032x}") <= NEAR_BITS
    other = measure(real_photo("coffee" if name != "coffee" else "chelsea")).fingerprint
    assert hamming_distance(own, other) > 2 * NEAR_BITS


def test_a_mirrored_photo_flips_the_bits_of_odd_waves() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (64, 96)).astype(np.uint8)
    flipped = int(compute_fingerprint(np.ascontiguousarray(cv2.flip(luma, 1))), 16)
    assert hamming_distance(compute_fingerprint(luma), f"{flipped ^ int(MIRROR, 16):032x}") <= 1


def photo(number: int, look: int, **columns: Any) -> dict[str, Any]:
    """A row; photos of one `look` have fingerprints that differ in a bit or two."""
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


def scan_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCAN_SCHEMA)


def decided(table: pa.Table, mode: str, **options: Any) -> tuple[list[str], dict[str, list[str]]]:
    chosen = filter_table(table, FilterOptions(duplicates=mode, **options))
    rejected = zip(chosen.rejected["path"].to_pylist(), chosen.rejected["reject_reasons"].to_pylist(), strict=True)
    return chosen.kept["path"].to_pylist(), dict(rejected)


def test_the_largest_stays_then_the_most_colourful_then_the_first() -> None:
    larger, vivid = {"width": 401}, {"colorfulness": 60.0}
    assert decided(scan_of(photo(0, 0), photo(1, 0, **vivid), photo(2, 0, **larger)), "drop-near") == (
        ["2.jpg"],
        {"0.jpg": ["duplicate of 2.jpg (distance 2)"], "1.jpg": ["duplicate of 2.jpg (distance 2)"]},
    )
    assert decided(scan_of(photo(0, 0), photo(1, 0, **vivid)), "drop-near")[0] == ["1.jpg"]
    assert decided(scan_of(photo(0, 0), photo(1, 0)), "drop-near")[0] == ["0.jpg"]


def test_the_best_of_those_that_pass_stays_and_every_reason_is_kept() -> None:
    toned = photo(0, 0, width=900, tone="sepia")
    kept, rejected = decided(scan_of(toned, photo(1, 0), photo(2, 0)), "drop-near")
    assert kept == ["1.jpg"]
    assert rejected == {
        "0.jpg": ["tone is sepia", "duplicate of 1.jpg (distance 2)"],
        "2.jpg": ["duplicate of 1.jpg (distance 2)"],
    }


def test_copies_of_one_content_are_said_to_be_so_and_looks_count_only_if_asked() -> None:
    same = photo(0, 0)["sha256"]
    copies = scan_of(photo(0, 0), photo(1, 0, sha256=same, fingerprint=photo(0, 0)["fingerprint"]), photo(2, 0))
    assert decided(copies, "keep")[1] == {}
    assert decided(copies, "drop-exact") == (["0.jpg", "2.jpg"], {"1.jpg": ["duplicate of 0.jpg (same content)"]})
    assert decided(copies, "drop-near")[1]["1.jpg"] == ["duplicate of 0.jpg (same content)"]


def test_a_mirrored_copy_is_said_to_be_one() -> None:
    mirrored = int(photo(0, 0)["fingerprint"], 16) ^ int(MIRROR, 16)
    rows = scan_of(photo(0, 0), photo(1, 1, fingerprint=f"{mirrored:032x}"))
    assert decided(rows, "drop-near")[1] == {"1.jpg": ["duplicate of 0.jpg (distance 0, mirrored)"]}


def test_photos_that_cant_be_read_are_nobodys_copies() -> None:
    broken = [{**photo(n, 0), "colorfulness": None, "fingerprint": None, "error": "BrokenPhoto: cut"} for n in range(2)]
    assert decided(scan_of(*broken), "drop-near")[1] == {f"{n}.jpg": ["unreadable: BrokenPhoto: cut"] for n in range(2)}


def test_with_several_sources_the_copy_is_named_with_its_own() -> None:
    rows = scan_of(photo(0, 0), photo(1, 0, source="/t"))
    assert decided(rows, "drop-near")[1] == {"1.jpg": ["duplicate of /s/0.jpg (distance 2)"]}


@pytest.mark.parametrize("mode", ["together", "drop-near"])
def test_a_group_has_the_split_of_its_smallest_hash_whichever_of_it_stay(mode: str) -> None:
    rows = [photo(n, n // 8, colorfulness=20.0 + n % 8) for n in range(64)]
    split = Split(34, 33, 33)
    for line in (20, 25):
        chosen = filter_table(scan_of(*rows), FilterOptions(line, duplicates=mode, split=split)).kept
        for name, drawn in zip(chosen["path"].to_pylist(), chosen["split"].to_pylist(), strict=True):
            group = int(name.removesuffix(".jpg")) // 8
            smallest = min(row["sha256"] for row in rows[8 * group : 8 * group + 8])
            assert drawn == assign_split(pa.chunked_array([[smallest[24:]]]), split)[0].as_py()
    assert len(set(chosen["split"].to_pylist())) == 3


def test_groups_are_spread_over_the_splits_as_photos_are() -> None:
    rows = [photo(n, n // 4, fingerprint=photo(n % 60, n // 4)["fingerprint"]) for n in range(1200)]
    groups = filter_table(scan_of(*rows), FilterOptions(duplicates="drop-near", split=Split(34, 33, 33))).kept
    assert groups.num_rows == 300
    assert groups["split"].to_pylist().count("train") == pytest.approx(102, abs=33)  # four standard deviations


def test_copies_of_one_content_keep_the_split_of_that_content() -> None:
    rows = [photo(n, 0, sha256="f" * 64) for n in range(3)]
    assert filter_table(scan_of(*rows), FilterOptions(duplicates="together")).kept["split"].to_pylist() == ["test"] * 3


def test_fingerprints_of_another_version_are_one_clear_line() -> None:
    with pytest.raises(ManifestError, match="'fingerprint' is of another version"):
        filter_table(scan_of(photo(0, 0, fingerprint="00" * 8)), FilterOptions(duplicates="drop-near"))
    with pytest.raises(ManifestError, match="no column 'fingerprint'"):
        filter_table(scan_of(photo(0, 0)).drop_columns(["fingerprint"]), FilterOptions(duplicates="drop-near"))


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
    chosen = filter_manifest(parts, tmp_path / "clean.parquet", FilterOptions(duplicates="drop-near"))
    assert manifest.read_manifest(tmp_path / "clean.parquet").table["path"].to_pylist() == ["b-large.jpg", "c-cat.png"]
    assert chosen.rejected_by_rule["duplicate"] == 1


def test_the_pigeonhole_holds() -> None:
    assert hash_groups.NEAR_BITS < 2 * hash_groups.BANDS
    assert hash_groups.QUICK_BITS < hash_groups.BANDS
