from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import chain
from multiprocessing.context import BaseContext
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from train.data import dataset
from train.data.dataset import PhotoDataset
from train.data.loader import CropLoader, batches, crop, start_method
from train.data.sampler import CENTER, SampleKey, StepSampler, sequential_batches

Manifests = Callable[..., Path]
Pixels = NDArray[np.uint8]


@pytest.fixture
def seven(clean_manifest: Manifests) -> PhotoDataset:
    found = dataset.load_datasets(clean_manifest(("train",) * 7)).train
    assert isinstance(found, PhotoDataset)
    return found


def cropped(pixels: Pixels, size: int, chance: np.random.Generator | None, *, at_scale: bool = False) -> Pixels:
    out = np.empty((size, size, 3), np.uint8)
    crop(pixels, chance, out, at_scale=at_scale)
    return out


def place(listed: PhotoDataset, index: int) -> Path:
    found = listed.locate(index)
    assert found
    return Path(found)


def test_a_crop_that_takes_too_much_memory_costs_its_photo(
    seven: PhotoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_little(pixels: Pixels, chance: np.random.Generator | None, out: Pixels, *, at_scale: bool = False) -> None:
        if np.array_equal(pixels, seven.pixels(2, 32)):
            raise MemoryError
        crop(pixels, chance, out, at_scale=at_scale)

    monkeypatch.setattr("train.data.loader.crop", in_little)
    batch = CropLoader(seven, 32, seed=3).batch([SampleKey(0, photo) for photo in (1, 2, 3)])
    assert batch.photos == [1, 3]
    assert batch.errors == [(2, "OutOfMemory: cropping it needs more memory than is available")]
    assert len(batch.rgb) == 2


def test_crops_are_the_same_for_any_number_of_workers(seven: PhotoDataset) -> None:
    seen = []
    for workers in (0, 1, 2):
        loader = batches(CropLoader(seven, 32, seed=3), StepSampler(7, 3, 3, 0, 6), workers)
        seen.append([(batch.photos, batch.rgb.numpy().tobytes()) for batch in loader])
    assert len(seen[0]) == 6
    assert seen[0] == seen[1] == seen[2]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 30), st.integers(0, 2**40))
@settings(max_examples=50, deadline=None)
def test_draws_are_the_same_wherever_a_run_starts(count: int, batch_size: int, first: int, seed: int) -> None:
    whole = list(StepSampler(count, batch_size, seed, 0, 30))
    assert list(StepSampler(count, batch_size, seed, first, 30)) == whole[first:]


@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_every_epoch_is_a_permutation_with_a_smaller_last_batch(count: int, batch_size: int, seed: int) -> None:
    per_epoch = -(-count // batch_size)
    steps = list(StepSampler(count, batch_size, seed, 0, 3 * per_epoch))
    for epoch in range(3):
        drawn = steps[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert {draw.epoch for draw in chain(*drawn)} == {epoch}
        assert sorted(draw.photo for draw in chain(*drawn)) == list(range(count))
        assert [len(step) for step in drawn[:-1]] == [batch_size] * (per_epoch - 1)
        assert len(drawn[-1]) == count - batch_size * (per_epoch - 1)


def test_the_order_changes_with_the_epoch_and_the_seed() -> None:
    first, second = list(StepSampler(50, 50, 0, 0, 2))
    other = next(iter(StepSampler(50, 50, 1, 0, 1)))
    orders = {tuple(draw.photo for draw in step) for step in (first, second, other)}
    assert len(orders) == 3


def test_a_sampler_knows_its_length() -> None:
    assert len(StepSampler(7, 3, 0, 4, 10)) == len(list(StepSampler(7, 3, 0, 4, 10))) == 6


def test_crop_and_flip_come_from_seed_epoch_and_photo_alone(seven: PhotoDataset) -> None:
    def drawn(seed: int, epoch: int) -> bytes:
        return CropLoader(seven, 32, seed).batch([SampleKey(epoch, 2)]).rgb.numpy().tobytes()

    assert drawn(1, 4) == drawn(1, 4)
    assert len({drawn(1, epoch) for epoch in range(12)}) > 1
    assert len({drawn(seed, 4) for seed in range(12)}) > 1


def test_an_unreadable_photo_becomes_an_error_and_the_rest_of_the_batch_stays(seven: PhotoDataset) -> None:
    damaged, gone = place(seven, 1), place(seven, 2)
    damaged.write_bytes(damaged.read_bytes()[:200])
    gone.unlink()
    crops = CropLoader(seven, 32, seed=0)
    batch = crops.batch([SampleKey(0, index) for index in range(4)])
    assert batch.photos == [0, 3]
    assert batch.rgb.shape == (2, 32, 32, 3)
    (first, why_first), (second, why_second) = batch.errors
    assert (first, second) == (1, 2)
    assert why_first.startswith("BrokenPhoto: ")
    assert why_second.startswith("Vanished: ")


def test_a_batch_of_which_nothing_can_be_read_names_a_photo_and_why(seven: PhotoDataset) -> None:
    place(seven, 5).write_bytes(b"")
    batch = CropLoader(seven, 32, seed=0).batch([SampleKey(0, 5)])
    assert len(batch.rgb) == 0
    assert batch.errors[0][0] == 5
    assert "EmptyFile" in batch.errors[0][1]


def test_workers_survive_what_a_terminal_or_a_scheduler_sends_to_all_processes(seven: PhotoDataset) -> None:
    loader = iter(batches(CropLoader(seven, 32, seed=0), StepSampler(7, 2, 0, 0, 40), workers=1))
    seen = [next(loader)]
    for worker in multiprocessing.active_children():
        assert worker.pid
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    seen += loader
    assert len(seen) == 40


def test_where_ray_was_imported_readers_are_not_forked_from_this_process(
    seven: PhotoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    context = start_method()
    assert isinstance(context, BaseContext)
    assert context.get_start_method() == "forkserver"
    crops = CropLoader(seven, 32, seed=0)
    read, expected = (list(batches(crops, StepSampler(7, 3, 0, 0, 4), workers)) for workers in (1, 0))
    assert all(torch.equal(ours.rgb, theirs.rgb) for ours, theirs in zip(read, expected, strict=True))


def test_workers_start_after_photos_were_scaled_in_the_trainers_own_process(seven: PhotoDataset) -> None:
    crops = CropLoader(seven, 768, seed=0)  # large enough for OpenCV to use its threads, which a fork doesn't copy
    assert len(crops.batch([SampleKey(CENTER, 0)]).rgb) == 1
    loader = batches(crops, sequential_batches(seven, 4), workers=1)
    assert sum(len(batch.photos) for batch in loader) == 7


@given(st.integers(1, 80), st.integers(1, 80), st.one_of(st.none(), st.integers(0, 99)))
@settings(max_examples=60, deadline=None)
def test_a_photo_of_any_size_gives_a_square(height: int, width: int, seed: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    square = cropped(pixels, 32, None if seed is None else np.random.default_rng(seed))
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert square.flags.c_contiguous


def test_without_chance_the_crop_is_from_the_middle_and_not_flipped(
    picture: Callable[..., NDArray[np.uint8]],
) -> None:
    tall, wide = picture(height=64, width=32), picture(height=32, width=52)
    assert np.array_equal(cropped(tall, 32, None), tall[16:48])
    assert np.array_equal(cropped(wide, 32, None), wide[:, 10:42])


def test_by_chance_crops_reach_both_ends_and_half_are_flipped() -> None:
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


def test_a_photo_as_thin_as_a_line_isnt_blown_up_in_memory() -> None:
    tracemalloc.start()
    square = cropped(np.zeros((1, 4000, 3), np.uint8), 64, None)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert square.shape == (64, 64, 3)
    assert peak_bytes < 5e6


def test_a_rotated_photo_is_seen_upright(seven: PhotoDataset) -> None:
    stored = np.zeros((48, 48, 3), np.uint8)
    stored[:, :24], stored[:, 24:] = (220, 30, 30), (30, 30, 220)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored left side is the top
    Image.fromarray(stored).save(place(seven, 0), "JPEG", quality=95, exif=exif)
    (rgb,) = CropLoader(seven, 32, seed=0).batch([SampleKey(CENTER, 0)]).rgb
    top, bottom = rgb[:12].float().mean((0, 1)), rgb[-12:].float().mean((0, 1))
    assert top[0] - top[2] > 100
    assert bottom[2] - bottom[0] > 100


def test_in_order_covers_every_photo_once_or_spreads_a_limit_evenly(seven: PhotoDataset) -> None:
    every = list(chain(*sequential_batches(seven, 3)))
    assert every == [SampleKey(CENTER, index) for index in range(7)]
    assert [len(step) for step in sequential_batches(seven, 3)] == [3, 3, 1]
    assert [draw.photo for draw in chain(*sequential_batches(seven, 3, limit=3))] == [0, 3, 6]
    assert [draw.photo for draw in chain(*sequential_batches(seven, 3, limit=99))] == list(range(7))


def test_no_photos_make_no_draws(clean_manifest: Manifests) -> None:
    nothing = dataset.load_datasets(clean_manifest()).val
    assert sequential_batches(nothing, 4) == []


def test_a_batch_keeps_the_order_of_its_draws(seven: PhotoDataset) -> None:
    crops = CropLoader(seven, 32, seed=0)
    draws = [SampleKey(CENTER, index) for index in (4, 1, 6)]
    batch = crops.batch(draws)
    assert batch.photos == [4, 1, 6]
    assert batch.errors == []
    assert all(torch.equal(crops.batch([draw]).rgb[0], row) for draw, row in zip(draws, batch.rgb, strict=True))
