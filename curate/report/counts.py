"""A manifest's columns to what the page counts by: a few bytes a row, whatever the number of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import SCAN_SCHEMA
from curate.manifest.encoding import hex_to_bytes
from curate.measures.tone.classify import TONES

NEEDED = ("source", "path", "colorfulness")
HUES = ("hue_peak_deg", "tone_hue_deg")
"""A photo's hue: the one most seen, or, of older scans, that of its mean colour."""
COUNTED = ("colorfulness", "tone", "tone_confidence", *HUES, "error", "missing_since")
DECIDED = ("reject_reasons", "sha256", "fingerprint")


MISSING = "missing"
"""What stands for an error where the last scan didn't find the photo."""
BINS_PER_M = 10
"""The line moves in tenths of M."""
BINS = 4000
"""M stays below 400 in 8-bit sRGB: no channel difference strays more than 255. What claims more is in the last bin."""
SECTORS = 36
"""The hue wheel's, 10 degrees each."""

_EDGES = np.arange(BINS) / BINS_PER_M
"""Lowest M of each bin, rounded as the same number typed after --min-colorfulness is: so a line on an edge is exact."""
_LINE_OR_TONE = re.compile(r"colorfulness < |tone is |unreadable")
_BEYOND = re.compile(r"(.+) \S+ ([<>]) (\S+)")
_MAX_NAMES = 60
_OTHERS = "others"


@dataclass(frozen=True, slots=True)
class ManifestCounts:
    """What decides, one element a row."""

    bins: NDArray[np.int16]
    """Tenths of M, 0..3999; -1 where the photo was not measured, or is missing."""
    tones: NDArray[np.int8]
    """Index into TONES; -1 where there is none."""
    sectors: NDArray[np.int8]
    """Hue in steps of 10 degrees, 0..35; -1 where there is none."""
    confidences: NDArray[np.float32]
    """0.5 (on the line between tones) to 1; NaN where there is none."""
    errors: NDArray[np.int8]
    """Index into `error_names`, `MISSING` among them; -1 where the photo was measured and is there."""
    reasons: NDArray[np.uint64]
    """Bit i: rejected for `reason_names[i]`."""
    contents: NDArray[np.uint64]
    """(rows, 2) first 128 bits of the sha256; 0 where there is none."""
    fingerprints: NDArray[np.uint64]
    """(rows, 2) the perceptual hash; 0 where there is none."""
    error_names: tuple[str, ...]
    reason_names: tuple[str, ...]
    """Kinds of reasons: `colorfulness < 20`, `tone is sepia`, ..."""

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def blocked(self) -> NDArray[np.bool_]:
        """Measured rows that a rule other than tone and lowest colourfulness rejected: no line brings them back."""
        others = [i for i, name in enumerate(self.reason_names) if not _LINE_OR_TONE.match(name)]
        mask = np.uint64(sum(1 << i for i in others))
        blocked: NDArray[np.bool_] = ((self.reasons & mask) != 0) & (self.bins >= 0)
        return blocked


@dataclass(slots=True)
class _Names:
    """Codes for names in the order of their first appearance; past the 60th all share one."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str) -> int:
        if name not in self.codes and len(self.codes) >= _MAX_NAMES:
            name = _OTHERS
        return self.codes.setdefault(name, len(self.codes))


def count_manifest(path: Path) -> ManifestCounts:
    """Read the columns that decide, batch by batch.

    Raises:
        ManifestError: the manifest can't be read, lacks a needed column or has no rows.
    """
    errors, reasons = _Names(), _Names()
    schema, _ = manifest.inspect_manifest(path, required=NEEDED)
    batches = manifest.iter_tables(path, [name for name in (*COUNTED, *DECIDED) if name in schema.names])
    counted = [_counted(batch, errors, reasons) for batch in batches if batch.num_rows]
    if not counted:
        raise ManifestError(f"{path} has no rows, so there is nothing to show: scan photos, or filter less strictly")
    joined = (np.concatenate(column) for column in zip(*counted, strict=True))
    bins, tones, sectors, confidences, error, reason, contents, fingerprints = joined
    names = tuple(errors.codes), tuple(reasons.codes)
    return ManifestCounts(bins, tones, sectors, confidences, error, reason, contents, fingerprints, *names)


def reason_kind(reason: str) -> str:
    """A reason without the photo's own value.

    >>> reason_kind("colorfulness 17.3 < 20"), reason_kind("unreadable: BrokenPhoto: cut"), reason_kind("tone is sepia")
    ('colorfulness < 20', 'unreadable', 'tone is sepia')
    """
    if reason.startswith("duplicate of "):
        return "duplicate"
    if beyond := _BEYOND.fullmatch(reason):
        return " ".join(beyond.groups())
    return (reason if reason.startswith("not (") else reason.partition(":")[0])[:80]


def error_kind(error: str) -> str:
    """The part before the colon.

    >>> error_kind("BrokenPhoto: image file is truncated")
    'BrokenPhoto'
    """
    return error.partition(":")[0][:40]


def bins_of(colorfulness: NDArray[np.float64]) -> NDArray[np.int16]:
    """The bin of each M: with a line on edge k/10, exactly the photos of bin k and above are kept.

    >>> bins_of(np.array([0.0, 0.3, 19.99, 20.0, 500.0, np.nan])).tolist()
    [0, 3, 199, 200, 3999, -1]
    """
    bins = np.searchsorted(_EDGES, colorfulness, side="right") - 1
    return np.where(np.isnan(colorfulness), -1, bins.clip(0)).astype(np.int16)


def _counted(batch: pa.Table, errors: _Names, reasons: _Names) -> tuple[NDArray[Any], ...]:
    """One batch's share of `ManifestCounts`, in the order of its fields."""
    error = column(batch, "error", pa.string())
    bins = bins_of(_floats(batch, "colorfulness"))
    missing = pc.is_valid(column(batch, "missing_since", SCAN_SCHEMA.field("missing_since").type))
    bins[_bools(pc.or_(pc.is_valid(error), missing))] = -1
    unmeasured = pa.array(bins < 0)
    why = pc.if_else(unmeasured, pc.fill_null(error, "it was not measured"), pa.scalar(None, pa.string()))
    why = pc.if_else(missing, MISSING, why)
    tones = pc.fill_null(pc.index_in(column(batch, "tone", pa.string()), pa.array(TONES)), -1)
    hues = _floats(batch, next((name for name in HUES if name in batch.column_names), HUES[-1]))
    return (
        bins,
        pc.if_else(missing, -1, tones).to_numpy(zero_copy_only=False).astype(np.int8),
        np.where(np.isfinite(hues), hues % 360 // (360 / SECTORS), -1).clip(-1, SECTORS - 1).astype(np.int8),
        _floats(batch, "tone_confidence").astype(np.float32),
        _codes(why, error_kind, errors),
        _reason_bits(column(batch, "reject_reasons", pa.list_(pa.string())), reasons),
        _leading_128_bits(column(batch, "sha256", pa.string())),
        _leading_128_bits(column(batch, "fingerprint", pa.string())),
    )


def _codes(texts: pa.Array, kind_of: Callable[[str], str], names: _Names) -> NDArray[np.int8]:
    """The code of each text's kind; -1 for null."""
    encoded = texts.dictionary_encode()
    codes = np.array([*(names.code(kind_of(text)) for text in encoded.dictionary.to_pylist()), -1], np.int8)
    places = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.asarray(codes[places], np.int8)


def _reason_bits(lists: pa.Array, names: _Names) -> NDArray[np.uint64]:
    bits = np.zeros(len(lists), np.uint64)
    texts = lists.flatten()
    rows = pc.list_parent_indices(lists).to_numpy()
    codes = _codes(texts, reason_kind, names)
    np.bitwise_or.at(bits, rows[codes >= 0], np.uint64(1) << codes[codes >= 0].astype(np.uint64))
    return bits


def _leading_128_bits(texts: pa.Array) -> NDArray[np.uint64]:
    """(rows, 2) of hex text; 0 where it is none, or shorter."""
    head = pc.utf8_slice_codeunits(texts, 0, 32)
    is_hex = pc.fill_null(pc.match_substring_regex(head, "^[0-9a-fA-F]{32}$"), False)
    return hex_to_bytes(pc.if_else(is_hex, head, "0" * 32), 16).view(">u8").astype(np.uint64)


def column(batch: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """In the scan's own type, for other programs save wider ones; nulls where there is no such column."""
    if name not in batch.column_names:
        return pa.nulls(batch.num_rows, kind)
    try:
        return batch[name].combine_chunks().cast(kind)
    except pa.ArrowException as exc:
        found = batch.schema.field(name).type
        raise ManifestError(
            f"the manifest has {found} in its column {name!r}, not {kind}: keep it as `curate scan` wrote it"
        ) from exc


def _floats(batch: pa.Table, name: str) -> NDArray[np.float64]:
    values = column(batch, name, pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _bools(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)
