"""What the system refuses: permissions, space, a source that is gone. Named, with nothing lost."""

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
from curate.filtering.filter import filter_manifest
from curate.filtering.options import FilterOptions
from curate.image.decode import memory_errors
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.merge import merge_manifests
from curate.scanning.scan import ScanOptions, ScanSummary, scan_photos
from curate.scanning.work_dir import LAST_PIECES
from curate.sources import ShardSpec, Sources, is_source_missing

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking beside threads
NOBODY = 65534
SERIAL = ScanOptions(engine="serial")


def in_a_child(begin: Callable[[], None], work: Callable[[], Any]) -> Any:
    """What `work` returns, or what it raises as text, in a process that `begin` has restricted."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            begin()
            try:
                found = work()
            except VividsetError as exc:
                found = f"{type(exc).__name__}: {exc}"
            with open(writer, "wb") as file:
                pickle.dump(found, file)
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
    return in_a_child(become_nobody, work)


def with_files_up_to(limit_bytes: int, work: Callable[[], Any]) -> Any:
    """As on a disk that is full: whatever grows beyond the limit can't be written."""
    return in_a_child(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)), work)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that nobody can get at, unlike those of pytest, with a place in it for everybody to write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)
        yield folder
        folder.chmod(0o755)
        for parent, folders, _ in os.walk(folder):
            for each in folders:
                (Path(parent) / each).chmod(0o755)


def rows_of(out: Path) -> dict[str, str]:
    """The kind of error of each photo, `fine` without one."""
    return {
        row["path"]: (row["error"] or "fine").partition(":")[0]
        for row in manifest.read_manifest(out, columns=("path", "error")).table.to_pylist()
    }


def test_what_may_not_be_read_is_a_row_each_and_tried_again(photos: Path, shared: Path) -> None:
    folder, out = shared / "photos", shared / "out" / "m.parquet"
    shutil.copytree(photos, folder)
    scan_photos([folder], shared / "first.parquet", SERIAL)  # imports what nobody may not, perhaps
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


def test_known_photos_of_what_cannot_be_read_any_more_stay_known(photos: Path, shared: Path) -> None:
    folder, out = shared / "photos", shared / "out" / "m.parquet"
    shutil.copytree(photos, folder)
    shutil.copytree(photos / "more", folder / "more" / "deep")
    with tarfile.open(folder / "n.tar", "w") as tar:
        tar.add(folder / "a-vivid.png", "a.png")
    scan_photos([folder], out, SERIAL)
    before = rows_of(out)
    shutil.copytree(photos / "more", folder / "z-new")
    for name in ("more", "n.tar"):
        (folder / name).chmod(0)
    for number in range(2):
        summary = as_nobody(lambda: scan_photos([folder], out, SERIAL))
        assert isinstance(summary, ScanSummary), summary
        assert (summary.missing, summary.dropped) == (0, 0)
        assert summary.measured_now == 3 - number  # what can't be reached, and at first the new photo
        assert rows_of(out) == before | {
            "more": "NoPermission",
            "n.tar": "NoPermission",
            "z-new/b-gray.png": "fine",
        }
    for name in ("more", "n.tar"):
        (folder / name).chmod(0o755)
    assert scan_photos([folder], out, SERIAL).measured_now == 0
    assert rows_of(out) == before | {"z-new/b-gray.png": "fine"}


def test_what_may_not_be_listed_or_written_is_one_line(photos: Path, shared: Path) -> None:
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
        "SourceError: .*a.png can't be looked at: Permission": lambda: scan_photos(
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
            shared / "clean.parquet", shared / "x", "copy"
        ),
    }
    before = sorted(shared.iterdir())
    shared.chmod(0o555)
    for said, work in tries.items():
        found = as_nobody(work)
        assert isinstance(found, str), said
        assert re.match(said, found)
    assert sorted(shared.iterdir()) == before


@pytest.fixture
def half_empty(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """A shard of empty files, whose parts take 8 KB each, and one of photos, whose parts take 13."""
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
def test_a_full_disk_keeps_what_is_finished(
    source: Callable[[Path], tuple[list[str], ScanOptions]], half_empty: Path, tmp_path: Path
) -> None:
    paths, options = source(half_empty)
    out = tmp_path / "full" / "m.parquet"
    said = with_files_up_to(10_600, lambda: scan_photos(paths, out, options))
    assert isinstance(said, str), "it fitted"
    assert "can't be written: File too large: free some space and run the same command" in said
    assert not out.exists()
    assert sum(1 for _ in out.parent.glob(".m.parquet.scan/part-*.parquet")) == LAST_PIECES
    assert not list(out.parent.rglob("*.draft"))
    resumed = scan_photos(paths, out, options)
    scan_photos(paths, tmp_path / "untouched.parquet", options)
    assert resumed.measured_now == 120
    assert manifest.read_manifest(out).table.equals(manifest.read_manifest(tmp_path / "untouched.parquet").table)
    assert os.listdir(out.parent) == ["m.parquet"]


def test_a_full_disk_leaves_earlier_outputs(half_empty: Path, tmp_path: Path) -> None:
    scanned, clean, pages = tmp_path / "m.parquet", tmp_path / "clean.parquet", tmp_path / "joined.parquet"
    scan_photos([half_empty], scanned, SERIAL)
    filter_manifest(scanned, clean, FilterOptions(min_colorfulness=30))
    parts = [tmp_path / f"part-{number}.parquet" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        scan_photos([half_empty], part, ScanOptions(engine="serial", share=ShardSpec(number, 2)))
    merge_manifests(parts, pages)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    tries: list[Callable[[], Any]] = [
        lambda: filter_manifest(scanned, clean, FilterOptions(min_colorfulness=20)),
        lambda: merge_manifests(parts, pages, overwrite=True),
        lambda: pack_photos(clean, tmp_path / "pack", PackOptions(engine="serial")),
        lambda: export_photos(clean, tmp_path / "tars", "webdataset"),
    ]
    for work in tries:
        assert "free some space" in with_files_up_to(9_000, work)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.parquet")} == before
    assert not list(tmp_path.rglob("*.draft"))
    assert pack_photos(clean, tmp_path / "pack", PackOptions(engine="serial")).photos == 120
    assert export_photos(clean, tmp_path / "tars", "webdataset").photos == 120


def test_a_folder_that_is_swapped_while_it_is_listed_stops_the_scan(photos: Path) -> None:
    listing = Sources((photos,)).photos()
    next(listing)
    photos.rename(photos.with_name("moved"))
    photos.mkdir()
    with pytest.raises(SourceError, match="went away while it was listed"):
        list(listing)


def test_a_source_counts_as_gone_when_it_is_empty_but_not_when_it_is_closed(tmp_path: Path, shared: Path) -> None:
    (shared / "photos").mkdir()
    assert is_source_missing(str(shared / "photos"))
    (shared / "photos" / "a.jpg").touch()
    assert not is_source_missing(str(shared / "photos"))
    (shared / "photos").chmod(0)
    assert as_nobody(lambda: is_source_missing(str(shared / "photos"))) is False
    assert is_source_missing(str(tmp_path / "nowhere"))


LITTLE = 256 << 20


def with_little_memory(work: Callable[[], Any]) -> Any:
    """With LITTLE bytes more than there are in use."""

    def begin() -> None:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LITTLE, used + LITTLE))

    return in_a_child(begin, work)


@pytest.mark.parametrize("library", ["numpy", "opencv"])
def test_too_little_memory_is_the_photos_error_whichever_library_says_so(library: str) -> None:
    def work() -> None:
        with memory_errors("measuring it"):
            if library == "numpy":
                np.ones(LITTLE, np.uint16)
            cv2.resize(np.zeros((9, 9, 3), np.uint8), (20_000, 20_000))

    assert with_little_memory(work) == "OutOfMemory: OutOfMemory: measuring it wanted more memory than there is"


def test_what_else_opencv_raises_stays_a_bug() -> None:
    with pytest.raises(cv2.error), memory_errors("measuring it"):
        cv2.resize(np.zeros((0, 0), np.uint8), (9, 9))
