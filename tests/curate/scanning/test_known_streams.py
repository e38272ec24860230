"""Which tars of a file of known rows are still valid as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.scanning.known_streams import find_known_tars

SCHEMA = pa.schema([("source", "string"), ("path", "string"), ("modified_ns", "int64"), ("error", "string")])


def row(path: str, modified_ns: int | None = 7, error: str | None = None, source: str = "/s/") -> dict[str, Any]:
    return {"source": source, "path": path, "modified_ns": modified_ns, "error": error}


def test_a_tar_is_valid_if_all_rows_have_one_time_and_no_error_to_retry(tmp_path: Path) -> None:
    rows = [
        *(row("a/0.tar.gz/x.jpg"), row("a/0.tar.gz/y.jpg"), row("a/0.tar.gz", None, "BrokenTar: damaged")),
        *(row("1.TGZ/x.jpg"), row("1.TGZ/y.jpg", 8)),  # it changed between two scans
        *(row("2.tar.zst/x.tar/y.jpg"), row("2.tar.zst/y.jpg", 7, "ReadFailed: lost")),
        *(row("3.tar", None, "NoPermission: no"), row("photo.jpg"), row("4.zip/x.jpg")),
        row("5.tar/a.tar.gz/b.jpg", source="/t"),
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "rows.parquet")
    found = find_known_tars(tmp_path / "rows.parquet", lambda error: error.startswith("ReadFailed"))
    assert found == {"/s/a/0.tar.gz": 7, "/t/5.tar": 7}
