"""The order of samples, the crops, and their loading in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from train.data import dataset
from train.data.dataset import PhotoDataset
from train.data.loader import Batch, CropLoader, crop, load_batches
from train.data.readers import start_context
from train.data.sampler import CENTER, SampleKey, StepSampler, sequential_batches

Manifests = Callable[..., Path]
Pixels = NDArray[np.uint8]


@pytest.fixture
def seven(clean_manifest: Manifests) -> PhotoDataset:
    found = dataset.load_datasets(clean_manifest(("train",) * 7)).train
    assert isinstance(found, PhotoDataset)
    return found


def cropped(pixels: Pixels, size: int, rng: np.random.Generator | None, *, unscaled: bool = False) -> Pixels:
    out = np.empty((size, size, 3), np.uint8)
    crop(pixels, rng, out, unscaled=unscaled)
    return out


def path_of(listed: PhotoDataset, index: int) -> Path:
    found = listed.locate(index)
    assert found
    return Path(found)


def scanned_without_hashes(listed: PhotoDataset) -> PhotoDataset:
    """The same photos; their content may change."""
    return replace(listed, sha256s=pa.nulls(len(listed), pa.large_string()))


def test_a_photo_with_other_bytes_than_scanned_is_never_cropped(seven: PhotoDataset) -> None:
    changed = path_of(seven, 1)
    before = changed.stat()
    changed.write_bytes(path_of(seven, 2).read_bytes()[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `touch -r`: same size and time
    batch = CropLoader(seven, 32, seed=0).load_batch([SampleKey(0, index) for index in range(3)])
    assert batch.photos == [0, 2]
    assert batch.errors[0][0] == 1
    assert batch.errors[0][1].startswith("ChangedSinceScan: ")


def test_a_crop_that_runs_out_of_memory_fails_its_photo_alone(
    seven: PhotoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crop_without_memory(
        pixels: Pixels, rng: np.random.Generator | None, out: Pixels, *, unscaled: bool = False
    ) -> None:
        if np.array_equal(pixels, seven.read_pixels(2, 32)):
            raise MemoryError
        crop(pixels, rng, out, unscaled=unscaled)

    monkeypatch.setattr("train.data.loader.crop", crop_without_memory)
    batch = CropLoader(seven, 32, seed=3).load_batch([SampleKey(0, photo) for photo in (1, 2, 3)])
    assert batch.photos == [1, 3]
    assert batch.errors == [(2, "OutOfMemory: cropping it needs more memory than is available")]
    assert len(batch.rgb) == 2


def test_crops_are_the_same_for_any_number_of_workers(seven: PhotoDataset) -> None:
    seen = []
    for workers in (0, 1, 2):
        loader = load_batches(CropLoader(seven, 32, seed=3), StepSampler(7, 3, 3, 0, 6), workers)
        seen.append([(batch.photos, batch.rgb.numpy().tobytes()) for batch in loader])
    assert len(seen[0]) == 6
    assert seen[0] == seen[1] == seen[2]


def test_degraded_copies_are_the_same_for_any_number_of_workers_and_leave_the_crops_alone(
    seven: PhotoDataset,
) -> None:
    seen = []
    for workers in (0, 1, 2):
        loader = load_batches(CropLoader(seven, 32, seed=3, augment="film"), StepSampler(7, 3, 3, 0, 6), workers)
        seen.append([(batch.rgb.numpy().tobytes(), gray_bytes(batch)) for batch in loader])
    plain = list(load_batches(CropLoader(seven, 32, seed=3), StepSampler(7, 3, 3, 0, 6), 0))
    assert seen[0] == seen[1] == seen[2]
    assert [rgb for rgb, _ in seen[0]] == [batch.rgb.numpy().tobytes() for batch in plain]
    assert all(batch.gray is None for batch in plain)


def test_degradation_depends_on_seed_epoch_and_photo_alone(seven: PhotoDataset) -> None:
    def drawn(seed: int, epoch: int) -> bytes:
        return gray_bytes(CropLoader(seven, 32, seed, "film").load_batch([SampleKey(epoch, 2)]))

    assert drawn(1, 4) == drawn(1, 4)
    assert len({drawn(1, epoch) for epoch in range(6)}) == len({drawn(seed, 4) for seed in range(6)}) == 6


def test_without_readable_photos_there_are_no_degraded_copies(seven: PhotoDataset) -> None:
    path_of(seven, 1).unlink()
    batch = CropLoader(seven, 32, 0, "film").load_batch([SampleKey(0, 1), SampleKey(0, 2)])
    assert batch.gray is not None
    assert (len(batch.rgb), batch.gray.shape) == (1, (1, 32, 32))


def gray_bytes(batch: Batch) -> bytes:
    assert batch.gray is not None
    return batch.gray.numpy().tobytes()


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 30), st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_samples_are_the_same_from_whatever_step_a_run_starts(
    count: int, batch_size: int, first: int, seed: int
) -> None:
    whole = list(StepSampler(count, batch_size, seed, 0, 30))
    assert list(StepSampler(count, batch_size, seed, first, 30)) == whole[first:]


@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_every_epoch_is_a_permutation_with_a_smaller_last_batch(count: int, batch_size: int, seed: int) -> None:
    per_epoch = -(-count // batch_size)
    steps = list(StepSampler(count, batch_size, seed, 0, 3 * per_epoch))
    for epoch in range(3):
        drawn = steps[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert {key.epoch for key in chain(*drawn)} == {epoch}
        assert sorted(key.photo for key in chain(*drawn)) == list(range(count))
        assert [len(step) for step in drawn[:-1]] == [batch_size] * (per_epoch - 1)
        assert len(drawn[-1]) == count - batch_size * (per_epoch - 1)


def test_the_order_changes_with_the_epoch_and_the_seed() -> None:
    first, second = list(StepSampler(50, 50, 0, 0, 2))
    other = next(iter(StepSampler(50, 50, 1, 0, 1)))
    orders = {tuple(key.photo for key in step) for step in (first, second, other)}
    assert len(orders) == 3


def test_a_sampler_knows_its_length() -> None:
    assert len(StepSampler(7, 3, 0, 4, 10)) == len(list(StepSampler(7, 3, 0, 4, 10))) == 6


def test_crop_and_flip_depend_on_seed_epoch_and_photo_alone(seven: PhotoDataset) -> None:
    def drawn(seed: int, epoch: int) -> bytes:
        return CropLoader(seven, 32, seed).load_batch([SampleKey(epoch, 2)]).rgb.numpy().tobytes()

    assert drawn(1, 4) == drawn(1, 4)
    assert len({drawn(1, epoch) for epoch in range(12)}) > 1
    assert len({drawn(seed, 4) for seed in range(12)}) > 1


def test_an_unreadable_photo_becomes_an_error_and_the_rest_of_the_batch_stays(seven: PhotoDataset) -> None:
    damaged, gone = path_of(seven, 1), path_of(seven, 2)
    damaged.write_bytes(damaged.read_bytes()[:200])
    gone.unlink()
    crops = CropLoader(scanned_without_hashes(seven), 32, seed=0)
    batch = crops.load_batch([SampleKey(0, index) for index in range(4)])
    assert batch.photos == [0, 3]
    assert batch.rgb.shape == (2, 32, 32, 3)
    (first, why_first), (second, why_second) = batch.errors
    assert (first, second) == (1, 2)
    assert why_first.startswith("BrokenPhoto: ")
    assert why_second.startswith("Vanished: ")


def test_a_batch_without_readable_photos_gives_the_reasons(seven: PhotoDataset) -> None:
    path_of(seven, 5).write_bytes(b"")
    batch = CropLoader(scanned_without_hashes(seven), 32, seed=0).load_batch([SampleKey(0, 5)])
    assert len(batch.rgb) == 0
    assert batch.errors[0][0] == 5
    assert "EmptyFile" in batch.errors[0][1]


def test_workers_ignore_sigint_and_sigterm(seven: PhotoDataset) -> None:
    loader = iter(load_batches(CropLoader(seven, 32, seed=0), StepSampler(7, 2, 0, 0, 40), workers=1))
    seen = [next(loader)]
    for worker in multiprocessing.active_children():
        assert worker.pid
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    seen += loader
    assert len(seen) == 40


def test_with_ray_imported_workers_are_forked_from_a_server(
    seven: PhotoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    assert start_context().get_start_method() == "forkserver"
    crops = CropLoader(seven, 32, seed=0)
    read, expected = (list(load_batches(crops, StepSampler(7, 3, 0, 0, 4), workers)) for workers in (1, 0))
    assert all(torch.equal(ours.rgb, theirs.rgb) for ours, theirs in zip(read, expected, strict=True))


def test_workers_start_after_opencv_has_used_threads_in_this_process(seven: PhotoDataset) -> None:
    crops = CropLoader(seven, 768, seed=0)  # large enough for OpenCV to use its threads, which a fork doesn't copy
    assert len(crops.load_batch([SampleKey(CENTER, 0)]).rgb) == 1
    loader = load_batches(crops, sequential_batches(seven, 4), workers=1)
    assert sum(len(batch.photos) for batch in loader) == 7


@given(st.integers(1, 80), st.integers(1, 80), st.one_of(st.none(), st.integers(0, 99)))
@settings(max_examples=60, deadline=None)
def test_a_photo_of_any_size_gives_a_square(height: int, width: int, seed: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    square = cropped(pixels, 32, None if seed is None else np.random.default_rng(seed))
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert square.flags.c_contiguous


def test_without_rng_the_crop_is_from_the_middle_and_not_flipped(
    picture: Callable[..., NDArray[np.uint8]],
) -> None:
    tall, wide = picture(height=64, width=32), picture(height=32, width=52)
    assert np.array_equal(cropped(tall, 32, None), tall[16:48])
    assert np.array_equal(cropped(wide, 32, None), wide[:, 10:42])


def test_random_crops_reach_both_ends_and_half_are_flipped() -> None:
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[..., 0] = np.arange(40)
    lefts: Counter[int] = Counter()
    flipped = 0
    for seed in range(300):
        row = cropped(pixels, 32, np.random.default_rng(seed))[0, :, 0].astype(int)
        flipped += int(row[0] > row[-1])
        lefts[int(row.min())] += 1
    assert set(lefts) == set(range(9))
    assert 110 < flipped < 190


def test_small_photos_are_enlarged_and_large_ones_reduced_in_whole() -> None:
    for height, width in ((8, 10), (200, 320)):
        halves = np.zeros((height, width, 3), np.uint8)
        halves[: height // 2] = (250, 20, 20)
        halves[height // 2 :] = (20, 20, 250)
        square = cropped(halves, 32, None).astype(int)
        assert np.abs(square[:12] - (250, 20, 20)).max() < 40
        assert np.abs(square[-12:] - (20, 20, 250)).max() < 40


def test_a_one_pixel_high_photo_is_not_enlarged_in_memory() -> None:
    tracemalloc.start()
    square = cropped(np.zeros((1, 4000, 3), np.uint8), 64, None)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert square.shape == (64, 64, 3)
    assert peak_bytes < 5e6


def test_a_rotated_photo_is_cropped_upright(seven: PhotoDataset) -> None:
    stored = np.zeros((48, 48, 3), np.uint8)
    stored[:, :24], stored[:, 24:] = (220, 30, 30), (30, 30, 220)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored left side is the top
    Image.fromarray(stored).save(path_of(seven, 0), "JPEG", quality=95, exif=exif)
    (rgb,) = CropLoader(scanned_without_hashes(seven), 32, seed=0).load_batch([SampleKey(CENTER, 0)]).rgb
    top, bottom = rgb[:12].float().mean((0, 1)), rgb[-12:].float().mean((0, 1))
    assert top[0] - top[2] > 100
    assert bottom[2] - bottom[0] > 100


def test_sequential_batches_cover_every_photo_once_or_spread_a_limit_evenly(seven: PhotoDataset) -> None:
    every = list(chain(*sequential_batches(seven, 3)))
    assert every == [SampleKey(CENTER, index) for index in range(7)]
    assert [len(step) for step in sequential_batches(seven, 3)] == [3, 3, 1]
    assert [key.photo for key in chain(*sequential_batches(seven, 3, limit=3))] == [0, 3, 6]
    assert [key.photo for key in chain(*sequential_batches(seven, 3, limit=99))] == list(range(7))


def test_no_photos_make_no_batches(clean_manifest: Manifests) -> None:
    nothing = dataset.load_datasets(clean_manifest()).val
    assert sequential_batches(nothing, 4) == []


def test_a_batch_keeps_the_order_of_its_samples(seven: PhotoDataset) -> None:
    crops = CropLoader(seven, 32, seed=0)
    keys = [SampleKey(CENTER, index) for index in (4, 1, 6)]
    batch = crops.load_batch(keys)
    assert batch.photos == [4, 1, 6]
    assert batch.errors == []
    assert all(torch.equal(crops.load_batch([key]).rgb[0], row) for key, row in zip(keys, batch.rgb, strict=True))
