"""The lines that commands print. These functions neither print nor decide, so tests can call them directly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.filtering.option_values import NUMERIC_MEASURES
from curate.locations import Location
from curate.measures.names import LEVELS, TONES
from curate.text import format_bytes, format_number, pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.explain import Explanation
    from curate.exporting.items import ExportSummary
    from curate.filtering.filter import FilterSummary, ListSummary
    from curate.manifest.reader import Ancestor
    from curate.packing.pack import PackSummary
    from curate.report import ReportSummary
    from curate.scanning.summary import ScanSummary
    from curate.scanning.work_dir import ListingStats

MAX_UNMATCHED = 5
"""Entries of a list without a photo that a filter names."""
MAX_FAILURES = 10
"""Failed photos that a pack or an export lists; failed.csv has all of them."""


def scan_summary(summary: ScanSummary, out: Location) -> Iterator[str]:
    """The result of a scan: numbers of photos, errors by kind, tones, and levels of colorfulness."""
    failed = sum(summary.errors.values())
    yield f"{pluralize(summary.photos, 'photo')}: {summary.scored:,} measured, {failed:,} failed"
    if summary.measured_now < summary.photos:
        yield f"  read now: {summary.measured_now:,}; unchanged since an earlier scan: the rest"
    if summary.missing:
        yield f"  missing: {pluralize(summary.missing, 'photo')}; rows kept (`curate scan --prune` removes them)"
    if summary.dropped:
        yield f"  missing: {pluralize(summary.dropped, 'photo')}; rows removed"
    yield from _unknown_paths(summary.unknown_paths)
    if summary.excluded_rows:
        yield f"  excluded: {pluralize(summary.excluded_rows, 'photo')} of an earlier scan; rows removed"
    yield from _skipped_names(summary.excluded)
    yield from _passed_over(summary)
    if summary.skipped:
        yield f"  skipped, not a photo by name or content: {pluralize(summary.skipped, 'file')}"
    for kind, count in summary.errors.most_common():
        yield f"  {count:>9,}  {kind}"
    if summary.scored:
        yield "tone"
        yield from _bar_chart(TONES, summary.tones)
        levels = ", ".join(f"{start} {name}" for start, name in LEVELS)
        yield f"colorfulness ({levels})"
        yield from _bar_chart([name for _, name in LEVELS], summary.levels)
    yield f"written: {out}"


def _unknown_paths(paths: Sequence[str]) -> Iterator[str]:
    """A line for each path to forget of which the earlier scan has no row."""
    for path in paths:
        yield f"! --forget {path}: the earlier scan has no photo there, so nothing was forgotten; check the path"


def dry_scan_summary(listing: ListingStats) -> Iterator[str]:
    """The work that a scan would have to do."""
    to_read = f"{listing.to_measure:,} to read ({format_bytes(listing.bytes_to_measure)})"
    yield f"{pluralize(listing.files, 'file')}, {to_read}; dry run: nothing was measured or written"
    if listing.streams:
        yield f"  compressed tars: {listing.streams:,}, each counted as one file: their photos are counted when read"
    if listing.missing:
        yield f"  missing: {pluralize(listing.missing, 'photo')}; rows would be kept"
    if listing.dropped:
        yield f"  missing: {pluralize(listing.dropped, 'photo')}; rows would be removed"
    yield from _unknown_paths(listing.unknown_paths)
    if listing.excluded_rows:
        yield f"  excluded: {pluralize(listing.excluded_rows, 'photo')} of an earlier scan; rows would be removed"
    yield from _skipped_names(listing.excluded)
    yield from _passed_over(listing)


def _skipped_names(excluded: Mapping[str, int]) -> Iterator[str]:
    """The number of files and folders that a listing skipped, by the name or pattern that they match."""
    if excluded:
        counts = ", ".join(f"{count:,} {name}" for name, count in Counter(excluded).most_common())
        yield f"  skipped by name, files and folders: {sum(excluded.values()):,} ({counts})"


def _passed_over(listed: ScanSummary | ListingStats) -> Iterator[str]:
    """The number and the first names of the Parquet and Arrow files without images."""
    if count := listed.tables_without_images:
        more = f" and {count - len(listed.tables_passed_over):,} more" if count > len(listed.tables_passed_over) else ""
        names = ", ".join(listed.tables_passed_over)
        yield f"  without images: {pluralize(count, 'Parquet or Arrow file')} ({names}{more})"


def filter_summary(chosen: FilterSummary) -> Iterator[str]:
    """The result of a filter: kept and rejected photos, rejections by rule, splits, histogram of colorfulness."""
    counts = f"{chosen.kept:,} kept, {chosen.rejected:,} rejected"
    yield f"{pluralize(chosen.scanned, 'photo')}: {counts} (a photo may have several reasons)"
    if chosen.metric.endswith("-fast"):
        yield (
            "the scan used --fidelity fast, so colorfulness is off by 1 to 2; scan with --fidelity exact for exact "
            "thresholds"
        )
    for name, count in chosen.rejected_by_rule.items():
        yield f"  {count:>9,}  {name}"
    if chosen.waived:
        yield f"  {chosen.waived:>9,}  kept by the keep list, although a rule rejects them"
    if chosen.joined is not None:
        yield f"--join: the table has {chosen.joined:,} of {pluralize(chosen.scanned, 'photo')}"
    for photo_list in chosen.lists:
        yield from _list_lines(photo_list)
    lower_bounds = {bound.column: bound for bound in chosen.options.all_bounds() if bound.is_min}
    for top in chosen.options.keep_top:
        if bound := lower_bounds.get(top.column):
            threshold = f"{bound.option} {format_number(bound.limit)}"
            yield f"threshold for the top {top.percent:g} % by {top.column}: {threshold}"
    yield "split: " + ", ".join(f"{chosen.splits[name]:,} {name}" for name in ("train", "val", "test"))
    yield from _histogram(chosen.kept_histogram.tolist(), chosen.rejected_histogram.tolist())


def _list_lines(photo_list: ListSummary) -> Iterator[str]:
    """How many entries of a list name photos of the scan, and the first that name none."""
    unmatched = photo_list.unmatched
    entries = pluralize(photo_list.entries, "entry")
    yield f"{photo_list.option}: {entries}, {len(unmatched):,} of them in no row of the scan{':' if unmatched else ''}"
    yield from (f"  {entry}" for entry in unmatched[:MAX_UNMATCHED])
    if len(unmatched) > MAX_UNMATCHED:
        yield f"  and {len(unmatched) - MAX_UNMATCHED:,} more"


def join_warning(chosen: FilterSummary) -> str | None:
    """A warning if the table of `--join` has none of the photos; else None."""
    if chosen.joined != 0 or not chosen.scanned:
        return None
    return (
        f"Warning: no photo was found in {chosen.options.join} by {chosen.options.join_on}. Compare its column "
        f"{chosen.options.join_on!r} with that of the scan, or join by another column with --on"
    )


def strictest_rule_warning(chosen: FilterSummary, manifest_path: str) -> str | None:
    """A warning if less than half of the photos was kept, with the rule that rejected most; else None.

    Args:
        chosen: the result of the filter.
        manifest_path: the manifest in which to look at the rejected photos.
    """
    if 2 * chosen.kept >= chosen.scanned:
        return None
    strictest = max(chosen.rejected_by_rule, key=lambda name: chosen.rejected_by_rule[name])
    if strictest == "balance":  # the user asked for this number of photos
        return None
    share = f"only {100 * chosen.kept / chosen.scanned:.1f} % of the photos were" if chosen.kept else "no photo was"
    return (
        f"Warning: {share} kept. Most were rejected by the rule: {strictest}. "
        f"Look at the rejected photos before training: curate report {manifest_path}"
    )


def pack_summary(pack: PackSummary, out: Location) -> Iterator[str]:
    """The result of a pack, with the first failed photos."""
    yield f"{pluralize(pack.photos, 'photo')} packed, {format_bytes(pack.bytes)}; {len(pack.failed):,} failed"
    if pack.packed_now < pack.photos + len(pack.failed):
        yield f"  packed now: {pack.packed_now:,}; already in the pack: the rest"
    yield from _failure_lines(pack.failed, out)
    yield from _sidecar_lines(pack.failed_sidecars, out)
    if pack.photos:
        copy = "" if isinstance(out, Path) else "copy it to a disk of the training machine, then "
        yield f"written: {out}; next step: {copy}train fit {out if isinstance(out, Path) else out.name}"


def export_summary(export: ExportSummary, out: Location) -> Iterator[str]:
    """The result of an export, with the first failed photos."""
    yield f"{pluralize(export.photos, 'photo')} exported, {len(export.failed):,} failed"
    if export.exported_now < export.photos:
        yield f"  exported now: {export.exported_now:,}; already in the folder: the rest"
    if export.left_out:
        yield f"  left out: {pluralize(export.left_out, 'row')} of containers, because a list of paths names files"
    yield from _failure_lines(export.failed, out)
    yield from _sidecar_lines(export.failed_sidecars, out)
    if export.card_kept:
        yield f"{out / 'README.md'} was not written by this command, or was edited: it is kept as it is"
    if export.photos:
        yield f"written: {out}"


def _sidecar_lines(failed: list[tuple[str, str]], out: Location) -> Iterator[str]:
    """How many files that belong to photos are missing in an output, and the first of them."""
    if failed:
        yield f"! {pluralize(len(failed), 'file')} beside photos could not be read, and the output lacks their content:"
        yield from _failure_lines(failed, out)


def _failure_lines(failed: list[tuple[str, str]], out: Location) -> Iterator[str]:
    """Path and reason of the first failed photos, and the file that lists all."""
    for path, reason in failed[:MAX_FAILURES]:
        yield f"  {path}: {reason}"
    if len(failed) > MAX_FAILURES:
        yield f"  ... complete list: {out / 'failed.csv'}"


def explanation_lines(photo: Path, explanation: Explanation) -> Iterator[str]:
    """Whether a photo is kept or rejected, with all reasons, and its measurements."""
    reasons = "; ".join(explanation.reasons)
    waived = "; ".join(explanation.waived)
    by_list = f" by the keep list, although {waived}" if waived else ""
    yield f"{photo}: rejected: {reasons}" if reasons else f"{photo}: kept{by_list}"
    row = explanation.row
    if since := row.get("missing_since"):
        yield f"  {'missing_since':<25} {since:%Y-%m-%d %H:%M:%S} UTC"
    from curate.manifest import ALL_COLUMNS  # here, so that --help doesn't wait for it

    joined = [name for name in row if name not in ALL_COLUMNS.names]
    classes = ("tone", "tone_confidence", "kind", "kind_confidence", "digital_source_type")
    for name in ("error", "format", "width", "height", *NUMERIC_MEASURES, *classes, *joined):
        value = row.get(name)
        if value is not None:
            yield f"  {name:<25} {f'{value:.4g}' if isinstance(value, float) else value}"


def manifest_lines(path: Location, counts: dict[str, Counter[str]], sha256: str) -> Iterator[str]:
    """Number of rows and sha256 of a manifest, and its rows by split and by tone."""
    yield f"{path}: {pluralize(counts['split'].total(), 'row')}, sha256 {sha256}"
    for column, counter in counts.items():
        text = ", ".join(f"{count:,} {name}" for name, count in counter.most_common() if name)
        if text:
            yield f"  {column:<8} {text}"


def ancestor_lines(ancestor: Ancestor) -> Iterator[str]:
    """One manifest of a lineage: whether it still exists unchanged, and the command that made it."""
    yield f"{ancestor.path}: {ancestor.state}"
    lineage = ancestor.lineage
    if lineage is None:
        return
    yield f"  {lineage.kind}, made by vividset {lineage.tool_version} (scorer {lineage.scorer_version})"
    yield f"  command  {lineage.command}"
    options = {name: _option_text(value) for name, value in lineage.options.items() if name != "made_by"}
    yield from _wrapped_list("options", [f"{name} {text}" for name, text in options.items() if text])
    yield f"  metric   {lineage.metric}"
    yield from _wrapped_list("counts", [f"{count:,} {name}" for name, count in lineage.counts.items()])


def column_lines(schema: pa.Schema) -> Iterator[str]:
    """The columns of a manifest, grouped by type."""
    yield "columns"
    names_by_type: dict[str, list[str]] = {}
    for column in schema:
        names_by_type.setdefault(str(column.type).split("<", maxsplit=1)[0], []).append(column.name)
    for type_name, names in names_by_type.items():
        yield from _wrapped_list(type_name, names)


def _option_text(value: Any) -> str:
    """The value of an option in a lineage; empty for options that have no effect, like False or an empty list."""
    if isinstance(value, dict):
        return " ".join(f"{name} {_option_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " ".join(_option_text(inner) for inner in value)
    if isinstance(value, float):
        return format_number(value)
    return str(value) if value else ""


def _wrapped_list(name: str, items: list[str]) -> Iterator[str]:
    """`  name     item, item, ...`; nothing without items."""
    if items:
        yield f"  {name:<8} {', '.join(items)}"


def report_summary(page: ReportSummary) -> Iterator[str]:
    """What a report shows, and where it is."""
    yield f"{pluralize(page.photos, 'photo')}, {page.shown:,} of them on the page"
    if page.missing:
        why = "missing, changed or unreadable now; if the photos moved, use --root"
        yield f"  {page.missing:>9,}  without a thumbnail: {why}"
    yield f"written: {page.out} ({page.bytes / 1e6:.1f} MB)"


def _bar_chart(names: Sequence[str], counts: Counter[str]) -> Iterator[str]:
    """One line per name: count, percentage, name and a bar."""
    total, highest = max(1, counts.total()), max(1, *counts.values())
    for name in names:
        bar = "█" * round(30 * counts[name] / highest)
        yield f"  {counts[name]:>9,}  {100 * counts[name] / total:5.1f} %  {name:<10} {bar}".rstrip()


def _histogram(kept: list[int], rejected: list[int]) -> Iterator[str]:
    """Kept and rejected photos by colorfulness, in steps of 10; nothing if no photo was measured."""
    highest = max(solid + light for solid, light in zip(kept, rejected, strict=True))
    if not highest:
        return
    yield "colorfulness (█ kept, ░ rejected)"
    for number, (solid, light) in enumerate(zip(kept, rejected, strict=True)):
        low = 10 * number
        bar = "█" * round(50 * solid / highest)
        bar += "░" * (round(50 * (solid + light) / highest) - len(bar))
        yield f"  {f'{low}-{low + 9}' if number + 1 < len(kept) else f'{low}+':>7} {bar}".rstrip()
