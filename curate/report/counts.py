"""Read the columns of a manifest that the report counts, in a compact form: a few dozen bytes per row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.locations import Location
from curate.manifest import SCAN_SCHEMA
from curate.manifest.encoding import hex_to_bytes
from curate.measures.names import KINDS, TONES

REQUIRED_COLUMNS = ("source", "path", "colorfulness")
HUE_COLUMNS = ("hue_peak_deg", "tone_hue_deg")
"""The hue of a photo: its most frequent hue, or, in manifests of older scans, that of its mean color."""
OPTIONAL_COLUMNS = (
    *("colorfulness", "tone", "tone_confidence", "kind", "kind_score", *HUE_COLUMNS, "error", "missing_since"),
    *("reject_reasons", "waived_reasons", "sha256", "fingerprint"),
)
"""Columns that are read if the manifest has them."""
MISSING = "missing"
"""Used as the error kind of a photo that the last scan didn't find."""
BINS_PER_M = 10
"""The page's threshold is a multiple of 0.1, so colorfulness M is counted in bins of 0.1."""
BINS = 4000
"""Number of bins. M is below 400 for 8-bit sRGB, as channel differences are at most 255; the last bin has the rest."""
SECTORS = 36
"""Sectors of the hue wheel, 10 degrees each."""

_EDGES = np.arange(BINS) / BINS_PER_M
"""Lowest M of each bin: the same float as the number typed after --min-colorfulness, so that both count the same."""
_ADJUSTABLE_REASON = re.compile(r"colorfulness < |tone is |kind is |unreadable")
_VALUE_AND_BOUND = re.compile(r"(.+) \S+ ([<>]) (\S+)")
_MAX_NAMES = 60
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class ManifestCounts:
    """What the page counts by: arrays with one element per row of the manifest."""

    bins: NDArray[np.int16]
    """Colorfulness in tenths, 0..3999; -1 if the photo was not measured or is missing."""
    tones: NDArray[np.int8]
    """Index into TONES; -1 without a tone."""
    sectors: NDArray[np.int8]
    """Hue in steps of 10 degrees, 0..35; -1 without a hue."""
    confidences: NDArray[np.float32]
    """Confidence in the tone, 0.5 (undecided) to 1; NaN without a tone."""
    kinds: NDArray[np.int8]
    """Index into KINDS; -1 without a kind."""
    kind_scores: NDArray[np.float32]
    """Log odds of graphic against photo, minus the threshold; NaN without a kind."""
    errors: NDArray[np.int8]
    """Index into `error_names`, which include `MISSING`; -1 if the photo was measured and exists."""
    reasons: NDArray[np.uint64]
    """Bit i is set if the photo was rejected for `reason_names[i]`."""
    listed: NDArray[np.bool_]
    """Whether the photo is kept only because a keep list names it."""
    contents: NDArray[np.uint64]
    """(rows, 2), the first 128 bits of the sha256; 0 without one."""
    fingerprints: NDArray[np.uint64]
    """(rows, 2), the 128-bit perceptual hash; 0 without one."""
    error_names: tuple[str, ...]
    reason_names: tuple[str, ...]
    """Kinds of reasons: `colorfulness < 20`, `tone is sepia`, ..."""

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def blocked(self) -> NDArray[np.bool_]:
        """Measured rows that a rule other than tone, kind and minimum colorfulness rejected: never kept on the page."""
        other_rules = [i for i, name in enumerate(self.reason_names) if not _ADJUSTABLE_REASON.match(name)]
        mask = np.uint64(sum(1 << i for i in other_rules))
        blocked: NDArray[np.bool_] = ((self.reasons & mask) != 0) & (self.bins >= 0)
        return blocked


@dataclass(slots=True)
class _Names:
    """Assigns numbers to names in the order of their first appearance; after the 60th, all names share one number."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str) -> int:
        """The number of a name, a new one if it is new."""
        if name not in self.codes and len(self.codes) >= _MAX_NAMES:
            name = _OTHERS
        return self.codes.setdefault(name, len(self.codes))


def count_manifest(path: Location) -> ManifestCounts:
    """Read the columns that the report counts, batch by batch.

    Raises:
        ManifestError: the manifest can't be read, lacks a required column or has no rows.
    """
    errors, reasons = _Names(), _Names()
    schema, _ = manifest.read_schema_and_lineage(path, required=REQUIRED_COLUMNS)
    batches = manifest.iter_tables(path, [name for name in OPTIONAL_COLUMNS if name in schema.names])
    counts = [_count_batch(batch, errors, reasons) for batch in batches if batch.num_rows]
    if not counts:
        raise ManifestError(
            f"{path} has no rows, so there is nothing to show: scan photos, or use less strict filter options"
        )
    joined = (np.concatenate(column) for column in zip(*counts, strict=True))
    bins, tones, sectors, confidences, kinds, scores, error, reason, listed, contents, fingerprints = joined
    codes = (bins, tones, sectors, confidences, kinds, scores, error, reason, listed)
    return ManifestCounts(*codes, contents, fingerprints, tuple(errors.codes), tuple(reasons.codes))


def reason_kind(reason: str) -> str:
    """The kind of a reason: the reason without the value of the photo.

    >>> reason_kind("colorfulness 17.3 < 20"), reason_kind("unreadable: BrokenPhoto: cut"), reason_kind("tone is sepia")
    ('colorfulness < 20', 'unreadable', 'tone is sepia')
    """
    if reason.startswith("duplicate of "):
        return "duplicate"
    if match := _VALUE_AND_BOUND.fullmatch(reason):
        return " ".join(match.groups())
    return (reason if reason.startswith("not (") else reason.partition(":")[0])[:80]


def error_kind(error: str) -> str:
    """The kind of an error: the part before the colon.

    >>> error_kind("BrokenPhoto: image file is truncated")
    'BrokenPhoto'
    """
    return error.partition(":")[0][:40]


def bins_of(colorfulness: NDArray[np.float64]) -> NDArray[np.int16]:
    """The bin of each colorfulness: the threshold k/10 keeps exactly the photos in bin k and above; NaN gives -1.

    >>> bins_of(np.array([0.0, 0.3, 19.99, 20.0, 500.0, np.nan])).tolist()
    [0, 3, 199, 200, 3999, -1]
    """
    bins = np.searchsorted(_EDGES, colorfulness, side="right") - 1
    return np.where(np.isnan(colorfulness), -1, bins.clip(0)).astype(np.int16)


def _count_batch(batch: pa.Table, errors: _Names, reasons: _Names) -> tuple[NDArray[Any], ...]:
    """The arrays of `ManifestCounts` for one batch, in the order of its fields."""
    error = read_column(batch, "error", pa.string())
    rejected = read_column(batch, "reject_reasons", pa.list_(pa.string()))
    waived = read_column(batch, "waived_reasons", pa.list_(pa.string()))
    bins = bins_of(_floats(batch, "colorfulness"))
    missing = pc.is_valid(read_column(batch, "missing_since", SCAN_SCHEMA.field("missing_since").type))
    bins[np.asarray(pc.or_(pc.is_valid(error), missing).to_numpy(zero_copy_only=False), np.bool_)] = -1
    unmeasured = pa.array(bins < 0)
    messages = pc.if_else(unmeasured, pc.fill_null(error, "it was not measured"), pa.scalar(None, pa.string()))
    messages = pc.if_else(missing, MISSING, messages)
    tones = pc.fill_null(pc.index_in(read_column(batch, "tone", pa.string()), pa.array(TONES)), -1)
    kinds = pc.fill_null(pc.index_in(read_column(batch, "kind", pa.string()), pa.array(KINDS)), -1)
    hue_column = next((name for name in HUE_COLUMNS if name in batch.column_names), HUE_COLUMNS[-1])
    hues = _floats(batch, hue_column)
    return (
        bins,
        pc.if_else(missing, -1, tones).to_numpy(zero_copy_only=False).astype(np.int8),
        np.where(np.isfinite(hues), hues % 360 // (360 / SECTORS), -1).clip(-1, SECTORS - 1).astype(np.int8),
        _floats(batch, "tone_confidence").astype(np.float32),
        pc.if_else(missing, -1, kinds).to_numpy(zero_copy_only=False).astype(np.int8),
        _floats(batch, "kind_score").astype(np.float32),
        _kind_codes(messages, error_kind, errors),
        _reason_bits(rejected, reasons),
        np.asarray(pc.and_(pc.is_valid(waived), pc.is_null(rejected)).to_numpy(zero_copy_only=False), np.bool_),
        _leading_128_bits(read_column(batch, "sha256", pa.string())),
        _leading_128_bits(read_column(batch, "fingerprint", pa.string())),
    )


def _kind_codes(texts: pa.Array, kind_of: Callable[[str], str], names: _Names) -> NDArray[np.int8]:
    """The number of the kind of each text; -1 for null."""
    encoded = texts.dictionary_encode()
    codes = np.array([*(names.code(kind_of(text)) for text in encoded.dictionary.to_pylist()), -1], np.int8)
    indices = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.asarray(codes[indices], np.int8)


def _reason_bits(lists: pa.Array, names: _Names) -> NDArray[np.uint64]:
    """The reasons of each row as bits; see `ManifestCounts.reasons`."""
    bits = np.zeros(len(lists), np.uint64)
    texts = lists.flatten()
    rows = pc.list_parent_indices(lists).to_numpy()
    codes = _kind_codes(texts, reason_kind, names)
    np.bitwise_or.at(bits, rows[codes >= 0], np.uint64(1) << codes[codes >= 0].astype(np.uint64))
    return bits


def _leading_128_bits(texts: pa.Array) -> NDArray[np.uint64]:
    """The first 128 bits of hexadecimal texts, (rows, 2); 0 for other or shorter texts."""
    head = pc.utf8_slice_codeunits(texts, 0, 32)
    is_hex = pc.fill_null(pc.match_substring_regex(head, "^[0-9a-fA-F]{32}$"), False)
    return hex_to_bytes(pc.if_else(is_hex, head, "0" * 32), 16).view(">u8").astype(np.uint64)


def read_column(batch: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """A column, cast to the type that a scan writes; nulls if the manifest has no such column.

    Other programs may save a manifest with wider types.

    Raises:
        ManifestError: the column can't be cast.
    """
    if name not in batch.column_names:
        return pa.nulls(batch.num_rows, kind)
    try:
        return batch[name].combine_chunks().cast(kind)
    except pa.ArrowException as exc:
        actual = batch.schema.field(name).type
        raise ManifestError(
            f"the manifest has {actual} in its column {name!r} instead of {kind}: "
            "keep the column as `curate scan` wrote it"
        ) from exc


def _floats(batch: pa.Table, name: str) -> NDArray[np.float64]:
    values = read_column(batch, name, pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
