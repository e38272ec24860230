"""`curate explain` and `curate inspect`."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from curate.cli import main
from curate.manifest.reader import trace_lineage
from curate.measures.names import Networks
from curate.scanning.scan import ScanOptions, scan_photos
from curate.scanning.scorer import Record, ScoreOptions, score_photo
from curate.sources import ListedPhoto


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def project(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scanned and filtered folder of photos, in the default places."""
    monkeypatch.chdir(tmp_path)
    assert run("scan", photos, "--engine", "serial").exit_code == 0
    assert run("filter").exit_code == 0
    return tmp_path


def test_a_photo_is_explained_as_a_filter_would_decide_it(photos: Path) -> None:
    result = run("explain", photos / "a-vivid.png", photos / "more" / "b-gray.png", photos / "c-cut.png")
    assert result.exit_code == 0
    kept, gray, cut = [line for line in result.output.splitlines() if not line.startswith(" ")]
    assert kept.endswith("a-vivid.png: kept")
    assert gray.endswith("b-gray.png: rejected: colorfulness 0 < 20; tone is grayscale")
    assert "c-cut.png: rejected: unreadable: BrokenPhoto: " in cut


def test_options_change_the_decision(tmp_path: Path) -> None:
    gray = Image.new("RGB", (64, 64), "white")
    gray.paste("gray", (10, 20, 40, 50))  # a drawing
    gray.save(tmp_path / "gray.png")
    assert "colorfulness" in run("explain", tmp_path / "gray.png").output.splitlines()[0]
    first_line = run("explain", tmp_path / "gray.png", "--min-colorfulness", "0").output.splitlines()[0]
    assert first_line.endswith("rejected: tone is grayscale; kind is graphic")
    kept = run("explain", tmp_path / "gray.png", "--min-colorfulness", "0", "--keep-kind", "graphic")
    assert kept.output.splitlines()[0].endswith("rejected: tone is grayscale")


def test_a_file_that_is_not_a_photo_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    assert "NotAPhoto" in run("explain", tmp_path / "notes.txt").output


def test_a_missing_photo_is_explained_from_the_scan(project: Path, photos: Path) -> None:
    (photos / "a-vivid.png").unlink()
    assert run("explain", photos / "a-vivid.png").exit_code == 1  # the scan doesn't know yet
    assert run("scan", photos, "--engine", "serial").exit_code == 0
    verdict, since, *measures = run("explain", "photos/a-vivid.png").output.splitlines()
    assert verdict.endswith("a-vivid.png: rejected: missing")
    assert re.fullmatch(r"  missing_since +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", since)
    assert any(line.startswith("  colorfulness ") for line in measures)
    assert run("explain", photos / "a-vivid.png", "--scan", project / "none.parquet").exit_code == 1
    assert run("inspect", "manifests/scan.parquet").exit_code == 0


def test_a_photo_in_a_container_is_explained_from_the_scan(photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(photos / "a-vivid.png", "more/a.png")
    table = pa.table({"image": [(photos / "more" / "b-gray.png").read_bytes()]})
    pq.write_table(table, tmp_path / "in.parquet")
    zipped, row = tmp_path / "in.zip" / "more" / "a.png", tmp_path / "in.parquet" / "000000000"
    scan = tmp_path / "scan.parquet"
    unknown = run("explain", zipped, "--scan", scan)
    assert unknown.exit_code == 1
    assert f"curate scan {tmp_path / 'in.zip'}`" in unknown.stderr
    scan_photos([tmp_path / "in.zip", tmp_path / "in.parquet"], scan, ScanOptions(engine="serial"))
    result = run("explain", zipped, row, "--scan", scan)
    kept, gray = [line for line in result.output.splitlines() if not line.startswith(" ")]
    assert kept.endswith("more/a.png: kept")
    assert "000000000: rejected: colorfulness 0 < 20" in gray


@pytest.mark.parametrize("name", ["nowhere.jpg", "."])
def test_a_path_that_is_not_a_photo_is_a_one_line_error(name: str, tmp_path: Path) -> None:
    result = run("explain", tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_inspect_shows_the_lineage_back_to_the_scan(project: Path) -> None:
    chain = trace_lineage(project / "manifests" / "clean.parquet")
    assert [ancestor.lineage.kind for ancestor in chain if ancestor.lineage] == ["clean", "scan"]
    assert [ancestor.state for ancestor in chain] == ["unchanged", "unchanged"]
    result = run("inspect", "manifests/clean.parquet")
    assert result.exit_code == 0
    assert " scanned, 1 kept, " in result.output
    assert "  list     sidecars, reject_reasons" in result.output
    assert (
        "  options  min_colorfulness 20, keep_tones color, keep_kinds photo, split 90/5/5, duplicates keep\n"
        in result.output
    )
    assert "  split    1 " in result.output


def test_inspect_reports_a_parent_that_changed_or_is_missing(project: Path) -> None:
    assert run("scan", project, "--overwrite", "--engine", "serial").exit_code == 0
    assert run("inspect", "manifests/clean.parquet").output.count("scan.parquet: changed since") == 1
    (project / "manifests" / "scan.parquet").unlink()
    assert "scan.parquet: not found" in run("inspect", "manifests/clean.parquet").output


def test_a_parent_that_moved_with_its_manifest_is_found(project: Path) -> None:
    (project / "manifests").rename(project / "elsewhere")
    assert trace_lineage(project / "elsewhere" / "clean.parquet")[-1].state == "unchanged"


def test_a_manifest_saved_by_pandas_has_unknown_lineage(project: Path) -> None:
    pd.read_parquet("manifests/clean.parquet").to_parquet("saved.parquet")
    assert "saved.parquet: lineage unknown" in run("inspect", project / "saved.parquet").output


def test_a_url_is_a_usage_error() -> None:
    result = run("explain", "https://example.org/a.jpg")
    assert result.exit_code == 2
    assert "Error: https://example.org/a.jpg is a URL, and only a path" in result.stderr
    assert result.stderr.endswith("download the file first\n")


def test_a_photo_is_measured_with_the_networks_of_the_scan(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Networks] = []

    def record_networks(listed: ListedPhoto, options: ScoreOptions) -> Record | None:
        used.append(options.networks)
        return score_photo(listed, options)

    monkeypatch.setattr("curate.explain.score_photo", record_networks)
    scan = tmp_path / "large.parquet"
    assert (
        run(
            "scan", photos, "-o", scan, "--engine", "serial", "--tone-network", "large", "--kind-network", "large"
        ).exit_code
        == 0
    )
    for name in (scan, tmp_path / "none.parquet"):
        assert run("explain", photos / "a-vivid.png", "--scan", name).exit_code == 0
    assert used == [Networks("large", "large"), Networks("small", "small")]
