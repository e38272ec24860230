"""Settings of the process, changed by several threads at once, and calls of the public API from threads."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import curate
from curate.executors.engines import EngineName
from curate.measures.measure import make_small_copy
from curate.measures.tone.classify import classify_tone
from curate.process_settings import SharedSetting, ignore_warnings, no_pixel_limit, one_opencv_thread

THREADS = 4


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(real_photo: Callable[[str], NDArray[np.uint8]]) -> list[bytes]:
    """A photo from color to sepia, which the regression is sure and in doubt of, as files of several formats."""
    pixels = real_photo("coffee").astype(np.float64)
    sepia = (pixels @ [0.299, 0.587, 0.114])[..., None] * [1.07, 0.87, 0.65]
    mixed = [
        Image.fromarray((sepia + share * (pixels - sepia)).clip(0, 255).astype(np.uint8))
        for share in np.linspace(0, 1, 12)
    ]
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # unusable in RGB: one more cached object
    return [
        encoded(picture, kind, **options)
        for picture, (kind, options) in zip(
            mixed, 3 * [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {"icc_profile": lab})], strict=True
        )
    ]


def settings() -> tuple[object, ...]:
    return list(warnings.filters), Image.MAX_IMAGE_PIXELS, cv2.getNumThreads(), os.environ.copy()


def in_threads(function: Callable[[int], object], count: int) -> list[object]:
    """Results of `function(0)`, `function(1)` ..., called by threads that start at the same time."""
    barrier = threading.Barrier(min(THREADS, count))

    def call(number: int) -> object:
        if number < THREADS:
            barrier.wait(10)
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(count)))


@pytest.mark.parametrize("setting", [ignore_warnings, no_pixel_limit, one_opencv_thread])
def test_a_setting_is_restored_if_the_thread_that_changed_it_leaves_first(setting: SharedSetting) -> None:
    before = settings()
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with setting:
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    with setting:
        other.start()
        assert entered.wait(10)
    assert settings() != before or cv2.getNumThreads() == 1
    leave.set()
    other.join()
    assert settings() == before


def test_measures_of_threads_equal_those_of_one_thread(photos: list[bytes]) -> None:
    before = settings()
    expected = [curate.measure(photo) for photo in photos]
    assert in_threads(lambda n: curate.measure(photos[n % 12]), 48) == 4 * expected
    assert settings() == before


def test_tone_of_threads_equals_that_of_one_thread(photos: list[bytes]) -> None:
    smalls = [make_small_copy(curate.decode(photo))[0] for photo in photos]
    expected = [classify_tone(small) for small in smalls]
    assert in_threads(lambda n: classify_tone(smalls[n % 12]), 240) == 20 * expected


def test_decoding_and_explaining_in_threads_gives_what_one_thread_gives(photos: list[bytes], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path, photo in zip(paths, photos, strict=False):
        path.write_bytes(photo)
    before = settings()
    pixels = [curate.decode(path).tolist() for path in paths]
    reasons = [curate.explain_photo(path).reasons for path in paths]
    assert in_threads(lambda n: curate.decode(paths[n % 4]).tolist(), 8) == 2 * pixels
    assert in_threads(lambda n: curate.explain_photo(paths[n % 4]).reasons, 8) == 2 * reasons
    assert settings() == before


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_threads_scan_and_filter_at_the_same_time(photos: list[bytes], tmp_path: Path, engine: EngineName) -> None:
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(photos[:4]):
        (tmp_path / f"photos/{number}.jpg").write_bytes(photo)
    before = settings()

    def scan(number: int) -> object:
        out = tmp_path / f"{number}.parquet"
        curate.scan_photos(tmp_path / "photos", out, engine=engine, workers=1)
        kept = curate.filter_manifest(out, tmp_path / f"{number}-clean.parquet", min_colorfulness=0)
        return kept.kept, curate.read_manifest(out).table.drop_columns(["source"]).to_pylist()

    results = in_threads(scan, 2 if engine == "processes" else THREADS)
    assert all(result == results[0] for result in results)
    assert settings() == before
