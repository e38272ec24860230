"""Scans under bad conditions: huge photos, little memory, kill -9, two scans of one output, unusable manifests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from curate import manifest
from curate.errors import ManifestError, ScanError
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.manifest import Lineage
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import list_photos

SERIAL_EXPORT = ExportOptions(engine="serial")


def test_a_photo_of_200_megapixels_is_measured_with_default_options(tmp_path: Path) -> None:
    stripes = Image.new("RGB", (16_320, 12_240), (200, 40, 40))
    stripes.paste((40, 40, 200), (0, 0, 8_160, 12_240))
    stripes.save(tmp_path / "a.jpg", quality=30)
    (photo,) = list_photos([tmp_path])
    record = score_photo(photo, ScoreOptions())
    assert record is not None
    assert record.error is None
    assert record.measures is not None
    assert record.measures.colorfulness > 100


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from curate import manifest, sources
from curate.image import decode
from curate.measures import measure
from curate.scanning import scan  # import everything before the limit is set

size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), size + (300 << 20)))
scan.scan_photos([sys.argv[1]], Path(sys.argv[2]), scan.ScanOptions(workers=1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and RLIMIT_AS")
def test_a_photo_that_needs_too_much_memory_is_one_error_row(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (14_000, 14_000), (200, 40, 40)).save(photos / "b-huge.jpg", quality=30)
    out = tmp_path / "m.parquet"
    command = [sys.executable, "-c", LITTLE_MEMORY, str(photos), str(out)]
    subprocess.run(command, check=True, timeout=300)
    errors = {row["path"]: row["error"] for row in manifest.read_manifest(out).table.to_pylist()}
    assert errors.pop("b-huge.jpg").partition(":")[0] in ("OutOfMemory", "WorkerDied")
    assert [name for name, error in errors.items() if error is None] == ["a-vivid.png", "more/b-gray.png"]


@pytest.fixture
def many(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """600 photos that take some milliseconds each."""
    folder = tmp_path / "in"
    folder.mkdir()
    whole = encoded(np.random.default_rng(0).integers(0, 256, (140, 140, 3), dtype=np.uint8), "PNG")
    for number in range(600):
        (folder / f"{number:03}.png").write_bytes(whole)
    return folder


def test_a_killed_scan_of_a_tar_continues(many: Path) -> None:
    tar, out = many.with_suffix(".tar"), many.parent / "m.parquet"
    with tarfile.open(tar, "w") as file:
        file.add(many, "")
    command = [sys.executable, "-m", "curate", "scan", str(tar), "-o", str(out), "--workers", "1"]
    work = out.with_name(f".{out.name}.scan")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 300
        while not any(work.glob("part-*-000000.parquet")) and time.monotonic() < deadline:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert not out.exists()
    resumed = scan_photos([tar], out, ScanOptions(engine="serial"))
    assert resumed.photos == 600
    assert 0 < resumed.measured_now <= 600 - 64
    assert not work.exists()


def test_a_second_scan_of_a_list_to_the_same_output_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / ".m.parquet.scan").mkdir()
    names = tmp_path / "photos.txt"
    names.write_text("\n".join(map(str, photos.iterdir())), encoding="utf-8")
    options = ScanOptions(from_files=(str(names),))
    with FileLock(tmp_path / ".m.parquet.scan" / "lock"), pytest.raises(ScanError, match="another scan is writing"):
        scan_photos([], tmp_path / "m.parquet", options)


def test_a_folder_as_output_is_refused(photos: Path) -> None:
    for overwrite in (False, True):
        with pytest.raises(ManifestError, match="is a folder: choose another output with -o"):
            scan_photos([photos], photos / "more", ScanOptions(overwrite=overwrite))
    assert os.listdir(photos / "more") == ["b-gray.png"]


def test_packing_an_empty_manifest_names_the_filter(tmp_path: Path) -> None:
    empty = tmp_path / "clean.parquet"
    manifest.write_manifest(empty, manifest.ALL_COLUMNS.empty_table(), Lineage("clean", "", {}))
    with pytest.raises(ManifestError, match="has no rows: filter less strictly"):
        pack_photos(empty, tmp_path / "pack", PackOptions())
    with pytest.raises(ManifestError, match="has no rows: filter less strictly"):
        export_photos(empty, tmp_path / "export", "copy", SERIAL_EXPORT)


def test_a_manifest_without_paths_is_refused(photos: Path, tmp_path: Path) -> None:
    scan_photos([photos], tmp_path / "m.parquet", ScanOptions(engine="serial"))
    table = manifest.read_manifest(tmp_path / "m.parquet").table
    empty = pa.nulls(table.num_rows, pa.string())
    pq.write_table(table.drop_columns(["path"]).append_column("path", empty), tmp_path / "foreign.parquet")
    with pytest.raises(ManifestError, match="has rows without path"):
        export_photos(tmp_path / "foreign.parquet", tmp_path / "export", "copy", SERIAL_EXPORT)
