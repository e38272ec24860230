"""Scans of compressed tars: the rows of the uncompressed tar, whole or not at all, whatever happens."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate import manifest
from curate.errors import WorkerDied
from curate.executors.engines import WorkerLost
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning import scan, scorer, stream_rows, streams
from curate.scanning.scan import ScanOptions, preview_scan, scan_photos
from curate.scanning.summary import ScanSummary
from curate.scanning.work_dir import Chunk
from curate.sources import ShardSpec

SERIAL_EXPORT = ExportOptions(engine="serial")

SERIAL = ScanOptions(engine="serial")


def tar_of(photos: Path, *, links: bool = True) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, name in (
            ("c-cut.png", "z/cut.png"),
            ("a-vivid.png", "z/a.png"),
            ("notes.txt", "notes.txt"),
            ("notes.txt", "z/a.txt"),
            ("more/b-gray.png", "b.png"),
            ("more/b-gray.png", "z/a.png"),
            ("a-vivid.png", "._skipped.png"),
        ):
            tar.add(photos / path, name)
        for name, target in (("link.png", "z/a.png"), ("nowhere.png", "/etc/hosts")) if links else ():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return file.getvalue()


@pytest.fixture
def tars(photos: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a tar, and one with the same tar compressed."""
    for name, data in (("plain", tar_of(photos)), ("packed", gzip.compress(tar_of(photos)))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.tar.gz").write_bytes(data)
    return tmp_path / "plain", tmp_path / "packed"


def rows_of(out: Path, *leave_out: str) -> list[dict[str, Any]]:
    table = manifest.read_manifest(out).table.drop_columns(["source", "modified_ns", *leave_out])
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def counts(summary: ScanSummary) -> tuple[object, ...]:
    return summary.photos, summary.scored, summary.skipped, summary.errors, summary.excluded, summary.tones


@pytest.mark.parametrize("rows_in_memory", [None, 1])
def test_a_compressed_tar_gives_the_rows_of_the_tar(
    rows_in_memory: int | None, tars: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rows_in_memory:  # so that rows go to disk, and are merged
        monkeypatch.setattr(stream_rows, "ROW_GROUP_SIZE", rows_in_memory)
        monkeypatch.setattr(stream_rows, "_TABLE_ROWS", rows_in_memory)
    plain = scan_photos([tars[0]], tmp_path / "plain.parquet", SERIAL)
    packed = scan_photos([tars[1]], tmp_path / "packed.parquet", SERIAL)
    assert counts(packed) == counts(plain)
    assert packed.measured_now == packed.photos
    assert rows_of(tmp_path / "packed.parquet") == rows_of(tmp_path / "plain.parquet")
    paths = [row["path"].removeprefix("0.tar.gz/") for row in rows_of(tmp_path / "packed.parquet")]
    assert paths == ["b.png", "link.png", "nowhere.png", "z/a.png", "z/a~2.png", "z/cut.png"]
    assert [bool(row["sidecars"]) for row in rows_of(tmp_path / "packed.parquet")] == [0, 0, 0, 1, 1, 0]


def test_an_unchanged_tar_is_not_read_again_and_a_changed_one_is(
    tars: tuple[Path, Path], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.parquet"
    scan_photos([tars[1]], out, SERIAL)
    before = rows_of(out)
    assert scan_photos([tars[1]], out, SERIAL).measured_now == 0
    assert rows_of(out) == before
    preview = preview_scan([tars[1]], out, replace(SERIAL, exclude=("z/",)))
    assert (preview.streams, preview.to_measure) == (1, 1)
    excluded = scan_photos([tars[1]], out, replace(SERIAL, exclude=("z/",)))
    assert (excluded.photos, excluded.excluded["z/"]) == (3, 1)
    assert scan_photos([tars[1]], out, SERIAL).photos == len(before)
    (tars[1] / "0.tar.gz").write_bytes(gzip.compress(tar_of(photos, links=False)))
    assert scan_photos([tars[1]], out, SERIAL).photos == len(before) - 2
    (tars[1] / "0.tar.gz").unlink()
    (tars[1] / "a.png").write_bytes((photos / "a-vivid.png").read_bytes())
    assert scan_photos([tars[1]], out, SERIAL).missing == 3


def test_one_part_of_a_divided_scan_has_the_whole_tar(tars: tuple[Path, Path], tmp_path: Path) -> None:
    parts = [
        scan_photos([tars[1]], tmp_path / f"{number}.parquet", replace(SERIAL, shard=ShardSpec(number, 2))).photos
        for number in (1, 2)
    ]
    assert sorted(parts) == [0, 6]


def test_a_scan_that_was_killed_keeps_whole_tars(
    tars: tuple[Path, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tars[1] / "1.tar.gz").write_bytes(gzip.compress(tar_of(photos, links=False)))
    expected = tmp_path / "expected.parquet"
    scan_photos([tars[1]], expected, SERIAL)
    read: list[int] = []
    decode_bytes = scorer._decode_bytes

    def count_or_stop(*args: Any) -> Any:
        read.append(1)
        if len(read) == 8:  # within the second tar
            raise KeyboardInterrupt
        return decode_bytes(*args)

    monkeypatch.setattr(scorer, "_decode_bytes", count_or_stop)
    with pytest.raises(KeyboardInterrupt):
        scan_photos([tars[1]], tmp_path / "m.parquet", SERIAL)
    read[:] = [0] * 100
    assert scan_photos([tars[1]], tmp_path / "m.parquet", SERIAL).measured_now == 4
    assert rows_of(tmp_path / "m.parquet") == rows_of(expected)


def test_a_photo_that_ends_its_worker_costs_only_itself(
    tars: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tmp_path / "expected.parquet"
    scan_photos([tars[1]], expected, SERIAL)

    def lose_workers(_function: object, items: Iterable[Chunk], **_: object) -> Iterator[WorkerLost[Chunk]]:
        yield from (WorkerLost(item, "died") for item in items)

    def lose_gray(function: Callable[[Any], object], members: Sequence[Any], **_: object) -> list[object]:
        lost = WorkerDied("decoding crashed the process")
        return [lost if member.photo.path.endswith("b.png") else function(member) for member in members]

    monkeypatch.setattr(scan, "ENGINES", {"serial": lose_workers})
    monkeypatch.setattr(streams, "run_isolated", lose_gray)
    scan_photos([tars[1]], tmp_path / "m.parquet", SERIAL)
    (gray, *others), (before, *rest) = rows_of(tmp_path / "m.parquet"), rows_of(expected)
    assert (gray["path"], gray["error"]) == (before["path"], "WorkerDied: decoding crashed the process")
    assert others == rest


def test_exports_are_those_of_the_uncompressed_tar(tars: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in tars:
        scan_photos([folder], tmp_path / f"{folder.name}.parquet", SERIAL)
        exported = export_photos(
            tmp_path / f"{folder.name}.parquet", tmp_path / f"{folder.name}-out", "webdataset", SERIAL_EXPORT
        )
        assert (exported.photos, exported.failed, exported.failed_sidecars) == (4, [], [])
    members = []
    for folder in tars:
        assert not list((tmp_path / f"{folder.name}-out").glob(".tar-*"))
        with tarfile.open(tmp_path / f"{folder.name}-out" / "train-000000.tar") as tar:
            members.append([(entry.name, tar.extractfile(entry).read()) for entry in tar if ".json" not in entry.name])  # type: ignore[union-attr]
    assert members[0] == members[1]
    assert sum(name.endswith(".txt") for name, _ in members[0]) == 2


def test_pack_reads_each_tar_once_and_leaves_no_copies(tars: tuple[Path, Path], tmp_path: Path) -> None:
    shards = []
    for folder in tars:
        scan_photos([folder], tmp_path / f"{folder.name}.parquet", SERIAL)
        out = tmp_path / f"{folder.name}-pack"
        summary = pack_photos(tmp_path / f"{folder.name}.parquet", out, PackOptions(size_px=32, engine="serial"))
        assert (summary.photos, summary.failed) == (4, [])
        assert not [path for path in out.iterdir() if path.name.endswith(".copy")]
        shards.append((out / "shard-000000.arrow").read_bytes())
    assert shards[0] == shards[1]


def test_photos_of_a_tar_that_has_changed_are_left_out_of_a_pack(tars: tuple[Path, Path], tmp_path: Path) -> None:
    scan_photos([tars[1]], tmp_path / "m.parquet", SERIAL)
    whole = (tars[1] / "0.tar.gz").read_bytes()
    (tars[1] / "0.tar.gz").write_bytes(whole[: len(whole) // 2])
    summary = pack_photos(tmp_path / "m.parquet", tmp_path / "pack", PackOptions(size_px=32, engine="serial"))
    assert summary.failed
    assert all(error.startswith("ChangedSinceScan") for _, error in summary.failed)
