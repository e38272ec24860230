"""Write the report: one HTML file that loads nothing, and in which only its own script can run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from curate import manifest
from curate.errors import ManifestError
from curate.files import check_writable, exists, write_atomic, write_errors
from curate.locations import Location
from curate.report import page_data
from curate.report.counts import ManifestCounts, count_manifest
from curate.report.page_data import rules_from_lineage
from curate.report.sample import Indices, choose_photos, duplicate_groups
from curate.report.thumbnails import PhotoLocation, make_thumbnails, thumbnail_side_px
from curate.version import __version__

MAX_BYTES = 15_000_000
"""Maximum size of the page."""
_GENERATOR_TAG = '<meta name="generator" content="vividset '
"""Identifies a file that this module wrote, which may be overwritten."""
_SCRIPTS = ("logic.js", "gallery.js", "ticks.js", "charts.js", "page.js")
"""They become one script on the page, in this order: page.js runs when the others are defined."""
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a written report shows."""

    out: Location
    bytes: int
    photos: int
    """Number of rows of the manifest."""
    shown: int
    """Number of photos on the page."""
    missing: int
    """Number of photos on the page that were readable in the scan, but are missing, changed or unreadable now."""


def write_report(
    path: Location, out: Location, roots: Sequence[Path] = (), *, workers: int | None = 1
) -> ReportSummary:
    """Write an HTML report about a manifest.

    Args:
        path: any manifest, also one that another program saved; `source`, `path` and `colorfulness` are required.
        out: the HTML file; an earlier report is overwritten.
        roots: folders that the photos have moved to since the scan.
        workers: processes that make thumbnails; None: one per available core.

    Raises:
        ManifestError: the manifest can't be read or has no rows; `out` can't be written, or isn't a report.
    """
    _check_output(out)
    _, lineage = manifest.read_schema_and_lineage(path)
    rows, rules = count_manifest(path), rules_from_lineage(path, lineage)
    groups = duplicate_groups(rows)
    chosen = choose_photos(rows, rules.threshold_bin, rules.keep_tones, rules.keep_kinds, groups)
    photos = list(_photo_entries(path, rows, chosen, tuple(roots), workers))
    text, fitting = build_page(page_data.page_counts(path, lineage, rows, rules, groups), photos)
    with write_errors(out, ManifestError, "-o"):
        if isinstance(out, Path):
            out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(text.encode("ascii"), out)
    missing = sum(photo["thumbnail"] is None and photo["error"] is None for photo in photos[:fitting])
    return ReportSummary(out, len(text), len(rows), fitting, missing)


def build_page(counts: dict[str, Any], photos: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Insert the data into the page.

    Args:
        counts: see `page_data.page_counts`.
        photos: see `page_data.photo_entry`; the most useful first.

    Returns:
        The page, ASCII only, and the number of photos on it: the first ones that fit into `MAX_BYTES`.
    """
    parts = {"name": html.escape(counts["name"]), "version": html.escape(__version__)}
    parts |= {"style": _read_asset("page.css"), "script": "".join(map(_read_asset, _SCRIPTS))}
    parts |= {"style_hash": _sha256(parts["style"]), "script_hash": _sha256(parts["script"])}
    template = _read_asset("page.html")
    entries = [_to_json(photo) for photo in photos]
    left = MAX_BYTES - len(template) - sum(map(len, parts.values())) - len(_to_json(counts)) - 100
    fitting = 0
    while fitting < len(entries) and (left := left - len(entries[fitting]) - 1) >= 0:
        fitting += 1
    parts["data"] = _to_json(counts)[:-1] + ',"photos":[' + ",".join(entries[:fitting]) + "]}"
    return re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template), fitting


def _photo_entries(
    path: Location, rows: ManifestCounts, chosen: Indices, roots: tuple[Path, ...], workers: int | None
) -> Iterator[dict[str, Any]]:
    """The data of the chosen photos, in their order; see `page_data.photo_entry`."""
    chosen_rows = page_data.read_rows(path, chosen)
    locations = {number: PhotoLocation.from_row(row, roots) for number, row in chosen_rows.items()}
    readable = [location for number, location in locations.items() if rows.bins[number] >= 0]
    thumbnails = make_thumbnails(readable, thumbnail_side_px(len(readable)), workers=workers)
    blocked = rows.blocked
    for number in chosen.tolist():
        location = locations[number]
        sector, is_blocked = int(rows.sectors[number]), bool(blocked[number])
        yield page_data.photo_entry(
            number, chosen_rows[number], sector, is_blocked, thumbnails.get(location), location.file_url()
        )


def _to_json(value: Any) -> str:
    """JSON in ASCII, without the characters that could end a script element or start another."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _read_asset(name: str) -> str:
    return (files("curate.report") / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    """The hash of an inline script or style, for the Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _check_output(out: Location) -> None:
    with write_errors(out, ManifestError, "-o"):
        if exists(out) and not (out.is_file() and _GENERATOR_TAG.encode() in out.read_bytes()[:1000]):
            raise ManifestError(f"{out} already exists and is not a vividset report: choose another output with -o")
        check_writable(out)
