"""What the commands say, as lines: no printing and no deciding, so that it can be read and tested by itself."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.filtering.options import NUMERIC_MEASURES, TONES
from curate.text import format_bytes, format_number, pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.explain import Explanation
    from curate.exporting.export import ExportSummary as Exported
    from curate.filtering.filter import FilterSummary
    from curate.manifest.reader import Ancestor
    from curate.packing.pack import PackSummary as Pack
    from curate.report import ReportSummary
    from curate.scanning.resume import ListingStats
    from curate.scanning.scan import ScanSummary

LEVELS = ("not", "slightly", "moderately", "averagely", "quite", "highly", "extremely")


def scan_summary(summary: ScanSummary, out: Path) -> Iterator[str]:
    """A scan's closing summary."""
    yield f"{pluralize(summary.photos, 'photo')}: {summary.scored:,} scored, {sum(summary.errors.values()):,} failed"
    if summary.measured_now < summary.photos:
        yield f"  measured now: {summary.measured_now:,}; known and unchanged: the rest"
    if summary.missing:
        yield f"  missing now, rows kept: {pluralize(summary.missing, 'photo')}; `curate scan --prune` drops these rows"
    if summary.dropped:
        yield f"  not found now, rows dropped: {pluralize(summary.dropped, 'photo')}"
    if summary.passed_over:
        yield f"  passed over, as no photo by name or content: {pluralize(summary.passed_over, 'file')}"
    for kind, count in summary.errors.most_common():
        yield f"  {count:>9,}  {kind}"
    if summary.scored:
        yield "tone"
        yield from _bars(TONES, summary.tones)
        yield "colourfulness (M: 0 not, 15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly, 109 extremely)"
        yield from _bars(LEVELS, summary.levels)
    yield f"written: {out}"


def dry_scan_summary(found: ListingStats) -> Iterator[str]:
    """What a scan would do."""
    to_do = f"{found.to_do:,} to be read, {format_bytes(found.bytes_to_do)}"
    yield f"{pluralize(found.files, 'file')}, of these {to_do}; nothing was measured or written"
    if found.missing:
        yield f"  missing now, rows kept: {pluralize(found.missing, 'known photo')}"
    if found.dropped:
        yield f"  not found now, rows to be dropped: {pluralize(found.dropped, 'known photo')}"


def filter_summary(chosen: FilterSummary) -> Iterator[str]:
    """What was kept and dropped, for which reasons, how colourful."""
    kept, rejected = chosen.kept, chosen.rejected
    yield f"{chosen.scanned:,} scanned: {kept:,} kept, {rejected:,} rejected (a photo may have several reasons)"
    if chosen.metric.endswith("-fast"):
        yield "scored with --fidelity fast, where M is off by 1 to 2: scan with --fidelity exact if the line matters"
    for name, count in chosen.dropped_by.items():
        yield f"  {count:>9,}  {name}"
    lines = {bound.column: bound for bound in chosen.options.lines() if bound.lowest}
    for top in chosen.options.keep_top:
        if line := lines.get(top.column):
            name = "colourfulness" if top.column == "colorfulness" else top.column
            yield f"the top {top.percent:g} % by {name}: {line.option} {format_number(line.line)}"
    yield "split: " + ", ".join(f"{chosen.splits[name]:,} {name}" for name in ("train", "val", "test"))
    yield from _histogram(chosen.kept_by_ten.tolist(), chosen.rejected_by_ten.tolist())


def strictest_rule_warning(chosen: FilterSummary, look: str) -> str | None:
    """A warning if less than half is left; `look` names the manifest that has the photos."""
    if 2 * chosen.kept >= chosen.scanned:
        return None
    worst = max(chosen.dropped_by, key=lambda name: chosen.dropped_by[name])
    if worst == "balance":  # a number that was asked for
        return None
    left = f"only {100 * chosen.kept / chosen.scanned:.1f} % was kept" if chosen.kept else "nothing was kept"
    return f"Warning: {left}; most was dropped by: {worst}. See which with `curate report {look}` before you train."


def pack_summary(made: Pack, out: Path) -> Iterator[str]:
    """A pack's closing summary; of many failures the first ten, and where the rest is."""
    yield f"{pluralize(made.photos, 'photo')} packed, {format_bytes(made.bytes)}; {len(made.failed):,} failed"
    if made.packed_now < made.photos + len(made.failed):
        yield f"  packed now: {made.packed_now:,}; there already: the rest"
    yield from _failed(made.failed, out)
    if made.photos:
        yield f"written: {out}; next: train fit {out}"


def export_summary(made: Exported, out: Path) -> Iterator[str]:
    """An export's closing summary."""
    yield f"{pluralize(made.photos, 'photo')} exported, {len(made.failed):,} failed"
    if made.exported_now < made.photos:
        yield f"  exported now: {made.exported_now:,}; there already: the rest"
    yield from _failed(made.failed, out)
    if made.photos:
        yield f"written: {out}"


def _failed(failed: list[tuple[str, str]], out: Path) -> Iterator[str]:
    for path, reason in failed[:10]:
        yield f"  {path}: {reason}"
    if len(failed) > 10:
        yield f"  ... all of them in {out / 'failed.csv'}"


def explanation_lines(photo: Path, found: Explanation) -> Iterator[str]:
    """A photo's verdict and scores."""
    yield f"{photo}: {'rejected: ' + '; '.join(found.reasons) if found.reasons else 'kept'}"
    row = found.row
    if since := row.get("missing_since"):
        yield f"  {'missing_since':<21} {since:%Y-%m-%d %H:%M:%S} UTC"
    for name in ("error", "format", "width", "height", *NUMERIC_MEASURES, "tone", "tone_confidence"):
        value = row.get(name)
        if value is not None:
            yield f"  {name:<21} {f'{value:.4g}' if isinstance(value, float) else value}"


def manifest_lines(path: Path, counts: dict[str, Counter[str]], sha256: str) -> Iterator[str]:
    """A manifest's rows by split and tone."""
    yield f"{path}: {pluralize(counts['split'].total(), 'row')}, sha256 {sha256}"
    for column, found in counts.items():
        told = ", ".join(f"{count:,} {name}" for name, count in found.most_common() if name)
        if told:
            yield f"  {column:<8} {told}"


def ancestor_lines(ancestor: Ancestor) -> Iterator[str]:
    """One link of a manifest's lineage."""
    yield f"{ancestor.path}: {ancestor.state}"
    lineage = ancestor.lineage
    if lineage is None:
        return
    yield f"  {lineage.kind}, made by vividset {lineage.tool_version} (scorer {lineage.scorer_version})"
    yield f"  command  {lineage.command}"
    told = [
        f"{name} {_lineage_lines(value)}"
        for name, value in lineage.options.items()
        if _lineage_lines(value) and name != "made_by"
    ]
    yield from _wrapped("options", told)
    yield f"  metric   {lineage.metric}"
    yield from _wrapped("counts", [f"{count:,} {name}" for name, count in lineage.counts.items()])


def column_lines(schema: pa.Schema) -> Iterator[str]:
    """A manifest's columns, those of one type together."""
    yield "columns"
    kinds: dict[str, list[str]] = {}
    for column in schema:
        kinds.setdefault(str(column.type).split("<", maxsplit=1)[0], []).append(column.name)
    for kind, names in kinds.items():
        yield from _wrapped(kind, names)


def _lineage_lines(value: Any) -> str:
    """An option's value in words; nothing for what isn't in force."""
    if isinstance(value, dict):
        return " ".join(f"{name} {_lineage_lines(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(_lineage_lines(each) for each in value)
    if isinstance(value, float):
        return format_number(value)
    return str(value) if value else ""


def _wrapped(name: str, items: list[str]) -> Iterator[str]:
    """`name  item, item, ...`, in lines of 100 letters."""
    if items:
        yield from textwrap.wrap(
            ", ".join(items),
            100,
            initial_indent=f"  {name:<8} ",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )


def report_summary(page: ReportSummary) -> Iterator[str]:
    """What a page shows, and where it is."""
    yield f"{pluralize(page.photos, 'photo')}: {page.shown:,} on the page"
    if page.missing:
        yield f"  {page.missing:>9,}  without a picture: gone or unreadable now; say where they moved with --root"
    yield f"written: {page.out} ({page.bytes / 1e6:.1f} MB)"


def _bars(names: tuple[str, ...], counts: Counter[str]) -> Iterator[str]:
    total, widest = max(1, counts.total()), max(1, *counts.values())
    for name in names:
        bar = "█" * round(30 * counts[name] / widest)
        yield f"  {counts[name]:>9,}  {100 * counts[name] / total:5.1f} %  {name:<10} {bar}".rstrip()


def _histogram(kept: list[int], rejected: list[int]) -> Iterator[str]:
    """Colourfulness in tens."""
    widest = max(solid + light for solid, light in zip(kept, rejected, strict=True))
    if not widest:
        return
    yield "colourfulness (█ kept, ░ dropped)"
    for number, (solid, light) in enumerate(zip(kept, rejected, strict=True)):
        low = 10 * number
        bar = "█" * round(50 * solid / widest)
        bar += "░" * (round(50 * (solid + light) / widest) - len(bar))
        yield f"  {f'{low}-{low + 9}' if number + 1 < len(kept) else f'{low}+':>7} {bar}".rstrip()
