"""What a listing skips by name: in folders, tars and URLs alike, and never what was named itself."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.cli import summaries
from curate.errors import ScanError, UsageError
from curate.scanning.scan import ScanOptions, preview_scan, scan_photos
from curate.scanning.summary import ScanSummary
from curate.sources import Exclusion, Sources

LEFTOVERS = {
    "._a.jpg": "._*",
    "trip/._b.jpg": "._*",
    "trip/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": "@eaDir",
    ".Trashes/501/old.jpg": ".Trashes",
    ".Spotlight-V100/store.jpg": ".Spotlight-V100",
    ".fseventsd/x": ".fseventsd",
    ".Trash-1000/files/old.jpg": ".Trash-*",
    "Thumbs.db": "Thumbs.db",
    "trip/thumbs.db": "Thumbs.db",
    "desktop.ini": "desktop.ini",
    ".DS_Store": ".DS_Store",
    "#recycle/old.jpg": "#recycle",
    "$RECYCLE.BIN/S-1/old.jpg": "$RECYCLE.BIN",
    "System Volume Information/x.jpg": "System Volume Information",
    "__MACOSX/a/._a.jpg": "__MACOSX",
    ".AppleDouble/a.jpg": ".AppleDouble",
    "lost+found/x.jpg": "lost+found",
    ".snapshot/daily/a.jpg": ".snapshot",
    ".@__thumb/a.jpg": ".@__thumb",
}
"""Paths that file managers and storage devices leave, and the rule for each."""
PHOTOS = ("a.jpg", "trip/b.jpg", "trip/eaDir/c.jpg", "trip/_.d.jpg", "trash/e.jpg")


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path, jpeg: bytes) -> Path:
    root = tmp_path / "photos"
    for name in (*PHOTOS, *LEFTOVERS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg)
    return root


@pytest.fixture
def tar(tmp_path: Path, jpeg: bytes) -> Path:
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as archive:
        for name in (*PHOTOS, *LEFTOVERS):
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(jpeg)
            archive.addfile(member, io.BytesIO(jpeg))
    return path


def listed(*paths: Any, exclude: Sequence[str] = (), lists: Sequence[str] = ()) -> tuple[list[str], dict[str, int]]:
    """The listed paths, and the counts of what was skipped."""
    sources = Sources(paths, tuple(lists), exclusion=Exclusion(tuple(exclude)))
    names = [photo.path for photo in sources.photos()]
    return names, dict(sources.exclusion.counts)


def expected_counts() -> dict[str, int]:
    rules = list(LEFTOVERS.values())
    return {rule: rules.count(rule) for rule in rules}


def test_leftovers_are_skipped_and_counted_in_folders_tars_and_urls(folder: Path, tar: Path, s3: Any) -> None:
    assert listed(folder) == (sorted(PHOTOS, key=lambda name: name.split("/")), expected_counts())
    names, counts = listed(tar)
    assert names == [f"photos.tar/{name}" for name in sorted(PHOTOS, key=lambda name: name.split("/"))]
    assert counts == expected_counts()
    s3.put(str(folder), "bucket/nas", recursive=True)
    s3.put(str(tar), "bucket/tars/photos.tar")
    names, counts = listed("s3://bucket/nas")
    assert sorted(names) == sorted(PHOTOS)
    assert counts == expected_counts()
    assert len(listed("s3://bucket/tars")[0]) == len(listed("s3://bucket/tars/photos.tar")[0]) == len(PHOTOS)


def test_what_was_named_itself_is_taken(folder: Path, tmp_path: Path) -> None:
    hidden = folder / "trip" / "._b.jpg"
    assert listed(hidden, exclude=["*.jpg"]) == (["._b.jpg"], {})
    paths = tmp_path / "list.txt"
    paths.write_text(f"{hidden}\n", encoding="utf-8")
    assert listed(lists=[str(paths)], exclude=["*.jpg"]) == (["._b.jpg"], {})
    assert listed(folder / "#recycle") == (["old.jpg"], {})
    names, counts = listed(folder, hidden, lists=[str(paths)])  # also if it is below a folder that skips it
    assert len(names) == len(PHOTOS) + 1
    assert counts == expected_counts()


def test_a_skipped_folder_is_not_entered(folder: Path) -> None:
    (folder / "@eaDir").symlink_to(folder)
    (folder / ".Trash").symlink_to("nowhere")
    assert len(listed(folder)[0]) == len(PHOTOS)


FILES = ("a.jpg", "a.png", "b/a.jpg", "b/c/a.jpg", "b/c/d.png", "b/x.jpg/y.jpg", "c/d.png")


@pytest.mark.parametrize(
    ("pattern", "skipped"),
    [
        ("a.jpg", {"a.jpg", "b/a.jpg", "b/c/a.jpg"}),
        ("/a.jpg", {"a.jpg"}),
        ("*.png", {"a.png", "b/c/d.png", "c/d.png"}),
        ("c", {"b/c/a.jpg", "b/c/d.png", "c/d.png"}),
        ("/c", {"c/d.png"}),
        ("c/", {"b/c/a.jpg", "b/c/d.png", "c/d.png"}),
        ("*.jpg/", {"b/x.jpg/y.jpg"}),
        ("b/*", {"b/a.jpg", "b/c/a.jpg", "b/c/d.png", "b/x.jpg/y.jpg"}),
        ("b/*.jpg", {"b/a.jpg", "b/x.jpg/y.jpg"}),
        ("b/**", {"b/a.jpg", "b/c/a.jpg", "b/c/d.png", "b/x.jpg/y.jpg"}),
        ("**/c/*.png", {"b/c/d.png", "c/d.png"}),
        ("b/**/a.jpg", {"b/a.jpg", "b/c/a.jpg"}),
        ("[ab].?pg", {"a.jpg", "b/a.jpg", "b/c/a.jpg"}),
        ("*.JPG", set()),
        ("c/a.jpg", set()),
    ],
)
def test_patterns_match_as_in_gitignore(pattern: str, skipped: set[str], tmp_path: Path) -> None:
    """The expected paths are those that `git check-ignore` prints for a .gitignore with this line."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = {name for name in listed(tmp_path, exclude=[pattern])[0] if not name.endswith("x.jpg")}
    assert set(FILES) - names == skipped
    exclusion = Exclusion((pattern,))
    assert {name for name in FILES if exclusion.contains(name)} == skipped


def test_accents_match_in_both_unicode_forms() -> None:
    assert Exclusion(("caf\u00e9",)).contains("cafe\u0301/a.jpg")
    assert Exclusion(("cafe\u0301",)).contains("caf\u00e9/a.jpg")


@pytest.mark.parametrize("pattern", ["", "/", "*", "**", "/**", "!a.jpg", "a//b", "./a", "../a", "a/."])
def test_a_pattern_without_meaning_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="not a pattern"):
        ScanOptions(exclude=(pattern,))


def run_scan(folder: Path, out: Path, *exclude: str) -> ScanSummary:
    return scan_photos([folder], out, ScanOptions(engine="serial", exclude=exclude))


def test_rows_of_photos_that_are_excluded_now_leave_the_manifest_and_are_not_missing(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scan.parquet"
    assert run_scan(folder, out).photos == len(PHOTOS)
    preview = preview_scan([folder], out, ScanOptions(exclude=("trip/",)))
    assert (preview.excluded_rows, preview.missing, preview.dropped) == (3, 0, 0)
    summary = run_scan(folder, out, "trip/")
    assert (summary.photos, summary.missing, summary.dropped, summary.excluded_rows) == (2, 0, 0, 3)
    assert summary.excluded["trip/"] == 1
    assert pq.read_table(out)["path"].to_pylist() == ["a.jpg", "trash/e.jpg"]
    lines = list(summaries.scan_summary(summary, out))
    assert "  excluded: 3 photos of an earlier scan; rows removed" in lines
    assert any(line.startswith("  skipped by name, files and folders: 17 (") and "1 trip/" in line for line in lines)
    again = run_scan(folder, out)
    assert (again.photos, again.measured_now) == (5, 3)


def test_a_folder_with_skipped_names_only_has_no_photos(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"no photos in .*\(but \d+ names to skip\)"):
        run_scan(folder, tmp_path / "scan.parquet", "*.jpg", "trip", "tras?")
