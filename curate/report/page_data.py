"""The JSON data of the report: exact counts by colorfulness, and the sample of photos with their columns."""

from __future__ import annotations

import base64
import itertools
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import manifest
from curate.locations import Location
from curate.manifest import MEASURE_FIELDS, Lineage
from curate.measures.hash_groups import NEAR_BITS
from curate.measures.names import KINDS, LEVELS, TONES
from curate.report.counts import BINS, BINS_PER_M, MISSING, SECTORS, ManifestCounts, bins_of, error_kind, reason_kind
from curate.report.sample import DuplicateGroups, Indices
from curate.report.thumbnails import Thumbnail
from curate.version import __version__

_DEFAULT_THRESHOLD = 20.0
_FILTER_COMMANDS = (["curate", "filter"], ["python", "-m", "curate", "filter"])
_PAGE_OPTIONS = ("--min-colorfulness", "--keep-top", "--keep-tone", "--keep-kind")
"""Options that the page sets itself, and therefore drops from the typed command. Of `--keep-top`, only that by
colorfulness."""
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NAMED_COLUMNS = ("source", "path", "error", "missing_since", "reject_reasons", "waived_reasons")
"""Columns that a photo's entry has under their own keys; all other columns are in its list `numbers`."""
_MEASURE_NAMES = tuple(column.name for column in MEASURE_FIELDS if column.name != "fingerprint")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """The threshold, tones, kinds and command that the page starts with."""

    threshold_bin: int
    """The threshold in tenths of colorfulness."""
    keep_tones: frozenset[str]
    keep_kinds: frozenset[str]
    before: str
    """The filter command before `--min-colorfulness`, quoted for a shell."""
    after: str
    """The rest of the command, after `--min-colorfulness`, `--keep-tone` and `--keep-kind`."""


def rules_from_lineage(path: Location, lineage: Lineage | None) -> Rules:
    """The rules that made a manifest; the defaults of the filter for a scan or an unknown lineage."""
    options = lineage.options if lineage and lineage.kind in ("clean", "rejected") else {}
    threshold = options.get("min_colorfulness", _DEFAULT_THRESHOLD) or 0.0
    keep = frozenset(options.get("keep_tones", ["color"])) & set(TONES) or frozenset({"color"})
    before, after = _split_command(path, lineage)
    kinds = frozenset(options.get("keep_kinds", ["photo"])) & set(KINDS) or frozenset({"photo"})
    return Rules(min(BINS - 1, max(0, round(threshold * BINS_PER_M))), keep, kinds, before, after)


def _split_command(path: Location, lineage: Lineage | None) -> tuple[str, str]:
    """The filter command without the options that the page sets: before and after them.

    For a manifest that a filter made, it is the typed command, so that its other rules stay in effect.
    """
    typed = shlex.split(lineage.command) if lineage and lineage.kind in ("clean", "rejected") else []
    for program in _FILTER_COMMANDS:
        if typed[: len(program)] == program:
            return shlex.join(program), quote_words(_drop_page_options(typed[len(program) :]))
    return quote_words(["curate", "filter", str(path)]), quote_words(["-o", str(path.with_name("clean.parquet"))])


def _drop_page_options(words: list[str]) -> list[str]:
    """Drop the options that the page sets, with their values."""
    kept_words, remaining = [], iter(words)
    for word in remaining:
        name, is_joined, value = word.partition("=")
        option = [word] if is_joined or name not in _PAGE_OPTIONS else [word, *itertools.islice(remaining, 1)]
        if name not in _PAGE_OPTIONS or (name == "--keep-top" and ":" in (value or option[-1])):
            kept_words += option
    return kept_words


def quote_words(words: list[str]) -> str:
    r"""Quote words for a POSIX shell, as printable text even if a file name isn't UTF-8.

    >>> quote_words(["-o", "my clean.parquet", "caf\udce9"])
    "-o 'my clean.parquet' $'caf\\xe9'"
    """
    return " ".join(_quote_bytes(word) if _NOT_PRINTABLE.search(word) else shlex.quote(word) for word in words)


def _quote_bytes(word: str) -> str:
    def escape(match: re.Match[str]) -> str:
        return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))

    return "$'" + re.sub(r"[\x00-\x1f\x7f'\\\ud800-\udfff]", escape, word) + "'"


def page_counts(
    path: Location, lineage: Lineage | None, rows: ManifestCounts, rules: Rules, groups: DuplicateGroups
) -> Json:
    """The counts over all rows, which the scripts of the page read."""
    measured = rows.bins >= 0
    free = measured & ~rows.blocked & ~rows.listed
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
        "missing": _count_missing(rows),
        "binsPerM": BINS_PER_M,
        "lineBin": rules.threshold_bin,
        "levels": LEVELS,
        "tones": _class_counts(rows, free, rules),
        "kinds": [{"name": name, "photos": int((measured & (rows.kinds == i)).sum())} for i, name in enumerate(KINDS)],
        "blocked": _bin_counts(rows.bins[rows.blocked], BINS),
        "keepGraphics": "graphic" in rules.keep_kinds,
        "listed": _bin_counts(rows.bins[rows.listed & (rows.bins >= 0)], BINS),
        "errors": _named_counts(
            rows.error_names, [int((rows.errors == i).sum()) for i in range(len(rows.error_names))]
        ),
        "reasons": _named_counts(
            rows.reason_names,
            [int((rows.reasons >> np.uint64(bit) & np.uint64(1)).sum()) for bit in range(len(rows.reason_names))],
        ),
        "command": {"before": rules.before, "after": rules.after},
        "twins": {
            "groups": groups.groups,
            "photos": groups.photos,
            "bits": groups.bits,
            "nearBits": NEAR_BITS,
            "shown": shown_groups,
        },
    }


def _class_counts(rows: ManifestCounts, free: NDArray[np.bool_], rules: Rules) -> list[Json]:
    """The photos of each tone; then, if there are any, the graphics of each tone."""
    graphic, codes = rows.kinds == KINDS.index("graphic"), (*range(len(TONES)), -1)
    classes = [(is_graphic, code) for is_graphic in (False, True) for code in codes]
    return [
        _tone_counts(rows, graphic == is_graphic, free, code, rules) | {"graphic": is_graphic}
        for is_graphic, code in classes
        if not is_graphic or (graphic & (rows.tones == code)).any()
    ]


def _tone_counts(
    rows: ManifestCounts, of_kind: NDArray[np.bool_], free: NDArray[np.bool_], code: int, rules: Rules
) -> Json:
    """The pictures of one kind and tone: their number, and in bins those that only threshold, tone and kind decide on.

    `kept` is whether the rules keep the tone, whatever the kind is.
    """
    of_tone = of_kind & (rows.tones == code)
    decided = of_tone & free
    hues = [_bin_counts(rows.bins[decided & (rows.sectors == sector)], BINS) for sector in range(SECTORS)]
    return {
        "name": TONES[code] if code >= 0 else None,
        "kept": code < 0 or TONES[code] in rules.keep_tones,
        "photos": int((of_tone & (rows.bins >= 0)).sum()),
        "bins": _bin_counts(rows.bins[decided], BINS),
        "hues": hues if any(hues) else [],
    }


def _bin_counts(bins: NDArray[np.int16], length: int) -> list[int]:
    """Number of photos in each bin, up to the last bin that has any."""
    return [int(count) for count in np.trim_zeros(np.bincount(bins, minlength=length), "b")]


def _count_missing(rows: ManifestCounts) -> int:
    """Number of photos that the last scan didn't find; the count `unreadable` includes them."""
    return int((rows.errors == rows.error_names.index(MISSING)).sum()) if MISSING in rows.error_names else 0


def _named_counts(names: tuple[str, ...], counts: list[int]) -> list[Json]:
    """Names with their counts, the highest first."""
    pairs = sorted(zip(names, counts, strict=True), key=lambda pair: -pair[1])
    return [{"name": name, "photos": count} for name, count in pairs]


def read_rows(path: Location, chosen: Indices) -> Mapping[int, Json]:
    """The chosen rows with all columns, by row number."""
    ordered, first = np.sort(chosen), 0
    rows: dict[int, Json] = {}
    for batch in manifest.iter_tables(path):
        here = ordered[(ordered >= first) & (ordered < first + batch.num_rows)]
        if len(here):
            rows.update(zip(here.tolist(), manifest.as_rows(batch.take(pa.array(here - first))), strict=True))
        first += batch.num_rows
    return rows


def photo_entry(
    number: int, row: Json, sector: int, is_blocked: bool, thumbnail: Thumbnail | None, url: str | None
) -> Json:
    """The data of one photo of the sample.

    Args:
        number: its row number in the manifest.
        row: all its columns.
        sector: its hue; see `ManifestCounts`.
        is_blocked: whether another rule than the threshold and the tone rejected it.
        thumbnail: None if the photo is missing or can't be read.
        url: file URL on this machine; None if there is none.
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
        "kind": row.get("kind") if row.get("kind") in KINDS and error != MISSING else None,
        "kindScore": _finite(row.get("kind_score")),
        "blocked": is_blocked,
        "waived": [] if reasons else [reason for reason in row.get("waived_reasons") or [] if reason is not None],
        "error": error,
        "errorKind": error_kind(error) if error is not None else None,
        "reasons": reasons,
        "reasonKinds": sorted({reason_kind(reason) for reason in reasons}),
        "thumbnail": base64.b64encode(thumbnail.jpeg).decode() if thumbnail else None,
        "size": [thumbnail.width_px, thumbnail.height_px] if thumbnail else None,
        "href": url,
        "numbers": [[name, format_value(name, row[name], bin_)] for name in _number_names(row)],
    }


def _number_names(row: Json) -> list[str]:
    """Names of the columns to list: measures first, then all others except the index columns that pandas adds."""
    other_names = [
        name for name in row if name not in _MEASURE_NAMES and name not in _NAMED_COLUMNS and not name.startswith("__")
    ]
    return [name for name in (*_MEASURE_NAMES, *other_names) if row.get(name) is not None]


def format_value(name: str, value: Any, bin_: int) -> str:
    """A value as the page shows it. Colorfulness is truncated, so that it is never rounded up over the threshold.

    >>> format_value("colorfulness", 19.999, 199), format_value("bytes", 12345, 0)
    ('19.99', '12,345')
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
