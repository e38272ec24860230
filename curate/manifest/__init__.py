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
from curate.manifest.lineage import Lineage, list_ancestors, merge_lineages
from curate.manifest.reader import (
    Manifest,
    as_rows,
    count_values,
    digest,
    inspect_manifest,
    iter_tables,
    list_parts,
    no_photos_message,
    open_parquet,
    read_manifest,
    to_schema_types,
)
from curate.manifest.schema import (
    ALL_COLUMNS,
    DECISION_FIELDS,
    FILE_FIELDS,
    HEADER_FIELDS,
    KEY_COLUMNS,
    KEY_FIELDS,
    MEASURE_FIELDS,
    METRIC,
    ROW_GROUP_SIZE,
    SCAN_SCHEMA,
    SCHEMA_VERSION,
    SCORER_VERSION,
)
from curate.manifest.writer import make_parent_dir, open_writer, open_writers, write_manifest

__all__ = [
    "ALL_COLUMNS",
    "DECISION_FIELDS",
    "FILE_FIELDS",
    "HEADER_FIELDS",
    "KEY_COLUMNS",
    "KEY_FIELDS",
    "MEASURE_FIELDS",
    "METRIC",
    "ROW_GROUP_SIZE",
    "SCAN_SCHEMA",
    "SCHEMA_VERSION",
    "SCORER_VERSION",
    "Lineage",
    "Manifest",
    "as_rows",
    "count_values",
    "digest",
    "escape",
    "inspect_manifest",
    "iter_tables",
    "list_ancestors",
    "list_parts",
    "make_parent_dir",
    "merge_lineages",
    "no_photos_message",
    "open_parquet",
    "open_writer",
    "open_writers",
    "read_manifest",
    "to_schema_types",
    "unescape",
    "write_manifest",
]
