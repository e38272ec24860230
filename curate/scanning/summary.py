"""The counts of a finished scan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(slots=True)
class ScanSummary:
    """Counts of a finished scan."""

    photos: int = 0
    """Rows of the manifest whose photo this scan found."""
    scored: int = 0
    """Those of them that have measures; all others have an error."""
    measured_now: int = 0
    """Photos that this scan read; all others were known and unchanged."""
    skipped: int = 0
    """Files that are not a photo, by name or by content; they have no row."""
    missing: int = 0
    """Rows of photos that this scan didn't find; no other count includes them."""
    dropped: int = 0
    """Rows of such photos that were dropped from the manifest because of `prune` or `forget`."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Files and folders that were skipped, by the name or pattern that they match."""
    excluded_rows: int = 0
    """Rows of excluded photos that were dropped from the manifest."""
    tables_without_images: int = 0
    """Parquet and Arrow files below folders that have no column of images; they have no row."""
    tables_passed_over: tuple[str, ...] = ()
    """The locations of the first of them, as manifest text."""
    unknown_paths: tuple[str, ...] = ()
    """Paths of `forget` of which the earlier manifest has no row."""
    errors: Counter[str] = field(default_factory=Counter)
    """Number of photos per kind of error."""
    tones: Counter[str] = field(default_factory=Counter)
    """Number of measured photos per tone."""
    levels: Counter[str] = field(default_factory=Counter)
    """Number of measured photos per `colorfulness_level`."""

    def add_rows(self, rows: pa.Table) -> None:
        """Count rows of the manifest."""
        present = rows.filter(pc.is_null(rows["missing_since"]))
        errors = [text.partition(":")[0] for text in present["error"].drop_null().to_pylist()]
        self.missing += rows.num_rows - present.num_rows
        self.photos += present.num_rows
        self.scored += present.num_rows - len(errors)
        self.errors.update(errors)
        self.tones.update(present["tone"].drop_null().to_pylist())
        self.levels.update(present["colorfulness_level"].drop_null().to_pylist())
