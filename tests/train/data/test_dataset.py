"""A manifest's photos by split, and the errors for manifests and photos that can't be trained on."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.filter import filter_manifest
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import Lineage
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from train.data import dataset, run_photos
from train.data.dataset import PhotoDataset

Manifests = Callable[..., Path]


ALL_KINDS = frozenset({"photo", "graphic"})


def rewrite(path: Path, change: Callable[[Any], Any]) -> Path:
    manifest.write_manifest(path, change(manifest.read_manifest(path).table), Lineage("clean", "curate filter", {}))
    return path


def originals(path: Path, *roots: Path) -> PhotoDataset:
    found = dataset.load_datasets(path, roots).train
    assert isinstance(found, PhotoDataset)
    return found


def refusal(path: Path, *roots: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        dataset.load_datasets(path, roots)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_clean_manifest_gives_its_photos_by_split(clean_manifest: Manifests) -> None:
    path = clean_manifest(("train", "val", "train", "test", "train"))
    found = dataset.load_datasets(path)
    assert [found.train.name(index) for index in range(len(found.train))] == ["p00.png", "p02.png", "p04.png"]
    assert (len(found.val), len(found.test)) == (1, 1)
    assert isinstance(found.val, PhotoDataset)
    assert found.val.locate(0) == str(path.parent / "photos" / "p01.png")
    assert found.manifest_path == path
    assert found.manifest_sha256 == manifest.digest(path)


def test_a_manifest_without_lineage_still_reads(clean_manifest: Manifests) -> None:
    path = clean_manifest()
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert len(dataset.load_datasets(path).train) == 4


def test_a_missing_manifest_says_what_makes_one(tmp_path: Path) -> None:
    assert "curate filter" in refusal(tmp_path / "none.parquet")


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.parquet"
    path.write_text("hello")
    assert str(path) in refusal(path)


def test_an_empty_manifest_is_refused(clean_manifest: Manifests) -> None:
    assert "is empty" in refusal(rewrite(clean_manifest(), lambda table: table.slice(0, 0)))


@pytest.mark.parametrize("tone", ["grayscale", "sepia", "toned"])
def test_a_manifest_without_color_photos_is_refused(clean_manifest: Manifests, tone: str) -> None:
    assert "no color photos" in refusal(clean_manifest(tone=tone))


def test_a_manifest_without_the_split_column_points_to_filter(clean_manifest: Manifests) -> None:
    message = refusal(rewrite(clean_manifest(), lambda table: table.drop_columns(["split", "reject_reasons"])))
    assert "'split'" in message
    assert "run `curate filter`" in message


def test_missing_measure_columns_are_named(clean_manifest: Manifests) -> None:
    message = refusal(rewrite(clean_manifest(), lambda table: table.drop_columns(["tone", "sha256"])))
    assert "'tone'" in message
    assert "'sha256'" in message


def test_an_unknown_split_is_refused(clean_manifest: Manifests) -> None:
    message = refusal(clean_manifest(("train", "validation", "test")))
    assert "the split 'validation', but only train, val, test are known: run `curate filter` on it" in message


def test_a_path_column_of_numbers_is_refused(clean_manifest: Manifests) -> None:
    def numbered(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index("path"), "path", pa.array(range(table.num_rows)))

    assert "int64 in its column 'path' instead of text" in refusal(rewrite(clean_manifest(), numbered))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_manifest_without_training_photos_is_refused(clean_manifest: Manifests, split: str) -> None:
    assert "split 'train'" in refusal(clean_manifest((split,) * 3))


def test_a_newer_manifest_asks_for_an_upgrade(clean_manifest: Manifests) -> None:
    assert "upgrade vividset" in refusal(clean_manifest(schema_version=99))


def test_missing_photos_are_counted_and_one_is_named(clean_manifest: Manifests) -> None:
    path = clean_manifest(("train",) * 5)
    for name in ("p01.png", "p03.png"):
        (path.parent / "photos" / name).unlink()
    message = refusal(path)
    assert "2 of 5 photos" in message
    assert "for example p01.png" in message
    assert "--root" in message


def test_missing_held_out_photos_are_refused_too(clean_manifest: Manifests) -> None:
    path = clean_manifest(("train", "val"))
    (path.parent / "photos" / "p01.png").unlink()
    assert "for example p01.png" in refusal(path)


def test_missing_test_photos_do_not_prevent_training(clean_manifest: Manifests) -> None:
    path = clean_manifest(("train", "test"))
    (path.parent / "photos" / "p01.png").unlink()
    assert len(dataset.load_datasets(path).train) == 1


def test_a_photo_whose_size_changed_asks_for_a_new_scan(clean_manifest: Manifests) -> None:
    path = clean_manifest()
    Image.new("RGB", (9, 9)).save(path.parent / "photos" / "p02.png")
    message = refusal(path)
    assert "1 of 4 photos" in message
    assert "for example p02.png" in message
    assert "curate scan" in message


@pytest.mark.parametrize("below", ["", "photos"], ids=["root/path", "root/last-part-of-source/path"])
def test_root_finds_photos_that_moved(clean_manifest: Manifests, tmp_path: Path, below: str) -> None:
    path = clean_manifest()
    root = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "photos", root / below)
    shutil.rmtree(tmp_path / "photos")
    assert "not found where they were scanned" in refusal(path)
    assert originals(path, root).locate(3) == str(root / below / "p03.png")


def test_several_roots_are_searched_in_order(clean_manifest: Manifests, tmp_path: Path) -> None:
    path = clean_manifest()
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(tmp_path / "photos", second)
    first.mkdir()
    shutil.move(second / "p00.png", first / "p00.png")
    found = originals(path, first, second)
    assert [found.locate(index) for index in (0, 1)] == [str(first / "p00.png"), str(second / "p01.png")]


def test_a_root_without_the_photos_is_named(clean_manifest: Manifests, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refusal(clean_manifest(), empty)
    assert "4 of 4" in message
    assert str(empty) in message


def test_file_names_that_are_not_utf8_are_found(clean_manifest: Manifests) -> None:
    path = clean_manifest(("train",))
    folder = path.parent / "photos"
    odd = "caf\udce9.png"
    try:
        (folder / "p00.png").rename(folder / odd)
    except OSError:  # a file system that only takes UTF-8
        odd = "p00.png"
    escaped = manifest.escape(odd)

    def renamed(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("path")
        return table.set_column(at, table.schema.field(at), pa.array([escaped]))

    assert originals(rewrite(path, renamed)).locate(0) == str(folder / odd)


def test_photos_in_tars_and_at_urls_are_loaded_like_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 40, 3), dtype=np.uint8)
    memory = fsspec.filesystem("memory")
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number, photo in enumerate(pixels):
            file = tmp_path / f"{number:02}.png"
            Image.fromarray(photo).save(file)
            tar.add(file, file.name)
            memory.pipe(f"/to-train-on/{number + 24:02}.png", file.read_bytes())
    scan_photos([folder, "memory://to-train-on"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "scan.parquet",
        tmp_path / "clean.parquet",
        FilterOptions(1.0, keep_kinds=ALL_KINDS),
    )
    datasets = dataset.load_datasets(tmp_path / "clean.parquet")
    seen = set()
    for listed in (datasets.train, datasets.val, datasets.test):
        assert isinstance(listed, PhotoDataset)
        for index in range(len(listed)):
            number = int(listed.name(index)[-6:-4])
            assert np.array_equal(listed.read_pixels(index, 40), pixels[number % 24])
            seen.add(number)
    assert seen == set(range(48))
    (folder / "0.tar").write_bytes((folder / "0.tar").read_bytes()[:20_000])
    assert "changed since the scan" in refusal(tmp_path / "clean.parquet")


def test_photos_in_a_compressed_tar_are_refused_with_the_remedy(tmp_path: Path) -> None:
    y, x = np.mgrid[0:48, 0:64]
    Image.fromarray(np.stack((x * 4, y * 5, 255 - x * 2), axis=-1).astype(np.uint8)).save(tmp_path / "a.png")
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    scan_photos([tmp_path / "0.tar.gz"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "scan.parquet",
        tmp_path / "clean.parquet",
        FilterOptions(split=Split.parse("100/0/0"), keep_kinds=ALL_KINDS),
    )
    text = refusal(tmp_path / "clean.parquet")
    assert f"are in the compressed tar {tmp_path / '0.tar.gz'}, which can't be read in any order" in text
    assert f"run `curate pack {tmp_path / 'clean.parquet'} -o packs/NAME`" in text
    with pytest.raises(ManifestError, match="unpack it, then scan and filter the folder"):
        dataset.load_split(tmp_path / "clean.parquet", "train")


def test_large_row_groups_are_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:48, 0:64]
    Image.fromarray(np.stack((x * 4, y * 5, 255 - x * 2), axis=-1).astype(np.uint8)).save(tmp_path / "a.png")
    pq.write_table(pa.table({"image": [(tmp_path / "a.png").read_bytes()] * 2}), tmp_path / "0.parquet")
    scan_photos([tmp_path / "0.parquet"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "scan.parquet",
        tmp_path / "clean.parquet",
        FilterOptions(split=Split.parse("100/0/0"), keep_kinds=ALL_KINDS),
    )
    lines: list[str] = []
    dataset.check_rows(dataset.read_rows(tmp_path / "clean.parquet"), say=lines.append)
    assert lines == []
    monkeypatch.setattr(dataset, "LARGE_ROW_GROUP_BYTES", 100)
    dataset.check_rows(dataset.read_rows(tmp_path / "clean.parquet"), say=lines.append)
    (line,) = lines
    assert line.startswith(f"! slow to read: {tmp_path / '0.parquet'} has row groups of 0 MB")
    assert f"run `curate pack {tmp_path / 'clean.parquet'} -o packs/NAME`" in line


def test_bands_are_cropped_on_request_and_from_a_runs_own_list(clean_manifest: Manifests, tmp_path: Path) -> None:
    def add_bands(table: pa.Table) -> pa.Table:
        shares = {"border_left": 0.25, "border_top": 0.0, "border_right": 0.0, "border_bottom": 0.1}
        for name, share in shares.items():
            column = pa.array([share, *[None] * (len(table) - 1)], pa.float32())
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    path = rewrite(clean_manifest(), add_bands)
    read = dataset.read_rows(path)
    run_photos.write_photos(tmp_path, read, 0)
    own = run_photos.read_photos(tmp_path)
    assert own is not None
    whole = dataset.make_datasets(read).train.read_pixels(0, 8)
    for datasets in (dataset.make_datasets(read), run_photos.make_run_datasets(own, path)):
        photos = dataset.crop_datasets(datasets, read).train
        assert np.array_equal(photos.read_pixels(0, 8), whole[:36, 12:])
        assert photos.read_pixels(1, 8).shape == whole.shape
    bare = rewrite(path, lambda table: table.drop_columns(["border_top"]))
    read = dataset.read_rows(bare)
    with pytest.raises(ManifestError, match="no column 'border_top': run `curate scan` again"):
        dataset.crop_datasets(dataset.make_datasets(read), read)


def test_a_pack_is_cropped_when_it_is_made(clean_manifest: Manifests, tmp_path: Path) -> None:
    path = clean_manifest()
    for cropped in (False, True):
        pack_photos(path, tmp_path / "pack", PackOptions(32, engine="serial", crop_borders=cropped, overwrite=True))
        read = dataset.read_rows(tmp_path / "pack")
        datasets = dataset.make_datasets(read)
        if cropped:
            assert dataset.crop_datasets(datasets, read) is datasets
        else:
            with pytest.raises(ManifestError, match="pack them again with `curate pack --crop-borders`"):
                dataset.crop_datasets(datasets, read)
