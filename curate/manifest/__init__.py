"""The Parquet files between the stages: schema, lineage, whole-or-nothing reading and writing.

A manifest is one Parquet file, one row a photo, in the order of locations. Its key-value metadata (`vividset.*`) says
what made it; a manifest that another program saved without that metadata still reads, with its lineage unknown.

schema.py     columns and versions
names.py      file names as text
lineage.py    what made a manifest, and of what
reading.py    checked, whole or some rows at a time
writing.py    whole or not at all
"""

from curate.manifest.lineage import Lineage, chain, joined
from curate.manifest.names import escape, unescape
from curate.manifest.reading import (
    Manifest,
    as_rows,
    as_written,
    batches,
    check_readable,
    counts,
    inspect,
    none_to_use,
    opened,
    parts,
    read,
    sha256_of,
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
from curate.manifest.writing import (
    check_writable,
    make_folder,
    settle,
    sync_folder,
    write,
    write_whole,
    writer,
    writers,
)

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
    "as_written",
    "batches",
    "chain",
    "check_readable",
    "check_writable",
    "counts",
    "escape",
    "inspect",
    "joined",
    "make_folder",
    "none_to_use",
    "opened",
    "parts",
    "read",
    "settle",
    "sha256_of",
    "sync_folder",
    "unescape",
    "write",
    "write_whole",
    "writer",
    "writers",
]
