"""What an export consists of: photos, their names, what belongs to them, and the counts at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate.errors import PhotoError
from curate.manifest import Manifest
from curate.sources.entry import Sidecar
from curate.sources.reader import PhotoRef
from curate.sources.sidecars import read_sidecar


@dataclass(slots=True)
class ExportSummary:
    """Counts of an export."""

    photos: int = 0
    """Photos in the output folder."""
    exported_now: int = 0
    """Photos that this run wrote or linked; the others were there already."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each photo that could not be exported."""
    left_out: int = 0
    """Rows that are no files of their own, and so are not in a list of paths."""
    failed_sidecars: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each file beside a photo, or of its metadata, that could not be exported with it."""
    card_kept: bool = False
    """Whether the folder has a README.md that this command did not write, or that was edited."""


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One photo and its name in the export."""

    row: dict[str, Any]
    """The manifest row, without null values."""
    name: str
    """Path below the output folder, with `/` as separator; its first part is the split, except in a tree."""
    sidecars: tuple[tuple[str, Sidecar], ...] = ()
    """The files that belong to the photo, each with its path below the output folder."""
    columns: dict[str, Any] = field(default_factory=dict)
    """What metadata files and other columns of its source say about it, without null values."""

    @property
    def photo_ref(self) -> PhotoRef:
        """The original photo."""
        row = self.row
        return PhotoRef(row["source"], row["path"], row["sha256"], row.get("bytes"), row.get("tar_offset"))

    def read(self, summary: ExportSummary) -> bytes | None:
        """The bytes of the photo; None if it can't be read, with the reason in `summary`."""
        try:
            data = self.photo_ref.read()
        except PhotoError as exc:
            summary.failed.append((self.row["path"], str(exc)))
            return None
        summary.photos += 1
        summary.exported_now += 1
        return data

    def read_sidecar(self, sidecar: Sidecar, summary: ExportSummary) -> bytes | None:
        """The bytes of a sidecar; None if it can't be read, with the reason in `summary`."""
        try:
            return read_sidecar(self.row["source"], sidecar)
        except PhotoError as exc:
            summary.failed_sidecars.append((sidecar.path, str(exc)))
            return None


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """All photos of an export."""

    photos: list[ExportItem]
    column_names: list[str]
    """Names of all `ExportItem.columns`."""
    read: Manifest
    rows: pa.Table
    """The rows of the manifest of these photos."""
    failed: list[tuple[str, str]]
    """Path and reason of each metadata file that can't be read."""

    def merge_row(self, photo: ExportItem) -> dict[str, Any]:
        """The columns of a photo's source, and the manifest row with a prefix where the source has the name already."""
        own = {f"{OWN_PREFIX}{name}" if name in self.column_names else name: value for name, value in photo.row.items()}
        return photo.columns | own


OWN_PREFIX = "vividset_"
"""Put before the name of a column of the manifest if the photos' source has a column of this name."""
