"""Tests of curate/scanning/scan.py: one row per photo, nothing measured twice, killed scans continue."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from curate import manifest
from curate.errors import ManifestError, ScanError, SourceError
from curate.manifest import SCAN_SCHEMA, unescape
from curate.scanning.resume import ListingRow
from curate.scanning.scan import ScanOptions, preview_scan, scan_photos
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.scanning.summary import ScanSummary
from curate.scanning.work_dir import ListingStats, WorkDir
from curate.sources import ListedPhoto, list_photos

Pixels = NDArray[np.uint8]


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in manifest.read_manifest(out).table.to_pylist()}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_photo_is_a_row_in_listing_order(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    out, summary = scanned
    read = manifest.read_manifest(out)
    assert read.table.schema.equals(SCAN_SCHEMA)
    assert read.table["path"].to_pylist() == ["a-vivid.png", "c-cut.png", "more/b-gray.png"]
    assert set(read.table["source"].to_pylist()) == {str(photos)}
    assert (summary.photos, summary.scored, summary.measured_now, summary.skipped) == (3, 2, 3, 1)
    assert summary.errors == {"BrokenPhoto": 1}
    assert summary.tones == {"color": 1, "grayscale": 1}
    assert names_in(out.parent) == ["scan.parquet"]


def test_a_row_describes_the_file_and_the_photo(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    rows = rows_of(scanned[0])
    good, file = rows["a-vivid.png"], photos / "a-vivid.png"
    assert good["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (good["bytes"], good["modified_ns"]) == (file.stat().st_size, file.stat().st_mtime_ns)
    assert (good["width"], good["height"], good["format"], good["mode"]) == (64, 48, "PNG", "RGB")
    assert good["error"] is None
    assert good["colorfulness"] > 20
    bad = rows["c-cut.png"]
    assert bad["error"].startswith("BrokenPhoto: ")
    assert bad["colorfulness"] is None
    assert bad["sha256"] == hashlib.sha256((photos / "c-cut.png").read_bytes()).hexdigest()


def test_the_lineage_has_the_command_and_the_sources(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    lineage = manifest.read_manifest(scanned[0]).lineage
    assert lineage is not None
    assert (lineage.kind, lineage.command, lineage.rows) == ("scan", "curate scan photos", 3)
    assert lineage.options["paths"] == [str(photos)]
    assert lineage.parent_sha256 is None


def test_scanning_again_measures_nothing_and_writes_the_same(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    out, first = scanned
    before = manifest.read_manifest(out).table
    again = scan_photos([photos], out, ScanOptions())
    assert again.measured_now == 0
    assert (again.photos, again.scored, again.errors, again.tones) == (3, 2, first.errors, first.tones)
    assert manifest.read_manifest(out).table.equals(before)
    assert names_in(out.parent) == ["scan.parquet"]


def test_new_and_changed_photos_are_measured_and_removed_ones_are_missing(
    scanned: tuple[Path, ScanSummary], photos: Path, vivid: Pixels
) -> None:
    out, _ = scanned
    before = rows_of(out)
    Image.fromarray(vivid[::-1]).save(photos / "0-new.png")
    (photos / "a-vivid.png").unlink()
    Image.fromarray(vivid).save(photos / "c-cut.png")  # repaired
    summary = scan_photos([photos], out, ScanOptions())
    after = rows_of(out)
    assert list(after) == ["0-new.png", "a-vivid.png", "c-cut.png", "more/b-gray.png"]
    assert (summary.photos, summary.measured_now, summary.missing) == (3, 2, 1)
    assert after["a-vivid.png"] | {"missing_since": None} == before["a-vivid.png"]
    assert after["a-vivid.png"]["missing_since"] is not None
    assert after["c-cut.png"]["error"] is None
    assert after["more/b-gray.png"] == before["more/b-gray.png"]


def test_a_touched_photo_is_measured_again(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    os.utime(photos / "a-vivid.png", ns=(7, 7))
    assert scan_photos([photos], scanned[0], ScanOptions()).measured_now == 1
    assert rows_of(scanned[0])["a-vivid.png"]["modified_ns"] == 7


def test_retry_errors_measures_failed_photos_again(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    assert scan_photos([photos], scanned[0], ScanOptions(retry_errors=True)).measured_now == 1


def test_other_score_options_measure_everything_again(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    out, _ = scanned
    summary = scan_photos([photos], out, ScanOptions(score=ScoreOptions(max_pixels=100)))
    assert summary.measured_now == 3
    assert summary.errors == {"TooManyPixels": 3}


def test_a_manifest_is_not_replaced_by_the_scan_of_other_folders(
    scanned: tuple[Path, ScanSummary], photos: Path, tmp_path: Path
) -> None:
    out, _ = scanned
    before = out.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    (photos / "a-vivid.png").rename(other / "a.png")
    with pytest.raises(ManifestError, match=r"contains the scan of .*photos, which this scan doesn't include"):
        scan_photos([other], out, ScanOptions())
    assert out.read_bytes() == before
    assert scan_photos([other, photos], out, ScanOptions()).photos == 3
    assert scan_photos([other], out, ScanOptions(overwrite=True)).photos == 1


@pytest.mark.parametrize("content", ["text", "foreign", "clean"])
def test_a_file_that_is_not_a_scan_is_not_replaced(content: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    table = pa.table({"x": [1]})
    if content == "text":
        out.write_text("other text", encoding="utf-8")
    else:
        lineage = manifest.Lineage("clean", "", {})
        manifest.write_manifest(out, table, lineage)
        if content == "foreign":
            pq.write_table(table, out)
    before = out.read_bytes()
    with pytest.raises(ManifestError, match=r"already exists and is not .*--overwrite"):
        scan_photos([photos], out, ScanOptions())
    assert out.read_bytes() == before


def test_a_second_scan_onto_the_same_manifest_is_refused(photos: Path, tmp_path: Path) -> None:
    work = tmp_path / ".m.parquet.scan"
    work.mkdir()
    with FileLock(work / "lock"), pytest.raises(ScanError, match="another scan is writing"):
        scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    assert names_in(work) == ["lock"]


@pytest.mark.parametrize("content", ["nothing", "text", "missing"])
def test_a_scan_without_photos_is_an_error_and_leaves_no_file(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    if content != "missing":
        folder.mkdir()
    if content == "text":
        (folder / "notes.txt").write_text("no photo", encoding="utf-8")
    with pytest.raises((ScanError, SourceError), match=r"no photos in|none of the files is|doesn't exist"):
        scan_photos([folder], tmp_path / "out" / "m.parquet", ScanOptions())
    assert not list(tmp_path.glob("out/*"))


def test_unusual_file_names_round_trip_through_a_manifest(
    tmp_path: Path, vivid: Pixels, encoded: Callable[..., bytes]
) -> None:
    folder, out = os.fsencode(tmp_path / "in"), tmp_path / "m.parquet"
    names = [b"caf\xe9.png", b"caf\xc3\xa9.png", b"new\nline.png", b"back\\slash.png", b"\\xe9.png", b" .png"]
    os.mkdir(folder)
    data = encoded(vivid, "PNG")
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    scan_photos([tmp_path / "in"], out, ScanOptions())
    table = manifest.read_manifest(out).table
    assert {os.fsencode(unescape(path)) for path in table["path"].to_pylist()} == set(names)
    assert table["error"].null_count == len(names)
    assert scan_photos([tmp_path / "in"], out, ScanOptions()).measured_now == 0


def test_a_file_that_cannot_be_read_is_a_row(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    folder, out = tmp_path / "in", tmp_path / "m.parquet"
    (folder / "folder.jpg").mkdir(parents=True)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken-link.jpg").symlink_to("nowhere")
    (folder / "empty.jpg").touch()
    (folder / "raw.nef").write_bytes(b"II*\0")
    (folder / "text.jpg").write_text("this is a text of more than thirty-two bytes", encoding="utf-8")
    (folder / "no-suffix").write_bytes(encoded(Image.new("RGB", (5, 5), "red"), "BMP"))
    scan_photos([folder], out, ScanOptions())
    kinds = {path: (row["error"] or "fine").partition(":")[0] for path, row in rows_of(out).items()}
    assert kinds == {
        "broken-link.jpg": "Vanished",
        "empty.jpg": "EmptyFile",
        "folder.jpg": "NotAFile",
        "no-suffix": "fine",
        "pipe.jpg": "NotAFile",
        "raw.nef": "UnsupportedFormat",
        "text.jpg": "NotAPhoto",
    }


def test_sha256_is_that_of_the_whole_file_or_none(tmp_path: Path) -> None:
    beginning = "two texts that begin alike for many bytes, and then "
    for name in ("one", "other"):
        (tmp_path / f"{name}.jpg").write_text(beginning + name, encoding="utf-8")
    for photo in list_photos([tmp_path]):
        record = score_photo(photo, ScoreOptions())
        assert record is not None
        whole = hashlib.sha256((tmp_path / photo.path).read_bytes()).hexdigest()
        assert record.sha256 in (None, whole)


def test_a_photo_that_is_removed_during_the_scan_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (photo,) = list_photos([tmp_path])
    (tmp_path / "a.jpg").unlink()
    record = score_photo(photo, ScoreOptions())
    assert record is not None
    assert (record.error or "").startswith("Vanished: ")


def test_preview_counts_all_files_and_those_to_measure(photos: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "m.parquet", ScanOptions()
    size = sum(path.stat().st_size for path in photos.rglob("*") if path.is_file())
    assert preview_scan([photos], out, options) == ListingStats(4, 4, size)
    scan_photos([photos], out, options)
    before = sorted(tmp_path.rglob("*"))
    (photos / "a-vivid.png").write_bytes((photos / "more" / "b-gray.png").read_bytes())
    listed = preview_scan([photos], out, options)
    again = (photos / "a-vivid.png", photos / "notes.txt")  # a file that is not a photo is read each time
    assert listed == ListingStats(4, 2, sum(path.stat().st_size for path in again))
    assert preview_scan([photos], out, replace(options, overwrite=True)).to_measure == 4
    assert sorted(tmp_path.rglob("*")) == before
    assert scan_photos([photos], out, options).measured_now == 1


def slow_jpeg(side: int, scans: int, encoded: Callable[..., bytes]) -> bytes:
    """A small progressive JPEG whose last scan is repeated; a decoder processes the whole picture for each of them."""
    whole = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=90)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[start:end] * scans + whole[end:]


def test_a_photo_that_decodes_too_slowly_is_one_error_row(
    photos: Path, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    (photos / "b-endless.jpg").write_bytes(slow_jpeg(2000, 20_000, encoded))
    # 4 s: on a busy machine a new worker may need more than 1 s for its first photo
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions(timeout_s=4.0))
    rows = rows_of(tmp_path / "m.parquet")
    assert list(rows) == ["a-vivid.png", "b-endless.jpg", "c-cut.png", "more/b-gray.png"]
    assert rows.pop("b-endless.jpg")["error"] == "TimedOut: decoding took more than 4 s (--timeout)"
    assert [row["error"] is None for row in rows.values()] == [True, False, True]


def write_many_photos(folder: Path, encoded: Callable[..., bytes]) -> None:
    """Write photos for several chunks that take some milliseconds each; one in forty is broken."""
    pixels = np.random.default_rng(0).integers(0, 256, (140, 140, 3), dtype=np.uint8)
    whole = encoded(pixels, "PNG")
    for number in range(600):
        path = folder / f"{number // 100}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole[:5000] if number % 40 == 7 else whole)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


def start_and_kill(folder: Path, out: Path, *, after_part: int) -> list[int]:
    """Start a scan and kill it when a part file is finished; return the ids of the processes that it leaves.

    One of them is the fork server, which ends after the last worker.
    """
    command = [sys.executable, "-m", "curate", "scan", str(folder), "-o", str(out), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        work = out.with_name(f".{out.name}.scan")
        wait_until(lambda: any(work.glob(f"part-*-{after_part:06d}.parquet")))
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text(encoding="ascii").split()
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert not out.exists()
    return [int(child) for child in children]


def is_alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return " Z " not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    return False


@pytest.mark.parametrize("photos_are_added", [False, True])
def test_a_killed_scan_continues_and_gives_the_same_rows(
    photos_are_added: bool, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    folder, out, untouched = tmp_path / "in", tmp_path / "killed" / "m.parquet", tmp_path / "untouched" / "m.parquet"
    write_many_photos(folder, encoded)
    orphans = start_and_kill(folder, out, after_part=1 if photos_are_added else 0)
    if (
        photos_are_added
    ):  # all chunks change; the first one is slow, so that the orphans write parts while it is measured
        (folder / "0" / "slow.jpg").write_bytes(slow_jpeg(2000, 800, encoded))
        for part in ("3", "5"):
            (folder / part / "99-new.png").write_bytes((folder / part / f"{part}50.png").read_bytes())
    resumed = scan_photos([folder], out, ScanOptions())
    whole = scan_photos([folder], untouched, ScanOptions(workers=2))
    wait_until(lambda: not any(map(is_alive, orphans)))
    assert resumed.measured_now < whole.measured_now == whole.photos
    assert list(rows_of(out)) == list(rows_of(untouched))
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(untouched).table)
    assert names_in(out.parent) == ["m.parquet"]


def test_a_scan_of_one_photo_does_not_replace_the_scan_of_its_folder(photos: Path, tmp_path: Path) -> None:
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    for part in (photos / "a-vivid.png", photos / "more"):
        with pytest.raises(ManifestError, match="which this scan doesn't include"):
            scan_photos([part], tmp_path / "m.parquet", ScanOptions())
    assert len(rows_of(tmp_path / "m.parquet")) == 3


def test_a_scan_of_a_parent_folder_extends_the_manifest(photos: Path, tmp_path: Path) -> None:
    scan_photos([photos / "more"], tmp_path / "m.parquet", ScanOptions())
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    assert len(rows_of(tmp_path / "m.parquet")) == 3


@pytest.mark.parametrize(("photos", "max_in_last"), [(5, 2), (100, 25), (2000, 64)])
def test_the_last_chunks_are_small(tmp_path: Path, photos: int, max_in_last: int) -> None:
    work = WorkDir(tmp_path)
    listed = [ListedPhoto("/photos", f"{number:05}.jpg", 10, 1) for number in range(photos)]
    work.write_listing(map(ListingRow, listed))
    chunks = list(work.unfinished_chunks())
    assert [photo for chunk in chunks for photo in chunk.photos] == listed
    assert len(chunks) > 2
    assert max(len(chunk.photos) for chunk in chunks) <= 256
    assert max(len(chunk.photos) for chunk in chunks[-2:]) <= max_in_last
