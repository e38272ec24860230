"""What the page's script reads: exact counts in tenths of M, and the sample of photos with all their numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import __version__, manifest
from curate.duplicates import NEAR_BITS
from curate.manifest import MEASURES, Lineage
from curate.measures.colorfulness import LEVELS
from curate.measures.tone import TONES
from curate.report.gather import BINS, BINS_PER_M, MISSING, SECTORS, Rows, bins_of, error_kind, reason_kind
from curate.report.rules import Rules
from curate.report.sample import Indices, Twins
from curate.report.thumbnails import Thumbnail

_BY_NAME = ("source", "path", "error", "missing_since", "reject_reasons")
"""What a photo's entry holds by name; every other column is one of its numbers."""
_FIRST = tuple(column.name for column in MEASURES if column.name != "fingerprint")

Json = dict[str, Any]


def counted(path: Path, lineage: Lineage | None, rows: Rows, rules: Rules, groups: Twins) -> Json:
    """Everything that is counted over all rows; see page.js for who reads it."""
    free = (rows.bins >= 0) & ~rows.blocked
    shown_groups = [
        {"rows": members.tolist(), "photos": size} for members, size in zip(groups.shown, groups.sizes, strict=True)
    ]
    return {
        "name": path.name,
        "version": __version__,
        "kind": lineage.kind if lineage else None,
        "madeBy": lineage.command if lineage else None,
        "rows": len(rows),
        "unreadable": int((rows.bins < 0).sum()),
        "missing": _missing(rows),
        "binsPerM": BINS_PER_M,
        "lineBin": rules.line_bin,
        "levels": LEVELS,
        "tones": [_tone(rows, free, code, rules) for code in (*range(len(TONES)), -1)],
        "blocked": _trimmed(rows.bins[rows.blocked], BINS),
        "errors": _named(rows.error_names, [int((rows.errors == i).sum()) for i in range(len(rows.error_names))]),
        "reasons": _named(rows.reason_names, [_with_bit(rows.reasons, i) for i in range(len(rows.reason_names))]),
        "command": {"before": rules.before, "after": rules.after},
        "twins": {
            "groups": groups.groups,
            "photos": groups.photos,
            "bits": groups.bits,
            "nearBits": NEAR_BITS,
            "shown": shown_groups,
        },
    }


def _tone(rows: Rows, free: NDArray[np.bool_], code: int, rules: Rules) -> Json:
    """One tone's photos: all of them, and in bins those that nothing but the line and their tone decides."""
    mine = rows.tones == code
    decided = mine & free
    hues = [_trimmed(rows.bins[decided & (rows.sectors == sector)], BINS) for sector in range(SECTORS)]
    return {
        "name": TONES[code] if code >= 0 else None,
        "kept": code < 0 or TONES[code] in rules.keep_tones,
        "photos": int((mine & (rows.bins >= 0)).sum()),
        "bins": _trimmed(rows.bins[decided], BINS),
        "hues": hues if any(hues) else [],
    }


def _trimmed(bins: NDArray[np.int16], length: int) -> list[int]:
    """Photos in each bin, up to the last bin that has any."""
    return [int(count) for count in np.trim_zeros(np.bincount(bins, minlength=length), "b")]


def _with_bit(reasons: NDArray[np.uint64], bit: int) -> int:
    return int((reasons >> np.uint64(bit) & np.uint64(1)).sum())


def _missing(rows: Rows) -> int:
    """Photos that the last scan didn't find; `unreadable` counts them too."""
    return int((rows.errors == rows.error_names.index(MISSING)).sum()) if MISSING in rows.error_names else 0


def _named(names: tuple[str, ...], counts: list[int]) -> list[Json]:
    pairs = sorted(zip(names, counts, strict=True), key=lambda pair: -pair[1])
    return [{"name": name, "photos": count} for name, count in pairs]


def fetched(path: Path, chosen: Indices) -> Mapping[int, Json]:
    """The chosen rows with all their columns, by row number."""
    wanted, first = np.sort(chosen), 0
    found: dict[int, Json] = {}
    for batch in manifest.batches(path):
        here = wanted[(wanted >= first) & (wanted < first + batch.num_rows)]
        if len(here):
            found.update(zip(here.tolist(), manifest.as_rows(batch.take(pa.array(here - first))), strict=True))
        first += batch.num_rows
    return found


def photo(number: int, row: Json, sector: int, is_blocked: bool, thumbnail: Thumbnail | None, url: str | None) -> Json:
    """One photo of the sample.

    Args:
        number: its row in the manifest.
        row: all its columns.
        sector: its hue, see `Rows`.
        is_blocked: whether a rule beside line and tone rejected it.
        thumbnail: None where it is gone or can't be read.
        url: what leads to the file on this machine; None if nothing does.
    """
    error = row.get("error") if row.get("missing_since") is None else MISSING
    bin_ = -1 if error is not None else int(bins_of(np.array([_number(row["colorfulness"])]))[0])
    if bin_ < 0 and error is None:
        error = "it was not measured"
    reasons = [reason for reason in row.get("reject_reasons") or [] if reason is not None]
    return {
        "row": number,
        "source": row["source"],
        "path": row["path"],
        "m": _finite(row["colorfulness"]),
        "bin": bin_,
        "sector": sector,
        "tone": row.get("tone") if row.get("tone") in TONES and error != MISSING else None,
        "confidence": _finite(row.get("tone_confidence")),
        "blocked": is_blocked,
        "error": error,
        "errorKind": error_kind(error) if error is not None else None,
        "reasons": reasons,
        "reasonKinds": sorted({reason_kind(reason) for reason in reasons}),
        "thumbnail": base64.b64encode(thumbnail.webp).decode() if thumbnail else None,
        "size": [thumbnail.width_px, thumbnail.height_px] if thumbnail else None,
        "href": url,
        "numbers": [[name, shown(name, row[name], bin_)] for name in _number_names(row)],
    }


def _number_names(row: Json) -> list[str]:
    """Measures first, then what else the row has; not what pandas adds for itself."""
    others = [name for name in row if name not in _FIRST and name not in _BY_NAME and not name.startswith("__")]
    return [name for name in (*_FIRST, *others) if row.get(name) is not None]


def shown(name: str, value: Any, bin_: int) -> str:
    """A number as the page writes it; M is cut, never rounded up over a line.

    >>> shown("colorfulness", 19.999, 199), shown("bytes", 12345, 0), shown("chroma_mean", 1 / 3, 0)
    ('19.99', '12,345', '0.3333')
    """
    if name == "colorfulness" and bin_ >= 0 and math.isfinite(value):
        return f"{max(math.floor(value * 100) / 100, bin_ / BINS_PER_M):.2f}"
    if name == "modified_ns" and isinstance(value, int):
        return f"{datetime.fromtimestamp(value // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
