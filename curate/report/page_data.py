"""What the page's script reads: exact counts in tenths of M, and the sample of photos with all their numbers."""

from __future__ import annotations

import base64
import itertools
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import manifest
from curate.manifest import MEASURE_FIELDS, Lineage
from curate.measures.colorfulness import LEVELS
from curate.measures.hash_groups import NEAR_BITS
from curate.measures.tone.classify import TONES
from curate.report.counts import BINS, BINS_PER_M, MISSING, SECTORS, ManifestCounts, bins_of, error_kind, reason_kind
from curate.report.sample import DuplicateGroups, Indices
from curate.report.thumbnails import Thumbnail
from curate.version import __version__

_DEFAULT_LINE = 20.0
_MAKERS = (["curate", "filter"], ["python", "-m", "curate", "filter"])
_MOVED = ("--min-colorfulness", "--keep-top", "--keep-tone")
"""What the page itself decides, so that it isn't repeated from the command that was typed; of shares only that of M."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The decision that the page starts from."""

    line_bin: int
    """The threshold in tenths of M."""
    keep_tones: frozenset[str]
    before: str
    """The command up to its options, quoted for a shell."""
    after: str
    """What comes behind --min-colorfulness and --keep-tone."""


def rules_from_lineage(path: Path, lineage: Lineage | None) -> Rules:
    """From what a manifest says of its making; the filter's defaults where it says nothing."""
    options = lineage.options if lineage and lineage.kind in ("clean", "rejected") else {}
    line = options.get("min_colorfulness", _DEFAULT_LINE) or 0.0
    keep = frozenset(options.get("keep_tones", ["color"])) & set(TONES) or frozenset({"color"})
    before, after = _command(path, lineage)
    return Rules(min(BINS - 1, max(0, round(line * BINS_PER_M))), keep, before, after)


def _command(path: Path, lineage: Lineage | None) -> tuple[str, str]:
    """As it was typed, where a filter made the manifest, so that its other rules stay; else one for this manifest."""
    typed = shlex.split(lineage.command) if lineage and lineage.kind in ("clean", "rejected") else []
    for maker in _MAKERS:
        if typed[: len(maker)] == maker:
            return shlex.join(maker), _quoted(_without_moved(typed[len(maker) :]))
    return _quoted(["curate", "filter", str(path)]), _quoted(["-o", str(path.with_name("clean.parquet"))])


def _without_moved(words: list[str]) -> list[str]:
    """Leave out the options that the page sets, with their values."""
    left, rest = [], iter(words)
    for word in rest:
        name, is_joined, value = word.partition("=")
        given = [word] if is_joined or name not in _MOVED else [word, *itertools.islice(rest, 1)]
        if name not in _MOVED or (name == "--keep-top" and ":" in (value or given[-1])):
            left += given
    return left


def _quoted(words: list[str]) -> str:
    r"""For a POSIX shell, pure text even where a name is no UTF-8.

    >>> _quoted(["-o", "my clean.parquet", "caf\udce9"])
    "-o 'my clean.parquet' $'caf\\xe9'"
    """
    return " ".join(_quoted_bytes(word) if _NO_TEXT.search(word) else shlex.quote(word) for word in words)


_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _quoted_bytes(word: str) -> str:
    def escaped(match: re.Match[str]) -> str:
        return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return "$'" + re.sub(r"[\x00-\x1f\x7f'\\\ud800-\udfff]", escaped, word) + "'"


_BY_NAME = ("source", "path", "error", "missing_since", "reject_reasons")
"""What a photo's entry holds by name; every other column is one of its numbers."""
_FIRST = tuple(column.name for column in MEASURE_FIELDS if column.name != "fingerprint")

Json = dict[str, Any]


def counted(path: Path, lineage: Lineage | None, rows: ManifestCounts, rules: Rules, groups: DuplicateGroups) -> Json:
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


def _tone(rows: ManifestCounts, free: NDArray[np.bool_], code: int, rules: Rules) -> Json:
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


def _missing(rows: ManifestCounts) -> int:
    """Photos that the last scan didn't find; `unreadable` counts them too."""
    return int((rows.errors == rows.error_names.index(MISSING)).sum()) if MISSING in rows.error_names else 0


def _named(names: tuple[str, ...], counts: list[int]) -> list[Json]:
    pairs = sorted(zip(names, counts, strict=True), key=lambda pair: -pair[1])
    return [{"name": name, "photos": count} for name, count in pairs]


def fetched(path: Path, chosen: Indices) -> Mapping[int, Json]:
    """The chosen rows with all their columns, by row number."""
    wanted, first = np.sort(chosen), 0
    found: dict[int, Json] = {}
    for batch in manifest.iter_tables(path):
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
        sector: its hue, see `ManifestCounts`.
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
