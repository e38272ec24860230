"""Progress within compressed tars."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from curate.scanning import stream_progress
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.stream_progress import StreamMeter, with_stream_progress


def test_members_are_counted_and_all_of_them_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_progress, "INTERVAL_S", 0.001)
    calls: list[tuple[int, int]] = []
    meter = StreamMeter(tmp_path / "progress-0")
    meter.add(0.25)
    with with_stream_progress(tmp_path, "progress-*", lambda done, total: calls.append((done, total))) as report:
        report(0, 3)
        (tmp_path / "progress-1").write_text("5 0.000000")  # of unknown size
        (tmp_path / "progress-2").write_text("")  # just being written
        report(1, 3)
        meter.finish()
        report(3, 3)
    assert calls[0] == (1, 7)
    assert (7, 12) in calls
    assert calls[-1] == (9, 9)


def test_a_scan_counts_the_members_of_a_compressed_tar(photos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for name in ("a.png", "b.png"):
            tar.add(photos / "a-vivid.png", name)
    calls: list[tuple[int, int]] = []
    scan_photos(
        [tmp_path / "a.tar.gz"],
        tmp_path / "scan.parquet",
        ScanOptions(engine="serial"),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (calls[0], calls[-1]) == ((0, 1), (3, 3))
