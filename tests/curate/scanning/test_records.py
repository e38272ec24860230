"""Records of single photos, and their rows in a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from curate import manifest
from curate.image.decode import Header
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.measures.measure import measure
from curate.scanning.scorer import Record
from curate.sources import ListedPhoto

PHOTO = ListedPhoto("/photos", "a.jpg", 10, 20)
HEADER = Header(4, 4, "PNG", "RGB", 1, None)


def test_a_record_has_either_measures_or_an_error(vivid: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO)
    with pytest.raises(ValueError, match="never both or neither"):
        Record(PHOTO, "00", HEADER, measure(vivid), error="BrokenPhoto: cut")
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", measures=measure(vivid))
    with pytest.raises(ValueError, match="come with a header"):
        Record(PHOTO, "00", HEADER, error="BrokenPhoto: cut")


def test_a_record_is_read_back_from_a_manifest(tmp_path: Path, real_photo: Callable[[str], NDArray[np.uint8]]) -> None:
    measures = measure(real_photo("coffee"))
    rows = [Record(PHOTO, "ab" * 32, HEADER, measures).to_row(), Record(PHOTO, error="EmptyFile: zero bytes").to_row()]
    assert rows[0].keys() == set(SCAN_SCHEMA.names)
    manifest.write_manifest(tmp_path / "m.parquet", pa.Table.from_pylist(rows, SCAN_SCHEMA), Lineage("scan", "", {}))
    good, bad = manifest.read_manifest(tmp_path / "m.parquet").table.to_pylist()
    assert good["colorfulness"] == measures.colorfulness
    assert good["tone"] == measures.tone.tone
    assert (good["width"], good["format"], good["bytes"], good["modified_ns"]) == (4, "PNG", 10, 20)
    assert {name for name, value in bad.items() if value is not None} == {
        *("source", "path", "bytes", "modified_ns", "error")
    }
