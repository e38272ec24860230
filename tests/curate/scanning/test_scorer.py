"""Tests of curate/scanning/scorer.py: records, batches and `--fidelity fast`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import ExifTags, Image

from curate import manifest
from curate.cli import main
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.image.decode import MIN_QUARTER_SIDE_PX, Header, decode_bytes
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.measures.measure import Measures, PixelSummary, measure_batch, measure_pixels
from curate.measures.names import Networks
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import BATCH_PHOTOS, Record, ScoreOptions, score_photo, score_photos
from curate.sources import ListedPhoto, list_photos

Pixels = NDArray[np.uint8]
Encode = Callable[..., bytes]
PHOTO = ListedPhoto("/photos", "a.jpg", 10, 20)
HEADER = Header(4, 4, "PNG", "RGB", 1, None)


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_on_its_side_has_the_measures_of_the_upright_pixels(
    orientation: int, kind: str, tmp_path: Path, real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"photo.{kind.lower()}"
    path.write_bytes(encoded(real_photo("chelsea")[:243, :421], kind, exif=exif))
    record = score_photo(next(list_photos([path])), ScoreOptions())
    upright = decode_bytes(path.read_bytes())
    assert record is not None
    assert record.measures == measure_pixels(upright.pixels)
    assert record.header == upright.header


def test_a_batch_that_needs_too_much_memory_is_measured_one_by_one(
    photos: Path, vivid: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.concatenate([vivid, vivid], axis=1)
    Image.fromarray(wide).save(photos / "b-wide.png")

    def measure_with_little_memory(summaries: Sequence[PixelSummary], networks: Networks) -> list[Measures]:
        if len(summaries) > 1 or any(summary.small.shape == wide.shape for summary in summaries):
            raise MemoryError
        return measure_batch(summaries, networks)

    monkeypatch.setattr("curate.scanning.scorer.measure_batch", measure_with_little_memory)
    records = [record for record in score_photos(list_photos([photos]), ScoreOptions()) if record]
    assert {record.photo.path: (record.error or "fine").partition(":")[0] for record in records} == {
        "a-vivid.png": "fine",
        "b-wide.png": "OutOfMemory",
        "c-cut.png": "BrokenPhoto",
        "more/b-gray.png": "fine",
    }
    assert all(record.sha256 for record in records)


def test_fast_decodes_at_a_quarter_and_records_the_full_size(large_jpeg: Path) -> None:
    data = (large_jpeg / "coffee.jpg").read_bytes()
    photo = decode_bytes(data, quarter=True)
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
    assert min(decode_bytes(small, quarter=True).pixels.shape[:2]) == MIN_QUARTER_SIDE_PX
    smaller = encoded(Image.effect_noise((70, 60), 40).convert("RGB"), "JPEG")
    assert decode_bytes(smaller, quarter=True).pixels.shape == (60, 70, 3)


def test_another_fidelity_measures_again_and_manifests_record_it(large_jpeg: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "scan.parquet", tmp_path / "clean.parquet"
    fast = ScanOptions(engine="serial", score=ScoreOptions(fidelity="fast"))
    assert scan_photos([large_jpeg], out, ScanOptions(engine="serial")).measured_now == 1
    assert scan_photos([large_jpeg], out, fast).measured_now == 1
    assert scan_photos([large_jpeg], out, fast).measured_now == 0
    filter_manifest(out, clean, FilterOptions())
    for path in (out, clean):
        _, lineage = manifest.read_schema_and_lineage(path)
        assert lineage is not None
        assert lineage.metric == "hasler-susstrunk-2003-m3-signed-fast"
    output = CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output
    assert "--fidelity fast" in output
    assert "m3-signed-fast" in CliRunner().invoke(main, ["inspect", str(clean)]).output
    assert scan_photos([large_jpeg], out, ScanOptions(engine="serial")).measured_now == 1
    assert "--fidelity fast" not in CliRunner().invoke(main, ["filter", str(out), "--dry-run"]).output


def test_a_record_has_either_measures_or_an_error(vivid: Pixels) -> None:
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO)
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO, "00", HEADER, measure_pixels(vivid), error="BrokenPhoto: cut")
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", measures=measure_pixels(vivid))
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", HEADER, error="BrokenPhoto: cut")


def test_a_record_is_read_back_from_a_manifest(tmp_path: Path, real_photo: Callable[[str], Pixels]) -> None:
    measures = measure_pixels(real_photo("coffee"))
    rows = [Record(PHOTO, "ab" * 32, HEADER, measures).to_row(), Record(PHOTO, error="EmptyFile: zero bytes").to_row()]
    assert rows[0].keys() == set(SCAN_SCHEMA.names) - {"sidecars"}  # which the scan adds
    manifest.write_manifest(tmp_path / "m.parquet", pa.Table.from_pylist(rows, SCAN_SCHEMA), Lineage("scan", "", {}))
    good, bad = manifest.read_manifest(tmp_path / "m.parquet").table.to_pylist()
    assert good["colorfulness"] == measures.colorfulness
    assert good["tone"] == measures.tone.tone
    assert (good["width"], good["format"], good["bytes"], good["modified_ns"]) == (4, "PNG", 10, 20)
    assert {name for name, value in bad.items() if value is not None} == {
        *("source", "path", "bytes", "modified_ns", "error")
    }


def test_camera_raw_gets_a_row_with_an_error_by_content_or_by_name(
    tmp_path: Path, vivid: Pixels, encoded: Encode
) -> None:
    """A TIFF with a raw file's name is raw; a JPEG with such a name is a photo, and a text is named as such."""
    for name, data in (
        ("film-scan", b"FUJIFILMCCD-RAW 0201" + bytes(80)),
        ("dsc.NEF", encoded(vivid, "TIFF")),
        ("jpeg.cr2", encoded(vivid, "JPEG")),
        ("page.dng", b"<html>"),
        ("scan.tif", encoded(vivid, "TIFF")),
    ):
        (tmp_path / name).write_bytes(data)
    records = {photo.path: score_photo(photo, ScoreOptions()) for photo in list_photos([tmp_path])}
    errors = {name: record and (record.error or "").partition(":")[0] for name, record in records.items()}
    assert errors == {
        "film-scan": "UnsupportedFormat",
        "dsc.NEF": "UnsupportedFormat",
        "jpeg.cr2": "",
        "page.dng": "NotAPhoto",
        "scan.tif": "",
    }


def test_a_row_has_what_the_file_says_about_its_origin(tmp_path: Path, vivid: Pixels, encoded: Encode) -> None:
    url = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    (tmp_path / "a.jpg").write_bytes(encoded(vivid, "JPEG", xmp=b'<x:xmpmeta a="' + url + b'"/>'))
    record = score_photo(next(list_photos([tmp_path / "a.jpg"])), ScoreOptions())
    assert record is not None
    assert record.to_row()["digital_source_type"] == "trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    ("option", "options"),
    [("tone_network", ScoreOptions(tone_network="large")), ("kind_network", ScoreOptions(kind_network="large"))],
)
def test_another_network_measures_again_and_manifests_record_it(
    option: str, options: ScoreOptions, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.parquet"
    large = ScanOptions(engine="serial", score=options)
    assert scan_photos([photos], out, large).measured_now > 1
    _, lineage = manifest.read_schema_and_lineage(out)
    assert lineage is not None
    assert lineage.options[option] == "large"
    assert scan_photos([photos], out, large).measured_now == 0
    assert scan_photos([photos], out, ScanOptions(engine="serial")).measured_now > 1


def test_a_photo_on_its_side_has_the_tone_of_the_upright_pixels_with_the_large_network(
    tmp_path: Path, real_photo: Callable[[str], Pixels], encoded: Encode
) -> None:
    toned = np.asarray(real_photo("chelsea")[:243, :421].mean(axis=2, keepdims=True) * [1, 0.9, 0.6], np.uint8)
    for orientation in (3, 6, 7):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = tmp_path / f"{orientation}.png"
        path.write_bytes(encoded(toned, "PNG", exif=exif))
        record = score_photo(next(list_photos([path])), ScoreOptions(tone_network="large", kind_network="large"))
        assert record is not None
        assert record.measures is not None
        upright = decode_bytes(path.read_bytes())
        expected = measure_pixels(upright.pixels, upright.visible, networks=Networks("large", "large"))
        assert (record.measures.tone, record.measures.kind) == (expected.tone, expected.kind)
