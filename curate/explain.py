"""Explain why a filter would keep or reject one photo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError, NotAPhoto, VividsetError
from curate.files import exists
from curate.filtering.filter import filter_table
from curate.filtering.options import FilterOptions
from curate.locations import Location
from curate.manifest import DECISION_FIELDS, KEY_COLUMNS, SCAN_SCHEMA
from curate.scanning.scorer import Record, ScoreOptions, score_photo
from curate.sources import ListedPhoto, Sources, has_container_name, has_images, has_table_name, list_photos
from curate.sources.names import ROW_DIGITS

NOT_A_PHOTO = "neither the file name nor the content is that of a photo"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The measurements of one photo and the result of a filter."""

    row: Mapping[str, Any]
    """Columns of a scan (`SCAN_SCHEMA`), those of the table of `join`, and their values."""
    reasons: tuple[str, ...]
    """Reasons for rejection; empty if the photo would be kept."""
    waived: tuple[str, ...] = ()
    """Reasons that don't count because a keep list names the photo."""


def explain_file(photo: Path, options: FilterOptions, scan: Location) -> Explanation:
    """Measure a photo now, with the networks of the scan, and decide as a filter would.

    Args:
        photo: it exists.
        options: see `FilterOptions`.
        scan: manifest from which the sizes of the networks are taken, and in which to look up the photo's columns
            `source` and `path`, by which lists and the table of `join` may name it; it need not exist.

    Raises:
        VividsetError: as `list_photo`.
    """
    listed = list_photo(photo)
    record = score_photo(listed, _score_options(scan)) or Record(listed, error=str(NotAPhoto(NOT_A_PHOTO)))
    row = record.to_row()
    by_path = options.reject_lists or options.keep_lists or (options.join and options.join_on == "path")
    scanned = _find_row(photo, scan) if by_path else None
    if scanned is not None:
        row.update({name: scanned[name][0].as_py() for name in KEY_COLUMNS})
    return explain_row(pa.Table.from_pylist([row], SCAN_SCHEMA), options)


def _score_options(scan: Location) -> ScoreOptions:
    """Options with the networks of a scan; the defaults if it doesn't exist or can't be read."""
    lineage = None
    with suppress(VividsetError):  # also of a URL that can't be reached: the photo can be explained without its scan
        if exists(scan):
            _, lineage = manifest.read_schema_and_lineage(scan)
    recorded = {} if lineage is None else lineage.options
    return ScoreOptions(
        tone_network="large" if recorded.get("tone_network") == "large" else "small",
        kind_network="large" if recorded.get("kind_network") == "large" else "small",
    )


def explain_row(row: pa.Table, options: FilterOptions) -> Explanation:
    """Decide as a filter would on one row of a scan."""
    batch = filter_table(row, options)
    decided = pa.concat_tables([batch.kept, batch.rejected])
    reasons, waived = (tuple(decided[name][0].as_py() or ()) for name in ("reject_reasons", "waived_reasons"))
    measured = decided.drop_columns([column.name for column in DECISION_FIELDS])
    return Explanation(manifest.as_rows(measured)[0], reasons, waived)


def find_scanned_row(photo: Path, scan: Location) -> pa.Table | None:
    """The row in a scan of a photo that is no file: it no longer exists, or it is in a container.

    Args:
        photo: path of the photo; in a container its `path` in the manifest below the folder of the container, such as
            `photos.zip/a.jpg` or `train.parquet/000000017`.
        scan: a manifest; it need not exist.

    Returns:
        None if there is a file, or the scan has no such row.

    Raises:
        ManifestError: the scan can't be read.
    """
    row = None if os.path.lexists(photo) else _find_row(photo, scan)
    if row is None:
        return None
    columns = {"missing_since", "tar_offset"}.intersection(row.column_names)
    return row if any(row[name][0].is_valid for name in columns) else None


def _find_row(photo: Path, scan: Location) -> pa.Table | None:
    """The row of a photo in a scan; None if the scan doesn't exist or has no such row."""
    if not exists(scan):
        return None
    (location,) = Sources((photo,)).roots()
    names = manifest.read_schema_and_lineage(scan, required=KEY_COLUMNS)[0].names
    for table in manifest.iter_tables(scan, [name for name in SCAN_SCHEMA.names if name in names]):
        locations = pc.binary_join_element_wise(pc.utf8_rtrim(table["source"], "/"), table["path"], "/")
        rows = table.filter(pc.equal(locations, location))
        if rows.num_rows:
            return rows.slice(0, 1)
    return None


def list_photo(photo: Path) -> ListedPhoto:
    """A single photo, as a scan lists it.

    Raises:
        SourceError: the photo doesn't exist.
        ManifestError: the path is a folder, a container or a manifest.
    """
    if photo.is_dir():
        raise ManifestError(f"{photo} is a folder: give photos, or measure the folder with `curate scan`")
    if photo.suffix == ".parquet" and not has_images(str(photo)):
        raise ManifestError(f"{photo} is not a photo: give photos, or use `curate inspect` for a manifest")
    if has_container_name(photo.name):
        kind = "Parquet or Arrow file" if has_table_name(photo.name) else "tar or ZIP"
        member = f"{photo}/{'0' * ROW_DIGITS}" if has_table_name(photo.name) else f"{photo}/NAME"
        raise ManifestError(
            f"{photo} is a {kind}: measure its photos with `curate scan {photo}`, then name one, like {member}"
        )
    container = next((path for path in photo.parents if has_container_name(path.name) and path.is_file()), None)
    if container is not None:
        raise ManifestError(
            f"{photo} is not in the scan: measure the photos with `curate scan {container}`, or name another scan with "
            "--scan"
        )
    (listed,) = list_photos([photo])
    return listed
