"""Explain why a filter would keep or reject one photo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, NotAPhoto
from curate.files import exists
from curate.filtering.filter import filter_table
from curate.filtering.options import FilterOptions
from curate.locations import Location
from curate.manifest import KEY_COLUMNS, SCAN_SCHEMA
from curate.scanning.scorer import Record, ScoreOptions, score_photo
from curate.sources import ListedPhoto, Sources, has_tar_name, list_photos

NOT_A_PHOTO = "neither the file name nor the content is that of a photo"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The measurements of one photo and the result of a filter."""

    row: Mapping[str, Any]
    """Columns of a scan (`SCAN_SCHEMA`) and their values."""
    reasons: tuple[str, ...]
    """Reasons for rejection; empty if the photo would be kept."""


def explain_photo(photo: Path, options: FilterOptions) -> Explanation:
    """Measure a photo now and decide as a filter would.

    Raises:
        VividsetError: as `list_photo`.
    """
    listed = list_photo(photo)
    record = score_photo(listed, ScoreOptions()) or Record(listed, error=str(NotAPhoto(NOT_A_PHOTO)))
    return explain_row(pa.Table.from_pylist([record.to_row()], SCAN_SCHEMA), options)


def explain_row(row: pa.Table, options: FilterOptions) -> Explanation:
    """Decide as a filter would on one row of a scan."""
    reasons = filter_table(row, options).rejected["reject_reasons"].to_pylist()
    return Explanation(manifest.as_rows(row)[0], tuple(reasons[0]) if reasons else ())


def find_missing_row(photo: Path, scan: Location) -> pa.Table | None:
    """The row in a scan of a photo that no longer exists; None if the photo exists or has no such row.

    Raises:
        ManifestError: the scan can't be read.
    """
    if os.path.lexists(photo) or not exists(scan):
        return None
    (location,) = Sources((photo,)).roots()
    names = manifest.inspect_manifest(scan, required=KEY_COLUMNS)[0].names
    if "missing_since" not in names:
        return None
    for table in manifest.iter_tables(scan, [name for name in SCAN_SCHEMA.names if name in names]):
        locations = pc.binary_join_element_wise(pc.utf8_rtrim(table["source"], "/"), table["path"], "/")
        rows = table.filter(pc.and_(pc.equal(locations, location), pc.is_valid(table["missing_since"])))
        if rows.num_rows:
            return rows.slice(0, 1)
    return None


def list_photo(photo: Path) -> ListedPhoto:
    """A single photo, as a scan lists it.

    Raises:
        SourceError: the photo doesn't exist.
        ManifestError: the path is a folder, a tar file or a manifest.
    """
    if photo.is_dir():
        raise ManifestError(f"{photo} is a folder: give photos, or measure the folder with `curate scan`")
    if photo.suffix == ".parquet":
        raise ManifestError(f"{photo} is not a photo: give photos, or use `curate inspect` for a manifest")
    if has_tar_name(photo.name):
        raise ManifestError(f"{photo} is a tar file: give photos, or measure the tar file with `curate scan`")
    (listed,) = list_photos([photo])
    return listed
