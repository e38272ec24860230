"""Packs as training data: pixels, crops, the order of shards, and damaged packs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError, PhotoError, UsageError
from curate.packing import pack as packing
from curate.packing.pack import Encoding, PackOptions, pack_photos, resize_photo
from curate.packing.shards import shard_path
from train import checkpoint
from train.data import dataset
from train.data.loader import CropLoader, crop, load_batches
from train.data.packed import PackedDataset, check_pack_size
from train.data.sampler import POOLED_SHARDS, SampleKey, StepSampler, sequential_batches
from train.trainer.callbacks import FitResult

Manifests = Callable[..., Path]
SPLITS = ("train", "val", "train", "train", "test", "train", "train")
SIZE = PackOptions(size_px=36)


@pytest.fixture
def packed(clean_manifest: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw pack of 40 x 48 photos at 36 px, in shards of three."""
    monkeypatch.setattr(packing, "SHARD_PHOTOS", 3)
    pack_photos(clean_manifest(SPLITS), tmp_path / "pack", SIZE, command="curate pack clean.parquet")
    return tmp_path / "pack"


def train_photos(path: Path) -> PackedDataset:
    found = dataset.load_datasets(path).train
    assert isinstance(found, PackedDataset)
    return found


def test_a_pack_has_its_photos_by_split_with_their_pixels(packed: Path, tmp_path: Path) -> None:
    found = dataset.load_datasets(packed)
    assert (len(found.train), len(found.val), len(found.test)) == (5, 1, 1)
    assert found.packed_px == 36
    listed = train_photos(packed)
    assert {listed.name(index) for index in range(5)} == {"p00.png", "p02.png", "p03.png", "p05.png", "p06.png"}
    for index in range(5):
        original = (tmp_path / "photos" / listed.name(index)).read_bytes()
        assert np.array_equal(listed.read_pixels(index, 0), resize_photo(original, 36))


def test_a_pack_is_found_by_its_folder_or_its_manifest(packed: Path) -> None:
    by_folder, by_file = dataset.load_datasets(packed), dataset.load_datasets(packed / "manifest.parquet")
    assert by_folder.manifest_sha256 == by_file.manifest_sha256 == manifest.digest(packed / "manifest.parquet")
    assert np.array_equal(by_folder.train.read_pixels(0, 0), by_file.train.read_pixels(0, 0))


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_crops_of_a_pack_are_the_same_for_any_number_of_workers(
    encoding: Encoding, clean_manifest: Manifests, tmp_path: Path
) -> None:
    pack_photos(clean_manifest(SPLITS), tmp_path / "a", replace(SIZE, encoding=encoding))
    listed = train_photos(tmp_path / "a")
    seen = []
    for workers in (0, 2):
        steps = StepSampler(5, 2, 3, 0, 15, listed.shard_starts())
        seen.append(
            [
                (batch.photos, batch.rgb.numpy().tobytes())
                for batch in load_batches(CropLoader(listed, 32, 3), steps, workers)
            ]
        )
    assert len(seen[0]) == 15
    assert seen[0] == seen[1]
    assert len({pixels for _, pixels in seen[0]}) > 10


def test_a_batch_is_not_overwritten_by_later_ones(packed: Path) -> None:
    listed = train_photos(packed)
    crops = CropLoader(listed, 32, 0)
    kept = list(load_batches(crops, [[SampleKey(epoch, epoch % 5)] for epoch in range(20)], workers=1))
    for epoch, batch in enumerate(kept):
        assert np.array_equal(batch.rgb.numpy(), crops.load_batch([SampleKey(epoch, epoch % 5)]).rgb.numpy())


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_an_unscaled_crop_is_a_piece_of_the_photo_possibly_mirrored(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels.flags.writeable = False
    out = np.empty((24, 24, 3), np.uint8)
    crop(pixels, np.random.default_rng(seed), out, unscaled=True)
    side = min(height, width)
    if side >= 24:
        pieces = np.lib.stride_tricks.sliding_window_view(pixels, (24, 24, 3)).reshape(-1, 24, 24, 3)
        assert any(np.array_equal(piece, out) or np.array_equal(piece[:, ::-1], out) for piece in pieces)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_shards_of_a_pack_are_sampled_in_groups(shards: list[int], batch_size: int, seed: int) -> None:
    count = sum(shards)
    starts = np.cumsum(shards)[:-1]
    steps = StepSampler(count, batch_size, seed, 0, -(-count // batch_size), starts)
    drawn = [draw.photo for step in steps for draw in step]
    assert sorted(drawn) == list(range(count))
    shard_of = np.repeat(np.arange(len(shards)), shards)[drawn]
    seen: list[int] = []
    for shard in shard_of:
        if shard not in seen[-POOLED_SHARDS:]:
            seen.append(int(shard))
    assert sorted(seen) == list(range(len(shards)))


def test_a_checkpoint_trained_on_a_pack_names_the_manifest_behind_it(
    packed: Path, train_on: Callable[..., FitResult]
) -> None:
    outcome = train_on(packed, max_steps=2)
    about = checkpoint.load(outcome.run_dir / "last.safetensors").metadata
    clean = packed.parent / "clean.parquet"
    assert about.manifest_sha256 == manifest.digest(packed)
    assert [(each["kind"], each["sha256"]) for each in about.manifest_ancestors] == [("clean", manifest.digest(clean))]


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_missing_or_truncated_shard_is_named_before_training(packed: Path, harm: str) -> None:
    shard = shard_path(packed, 1)
    if harm == "gone":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(ManifestError, match=r"shard-000001\.arrow is missing or incomplete: .*curate pack"):
        dataset.load_datasets(packed)


def test_an_incomplete_pack_is_refused(packed: Path) -> None:
    (packed / "manifest.parquet").unlink()
    with pytest.raises(ManifestError, match="incomplete pack"):
        dataset.load_datasets(packed)


def test_a_damaged_jpeg_fails_its_photo_alone(clean_manifest: Manifests, tmp_path: Path) -> None:
    pack_photos(clean_manifest(SPLITS), tmp_path / "a", replace(SIZE, encoding="jpeg"))
    listed = train_photos(tmp_path / "a")
    first, size = (int(listed.columns[name][2]) for name in ("pack_offset", "pack_bytes"))
    with open(shard_path(tmp_path / "a", 0), "r+b") as file:
        file.seek(first)
        file.write(bytes(size))
    with pytest.raises(PhotoError, match="damaged in the pack"):
        listed.read_pixels(2, 0)
    (draws,) = sequential_batches(listed, 8)
    batch = CropLoader(listed, 32, 0).load_batch(draws)
    assert batch.photos == [0, 1, 3, 4]
    assert [photo for photo, _ in batch.errors] == [2]


@pytest.mark.parametrize(("packed_px", "image_size"), [(255, 256), (385, 256), (36, 64)])
def test_a_pack_of_another_size_than_needed_is_refused(packed_px: int, image_size: int) -> None:
    with pytest.raises(UsageError, match=f"packed at {packed_px} px.* --size {image_size * 9 // 8}"):
        check_pack_size(Path("packs/a"), packed_px, image_size)


@pytest.mark.parametrize("packed_px", [None, 256, 288, 384])
def test_a_pack_somewhat_larger_than_the_crop_is_accepted(packed_px: int | None) -> None:
    check_pack_size(Path("packs/a"), packed_px, 256)


def test_columns_are_numpy_arrays(packed: Path) -> None:
    listed = train_photos(packed)
    columns: list[NDArray[np.generic]] = list(listed.columns.values())
    assert all(isinstance(column, np.ndarray) and column.dtype.kind == "i" for column in columns)
