"""One self-contained HTML file from a manifest: nothing is loaded, nothing in it can run but our own script."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from curate import manifest
from curate.errors import ManifestError
from curate.files import check_writable, write_atomic, write_errors
from curate.report import page_data
from curate.report.counts import ManifestCounts, count_manifest
from curate.report.page_data import rules_from_lineage
from curate.report.sample import Indices, choose, duplicate_groups
from curate.report.thumbnails import PhotoLocation, side_px, thumbnails
from curate.version import __version__

MAX_BYTES = 15_000_000
"""Of the whole page, whatever the manifest."""
_MARK = '<meta name="generator" content="vividset '
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """A page that was written."""

    out: Path
    bytes: int
    photos: int
    """Rows of the manifest."""
    shown: int
    """Photos on the page."""
    missing: int
    """Readable photos on the page without a picture: gone, or unreadable now."""


def write_report(path: Path, out: Path, roots: Sequence[Path] = (), *, workers: int | None = 1) -> ReportSummary:
    """Write the page of a scan, a clean or a rejected manifest.

    Args:
        path: the manifest; one that another program saved shows what it has.
        out: the page; replaced if we made it.
        roots: folders to look in if the photos have moved since the scan.
        workers: processes that decode thumbnails; None is one a core.

    Raises:
        ManifestError: the manifest can't be read or has no rows; the page can't be written, or what is in its place
            isn't ours.
    """
    _check_output(out)
    _, lineage = manifest.inspect_manifest(path)
    rows, rules = count_manifest(path), rules_from_lineage(path, lineage)
    groups = duplicate_groups(rows)
    chosen = choose(rows, rules.line_bin, rules.keep_tones, groups)
    photos = list(_photos(path, rows, chosen, tuple(roots), workers))
    text, fitting = assembled(page_data.counted(path, lineage, rows, rules, groups), photos)
    _write(out, text)
    missing = sum(photo["thumbnail"] is None and photo["error"] is None for photo in photos[:fitting])
    return ReportSummary(out, len(text), len(rows), fitting, missing)


def assembled(counted: dict[str, Any], photos: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """The page's text, ASCII throughout, and how many of the photos are on it: as many from the first as fit."""
    parts = {"name": html.escape(counted["name"]), "version": html.escape(__version__)}
    parts |= {"style": _file("page.css"), "script": _file("logic.js") + _file("page.js")}
    parts |= {"style_hash": _sha256(parts["style"]), "script_hash": _sha256(parts["script"])}
    template = _file("page.html")
    entries = [_json(photo) for photo in photos]
    left = MAX_BYTES - len(template) - sum(map(len, parts.values())) - len(_json(counted)) - 100
    fitting = 0
    while fitting < len(entries) and (left := left - len(entries[fitting]) - 1) >= 0:
        fitting += 1
    parts["data"] = _json(counted)[:-1] + ',"photos":[' + ",".join(entries[:fitting]) + "]}"
    return re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template), fitting


def _photos(
    path: Path, rows: ManifestCounts, chosen: Indices, roots: tuple[Path, ...], workers: int | None
) -> Iterator[dict[str, Any]]:
    """The chosen photos with their numbers and pictures, in their order."""
    found = page_data.fetched(path, chosen)
    places = {number: PhotoLocation.of(row, roots) for number, row in found.items()}
    readable = [place for number, place in places.items() if rows.bins[number] >= 0]
    pictures = thumbnails(readable, side_px(len(readable)), workers=workers)
    blocked = rows.blocked
    for number in chosen.tolist():
        place = places[number]
        sector, is_blocked = int(rows.sectors[number]), bool(blocked[number])
        yield page_data.photo(number, found[number], sector, is_blocked, pictures.get(place), place.url())


def _json(value: Any) -> str:
    """ASCII, and without the signs that could end a script element or begin another."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def _file(name: str) -> str:
    return (files("curate.report") / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _check_output(out: Path) -> None:
    with write_errors(out, ManifestError, "-o"):
        if os.path.lexists(out) and not (out.is_file() and _MARK.encode() in out.read_bytes()[:1000]):
            raise ManifestError(f"{out} is in the way and is no report of ours: choose another output with -o")
        check_writable(out)


def _write(out: Path, text: str) -> None:
    with write_errors(out, ManifestError, "-o"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(text.encode("ascii"), out)
