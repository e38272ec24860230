"""Decide whether the rows of a compressed tar from an earlier scan are still valid: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.manifest import open_parquet
from curate.sources.names import TAR_IN_PATH

_BATCH_ROWS = 1 << 16


@dataclass(slots=True)
class _KnownTar:
    """The rows of one tar."""

    modified_ns: set[int] = field(default_factory=set)
    """Time of the tar when it was read."""
    must_retry: bool = False
    """Whether a photo had an error that a scan tries again."""


def find_known_tars(path: Path, must_retry: Callable[[str], bool]) -> dict[str, int]:
    """Return the tars of which a file of known rows has valid rows: the location of each, and its time of change.

    Rows of tars that are not compressed are included. The result grows with the number of tars, not of rows.

    Args:
        path: the file.
        must_retry: whether a photo with this error must be read again; then its whole tar is.
    """
    tars: dict[str, _KnownTar] = {}
    for table in _read_batches(path):
        for location, modified_ns, error in _distinct_rows(table):
            tar = tars.setdefault(location, _KnownTar())
            tar.must_retry |= error is not None and must_retry(error)
            if modified_ns is not None:
                tar.modified_ns.add(modified_ns)
    return {
        location: next(iter(tar.modified_ns))
        for location, tar in tars.items()
        if len(tar.modified_ns) == 1 and not tar.must_retry
    }


def _read_batches(path: Path) -> Iterator[pa.Table]:
    file = open_parquet(path, pre_buffer=False, buffer_size=1 << 16)
    columns = ["source", "path", "modified_ns", "error"]
    for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
        yield pa.Table.from_batches([batch])


def _distinct_rows(table: pa.Table) -> Iterator[tuple[str, int | None, str | None]]:
    """Location of the tar, `modified_ns` and error of the rows in tars, each combination once."""
    tars = pc.struct_field(pc.extract_regex(table["path"], TAR_IN_PATH), "tar")
    in_tar = pc.is_valid(tars)
    if not pc.any(in_tar).as_py():
        return
    locations = pc.binary_join_element_wise(pc.utf8_rtrim(table["source"], "/"), tars, "/")
    rows = pa.table({"tar": locations, "modified_ns": table["modified_ns"], "error": table["error"]}).filter(in_tar)
    distinct = rows.group_by(["tar", "modified_ns", "error"]).aggregate([])
    yield from zip(*(distinct[name].to_pylist() for name in ("tar", "modified_ns", "error")), strict=True)
