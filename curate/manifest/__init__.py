"""The Parquet files between the stages: schema, lineage, whole-or-nothing reading and writing.

A manifest is one Parquet file, one row a photo, in the order of locations. Its key-value metadata (`vividset.*`) says
what made it; a manifest that another program saved without that metadata still reads, with its lineage unknown.

schema.py     columns and versions
names.py      file names as text
lineage.py    what made a manifest, and of what
reading.py    checked, whole or some rows at a time
writing.py    whole or not at all
"""

from __future__ import annotations

from curate.manifest.encoding import escape, unescape
from curate.manifest.lineage import Lineage, chain, merge_lineages
from curate.manifest.reader import (
    Manifest,
    as_rows,
    batches,
    counts,
    digest,
    inspect,
    no_photos_error,
    open_parquet,
    read,
    row_ranges,
    to_schema_types,
)
from curate.manifest.schema import (
    ALL_COLUMNS,
    DECISION,
    FILE,
    HEADER,
    KEY,
    KEY_NAMES,
    MEASURES,
    METRIC,
    ROWS_A_GROUP,
    SCAN_SCHEMA,
    SCHEMA_VERSION,
    SCORER_VERSION,
)
from curate.manifest.writer import make_folder, open_writer, open_writers, write

__all__ = [
    "ALL_COLUMNS",
    "DECISION",
    "FILE",
    "HEADER",
    "KEY",
    "KEY_NAMES",
    "MEASURES",
    "METRIC",
    "ROWS_A_GROUP",
    "SCAN_SCHEMA",
    "SCHEMA_VERSION",
    "SCORER_VERSION",
    "Lineage",
    "Manifest",
    "as_rows",
    "batches",
    "chain",
    "counts",
    "digest",
    "escape",
    "inspect",
    "make_folder",
    "merge_lineages",
    "no_photos_error",
    "open_parquet",
    "open_writer",
    "open_writers",
    "read",
    "row_ranges",
    "to_schema_types",
    "unescape",
    "write",
]
