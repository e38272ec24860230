"""Why: what one photo scores and which rules it fails, and where a manifest comes from."""

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
from curate.filtering.filter import filter_table
from curate.filtering.options import FilterOptions
from curate.manifest import KEY_COLUMNS, SCAN_SCHEMA
from curate.scanning.scorer import Record, ScoreOptions, score
from curate.sources import ListedPhoto, Sources, has_tar_name, list_photos

NO_PHOTO = "neither its name nor its content is a photo's"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One photo's scores and verdict."""

    row: Mapping[str, Any]
    """In the scan schema."""
    reasons: tuple[str, ...]
    """Why it would be rejected; empty if it would be kept."""


def explain_photo(photo: Path, options: FilterOptions) -> Explanation:
    """Score a photo, whether or not it was scanned, and decide it as a filter would.

    Raises:
        VividsetError: as `named`.
    """
    listed = named(photo)
    record = score(listed, ScoreOptions()) or Record(listed, error=str(NotAPhoto(NO_PHOTO)))
    return explain_row(pa.Table.from_pylist([record.row()], SCAN_SCHEMA), options)


def explain_row(row: pa.Table, options: FilterOptions) -> Explanation:
    """Decide one row of a scan as a filter would."""
    reasons = filter_table(row, options).rejected["reject_reasons"].to_pylist()
    return Explanation(manifest.as_rows(row)[0], tuple(reasons[0]) if reasons else ())


def missing_row(photo: Path, scan: Path) -> pa.Table | None:
    """The row that a scan kept of a photo that isn't there any more; None if the photo is there, or has no such row.

    Raises:
        ManifestError: the scan can't be read.
    """
    if os.path.lexists(photo) or not scan.exists():
        return None
    (place,) = Sources((photo,)).roots()
    names = manifest.inspect_manifest(scan, required=KEY_COLUMNS)[0].names
    if "missing_since" not in names:
        return None
    for table in manifest.iter_tables(scan, [name for name in SCAN_SCHEMA.names if name in names]):
        places = pc.binary_join_element_wise(pc.utf8_rtrim(table["source"], "/"), table["path"], "/")
        found = table.filter(pc.and_(pc.equal(places, place), pc.is_valid(table["missing_since"])))
        if found.num_rows:
            return found.slice(0, 1)
    return None


def named(photo: Path) -> ListedPhoto:
    """A photo that can be explained.

    Raises:
        SourceError: it doesn't exist.
        ManifestError: it is a folder, a tar or a manifest.
    """
    if photo.is_dir():
        raise ManifestError(f"{photo} is a folder: name photos, or scan it with `curate scan`")
    if photo.suffix == ".parquet":
        raise ManifestError(f"{photo} is no photo: name photos, or see what a manifest holds with `curate inspect`")
    if has_tar_name(photo.name):
        raise ManifestError(f"{photo} is a tar: name photos, or scan it with `curate scan`")
    (listed,) = list_photos([photo])
    return listed
