"""`curate export`: names, formats, failed photos, repeated runs, refused output folders."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import webdataset
from PIL import Image

from curate import manifest
from curate.cli import summaries
from curate.errors import ManifestError, OutputError
from curate.exporting import export
from curate.exporting.export import export_photos
from curate.exporting.items import ExportOptions
from curate.exporting.names import Kind
from curate.filtering.filter import filter_manifest
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.packing.pack import PackOptions, pack_photos
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import ScoreOptions, score_photo
from curate.sources import list_photos

ALL_KINDS = frozenset({"photo", "graphic"})

SERIAL_EXPORT = ExportOptions(engine="serial")

NAMES = ("a.jpg", "A.png", "more/a.b.jpg", "more/a_b.png", "more/c: <x>.jpg", "no-suffix")
TREES: tuple[Kind, ...] = ("copy", "links", "hardlinks")


@pytest.fixture
def clean_manifest(tmp_path: Path) -> Path:
    """Six colour photos with troublesome names, and their manifest as `curate filter` writes it."""
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(colors).resize((50, 40)).save(path, "PNG" if name.endswith("png") else "JPEG")
    records = [score_photo(photo, ScoreOptions()) for photo in list_photos([tmp_path / "photos"])]
    scanned = pa.Table.from_pylist([record.to_row() for record in records if record], SCAN_SCHEMA)
    manifest.write_manifest(tmp_path / "scan.parquet", scanned, Lineage("scan", "curate scan photos", {}))
    filter_manifest(
        tmp_path / "scan.parquet",
        tmp_path / "clean.parquet",
        FilterOptions(0, split=Split.parse("60/20/20"), keep_kinds=ALL_KINDS),
    )
    return tmp_path / "clean.parquet"


def rows_of(clean_manifest: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = manifest.read_manifest(clean_manifest).table.to_pylist()
    assert len(rows) == len(NAMES)
    return rows


def files_in(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != "." and path.name != "README.md")
    return {path.relative_to(folder).as_posix() for path in found}


def content(folder: Path) -> set[bytes]:
    return {(folder / name).read_bytes() for name in files_in(folder) if not name.endswith(".jsonl")}


@pytest.mark.parametrize("kind", TREES)
def test_folders_are_kept_and_names_are_portable(clean_manifest: Path, tmp_path: Path, kind: Kind) -> None:
    out = tmp_path / "out"
    summary = export_photos(clean_manifest, out, kind, SERIAL_EXPORT)
    assert (summary.photos, summary.failed) == (6, [])
    names = files_in(out)
    assert {"more/a.b.jpg", "more/a_b.png", "more/c_ _x_.jpg", "no-suffix.jpeg"} < names
    assert len({name.casefold() for name in names}) == 6
    assert content(out) == content(tmp_path / "photos")
    one = out / "no-suffix.jpeg"
    assert one.is_symlink() == (kind == "links")
    assert one.samefile(tmp_path / "photos" / "no-suffix") == (kind != "copy")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the tars open
def test_the_webdataset_library_reads_every_photo_with_its_row(clean_manifest: Path, tmp_path: Path) -> None:
    export_photos(clean_manifest, tmp_path / "out", "webdataset", SERIAL_EXPORT)
    seen = []
    for tar in sorted((tmp_path / "out").glob("*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8"):
            (pixels,) = (value for key, value in sample.items() if key in ("jpg", "png", "jpeg"))
            row = sample["vividset.json"]
            assert pixels.shape == (40, 50, 3) == (row["height"], row["width"], 3)
            assert tar.name.startswith(f"{row['split']}-000000")
            seen.append(row)
    known = [{name: value for name, value in row.items() if value is not None} for row in rows_of(clean_manifest)]
    assert sorted(seen, key=str) == sorted(known, key=str)


def test_imagefolder_metadata_lists_every_photo_of_a_split(clean_manifest: Path, tmp_path: Path) -> None:
    export_photos(clean_manifest, tmp_path / "out", "imagefolder", SERIAL_EXPORT)
    for split in {row["split"] for row in rows_of(clean_manifest)}:
        folder = tmp_path / "out" / str(split)
        lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {line["file_name"] for line in lines} == files_in(folder) - {"metadata.jsonl"}
        assert {line["split"] for line in lines} == {split}
        assert all(lines[0].keys() == line.keys() for line in lines)
    assert content(tmp_path / "out") == content(tmp_path / "photos")


@pytest.mark.parametrize("kind", ["webdataset", "imagefolder", *TREES])
def test_a_failed_photo_is_listed_and_exported_by_the_next_run(
    clean_manifest: Path, tmp_path: Path, kind: Kind
) -> None:
    gone = tmp_path / "photos" / "a.jpg"
    gone.rename(tmp_path / "kept")
    summary = export_photos(clean_manifest, tmp_path / "out", kind, SERIAL_EXPORT)
    assert (summary.photos, [path for path, _ in summary.failed]) == (5, ["a.jpg"])
    assert summary.failed[0][1].startswith("Vanished: ")
    assert "a.jpg,Vanished" in (tmp_path / "out" / "failed.csv").read_text(encoding="utf-8").replace(chr(34), "")
    (tmp_path / "kept").rename(gone)
    again = export_photos(clean_manifest, tmp_path / "out", kind, SERIAL_EXPORT)
    assert (again.photos, again.failed) == (6, [])
    assert again.exported_now >= 1
    whole = export_photos(clean_manifest, tmp_path / "out", kind, SERIAL_EXPORT)
    assert list(summaries.export_summary(whole, tmp_path / "out"))[:2] == [
        "6 photos exported, 0 failed",
        "  exported now: 0; already in the folder: the rest",
    ]
    assert not (tmp_path / "out" / "failed.csv").exists()


@pytest.mark.parametrize("kind", TREES)
def test_a_photo_that_changed_in_place_is_not_exported(clean_manifest: Path, tmp_path: Path, kind: Kind) -> None:
    changed, touched = tmp_path / "photos" / "a.jpg", tmp_path / "photos" / "A.png"
    changed.write_bytes(bytes(changed.stat().st_size))
    os.utime(touched, (1, 1))  # the same photo with another time
    summary = export_photos(clean_manifest, tmp_path / "out", kind, SERIAL_EXPORT)
    assert summary.photos == 5
    assert [(path, error.partition(":")[0]) for path, error in summary.failed] == [("a.jpg", "ChangedSinceScan")]


@pytest.mark.usefixtures("clean_manifest")
def test_a_photo_in_a_tar_can_be_copied_but_not_linked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "photos" / "a.jpg", "a.jpg")
    scan_photos([tmp_path / "a.tar"], tmp_path / "tar.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "tar.parquet",
        tmp_path / "tar-clean.parquet",
        FilterOptions(0, keep_kinds=ALL_KINDS),
    )
    assert export_photos(tmp_path / "tar-clean.parquet", tmp_path / "copies", "copy", SERIAL_EXPORT).photos == 1
    linked = export_photos(tmp_path / "tar-clean.parquet", tmp_path / "links", "links", SERIAL_EXPORT)
    assert linked.failed == [
        (
            "a.tar/a.jpg",
            "NotAFile: the photo is in a tar, a ZIP or a Parquet or Arrow file and can't be linked: use --to copy",
        )
    ]


def test_complete_copies_are_kept_and_truncated_ones_are_written_again(clean_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_photos(clean_manifest, out, "copy", SERIAL_EXPORT)
    cut, whole = out / "no-suffix.jpeg", out / "more" / "a.b.jpg"
    before, inode = cut.read_bytes(), whole.stat().st_ino
    cut.write_bytes(before[:100])
    export_photos(clean_manifest, out, "copy", SERIAL_EXPORT)
    assert cut.read_bytes() == before
    assert whole.stat().st_ino == inode


def test_complete_tars_are_kept(clean_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TAR_PHOTOS", 1)
    out = tmp_path / "out"
    export_photos(clean_manifest, out, "webdataset", SERIAL_EXPORT)
    first, *others = sorted(out.glob("*.tar"))
    assert len(others) == 5
    inodes = [path.stat().st_ino for path in others]
    first.unlink()
    assert export_photos(clean_manifest, out, "webdataset", SERIAL_EXPORT).photos == 6
    assert first.exists()
    assert [path.stat().st_ino for path in others] == inodes
    first.write_bytes(b"no tar at all" * 99)
    assert export_photos(clean_manifest, out, "webdataset", SERIAL_EXPORT).exported_now == 1
    assert tarfile.is_tarfile(first)


def test_a_photo_that_changed_since_the_scan_fails(clean_manifest: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "photos" / "a.jpg")
    ((path, reason),) = export_photos(clean_manifest, tmp_path / "out", "copy", SERIAL_EXPORT).failed
    assert path == "a.jpg"
    assert reason.startswith("ChangedSinceScan: ")


@pytest.mark.parametrize("kind", ["webdataset", "copy"])
def test_a_folder_with_other_files_is_refused_and_unchanged(clean_manifest: Path, tmp_path: Path, kind: Kind) -> None:
    before = files_in(tmp_path / "photos")
    with pytest.raises(OutputError, match="was not made by this command"):
        export_photos(clean_manifest, tmp_path / "photos", kind, SERIAL_EXPORT)
    export_photos(clean_manifest, tmp_path / "out", "copy", SERIAL_EXPORT)
    with pytest.raises(OutputError, match="other options"):
        export_photos(clean_manifest, tmp_path / "out", "webdataset", SERIAL_EXPORT)
    assert files_in(tmp_path / "photos") == before


def test_a_manifest_without_photos_is_refused(clean_manifest: Path, tmp_path: Path) -> None:
    empty = manifest.read_manifest(clean_manifest).table.slice(0, 0)
    manifest.write_manifest(clean_manifest, empty, Lineage("clean", "", {}))
    with pytest.raises(ManifestError, match="has no rows"):
        export_photos(clean_manifest, tmp_path / "out", "copy", SERIAL_EXPORT)


def test_only_the_photo_of_its_own_source_is_left_out_of_the_card(clean_manifest: Path, tmp_path: Path) -> None:
    for source in ("x", "y"):
        (tmp_path / source).mkdir()
        shutil.copy(clean_manifest.with_name("photos") / "a.jpg", tmp_path / source)
    scan_photos([tmp_path / "x", tmp_path / "y"], tmp_path / "two.parquet", ScanOptions(engine="serial"))
    (tmp_path / "x" / "a.jpg").unlink()
    (tmp_path / "x" / "other").touch()
    summary = export_photos(tmp_path / "two.parquet", tmp_path / "out", "copy", SERIAL_EXPORT)
    assert (summary.photos, len(summary.failed)) == (1, 1)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| all | 1 |" in card
    counts = [int(line.split("|")[2]) for line in card.splitlines() if " to " in line or "and more" in line]
    assert sum(counts) == 1


@pytest.mark.parametrize("kind", ["webdataset", "imagefolder"])
def test_workers_write_the_same_bytes_as_one_process(
    clean_manifest: Path, tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TAR_PHOTOS", 2)
    monkeypatch.setattr(export, "PART_PHOTOS", 2)
    export_photos(clean_manifest, tmp_path / "serial", kind, SERIAL_EXPORT)
    export_photos(clean_manifest, tmp_path / "workers", kind, ExportOptions(workers=2))
    written = [
        {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "serial", tmp_path / "workers")
    ]
    assert written[0] == written[1]
    assert len(written[0]) > 5


def test_photo_and_row_are_adjacent_in_a_tar(clean_manifest: Path, tmp_path: Path) -> None:
    export_photos(clean_manifest, tmp_path / "out", "webdataset", SERIAL_EXPORT)
    with tarfile.open(min((tmp_path / "out").glob("*.tar"))) as tar:
        members = tar.getnames()
    assert [name.partition(".")[0] for name in members[::2]] == [name.partition(".")[0] for name in members[1::2]]
    assert all(name.endswith(".vividset.json") for name in members[1::2])


@pytest.mark.parametrize("kind", ["webdataset", "imagefolder", "copy"])
def test_tar_members_in_a_manifest_saved_by_pandas_are_exported_and_long_names_cut(tmp_path: Path, kind: Kind) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(colors).resize((50, 40)).save(tmp_path / "a.png")
    names = ("a.png", "ä" * 200 + ".png", "ä" * 200 + "2.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in names:
            tar.add(tmp_path / "a.png", name)
    scan_photos([tmp_path / "shard.tar", tmp_path / "a.png"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    pd.read_parquet(tmp_path / "scan.parquet").to_parquet(tmp_path / "saved.parquet")
    summary = export_photos(tmp_path / "saved.parquet", tmp_path / "out", kind, SERIAL_EXPORT)
    assert (summary.photos, summary.failed) == (4, [])
    filter_manifest(
        tmp_path / "saved.parquet",
        tmp_path / "c.parquet",
        FilterOptions(0, max_aspect=3, duplicates="drop-near", keep_kinds=ALL_KINDS),
    )
    assert manifest.read_manifest(tmp_path / "c.parquet").table.num_rows == 1
    packed = pack_photos(tmp_path / "saved.parquet", tmp_path / "pack", PackOptions(engine="serial"))
    assert (packed.photos, packed.failed) == (4, [])
