"""One photo to one record: batches, fidelity, and the quick readers against Pillow on bytes that nobody meant."""

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
from curate.scanning.scorer import BATCH_PHOTOS, ScoreOptions, score, score_all
from curate.sources import list_photos

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]


@pytest.fixture
def large_jpeg(tmp_path: Path, real_photo: Callable[[str], Pixels]) -> Path:
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(real_photo("coffee")).resize((1202, 806)).save(folder / "coffee.jpg", quality=90)
    return folder


def test_photos_scored_in_batches_score_as_they_do_alone(photos: Path, vivid: Pixels) -> None:
    for number in range(BATCH_PHOTOS):
        Image.fromarray(np.roll(vivid, number, axis=2)).save(photos / f"{number:03}.png")
    listed = list(list_photos([photos]))
    together = list(score_all(listed, ScoreOptions()))
    assert together == [score(photo, ScoreOptions()) for photo in listed]
    assert [record is None for record in together].count(True) == 1  # notes.txt
    assert len(together) > BATCH_PHOTOS


def test_what_takes_too_much_memory_together_is_described_one_by_one(
    photos: Path, vivid: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.concatenate([vivid, vivid], axis=1)
    Image.fromarray(wide).save(photos / "b-wide.png")

    def in_little(looks: Sequence[PixelSummary]) -> list[Measures]:
        if len(looks) > 1 or any(seen.small.shape == wide.shape for seen in looks):
            raise MemoryError
        return measure_batch(looks)

    monkeypatch.setattr("curate.scanning.scorer.measure_batch", in_little)
    records = [record for record in score_all(list_photos([photos]), ScoreOptions()) if record]
    assert {record.photo.path: (record.error or "fine").partition(":")[0] for record in records} == {
        "a-vivid.png": "fine",
        "b-wide.png": "OutOfMemory",
        "c-cut.png": "BrokenPhoto",
        "more/b-gray.png": "fine",
    }
    assert all(record.sha256 for record in records)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (375, 500), (301, 1), (2, 700_000), (1001, 999)])
@pytest.mark.parametrize("masked", [False, True])
def test_one_pass_makes_the_small_copy_that_halving_makes(shape: tuple[int, int], masked: bool) -> None:
    dice = np.random.default_rng(sum(shape))
    pixels = dice.integers(0, 256, (*shape, 3), np.uint8)
    visible = np.ones(shape, np.bool_) if masked else None
    if visible is not None:
        visible[: shape[0] // 2] = False
    small, seen = make_small_copy(pixels, visible)
    found = summarize_pixels(pixels, visible)
    assert np.array_equal(found.small, small)
    assert (found.visible is None) == (seen is None)
    assert seen is None or (found.visible is not None and np.array_equal(found.visible, seen))
    assert measure_batch([found]) == [measure(pixels, visible)]


def test_a_sample_is_the_photos_own_pixels_spread_over_all_of_it() -> None:
    rows, columns = np.mgrid[0:600, 0:900]
    pixels = np.stack([rows // 4, columns // 4, rows % 2 * 255], axis=-1).astype(np.uint8)
    chosen = sample_pixels(pixels)
    assert 0.9 * SAMPLE_PIXELS < chosen.shape[0] * chosen.shape[1] <= SAMPLE_PIXELS
    assert set(np.unique(chosen[..., 2])) == {0, 255}  # an average would be 127
    assert np.abs(chosen.reshape(-1, 3).mean(axis=0) - pixels.reshape(-1, 3).mean(axis=0)).max() < 5


def test_a_sample_of_hardly_anything_visible_takes_what_there_is() -> None:
    pixels = np.zeros((600, 900, 3), np.uint8)
    pixels[3, 5] = (9, 8, 7)
    visible = pixels[..., 0] > 0
    assert sample_pixels(pixels, visible).tolist() == [[[9, 8, 7]]]


def test_fast_decodes_a_quarter_and_says_the_whole_size(large_jpeg: Path) -> None:
    data = (large_jpeg / "coffee.jpg").read_bytes()
    photo = decode(data, quarter=True)
    assert photo.pixels.shape == (202, 301, 3)
    assert (photo.header.width, photo.header.height) == (1202, 806)
    (listed,) = list_photos([large_jpeg])
    exact, fast = (score(listed, ScoreOptions(fidelity=fidelity)) for fidelity in ("exact", "fast"))
    assert exact is not None
    assert fast is not None
    assert exact.measures is not None
    assert fast.measures is not None
    assert fast.header == exact.header
    assert fast.sha256 == exact.sha256
    assert fast.measures.colorfulness != exact.measures.colorfulness
    assert fast.measures.colorfulness == pytest.approx(exact.measures.colorfulness, abs=2)


def test_fast_never_decodes_below_what_tone_needs(encoded: Encode) -> None:
    small = encoded(Image.effect_noise((240, 160), 40).convert("RGB"), "JPEG")
    assert min(decode(small, quarter=True).pixels.shape[:2]) == MIN_QUARTER_SIDE_PX
    smaller = encoded(Image.effect_noise((70, 60), 40).convert("RGB"), "JPEG")
    assert decode(smaller, quarter=True).pixels.shape == (60, 70, 3)


def test_rows_of_two_fidelities_never_mix_and_every_manifest_says_which(large_jpeg: Path, tmp_path: Path) -> None:
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
    said = CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output
    assert "--fidelity fast" in said
    assert "m3-signed-fast" in CliRunner().invoke(main, ["inspect", str(clean)]).output
    assert scan_photos([large_jpeg], out, ScanOptions()).measured_now == 1
    assert "--fidelity fast" not in CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """A copy with a byte flipped, a piece cut out or doubled, or two pieces exchanged."""
    data = bytearray(whole)
    at, other = sorted(dice.randrange(len(data)) for _ in range(2))
    length = dice.randint(1, 40)
    match dice.randrange(4):
        case 0:
            data[at] ^= 1 << dice.randrange(8)
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


def as_pillow_reads(data: bytes) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_quick_readers_show_of_damaged_files_what_pillow_shows(
    kind: str, options: dict[str, bool], real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    dice = random.Random(f"{kind} {options}")  # noqa: S311
    whole = encoded(real_photo("chelsea")[:40, :60], kind, **options)
    shown = 0
    for data in [whole, *(damaged(whole, dice) for _ in range(250))]:
        try:
            photo = decode(data, max_pixels=100_000)
        except PhotoError:
            continue
        if photo.header.orientation == 1 and photo.header.mode == "RGB" and photo.header.icc_profile is None:
            expected = as_pillow_reads(data)
            assert expected is not None
            assert np.array_equal(photo.pixels, expected)
            shown += 1
    assert shown  # the whole file at least; a PNG checks every bit of itself
