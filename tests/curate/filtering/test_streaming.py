"""Filtering in pieces: the same result as in one piece, and both outputs are written or none."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import manifest
from curate.errors import ManifestError
from curate.filtering.filter import filter_manifest, filter_table
from curate.filtering.option_values import TopShare
from curate.filtering.options import FilterOptions
from curate.manifest import SCAN_SCHEMA, Lineage

ROOT = Path(__file__).parents[3]


def make_scan(count: int = 500) -> pa.Table:
    """Make a scan of color and sepia photos, of which every tenth is broken."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "source": "/s",
            "path": f"{n}.jpg",
            "sha256": hashlib.sha256(b"%d" % n).hexdigest(),
            "width": int(rng.integers(100, 900)),
            "colorfulness": float(rng.uniform(0, 120)) if n % 10 else None,
            "sharpness": float(n) if n % 10 else None,
            "tone": str(rng.choice(["color", "sepia"])) if n % 10 else None,
            "error": None if n % 10 else "EmptyFile: the file has zero bytes",
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, SCAN_SCHEMA)


def write_parts(table: pa.Table, folder: Path) -> Path:
    """Write the same rows as a folder of parts of different sizes."""
    folder.mkdir()
    edges = [0, 1, 40, 333, table.num_rows]
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        pq.write_table(table.slice(start, stop - start), folder / f"{number}.parquet")
    return folder


@pytest.mark.parametrize(
    "where",
    [
        *(None, "width > 300", "width > (SELECT avg(width) FROM photos)"),
        "row_number() OVER (PARTITION BY width // 10 ORDER BY colorfulness) = 1",
    ],
)
def test_filtering_in_pieces_gives_the_same_result(tmp_path: Path, where: str | None) -> None:
    table, options = make_scan(), FilterOptions(where=where)
    whole = filter_table(table, options)
    assert whole.kept.num_rows > 10
    result = filter_manifest(write_parts(table, tmp_path / "parts"), tmp_path / "clean.parquet", options)
    assert manifest.read_manifest(tmp_path / "clean.parquet").table == whole.kept
    assert manifest.read_manifest(tmp_path / "rejected.parquet").table == whole.rejected
    assert result.rejected_by_rule == whole.rejected_by_rule
    assert (result.kept, result.rejected) == (whole.kept.num_rows, whole.rejected.num_rows)
    assert result.kept_histogram.sum() + result.rejected_histogram.sum() == table["colorfulness"].drop_null().length()


@pytest.mark.parametrize("options", [FilterOptions(), FilterOptions(keep_top=(TopShare("sharpness", 60),))])
def test_a_dry_run_counts_the_same_and_writes_nothing(tmp_path: Path, options: FilterOptions) -> None:
    parts = write_parts(make_scan(), tmp_path / "parts")
    dry = filter_manifest(parts, tmp_path / "clean.parquet", options, dry_run=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]
    wet = filter_manifest(parts, tmp_path / "clean.parquet", options)
    assert (dry.kept, dry.rejected_by_rule, dry.splits) == (wet.kept, wet.rejected_by_rule, wet.splits)


def test_small_parts_are_joined_to_large_row_groups(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(20):
        pq.write_table(make_scan(10), folder / f"{number:02d}.parquet")
    filter_manifest(folder, tmp_path / "clean.parquet", FilterOptions())
    assert pq.ParquetFile(tmp_path / "clean.parquet").num_row_groups == 1


def test_a_scan_damaged_at_its_end_leaves_both_earlier_outputs(tmp_path: Path) -> None:
    scan, clean = tmp_path / "scan.parquet", tmp_path / "clean.parquet"
    manifest.write_manifest(scan, make_scan(), Lineage("scan", "curate scan", {}))
    filter_manifest(scan, clean, FilterOptions())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != scan}
    whole = scan.read_bytes()
    start = pq.ParquetFile(scan).metadata.row_group(0).column(4).data_page_offset
    scan.write_bytes(whole[:start] + bytes(2000) + whole[start + 2000 :])
    with pytest.raises(ManifestError, match="can't be read"):
        filter_manifest(scan, clean, FilterOptions(10))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != scan} == before


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("path", pa.array(range(500)), "int64 in its column 'path' instead of text"),
        ("colorfulness", pa.array(["much"] * 500), "string in its column 'colorfulness' instead of numbers"),
        ("sha256", pa.array([f"{n:x}" for n in range(500)]), "values that are not content hashes"),
        ("sha256", pa.array(["no hash at all, but long"] * 500), "values that are not content hashes"),
        ("sha256", pa.nulls(500, pa.string()), "values that are not content hashes"),
    ],
)
def test_a_column_with_the_wrong_type_or_content_is_an_error(
    tmp_path: Path, column: str, values: pa.Array, message: str
) -> None:
    table = make_scan()
    pq.write_table(table.set_column(table.column_names.index(column), column, values), tmp_path / "foreign.parquet")
    with pytest.raises(ManifestError, match=re.escape(message)):
        filter_manifest(tmp_path / "foreign.parquet", tmp_path / "clean.parquet", FilterOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.parquet"]


def test_the_benchmark_prints_seconds_memory_and_a_ratio() -> None:
    bench = [sys.executable, str(ROOT / "benchmarks" / "filter.py"), "--rows", "2000", "--option=--dry-run"]
    printed = subprocess.run(bench, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert re.search(r"curate filter --dry-run .* s CPU .* MB peak .* ratio \d+\.\d\d", printed)
