"""Tests of curate/scanning/scorer.py: batches, `--fidelity fast`, and damaged files compared with Pillow."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.cli import main
from curate.errors import PhotoError
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.image.decode import MIN_QUARTER_SIDE_PX, decode
from curate.measures.measure import (
    SAMPLE_PIXELS,
    Measures,
    PixelSummary,
    make_small_copy,
    measure,
    measure_batch,
    sample_pixels,
    summarize_pixels,
)
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import BATCH_PHOTOS, ScoreOptions, score_photo, score_photos
from curate.sources import list_photos

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]


@pytest.fixture
def large_jpeg(tmp_path: Path, real_photo: Callable[[str], Pixels]) -> Path:
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(real_photo("coffee")).resize((1202, 806)).save(folder / "coffee.jpg", quality=90)
    return folder


def test_a_batch_gives_the_same_records_as_single_photos(photos: Path, vivid: Pixels) -> None:
    for number in range(BATCH_PHOTOS):
        Image.fromarray(np.roll(vivid, number, axis=2)).save(photos / f"{number:03}.png")
    listed = list(list_photos([photos]))
    together = list(score_photos(listed, ScoreOptions()))
    assert together == [score_photo(photo, ScoreOptions()) for photo in listed]
    assert [record is None for record in together].count(True) == 1  # notes.txt
    assert len(together) > BATCH_PHOTOS


def test_a_batch_that_needs_too_much_memory_is_measured_one_by_one(
    photos: Path, vivid: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.concatenate([vivid, vivid], axis=1)
    Image.fromarray(wide).save(photos / "b-wide.png")

    def measure_with_little_memory(summaries: Sequence[PixelSummary]) -> list[Measures]:
        if len(summaries) > 1 or any(summary.small.shape == wide.shape for summary in summaries):
            raise MemoryError
        return measure_batch(summaries)

    monkeypatch.setattr("curate.scanning.scorer.measure_batch", measure_with_little_memory)
    records = [record for record in score_photos(list_photos([photos]), ScoreOptions()) if record]
    assert {record.photo.path: (record.error or "fine").partition(":")[0] for record in records} == {
        "a-vivid.png": "fine",
        "b-wide.png": "OutOfMemory",
        "c-cut.png": "BrokenPhoto",
        "more/b-gray.png": "fine",
    }
    assert all(record.sha256 for record in records)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (375, 500), (301, 1), (2, 700_000), (1001, 999)])
@pytest.mark.parametrize("masked", [False, True])
def test_one_pass_gives_the_same_small_copy_as_repeated_halving(shape: tuple[int, int], masked: bool) -> None:
    rng = np.random.default_rng(sum(shape))
    pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
    visible = np.ones(shape, np.bool_) if masked else None
    if visible is not None:
        visible[: shape[0] // 2] = False
    small, small_visible = make_small_copy(pixels, visible)
    summary = summarize_pixels(pixels, visible)
    assert np.array_equal(summary.small, small)
    assert (summary.visible is None) == (small_visible is None)
    assert small_visible is None or (summary.visible is not None and np.array_equal(summary.visible, small_visible))
    assert measure_batch([summary]) == [measure(pixels, visible)]


def test_a_sample_has_original_pixels_from_the_whole_photo() -> None:
    rows, columns = np.mgrid[0:600, 0:900]
    pixels = np.stack([rows // 4, columns // 4, rows % 2 * 255], axis=-1).astype(np.uint8)
    chosen = sample_pixels(pixels)
    assert 0.9 * SAMPLE_PIXELS < chosen.shape[0] * chosen.shape[1] <= SAMPLE_PIXELS
    assert set(np.unique(chosen[..., 2])) == {0, 255}  # an average would be 127
    assert np.abs(chosen.reshape(-1, 3).mean(axis=0) - pixels.reshape(-1, 3).mean(axis=0)).max() < 5


def test_a_sample_of_one_visible_pixel_is_that_pixel() -> None:
    pixels = np.zeros((600, 900, 3), np.uint8)
    pixels[3, 5] = (9, 8, 7)
    visible = pixels[..., 0] > 0
    assert sample_pixels(pixels, visible).tolist() == [[[9, 8, 7]]]


def test_fast_decodes_at_a_quarter_and_records_the_full_size(large_jpeg: Path) -> None:
    data = (large_jpeg / "coffee.jpg").read_bytes()
    photo = decode(data, quarter=True)
    assert photo.pixels.shape == (202, 301, 3)
    assert (photo.header.width, photo.header.height) == (1202, 806)
    (listed,) = list_photos([large_jpeg])
    exact, fast = (score_photo(listed, ScoreOptions(fidelity=fidelity)) for fidelity in ("exact", "fast"))
    assert exact is not None
    assert fast is not None
    assert exact.measures is not None
    assert fast.measures is not None
    assert fast.header == exact.header
    assert fast.sha256 == exact.sha256
    assert fast.measures.colorfulness != exact.measures.colorfulness
    assert fast.measures.colorfulness == pytest.approx(exact.measures.colorfulness, abs=2)


def test_fast_never_decodes_smaller_than_tone_needs(encoded: Encode) -> None:
    small = encoded(Image.effect_noise((240, 160), 40).convert("RGB"), "JPEG")
    assert min(decode(small, quarter=True).pixels.shape[:2]) == MIN_QUARTER_SIDE_PX
    smaller = encoded(Image.effect_noise((70, 60), 40).convert("RGB"), "JPEG")
    assert decode(smaller, quarter=True).pixels.shape == (60, 70, 3)


def test_another_fidelity_measures_again_and_manifests_record_it(large_jpeg: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "scan.parquet", tmp_path / "clean.parquet"
    fast = ScanOptions(score=ScoreOptions(fidelity="fast"))
    assert scan_photos([large_jpeg], out, ScanOptions()).measured_now == 1
    assert scan_photos([large_jpeg], out, fast).measured_now == 1
    assert scan_photos([large_jpeg], out, fast).measured_now == 0
    filter_manifest(out, clean, FilterOptions())
    for path in (out, clean):
        _, lineage = manifest.inspect_manifest(path)
        assert lineage is not None
        assert lineage.metric == "hasler-susstrunk-2003-m3-signed-fast"
    output = CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output
    assert "--fidelity fast" in output
    assert "m3-signed-fast" in CliRunner().invoke(main, ["inspect", str(clean)]).output
    assert scan_photos([large_jpeg], out, ScanOptions()).measured_now == 1
    assert "--fidelity fast" not in CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output


def damage(whole: bytes, rng: random.Random) -> bytes:
    """A copy with one bit flipped, a piece removed or repeated, or two pieces exchanged."""
    data = bytearray(whole)
    at, other = sorted(rng.randrange(len(data)) for _ in range(2))
    length = rng.randint(1, 40)
    match rng.randrange(4):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[other : other + length]
        case _:
            data[at : at + length], data[other : other + length] = (
                data[other : other + length],
                data[at : at + length],
            )
    return bytes(data)


def decode_with_pillow(data: bytes) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_damaged_files_decode_as_with_pillow_or_not_at_all(
    kind: str, options: dict[str, bool], real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    rng = random.Random(f"{kind} {options}")  # noqa: S311
    whole = encoded(real_photo("chelsea")[:40, :60], kind, **options)
    compared = 0
    for data in [whole, *(damage(whole, rng) for _ in range(250))]:
        try:
            photo = decode(data, max_pixels=100_000)
        except PhotoError:
            continue
        if photo.header.orientation == 1 and photo.header.mode == "RGB" and photo.header.icc_profile is None:
            expected = decode_with_pillow(data)
            assert expected is not None
            assert np.array_equal(photo.pixels, expected)
            compared += 1
    assert compared  # at least the undamaged file; a PNG has checksums, so damaged ones don't decode
