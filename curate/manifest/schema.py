"""What a manifest holds: its columns, and the versions of them and of their numbers."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2
SCORER_VERSION = 7
"""Changes whenever any number of a scan would: rows of another scorer are measured again."""
METRIC = "hasler-susstrunk-2003-m3-signed"

KEY_FIELDS = (pa.field("source", pa.string(), nullable=False), pa.field("path", pa.string(), nullable=False))
KEY_COLUMNS = tuple(column.name for column in KEY_FIELDS)
FILE_FIELDS = (
    pa.field("tar_offset", pa.int64()),
    pa.field("bytes", pa.int64()),
    pa.field("modified_ns", pa.int64()),
    pa.field("sha256", pa.string()),
)
HEADER_FIELDS = (
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("mode", pa.string()),
    pa.field("orientation", pa.int8()),
    pa.field("icc_profile", pa.string()),
)
MEASURE_FIELDS = (
    pa.field("colorfulness", pa.float64()),
    pa.field("colorfulness_level", pa.string()),
    pa.field("chroma_mean", pa.float32()),
    pa.field("saturation_mean", pa.float32()),
    pa.field("hue_entropy_bits", pa.float32()),
    pa.field("hue_peak_deg", pa.float32()),
    pa.field("neutral_share", pa.float32()),
    pa.field("lightness_mean", pa.float32()),
    pa.field("dark_clipped_share", pa.float32()),
    pa.field("bright_clipped_share", pa.float32()),
    pa.field("sharpness", pa.float32()),
    pa.field("tone", pa.string()),
    pa.field("tone_score", pa.float32()),
    pa.field("tone_confidence", pa.float32()),
    pa.field("tone_chroma", pa.float32()),
    pa.field("tone_chroma_p99", pa.float32()),
    pa.field("tone_residual", pa.float32()),
    pa.field("tone_ratio_residual", pa.float32()),
    pa.field("tone_hue_deg", pa.float32()),
    pa.field("fingerprint", pa.string()),
)
STATE_FIELDS = (pa.field("error", pa.string()), pa.field("missing_since", pa.timestamp("us", tz="UTC")))
"""Why there are no measures; since when scans don't find the photo, a column that older versions didn't write."""
SCAN_SCHEMA = pa.schema([*KEY_FIELDS, *FILE_FIELDS, *HEADER_FIELDS, *MEASURE_FIELDS, *STATE_FIELDS])
DECISION_FIELDS = (pa.field("split", pa.string()), pa.field("reject_reasons", pa.list_(pa.string())))
ALL_COLUMNS = pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS])

ROW_GROUP_SIZE = 1 << 16
"""Of a manifest and of a batch; a reader holds one row group at a time."""

DICTIONARY_COLUMNS = [
    "source",
    "width",
    "height",
    "format",
    "mode",
    "orientation",
    "icc_profile",
    "colorfulness_level",
    "tone",
]
DICTIONARY_COLUMNS += ["error", "missing_since", "split"]
"""Columns worth a dictionary; trying one on hashes and measures doubles the time that writing takes."""
