"""Errors of the operating system: permissions, full disks, lost sources, too little memory; finished work is kept."""

from __future__ import annotations

import os
import pickle
import re
import resource
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curate import manifest
from curate.errors import SourceError, VividsetError
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.image.decode import memory_errors
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.merge import merge_manifests
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.summary import ScanSummary
from curate.scanning.work_dir import LAST_CHUNK_PIECES
from curate.sources import ShardSpec, Sources, is_source_missing

SERIAL_EXPORT = ExportOptions(engine="serial")

# the warning is about forking a process that has threads
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
NOBODY = 65534
SERIAL = ScanOptions(engine="serial")
ALL_KINDS = frozenset({"photo", "graphic"})


def run_in_child(restrict: Callable[[], None], work: Callable[[], Any]) -> Any:
    """What `work` returns, or the text of its error, in a child process after `restrict` was called there."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            restrict()
            try:
                result = work()
            except VividsetError as exc:
                result = f"{type(exc).__name__}: {exc}"
            with open(writer, "wb") as file:
                pickle.dump(result, file)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return pickle.loads(data)  # noqa: S301 - ours


def become_nobody() -> None:
    """Drop root's rights. Another user keeps its own: the tests take permissions away from the owner too."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def as_nobody(work: Callable[[], Any]) -> Any:
    return run_in_child(become_nobody, work)


def with_file_size_limit(limit_bytes: int, work: Callable[[], Any]) -> Any:
    """Run `work` where no file can grow beyond a size, as on a full disk."""
    return run_in_child(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)), work)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can read, unlike those of pytest, with a folder `out` that every user can write to."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)
        yield folder
        folder.chmod(0o755)
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                (Path(parent) / name).chmod(0o755)


def rows_of(out: Path) -> dict[str, str]:
    """The kind of error of each photo, or `fine`."""
    return {
        row["path"]: (row["error"] or "fine").partition(":")[0]
        for row in manifest.read_manifest(out, columns=("path", "error")).table.to_pylist()
    }


def test_unreadable_files_and_folders_are_rows_and_are_retried(photos: Path, shared: Path) -> None:
    folder, out = shared / "photos", shared / "out" / "m.parquet"
    shutil.copytree(photos, folder)
    scan_photos([folder], shared / "first.parquet", SERIAL)  # imports libraries that `nobody` may not be able to read
    for name in ("closed", "names-only", "no-names"):
        shutil.copytree(photos / "more", folder / name / "deep")
        (folder / name / "notes.txt").touch()
    with tarfile.open(folder / "shard.tar", "w") as tar:
        tar.add(folder / "a-vivid.png", "a.png")
    (folder / "more" / "b-gray.png").chmod(0)
    (folder / "shard.tar").chmod(0)
    (folder / "closed").chmod(0)
    (folder / "names-only").chmod(0o444)
    (folder / "no-names").chmod(0o311)
    summary = as_nobody(lambda: scan_photos([folder], out, SERIAL))
    assert isinstance(summary, ScanSummary), summary
    assert rows_of(out) == {
        "a-vivid.png": "fine",
        "c-cut.png": "BrokenPhoto",
        "closed": "NoPermission",
        "more/b-gray.png": "NoPermission",
        "names-only/deep": "NoPermission",
        "names-only/notes.txt": "NoPermission",
        "no-names": "NoPermission",
        "shard.tar": "NoPermission",
    }
    for name in ("more/b-gray.png", "shard.tar", "closed", "names-only", "no-names"):
        (folder / name).chmod(0o755)
    scan_photos([folder], out, SERIAL)
    after = rows_of(out)
    assert [name for name, error in after.items() if error != "fine"] == ["c-cut.png"]
    assert len(after) == 7


def test_a_manifest_without_permission_is_not_called_something_else(photos: Path, shared: Path) -> None:
    out = shared / "out" / "m.parquet"
    scan_photos([photos], out, SERIAL)
    out.chmod(0)
    error = as_nobody(lambda: scan_photos([shared], out, SERIAL))
    assert "m.parquet can't be read: Permission denied: check the permissions" in str(error)


def test_known_photos_of_unreadable_folders_are_kept(photos: Path, shared: Path) -> None:
    folder, out = shared / "photos", shared / "out" / "m.parquet"
    shutil.copytree(photos, folder)
    shutil.copytree(photos / "more", folder / "more" / "deep")
    with tarfile.open(folder / "n.tar", "w") as tar:
        tar.add(folder / "a-vivid.png", "a.png")
    (folder / "more" / "b-gray.txt").touch()
    scan_photos([folder], out, SERIAL)
    before = rows_of(out)
    beside = sidecars_of(out)
    assert list(beside) == ["more/b-gray.png"]
    shutil.copytree(photos / "more", folder / "z-new")
    for name in ("more", "n.tar"):
        (folder / name).chmod(0)
    for number in range(2):
        summary = as_nobody(lambda: scan_photos([folder], out, SERIAL))
        assert isinstance(summary, ScanSummary), summary
        assert (summary.missing, summary.dropped) == (0, 0)
        assert summary.measured_now == 3 - number  # the unreadable folder and tar, and at first the new photo
        assert rows_of(out) == before | {
            "more": "NoPermission",
            "n.tar": "NoPermission",
            "z-new/b-gray.png": "fine",
        }
        assert sidecars_of(out) == beside
    for name in ("more", "n.tar"):
        (folder / name).chmod(0o755)
    assert scan_photos([folder], out, SERIAL).measured_now == 0
    assert rows_of(out) == before | {"z-new/b-gray.png": "fine"}
    assert sidecars_of(out) == beside


def sidecars_of(out: Path) -> dict[str, object]:
    return {row["path"]: row["sidecars"] for row in manifest.read_manifest(out).table.to_pylist() if row["sidecars"]}


def test_missing_permissions_are_errors_of_one_line(photos: Path, shared: Path) -> None:
    folder, closed = shared / "photos", shared / "closed"
    shutil.copytree(photos, folder)
    shutil.copytree(photos, closed)
    scan_photos([folder], shared / "m.parquet", SERIAL)
    shutil.copy(shared / "m.parquet", shared / "mine.parquet")
    filter_manifest(shared / "m.parquet", shared / "clean.parquet", FilterOptions())
    for path in (closed, shared / "mine.parquet"):
        path.chmod(0)
    tries: dict[str, Callable[[], Any]] = {
        "SourceError: .*closed can't be listed: Permission denied": lambda: scan_photos(
            [closed], shared / "out/a", SERIAL
        ),
        "SourceError: .*a.png can't be read: Permission": lambda: scan_photos(
            [closed / "a.png"], shared / "out/a", SERIAL
        ),
        "SourceError: the list .*list can't be read: Permission": lambda: Sources(lists=(f"{closed}/list",)).check(),
        "ScanError: .*new.parquet can't be written: Permission": lambda: scan_photos(
            [folder], shared / "new.parquet", SERIAL
        ),
        "ManifestError: .*mine.parquet can't be read: Permission": lambda: manifest.read_manifest(
            shared / "mine.parquet"
        ),
        "ManifestError: .*m.parquet can't be read: Permission": lambda: manifest.read_manifest(closed / "m.parquet"),
        "ManifestError: .*can't be written: Permission": lambda: filter_manifest(
            shared / "m.parquet", shared / "clean.parquet", FilterOptions()
        ),
        "OutputError: .*pack can't be written: Permission denied: check the permissions": lambda: pack_photos(
            shared / "clean.parquet", shared / "pack", PackOptions(engine="serial")
        ),
        "OutputError: .*x can't be written: Permission denied: check the permissions": lambda: export_photos(
            shared / "clean.parquet", shared / "x", "copy", SERIAL_EXPORT
        ),
    }
    before = sorted(shared.iterdir())
    shared.chmod(0o555)
    for pattern, work in tries.items():
        error = as_nobody(work)
        assert isinstance(error, str), pattern
        assert re.match(pattern, error)
    assert sorted(shared.iterdir()) == before


@pytest.fixture
def half_empty(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """A chunk of empty files, whose part files have 13 KB each, and one of photos, whose part files have 19 KB."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(256):
        (folder / f"{number:03}.jpg").touch()
    for number in range(256, 376):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    return folder


def as_folder(folder: Path) -> tuple[list[str], ScanOptions]:
    return [str(folder)], SERIAL


def as_tar(folder: Path) -> tuple[list[str], ScanOptions]:
    with tarfile.open(folder.with_suffix(".tar"), "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return [str(folder.with_suffix(".tar"))], SERIAL


def as_list(folder: Path) -> tuple[list[str], ScanOptions]:
    folder.with_suffix(".txt").write_text("\n".join(map(str, folder.iterdir())), encoding="utf-8")
    return [], ScanOptions(engine="serial", from_files=(str(folder.with_suffix(".txt")),))


@pytest.mark.parametrize("source", [as_folder, as_tar, as_list])
def test_a_scan_continues_after_the_disk_was_full(
    source: Callable[[Path], tuple[list[str], ScanOptions]], half_empty: Path, tmp_path: Path
) -> None:
    paths, options = source(half_empty)
    out = tmp_path / "full" / "m.parquet"
    error = with_file_size_limit(16_000, lambda: scan_photos(paths, out, options))
    assert isinstance(error, str), "the limit is too high"
    assert "can't be written: File too large: raise the limit with `ulimit -f`, or use" in error
    assert not out.exists()
    assert sum(1 for _ in out.parent.glob(".m.parquet.scan/part-*.parquet")) == LAST_CHUNK_PIECES
    assert not list(out.parent.rglob("*.draft"))
    resumed = scan_photos(paths, out, options)
    scan_photos(paths, tmp_path / "untouched.parquet", options)
    assert resumed.measured_now == 120
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(tmp_path / "untouched.parquet").table)
    assert os.listdir(out.parent) == ["m.parquet"]


def test_a_full_disk_does_not_damage_earlier_outputs(half_empty: Path, tmp_path: Path) -> None:
    scanned, clean, merged = tmp_path / "m.parquet", tmp_path / "clean.parquet", tmp_path / "joined.parquet"
    scan_photos([half_empty], scanned, SERIAL)
    filter_manifest(scanned, clean, FilterOptions(30, keep_kinds=ALL_KINDS))
    parts = [tmp_path / f"part-{number}.parquet" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        scan_photos([half_empty], part, ScanOptions(engine="serial", shard=ShardSpec(number, 2)))
    merge_manifests(parts, merged)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    tries: list[Callable[[], Any]] = [
        lambda: filter_manifest(scanned, clean, FilterOptions(20, keep_kinds=ALL_KINDS)),
        lambda: merge_manifests(parts, merged, overwrite=True),
        lambda: pack_photos(clean, tmp_path / "pack", PackOptions(engine="serial")),
        lambda: export_photos(clean, tmp_path / "tars", "webdataset", SERIAL_EXPORT),
    ]
    for work in tries:
        assert "raise the limit with `ulimit -f`" in with_file_size_limit(9_000, work)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.parquet")} == before
    assert not list(tmp_path.rglob("*.draft"))
    assert pack_photos(clean, tmp_path / "pack", PackOptions(engine="serial")).photos == 120
    assert export_photos(clean, tmp_path / "tars", "webdataset", SERIAL_EXPORT).photos == 120


def test_a_folder_that_is_replaced_while_it_is_listed_is_an_error(photos: Path) -> None:
    listing = Sources((photos,)).photos()
    next(listing)
    photos.rename(photos.with_name("moved"))
    photos.mkdir()
    with pytest.raises(SourceError, match="disappeared while it was listed"):
        list(listing)


def test_an_empty_source_counts_as_missing_but_an_unreadable_one_does_not(tmp_path: Path, shared: Path) -> None:
    (shared / "photos").mkdir()
    assert is_source_missing(str(shared / "photos"))
    (shared / "photos" / "a.jpg").touch()
    assert not is_source_missing(str(shared / "photos"))
    (shared / "photos").chmod(0)
    assert as_nobody(lambda: is_source_missing(str(shared / "photos"))) is False
    assert is_source_missing(str(tmp_path / "nowhere"))


SPARE_BYTES = 256 << 20


def with_little_memory(work: Callable[[], Any]) -> Any:
    """Run `work` where only `SPARE_BYTES` more memory can be allocated."""

    def limit_memory() -> None:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, used + SPARE_BYTES))

    return run_in_child(limit_memory, work)


@pytest.mark.parametrize("library", ["numpy", "opencv"])
def test_too_little_memory_is_an_error_of_the_photo(library: str) -> None:
    def work() -> None:
        with memory_errors("measuring it"):
            if library == "numpy":
                np.ones(SPARE_BYTES, np.uint16)
            cv2.resize(np.zeros((9, 9, 3), np.uint8), (20_000, 20_000))

    assert with_little_memory(work) == "OutOfMemory: OutOfMemory: measuring it needs more memory than is available"


def test_other_opencv_errors_are_raised() -> None:
    with pytest.raises(cv2.error), memory_errors("measuring it"):
        cv2.resize(np.zeros((0, 0), np.uint8), (9, 9))
