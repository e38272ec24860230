"""`curate pack`: rows, pixels, failed photos, interrupted and repeated runs, refused output folders."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.errors import ManifestError, OutputError
from curate.filtering.filter import filter_manifest
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.packing import pack as packing
from curate.packing.pack import PackOptions, pack_photos, resize_photo
from curate.packing.shards import PackedPhoto, read_errors, read_locations, shard_path, write_pack_shard
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import list_photos

Pixels = NDArray[np.uint8]
SMALL = PackOptions(size_px=32, engine="serial")


@pytest.fixture
def clean_manifest(tmp_path: Path, real_photo: Callable[[str], Pixels]) -> Path:
    """The manifest of six pieces of real photos, 60 x 80 to 60 x 105 px, as `curate filter` writes it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("astronaut", "coffee", "chelsea") * 2):
        piece = real_photo(name)[10 * number + 40 :][:60, 50 : 130 + 5 * number]
        Image.fromarray(piece).save(folder / f"p{number}.png")
    return write_clean_manifest(folder, tmp_path / "clean.parquet")


def write_clean_manifest(folder: Path, out: Path) -> Path:
    scanned = out.with_name("scan.parquet")
    records = [record for photo in list_photos([folder]) if (record := score_photo(photo, ScoreOptions()))]
    rows = pa.Table.from_pylist([record.to_row() for record in records], SCAN_SCHEMA)
    manifest.write_manifest(scanned, rows, Lineage("scan", "curate scan photos", {}))
    options = FilterOptions(
        0,
        frozenset(["color", "grayscale", "toned", "sepia"]),
        Split.parse("60/20/20"),
        keep_kinds=frozenset({"photo", "graphic"}),
    )
    filter_manifest(scanned, out, options)
    return out


def rows_of(out: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = manifest.read_manifest(out).table.to_pylist()
    return rows


def pixels_of(out: Path) -> dict[str, Pixels]:
    """By path, as any reader of Arrow files sees them."""
    found = {}
    by_sha256 = {row["sha256"]: str(row["path"]) for row in rows_of(out)}
    for shard in sorted(out.glob("shard-*.arrow")):
        for row in pa.ipc.open_file(shard).read_all().to_pylist():
            if row["pixels"] is not None:
                shape = (row["height_px"], row["width_px"], 3)
                found[by_sha256[row["sha256"]]] = np.frombuffer(row["pixels"], np.uint8).reshape(shape)
    return found


def visible_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_pack_has_all_rows_and_the_location_of_each_photo(clean_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "packs" / "a"
    summary = pack_photos(clean_manifest, out, SMALL)
    assert (summary.photos, summary.packed_now, summary.failed) == (6, 6, [])
    assert visible_names(out) == {"manifest.parquet", "shard-000000.arrow"}
    packed, source = manifest.read_manifest(out).table, manifest.read_manifest(clean_manifest).table
    again = packed.select(source.column_names).sort_by("path")
    assert again.equals(source.sort_by("path"))
    assert packed["sha256"].to_pylist() == sorted(source["sha256"].to_pylist())
    shard = np.fromfile(out / "shard-000000.arrow", np.uint8)
    for row in rows_of(out):
        whole = (tmp_path / "photos" / str(row["path"])).read_bytes()
        at, size = int(str(row["pack_offset"])), int(str(row["pack_bytes"]))
        shape = (int(str(row["pack_height"])), int(str(row["pack_width"])), 3)
        assert min(shape[:2]) == 32
        assert np.array_equal(shard[at : at + size].reshape(shape), resize_photo(whole, 32))


def test_packing_again_leaves_the_manifest_of_a_complete_pack_unchanged(clean_manifest: Path, tmp_path: Path) -> None:
    pack_photos(clean_manifest, tmp_path / "a", SMALL, command="curate pack clean.parquet")
    before = manifest.digest(tmp_path / "a" / "manifest.parquet")
    pack_photos(clean_manifest, tmp_path / "a", SMALL, command="curate pack clean.parquet --workers 2")
    assert manifest.digest(tmp_path / "a" / "manifest.parquet") == before
    (tmp_path / "a" / "manifest.parquet").write_bytes(b"damaged")
    pack_photos(clean_manifest, tmp_path / "a", SMALL, command="curate pack clean.parquet")
    assert manifest.digest(tmp_path / "a" / "manifest.parquet") == before


def test_lineage_goes_back_to_the_scan(clean_manifest: Path, tmp_path: Path) -> None:
    pack_photos(clean_manifest, tmp_path / "a", SMALL, command="curate pack clean.parquet")
    _, lineage = manifest.read_schema_and_lineage(tmp_path / "a")
    assert lineage is not None
    assert (lineage.kind, lineage.command) == ("pack", "curate pack clean.parquet")
    assert lineage.options == {"size_px": 32, "encoding": "raw"}
    assert lineage.parent_sha256 == manifest.digest(clean_manifest)
    assert [(each["kind"], each["sha256"]) for each in lineage.ancestors] == [
        ("clean", manifest.digest(clean_manifest)),
        ("scan", manifest.digest(clean_manifest.with_name("scan.parquet"))),
    ]


def test_jpegs_have_full_chroma_resolution_and_small_errors(clean_manifest: Path, tmp_path: Path) -> None:
    pack_photos(clean_manifest, tmp_path / "raw", SMALL)
    pack_photos(clean_manifest, tmp_path / "jpeg", replace(SMALL, encoding="jpeg"))
    raw = pixels_of(tmp_path / "raw")
    shard = (tmp_path / "jpeg" / "shard-000000.arrow").read_bytes()
    for row in rows_of(tmp_path / "jpeg"):
        at, size = int(str(row["pack_offset"])), int(str(row["pack_bytes"]))
        data = shard[at : at + size]
        assert simplejpeg.decode_jpeg_header(data)[3] == "444"
        wanted = raw[str(row["path"])].astype(int)
        assert np.abs(simplejpeg.decode_jpeg(data, "RGB").astype(int) - wanted).mean() < 3


def test_failed_photos_are_listed_and_the_others_are_packed(clean_manifest: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "p1.png").unlink()
    Image.new("RGB", (50, 50), (200, 10, 10)).save(photos / "p4.png")
    summary = pack_photos(clean_manifest, tmp_path / "a", SMALL)
    assert summary.photos == 4
    assert sorted(path for path, _ in summary.failed) == ["p1.png", "p4.png"]
    assert sorted(reason.partition(":")[0] for _, reason in summary.failed) == ["ChangedSinceScan", "Vanished"]
    assert {row["path"] for row in rows_of(tmp_path / "a")} == {"p0.png", "p2.png", "p3.png", "p5.png"}
    lines = (tmp_path / "a" / "failed.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,error"
    assert len(lines) == 3


def test_a_photo_that_exists_again_is_packed_by_the_next_run(clean_manifest: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "p1.png"
    photo.rename(tmp_path / "p1.png")
    assert pack_photos(clean_manifest, tmp_path / "a", SMALL).photos == 5
    (tmp_path / "p1.png").rename(photo)
    summary = pack_photos(clean_manifest, tmp_path / "a", SMALL)
    assert (summary.photos, summary.failed) == (6, [])
    assert not (tmp_path / "a" / "failed.csv").exists()


def test_a_missing_source_folder_stops_the_pack_with_its_name(clean_manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="photos is gone"):
        pack_photos(clean_manifest, tmp_path / "a", SMALL)


def test_a_photo_that_hangs_the_decoder_fails_alone(
    clean_manifest: Path, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    whole = encoded(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True, quality=90)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    slow = whole[:end] + whole[start:end] * 20_000 + whole[end:]  # the last scan of a picture, again and again
    (tmp_path / "photos" / "slow.jpg").write_bytes(slow)
    table = manifest.read_manifest(clean_manifest).table
    row = {**table.slice(0, 1).to_pylist()[0], "path": "slow.jpg", "sha256": hashlib.sha256(slow).hexdigest()}
    manifest.write_manifest(
        clean_manifest, pa.concat_tables([table, pa.Table.from_pylist([row], table.schema)]), Lineage("clean", "", {})
    )
    summary = pack_photos(clean_manifest, tmp_path / "a", PackOptions(size_px=32, workers=1, timeout_s=2))
    assert summary.photos == 6
    assert summary.failed == [("slow.jpg", "TimedOut: decoding took more than 2 s (--timeout)")]


def test_only_missing_shards_are_packed_again(
    clean_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SHARD_PHOTOS", 2)
    out = tmp_path / "a"
    pack_photos(clean_manifest, out, PackOptions(size_px=32, workers=2))
    before = pixels_of(out)
    kept = [shard_path(out, index).stat().st_ino for index in (0, 2)]
    shard_path(out, 1).unlink()
    summary = pack_photos(clean_manifest, out, SMALL)
    assert summary.packed_now == 2
    assert [shard_path(out, index).stat().st_ino for index in (0, 2)] == kept
    after = pixels_of(out)
    assert all(np.array_equal(after[path], pixels) for path, pixels in before.items())


PACK_ONE_BY_ONE = (
    "import sys; from pathlib import Path; from curate.packing import pack; pack.SHARD_PHOTOS = 1; "
    "pack.pack_photos(Path(sys.argv[1]), Path(sys.argv[2]), pack.PackOptions(size_px=32, workers=1))"
)


def test_a_killed_pack_keeps_its_finished_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (900, 900, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png", compress_level=1)
    clean_manifest, out = write_clean_manifest(tmp_path / "photos", tmp_path / "clean.parquet"), tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", PACK_ONE_BY_ONE, str(clean_manifest), str(out)]) as running:
        limit = time.monotonic() + 300
        while not shard_path(out, 1).exists():
            assert time.monotonic() < limit
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    assert not (out / "manifest.parquet").exists()
    finished = {path: path.stat().st_ino for path in out.glob("shard-*.arrow")}
    monkeypatch.setattr(packing, "SHARD_PHOTOS", 1)
    summary = pack_photos(clean_manifest, out, SMALL)
    assert summary.photos == 6
    assert 0 < summary.packed_now <= 6 - len(finished)
    assert all(path.stat().st_ino == inode for path, inode in finished.items())
    assert not list(out.glob(".*.draft"))


FULL_DISK = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
    "from pathlib import Path; from curate.packing import pack; pack.SHARD_PHOTOS = 2; "
    "pack.pack_photos(Path(sys.argv[1]), Path(sys.argv[2]), pack.PackOptions(size_px=int(sys.argv[3])))"
)


def test_a_full_disk_ends_in_one_line_and_leaves_no_drafts(clean_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(clean_manifest), str(out), "60"],
        capture_output=True,
        text=True,
        check=False,
    )
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode != 0
    assert "OutputError" in last
    assert (
        "raise the limit with `ulimit -f`, or use a file system that allows larger files and run the same command"
        in last
    )
    assert not list(out.glob(".*.draft"))
    assert not (out / "manifest.parquet").exists()


def test_a_second_run_on_the_same_folder_is_refused(clean_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    out.mkdir()
    (out / ".made_of").touch()
    with FileLock(out / ".lock"), pytest.raises(OutputError, match="another run"):
        pack_photos(clean_manifest, out, SMALL)


def test_a_folder_with_other_files_is_refused_and_unchanged(clean_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="was not made by this command"):
        pack_photos(clean_manifest, tmp_path / "photos", SMALL)
    assert visible_names(tmp_path / "photos") == {f"p{number}.png" for number in range(6)}


def test_another_pack_is_replaced_only_with_overwrite(clean_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    pack_photos(clean_manifest, out, SMALL)
    before = pixels_of(out)
    with pytest.raises(OutputError, match="other options"):
        pack_photos(clean_manifest, out, replace(SMALL, size_px=48))
    assert all(np.array_equal(pixels, before[path]) for path, pixels in pixels_of(out).items())
    pack_photos(clean_manifest, out, replace(SMALL, size_px=48, overwrite=True))
    assert {min(pixels.shape[:2]) for pixels in pixels_of(out).values()} == {48}


def test_a_manifest_without_readable_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"\xff\xd8\xff broken")
    write_clean_manifest(tmp_path / "photos", tmp_path / "clean.parquet")
    with pytest.raises(ManifestError, match="no photo"):
        pack_photos(tmp_path / "scan.parquet", tmp_path / "a", SMALL)


@pytest.mark.parametrize(
    ("size", "packed"), [((20, 30), (20, 30)), ((64, 128), (32, 64)), ((2, 400), (2, 32)), ((400, 2), (32, 2))]
)
def test_small_photos_keep_their_size_and_very_long_ones_are_cropped(
    size: tuple[int, int], packed: tuple[int, int], encoded: Callable[..., bytes]
) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    assert resize_photo(encoded(pixels, "PNG"), 32).shape[:2] == packed


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(1, 9), st.integers(1, 9))), min_size=1, max_size=9))
def test_locations_lead_to_the_written_pixels(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int] | None]
) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard-000003.arrow"
    photos = [
        PackedPhoto(str(number), error="Kind: why")
        if shape is None
        else PackedPhoto(str(number), shape[1], shape[0], bytes([number]) * (3 * shape[0] * shape[1]))
        for number, shape in enumerate(shapes)
    ]
    write_pack_shard(path, photos)
    assert read_errors(path) == [(photo.error, None) for photo in photos]
    whole = path.read_bytes()
    for photo, row in zip(photos, read_locations(path, 3).to_pylist(), strict=True):
        assert row["pack_shard"] == 3
        assert whole[row["pack_offset"] : row["pack_offset"] + row["pack_bytes"]] == (photo.pixels or b"")


def test_bands_are_cropped_on_request(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    y, x = np.mgrid[0:96, 0:128]
    inside = np.stack((100 + x, 250 - y, 50 + (x + y) // 2), axis=-1).astype(np.uint8)
    padded = np.pad(inside, ((30, 30), (0, 0), (0, 0)))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(padded, "PNG"))
    clean = write_clean_manifest(tmp_path / "photos", tmp_path / "clean.parquet")
    options = PackOptions(size_px=64, engine="serial", crop_borders=True)
    pack_photos(clean, tmp_path / "pack", options)
    (row,) = rows_of(tmp_path / "pack")
    assert (row["pack_width"], row["pack_height"], row["height"]) == (87, 64, 156)
    read = manifest.read_manifest(tmp_path / "pack")
    assert read.lineage is not None
    assert read.lineage.options["crop_borders"]
    older = tmp_path / "older.parquet"
    manifest.write_manifest(older, manifest.read_manifest(clean).table.drop_columns(["border_top"]), read.lineage)
    with pytest.raises(ManifestError, match="no column 'border_top': run"):
        pack_photos(older, tmp_path / "other", options)
