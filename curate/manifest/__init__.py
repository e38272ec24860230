"""Read and write manifests: Parquet files with one row per photo, which the commands pass on to each other.

Rows are sorted by source and path. The key-value metadata `vividset.*` is the lineage: what made the manifest, and from
which manifests. A file that another program saved without this metadata can still be read; its lineage is unknown.

schema.py     columns and version numbers
encoding.py   file names as text, and numbers from hex text
lineage.py    what made a manifest, and from what
reader.py     read and check manifests, whole or in pieces
writer.py     write manifests, whole or not at all
"""

from __future__ import annotations

from curate.manifest.encoding import escape, unescape
from curate.manifest.lineage import Lineage, list_ancestors, merge_lineages
from curate.manifest.reader import (
    Manifest,
    as_rows,
    count_values,
    digest,
    iter_tables,
    list_parts,
    no_photos_message,
    open_parquet,
    part_locations,
    read_manifest,
    read_schema_and_lineage,
    to_schema_types,
)
from curate.manifest.schema import (
    ALL_COLUMNS,
    DECISION_FIELDS,
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
    "iter_tables",
    "list_ancestors",
    "list_parts",
    "make_parent_dir",
    "merge_lineages",
    "no_photos_message",
    "open_parquet",
    "open_writer",
    "open_writers",
    "part_locations",
    "read_manifest",
    "read_schema_and_lineage",
    "to_schema_types",
    "unescape",
    "write_manifest",
]
