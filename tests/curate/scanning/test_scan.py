"""Measure once: a row for every photo, nothing measured twice, nothing lost however it ends."""

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
from curate.scanning.resume import Line, ListingStats
from curate.scanning.scan import ScanOptions, ScanSummary, count_to_do, scan_photos
from curate.scanning.scorer import ScoreOptions, score
from curate.scanning.work_dir import WorkDir
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
    assert (summary.photos, summary.scored, summary.measured_now, summary.passed_over) == (3, 2, 3, 1)
    assert summary.errors == {"BrokenPhoto": 1}
    assert summary.tones == {"color": 1, "grayscale": 1}
    assert names_in(out.parent) == ["scan.parquet"]


def test_a_row_tells_the_file_the_photo_and_its_measures(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
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


def test_the_lineage_tells_what_was_scanned_and_how(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
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


def test_new_changed_and_removed_photos_are_noticed(
    scanned: tuple[Path, ScanSummary], photos: Path, vivid: Pixels
) -> None:
    out, _ = scanned
    before = rows_of(out)
    Image.fromarray(vivid[::-1]).save(photos / "0-new.png")
    (photos / "a-vivid.png").unlink()
    Image.fromarray(vivid).save(photos / "c-cut.png")  # mended
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


def test_failed_photos_are_tried_again_when_asked(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
    assert scan_photos([photos], scanned[0], ScanOptions(retry_errors=True)).measured_now == 1


def test_other_options_of_scoring_measure_everything_again(scanned: tuple[Path, ScanSummary], photos: Path) -> None:
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
    with pytest.raises(ManifestError, match=r"holds the scan of .*photos, which this one leaves out"):
        scan_photos([other], out, ScanOptions())
    assert out.read_bytes() == before
    assert scan_photos([other, photos], out, ScanOptions()).photos == 3
    assert scan_photos([other], out, ScanOptions(overwrite=True)).photos == 1


@pytest.mark.parametrize("content", ["text", "foreign", "clean"])
def test_what_is_no_scan_is_not_replaced(content: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    table = pa.table({"x": [1]})
    if content == "text":
        out.write_text("my diary", encoding="utf-8")
    else:
        lineage = manifest.Lineage("clean", "", {})
        manifest.write_manifest(out, table, lineage)
        if content == "foreign":
            pq.write_table(table, out)
    before = out.read_bytes()
    with pytest.raises(ManifestError, match=r"is in the way.*--overwrite"):
        scan_photos([photos], out, ScanOptions())
    assert out.read_bytes() == before


def test_a_second_scan_onto_the_same_manifest_is_refused(photos: Path, tmp_path: Path) -> None:
    work = tmp_path / ".m.parquet.scan"
    work.mkdir()
    with FileLock(work / "lock"), pytest.raises(ScanError, match="another scan is writing"):
        scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    assert names_in(work) == ["lock"]


@pytest.mark.parametrize("content", ["nothing", "text", "missing"])
def test_a_scan_without_photos_says_so_and_leaves_nothing(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    if content != "missing":
        folder.mkdir()
    if content == "text":
        (folder / "notes.txt").write_text("no photo", encoding="utf-8")
    with pytest.raises((ScanError, SourceError), match=r"no photos in|none of the files is|doesn't exist"):
        scan_photos([folder], tmp_path / "out" / "m.parquet", ScanOptions())
    assert not list(tmp_path.glob("out/*"))


def test_strange_names_round_trip_through_a_manifest(
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


def test_what_cannot_be_read_is_a_row_and_never_a_hang(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
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


def test_a_hash_is_the_whole_files_or_none(tmp_path: Path) -> None:
    beginning = "two texts that begin alike for many bytes, and then "
    for name in ("one", "other"):
        (tmp_path / f"{name}.jpg").write_text(beginning + name, encoding="utf-8")
    for photo in list_photos([tmp_path]):
        record = score(photo, ScoreOptions())
        assert record is not None
        whole = hashlib.sha256((tmp_path / photo.path).read_bytes()).hexdigest()
        assert record.sha256 in (None, whole)


def test_a_photo_that_is_gone_when_its_turn_comes_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (photo,) = list_photos([tmp_path])
    (tmp_path / "a.jpg").unlink()
    record = score(photo, ScoreOptions())
    assert record is not None
    assert (record.error or "").startswith("Vanished: ")


def test_counting_tells_all_files_from_those_to_be_read(photos: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "m.parquet", ScanOptions()
    size = sum(path.stat().st_size for path in photos.rglob("*") if path.is_file())
    assert count_to_do([photos], out, options) == ListingStats(4, 4, size)
    scan_photos([photos], out, options)
    before = sorted(tmp_path.rglob("*"))
    (photos / "a-vivid.png").write_bytes((photos / "more" / "b-gray.png").read_bytes())
    found = count_to_do([photos], out, options)
    again = (photos / "a-vivid.png", photos / "notes.txt")  # what is no photo is looked at each time
    assert found == ListingStats(4, 2, sum(path.stat().st_size for path in again))
    assert count_to_do([photos], out, replace(options, overwrite=True)).to_do == 4
    assert sorted(tmp_path.rglob("*")) == before
    assert scan_photos([photos], out, options).measured_now == 1


def endless(side: int, scans: int, encoded: Callable[..., bytes]) -> bytes:
    """A small progressive JPEG whose last scan is repeated: a decoder goes over all of the picture each time."""
    whole = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=90)
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[start:end] * scans + whole[end:]


def test_a_photo_made_to_hang_costs_one_row(photos: Path, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    (photos / "b-endless.jpg").write_bytes(endless(2000, 20_000, encoded))
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions(timeout_s=1.0))
    rows = rows_of(tmp_path / "m.parquet")
    assert list(rows) == ["a-vivid.png", "b-endless.jpg", "c-cut.png", "more/b-gray.png"]
    assert rows.pop("b-endless.jpg")["error"] == "TimedOut: decoding took more than 1 s (--timeout)"
    assert [row["error"] is None for row in rows.values()] == [True, False, True]


def many_photos(folder: Path, encoded: Callable[..., bytes]) -> None:
    """Three shards of photos that take some milliseconds each, one in forty of them broken."""
    pixels = np.random.default_rng(0).integers(0, 256, (140, 140, 3), dtype=np.uint8)
    whole = encoded(pixels, "PNG")
    for number in range(600):
        path = folder / f"{number // 100}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole[:5000] if number % 40 == 7 else whole)


def wait_until(happened: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.005)


def start_and_kill(folder: Path, out: Path, *, after_part: int) -> list[int]:
    """Start `python -m curate scan`, kill -9 it once a part is finished; the processes that it leaves behind.

    Among them is the one that workers are forked from, which ends after the last of them.
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


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return " Z " not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    return False


@pytest.mark.parametrize("photos_are_added", [False, True])
def test_a_killed_scan_goes_on_to_the_rows_of_an_untouched_one(
    photos_are_added: bool, tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    folder, out, untouched = tmp_path / "in", tmp_path / "killed" / "m.parquet", tmp_path / "untouched" / "m.parquet"
    many_photos(folder, encoded)
    orphans = start_and_kill(folder, out, after_part=1 if photos_are_added else 0)
    if photos_are_added:  # so that every shard is another one; the first is slow, the orphans overtake it
        (folder / "0" / "slow.jpg").write_bytes(endless(2000, 800, encoded))
        for part in ("3", "5"):
            (folder / part / "99-new.png").write_bytes((folder / part / f"{part}50.png").read_bytes())
    resumed = scan_photos([folder], out, ScanOptions())
    whole = scan_photos([folder], untouched, ScanOptions(workers=2))
    wait_until(lambda: not any(map(alive, orphans)))
    assert resumed.measured_now < whole.measured_now == whole.photos
    assert list(rows_of(out)) == list(rows_of(untouched))
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(untouched).table)
    assert names_in(out.parent) == ["m.parquet"]


def test_a_photo_alone_doesnt_replace_the_scan_of_its_folder(photos: Path, tmp_path: Path) -> None:
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    for part in (photos / "a-vivid.png", photos / "more"):
        with pytest.raises(ManifestError, match="which this one leaves out"):
            scan_photos([part], tmp_path / "m.parquet", ScanOptions())
    assert len(rows_of(tmp_path / "m.parquet")) == 3


def test_a_wider_scan_may_take_the_place_of_a_narrower_one(photos: Path, tmp_path: Path) -> None:
    scan_photos([photos / "more"], tmp_path / "m.parquet", ScanOptions())
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions())
    assert len(rows_of(tmp_path / "m.parquet")) == 3


@pytest.mark.parametrize(("photos", "most_in_the_last"), [(5, 2), (100, 25), (2000, 64)])
def test_the_last_shards_are_small_so_that_all_workers_end_together(
    tmp_path: Path, photos: int, most_in_the_last: int
) -> None:
    work = WorkDir(tmp_path)
    found = [ListedPhoto("/photos", f"{number:05}.jpg", 10, 1) for number in range(photos)]
    work.write_listing(map(Line, found))
    shards = list(work.shards())
    assert [photo for shard in shards for photo in shard.photos] == found
    assert len(shards) > 2
    assert max(len(shard.photos) for shard in shards) <= 256
    assert max(len(shard.photos) for shard in shards[-2:]) <= most_in_the_last
