"""Parquet exports: types of columns, names, shards, failed photos, interrupted runs, the way there and back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.cli import summaries
from curate.errors import ManifestError, OutputError, UsageError
from curate.exporting import parquet
from curate.exporting.items import ExportOptions
from curate.exporting.names import Kind
from curate.exporting.parquet import export_parquet
from curate.exporting.parquet_shards import IMAGE_TYPE
from curate.filtering.filter import filter_manifest
from curate.filtering.option_values import Split
from curate.filtering.options import FilterOptions
from curate.scanning.scan import ScanOptions, scan_photos

ALL_KINDS = frozenset({"photo", "graphic"})

SERIAL = ExportOptions(engine="serial")
COUNT = 6


def photo(number: int) -> bytes:
    colors = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(colors).resize((50, 40)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Six photos with captions, labels, arrays and metadata, and their manifest as `curate filter` writes it."""
    folder = tmp_path / "in" / "more"
    folder.mkdir(parents=True)
    for number in range(COUNT):
        (folder / f"{number}.jpg").write_bytes(photo(number))
        (folder / f"{number}.txt").write_text(f"caption {number} é\n", encoding="utf-8")
        (folder / f"{number}.cls").write_text(f"{number % 2}\n", encoding="utf-8")
        (folder / f"{number}.seg.npy").write_bytes(bytes(range(number)))
    lines = [{"file_name": f"more/{n}.jpg", "width": "wide", "tags": ["a", str(n)]} for n in range(COUNT - 1)]
    (tmp_path / "in" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    scan_photos([tmp_path / "in"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "scan.parquet",
        tmp_path / "clean.parquet",
        FilterOptions(0, split=Split.parse("60/20/20"), keep_kinds=ALL_KINDS),
    )
    return tmp_path / "clean.parquet"


def files_in(out: Path) -> dict[str, pa.Table]:
    return {path.name: pq.read_table(path) for path in sorted((out / "data").glob("*.parquet"))}


def rows_of(out: Path) -> dict[int, dict[str, Any]]:
    """The rows by the number of the photo."""
    rows = [row for table in files_in(out).values() for row in table.to_pylist()]
    return {int(Path(row["image"]["path"]).stem): row for row in rows}


def test_rows_have_photos_files_and_metadata_in_their_types(clean: Path, tmp_path: Path) -> None:
    summary = export_parquet(clean, tmp_path / "out", SERIAL)
    assert (summary.photos, summary.exported_now, summary.failed, summary.failed_sidecars) == (COUNT, COUNT, [], [])
    rows = rows_of(tmp_path / "out")
    for number in range(COUNT):
        row = rows[number]
        assert row["image"] == {"bytes": photo(number), "path": f"more/{number}.jpg"}
        assert (row["txt"], row["cls"], row["seg.npy"]) == (f"caption {number} é\n", number % 2, bytes(range(number)))
        assert (row["width"], row["vividset_width"], row["height"]) == ("wide" if number < 5 else None, 50, 40)
        assert row["tags"] == (["a", str(number)] if number < 5 else None)
        assert row["tone"] == "color"
    tables = files_in(tmp_path / "out")
    assert len({table.schema for table in tables.values()}) == 1
    features = json.loads(next(iter(tables.values())).schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["cls"] == {"dtype": "int64", "_type": "Value"}
    assert list(features) == next(iter(tables.values())).column_names
    assert all(name.endswith("-00000-of-00001.parquet") for name in tables)


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "imagefolder"])
def test_the_way_there_and_back_keeps_measures_and_columns(clean: Path, tmp_path: Path, kind: Kind) -> None:
    export_parquet(clean, tmp_path / "out", SERIAL)
    before = rows_of(tmp_path / "out")
    scan_photos([tmp_path / "out"], tmp_path / "scan2.parquet", ScanOptions(engine="serial"))
    filter_manifest(
        tmp_path / "scan2.parquet",
        tmp_path / "clean2.parquet",
        FilterOptions(0, split=Split.parse("60/20/20"), keep_kinds=ALL_KINDS),
    )
    measures = [
        {
            (row["sha256"], row["colorfulness"], row["fingerprint"])
            for row in curate.read_manifest(path).table.to_pylist()
        }
        for path in (clean, tmp_path / "clean2.parquet")
    ]
    assert measures[0] == measures[1]
    curate.export_photos(tmp_path / "clean2.parquet", tmp_path / "out2", kind, engine="serial")
    if kind == "parquet":
        rows = [row for table in files_in(tmp_path / "out2").values() for row in table.to_pylist()]
        assert {frozenset(table.schema.names) for table in files_in(tmp_path / "out2").values()} == {
            frozenset(before[0])
        }
    elif kind == "imagefolder":
        files = (tmp_path / "out2").glob("*/metadata.jsonl")
        rows = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        rows = list(rows_in_tars(tmp_path / "out2"))
    assert {(row["txt"], row["cls"], row.get("width")) for row in rows} == {
        (row["txt"], row["cls"], row["width"]) for row in before.values()
    }


def rows_in_tars(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".metadata.json") and (file := tar.extractfile(name)):
                    yield json.loads(file.read())


def test_photos_taken_out_have_the_same_measures(clean: Path, tmp_path: Path) -> None:
    export_parquet(clean, tmp_path / "out", ExportOptions(("colorfulness", "fingerprint", "sha256"), engine="serial"))
    (tmp_path / "again").mkdir()
    rows = rows_of(tmp_path / "out")
    for number, row in rows.items():
        (tmp_path / "again" / f"{number}.jpg").write_bytes(row["image"]["bytes"])
    scan_photos([tmp_path / "again"], tmp_path / "again.parquet", ScanOptions(engine="serial"))
    for row in curate.read_manifest(tmp_path / "again.parquet").table.to_pylist():
        before = rows[int(Path(row["path"]).stem)]
        assert all(row[name] == before[name] for name in ("colorfulness", "fingerprint", "sha256"))


def test_a_label_or_caption_that_does_not_fit_widens_its_column(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "more" / "3.cls").write_text("dog", encoding="utf-8")
    (tmp_path / "in" / "more" / "4.txt").write_bytes(b"\xff")
    export_parquet(clean, tmp_path / "out", ExportOptions(engine="serial"))
    rows = rows_of(tmp_path / "out")
    assert [rows[number]["cls"] for number in (0, 3)] == ["0\n", "dog"]
    assert [rows[number]["txt"] for number in (0, 4)] == ["caption 0 é\n".encode(), b"\xff"]
    (tmp_path / "out" / "data" / next(iter(files_in(tmp_path / "out")))).unlink()
    summary = export_parquet(clean, tmp_path / "out", SERIAL)
    assert 0 < summary.exported_now < COUNT
    assert len({table.schema for table in files_in(tmp_path / "out").values()}) == 1


def test_files_are_divided_by_size_and_finished_ones_are_kept(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_BYTES_PER_MB", len(photo(0)))
    export_parquet(clean, tmp_path / "out", ExportOptions(shard_mb=1, engine="serial"))
    names = list(files_in(tmp_path / "out"))
    assert len(names) == COUNT
    splits = [name.split("-")[0] for name in names]
    for split in set(splits):
        own = [name for name in names if name.startswith(split)]
        assert own == [f"{split}-{number:05d}-of-{len(own):05d}.parquet" for number in range(len(own))]
    files = [tmp_path / "out" / "data" / name for name in names]
    inodes = [path.stat().st_ino for path in files[1:]]
    files[0].write_bytes(files[0].read_bytes()[:-5])
    summary = export_parquet(clean, tmp_path / "out", ExportOptions(shard_mb=1, engine="serial"))
    assert (summary.photos, summary.exported_now) == (COUNT, 1)
    assert [path.stat().st_ino for path in files[1:]] == inodes
    assert sorted(rows_of(tmp_path / "out")) == list(range(COUNT))
    with pytest.raises(OutputError, match="other options"):
        export_parquet(clean, tmp_path / "out", SERIAL)


def test_what_fails_is_named_and_exported_by_the_next_run(clean: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "more"
    (folder / "1.jpg").rename(tmp_path / "1.jpg")
    (folder / "2.txt").rename(tmp_path / "2.txt")
    summary = export_parquet(clean, tmp_path / "out", SERIAL)
    assert [path for path, _ in summary.failed] == ["more/1.jpg"]
    assert [path for path, _ in summary.failed_sidecars] == ["more/2.txt"]
    assert (summary.photos, rows_of(tmp_path / "out")[2]["txt"]) == (COUNT - 1, None)
    assert "more/2.txt" in (tmp_path / "out" / "failed.csv").read_text(encoding="utf-8")
    (tmp_path / "1.jpg").rename(folder / "1.jpg")
    (tmp_path / "2.txt").rename(folder / "2.txt")
    again = export_parquet(clean, tmp_path / "out", SERIAL)
    assert (again.photos, again.failed, again.failed_sidecars) == (COUNT, [], [])
    assert rows_of(tmp_path / "out")[2]["txt"] == "caption 2 é\n"
    assert not (tmp_path / "out" / "failed.csv").exists()


def test_workers_write_the_same_files_also_to_a_url(clean: Path, tmp_path: Path) -> None:
    curate.export_photos(clean, tmp_path / "here", "parquet", workers=2)
    url = "memory://exports/parquet"
    curate.export_photos(clean, url, "parquet", engine="serial")
    fs = fsspec.filesystem("memory")
    here = {path.name: path.read_bytes() for path in (tmp_path / "here" / "data").iterdir()}
    assert {path.rpartition("/")[2]: fs.cat_file(path) for path in fs.find("/exports/parquet/data")} == here
    assert fs.cat_file("/exports/parquet/README.md") == (tmp_path / "here" / "README.md").read_bytes()
    assert curate.export_photos(clean, url, "parquet", engine="serial").exported_now == 0


def test_a_card_has_the_features_and_an_edited_one_is_kept(clean: Path, tmp_path: Path) -> None:
    export_parquet(clean, tmp_path / "out", SERIAL)
    card = tmp_path / "out" / "README.md"
    text = card.read_text(encoding="utf-8")
    assert '  - {"name": "tags", "list": "string"}\n' in text
    assert '"path": "data/train-*"}' in text
    assert "- n<1K\n" in text
    assert not export_parquet(clean, tmp_path / "out", SERIAL).card_kept
    card.write_text(text.replace("# license: ...", "license: cc0-1.0"), encoding="utf-8")
    summary = export_parquet(clean, tmp_path / "out", SERIAL)
    assert summary.card_kept
    assert "license: cc0-1.0" in card.read_text(encoding="utf-8")
    assert any("README.md was not written" in line for line in summaries.export_summary(summary, tmp_path / "out"))


def test_wrong_options_and_too_many_endings_are_refused(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--shard-size"):
        ExportOptions(shard_mb=0)
    with pytest.raises(ManifestError, match="no column 'x'"):
        export_parquet(clean, tmp_path / "out", ExportOptions(("x",)))
    monkeypatch.setattr(parquet, "MAX_KINDS", 2)
    with pytest.raises(OutputError, match="3 different endings"):
        export_parquet(clean, tmp_path / "out", SERIAL)


def test_columns_and_names_of_labels_of_a_parquet_source_are_kept(tmp_path: Path) -> None:
    feature = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": feature}
    kinds = pa.array(["a", "b", "a"]).dictionary_encode()
    table = pa.table(
        {
            "label": [1, 0, 1],
            "image": pa.array([{"bytes": photo(number), "path": None} for number in range(3)], IMAGE_TYPE),
            "kind": kinds,
            "pairs": pa.array([[("x", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    scan_photos([tmp_path / "in.parquet"], tmp_path / "scan.parquet", ScanOptions(engine="serial"))
    curate.export_photos(tmp_path / "scan.parquet", tmp_path / "out", "parquet", columns=["tone"], engine="serial")
    (found,) = files_in(tmp_path / "out").values()
    assert found.select(["label", "kind", "pairs"]).to_pylist() == [
        {"label": 1, "kind": "a", "pairs": [{"key": "x", "value": 1}]},
        {"label": 0, "kind": "b", "pairs": []},
        {"label": 1, "kind": "a", "pairs": None},
    ]
    assert found["image"].to_pylist()[2] == {"bytes": photo(2), "path": "in/000000002"}
    assert json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]["label"] == feature
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert '{"name": "label", "dtype": {"class_label": {"names": {"0": "cat", "1": "dog"}}}}' in card
