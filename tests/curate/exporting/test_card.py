"""Cards of exported data sets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.exporting.card import CardContent, SplitInfo, write_card
from curate.manifest import SCAN_SCHEMA, Lineage, Manifest


def card(tmp_path: Path, photos: int = 3, lineage: Lineage | None = None) -> CardContent:
    rows = [
        {"source": "/s", "path": f"{n}.jpg", "colorfulness": 10.0 * n, "tone": "color", "sharpness": 5.0}
        for n in range(3)
    ]
    table = pa.Table.from_pylist(rows, SCAN_SCHEMA)
    read = Manifest(tmp_path / "clean|1.parquet", table, lineage, "0" * 64)
    return CardContent(read, table, {"train": SplitInfo(photos, "train-*.tar")}, "webdataset")


def test_counts_measures_rules_and_lineage_are_in_the_card(tmp_path: Path) -> None:
    ancestors = ({"kind": "scan", "path": "/home/me/scan.parquet", "sha256": "1" * 64},)
    options = {"where": "a | b", "balance": None, "join": {"path": "/home/me/meta.parquet", "on": "path"}}
    lineage = Lineage("clean", "curate filter", options, ancestors=ancestors)
    assert write_card(tmp_path, card(tmp_path, lineage=lineage))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n# Choose a license")
    assert '  - {"split": "train", "path": "train-*.tar"}\n---\n# clean|1\n\n3 photos in WebDataset tars.' in text
    assert "| train | 3 |" in text
    assert f"| 10 to 20 | 1 | {'█' * 30} |" in text
    assert "| `colorfulness` | 0 | 1 | 10 | 19 | 20 |" in text
    assert '| `where` | `"a \\| b"` |' in text
    assert "balance" not in text
    assert '"path": "meta.parquet"' in text
    assert f"- from `scan.parquet` (scan), sha256 `{'1' * 64}`" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(("photos", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (5 * 10**8, "100M<n<1B")])
def test_the_size_is_one_of_the_categories_of_the_hub(tmp_path: Path, photos: int, size: str) -> None:
    write_card(tmp_path, card(tmp_path, photos))
    assert f"size_categories:\n- {size}\n" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["my own words", "\udcff", ""])
def test_another_file_is_kept(tmp_path: Path, text: str) -> None:
    data = text.encode(errors="surrogateescape")
    (tmp_path / "README.md").write_bytes(data)
    assert not write_card(tmp_path, card(tmp_path))
    assert (tmp_path / "README.md").read_bytes() == data
