"""The columns of a manifest, and the version numbers of the file format and of the measures."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2
"""Version of the columns; a reader refuses manifests of a newer one."""
SCORER_VERSION = 14
"""Increases whenever any number of a scan would change: rows of an older scorer are measured again."""
METRIC = "hasler-susstrunk-2003-m3-signed"
"""The variant of the colorfulness metric, see docs/reference/measures.md."""

KEY_FIELDS = (pa.field("source", pa.string(), nullable=False), pa.field("path", pa.string(), nullable=False))
KEY_COLUMNS = tuple(column.name for column in KEY_FIELDS)
FILE_FIELDS = (
    pa.field("tar_offset", pa.int64()),
    pa.field("bytes", pa.int64()),
    pa.field("modified_ns", pa.int64()),
    pa.field("sha256", pa.string()),
    pa.field(
        "sidecars",
        pa.list_(pa.struct([("path", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64())])),
    ),
)
HEADER_FIELDS = (
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("mode", pa.string()),
    pa.field("orientation", pa.int8()),
    pa.field("icc_profile", pa.string()),
    pa.field("hdr_transfer", pa.string()),
    pa.field("digital_source_type", pa.string()),
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
    pa.field("kind", pa.string()),
    pa.field("kind_score", pa.float32()),
    pa.field("kind_confidence", pa.float32()),
    pa.field("kind_color_share", pa.float32()),
    pa.field("kind_flat_share", pa.float32()),
    pa.field("kind_edge_share", pa.float32()),
    pa.field("fingerprint", pa.string()),
    pa.field("border_share", pa.float32()),
    pa.field("border_left", pa.float32()),
    pa.field("border_top", pa.float32()),
    pa.field("border_right", pa.float32()),
    pa.field("border_bottom", pa.float32()),
    pa.field("inside_colorfulness", pa.float64()),
    pa.field("selective_color", pa.float32()),
    pa.field("saturation_clipped_share", pa.float32()),
    pa.field("divider_count", pa.int16()),
    pa.field("seam_share", pa.float32()),
    pa.field("stroke_density", pa.float32()),
    pa.field("chroma_detail", pa.float32()),
)
STATE_FIELDS = (pa.field("error", pa.string()), pa.field("missing_since", pa.timestamp("us", tz="UTC")))
"""Why there are no measures; and since when scans don't find the photo, which manifests of older versions lack."""
SCAN_SCHEMA = pa.schema([*KEY_FIELDS, *FILE_FIELDS, *HEADER_FIELDS, *MEASURE_FIELDS, *STATE_FIELDS])
DECISION_FIELDS = (
    pa.field("split", pa.string()),
    pa.field("reject_reasons", pa.list_(pa.string())),
    pa.field("waived_reasons", pa.list_(pa.string())),
)
ALL_COLUMNS = pa.schema([*SCAN_SCHEMA, *DECISION_FIELDS])

ROW_GROUP_SIZE = 1 << 16
"""Rows of a row group, and of a table in memory when a manifest is read in pieces."""

DICTIONARY_COLUMNS = [
    "source",
    "width",
    "height",
    "format",
    "mode",
    "orientation",
    "icc_profile",
    "hdr_transfer",
    "digital_source_type",
    "colorfulness_level",
    "tone",
    "kind",
    "error",
    "missing_since",
    "split",
]
"""Columns with few distinct values. Trying a dictionary on hashes and measures too doubles the time of writing."""
