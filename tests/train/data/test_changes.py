"""Photos that changed after the scan are found before training, and touched or copied ones are accepted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import Lineage
from train.data import changes, dataset

Manifests = Callable[..., Path]


@pytest.fixture
def scanned(clean_manifest: Manifests) -> Path:
    """A manifest with five photos, with their times as a scan records them."""
    path = clean_manifest(("train", "train", "train", "val", "test"))
    table = manifest.read_manifest(path).table
    times = [(Path(row["source"]) / row["path"]).stat().st_mtime_ns for row in table.to_pylist()]
    at = table.schema.get_field_index("modified_ns")
    table = table.set_column(at, table.schema.field(at), pa.array(times))
    manifest.write_manifest(path, table, Lineage("clean", "curate filter", {}))
    return path


def overwrite(path: Path, name: str) -> None:
    """Change the content of a photo, as a rotation in place of a bitmap does: the size stays."""
    photo = path.parent / "photos" / name
    photo.write_bytes(photo.read_bytes()[::-1])


def test_a_photo_that_changed_without_its_size_is_named_and_refused(scanned: Path) -> None:
    overwrite(scanned, "p01.png")
    overwrite(scanned, "p03.png")
    with pytest.raises(ManifestError) as caught:
        dataset.load_datasets(scanned)
    assert str(caught.value) == (
        f"2 of 4 photos of {scanned} have changed since the scan, for example p01.png: run `curate scan` and `curate "
        "filter` again, or leave such photos out with --skip-changed"
    )


def test_changed_photos_can_be_left_out(scanned: Path) -> None:
    overwrite(scanned, "p01.png")
    said: list[str] = []
    checked = dataset.check_rows(dataset.read_rows(scanned), skip_changed=True, say=said.append)
    assert checked.table["path"].to_pylist() == ["p00.png", "p02.png", "p03.png", "p04.png"]
    assert said == [f"left out: 1 of 4 photos of {scanned} has changed since the scan, for example p01.png"]
    for name in ("p00.png", "p02.png"):
        overwrite(scanned, name)
    with pytest.raises(ManifestError, match="all training photos"):
        dataset.check_rows(dataset.read_rows(scanned), skip_changed=True)


def test_touched_photos_and_changed_test_photos_are_accepted(scanned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(scanned.parent / "photos" / "p00.png")
    overwrite(scanned, "p04.png")
    monkeypatch.setattr(changes, "SAID_FROM_PHOTOS", 0)
    said: list[str] = []
    read = dataset.read_rows(scanned)
    assert dataset.check_rows(read, say=said.append).table.equals(read.table)
    assert said == ["comparing 1 photo whose time is not that of the scan"]


def test_photos_to_evaluate_are_checked_too(scanned: Path) -> None:
    overwrite(scanned, "p04.png")
    with pytest.raises(ManifestError, match=r"1 of 1 photo of .* has changed"):
        dataset.load_split(scanned, "test")
    photos, _ = dataset.load_split(scanned, "all", skip_changed=True)
    assert len(photos) == 4


def test_a_manifest_without_hashes_is_checked_by_size(scanned: Path) -> None:
    table = manifest.read_manifest(scanned).table.drop_columns(["sha256", "modified_ns"])
    manifest.write_manifest(scanned, table, Lineage("clean", "curate filter", {}))
    overwrite(scanned, "p04.png")
    assert len(dataset.load_split(scanned, "test")[0]) == 1


def test_a_disk_that_does_not_answer_is_named(scanned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHECK_TIMEOUT_S", -1.0)
    monkeypatch.setattr(changes, "locate_photo", lambda *_args, **_how: __import__("time").sleep(1))
    with pytest.raises(ManifestError, match="does not answer"):
        dataset.load_datasets(scanned)
