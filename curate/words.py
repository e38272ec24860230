"""What the commands say, as lines: no printing and no deciding, so that it can be read and tested by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.explain import Ancestor, Explanation
    from curate.report import Written
    from curate.scan import Summary
    from curate.select import Selection

LEVELS = ("not", "slightly", "moderately", "averagely", "quite", "highly", "extremely")
TONES = ("color", "grayscale", "sepia", "toned")
BOUNDED = (
    "colorfulness",
    "chroma_mean",
    "saturation_mean",
    "hue_entropy_bits",
    "neutral_share",
    "lightness_mean",
    "dark_clipped_share",
    "bright_clipped_share",
    "sharpness",
)
"""Measures that can have a line."""


def of_scan(summary: Summary, out: Path) -> Iterator[str]:
    """A scan's closing summary."""
    yield f"{summary.photos:,} photos: {summary.scored:,} scored, {sum(summary.errors.values()):,} failed"
    if summary.measured_now < summary.photos:
        yield f"  measured now: {summary.measured_now:,}; known and unchanged: the rest"
    if summary.passed_over:
        yield f"  passed over: {summary.passed_over:,} files that are no photos by name or content"
    for kind, count in summary.errors.most_common():
        yield f"  {count:>9,}  {kind}"
    if summary.scored:
        yield "tone"
        yield from _bars(TONES, summary.tones)
        yield "colourfulness (M: 0 not, 15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly, 109 extremely)"
        yield from _bars(LEVELS, summary.levels)
    yield f"written: {out}"


def of_selection(chosen: Selection) -> Iterator[str]:
    """What was kept and dropped, for which reasons, how colourful."""
    kept, rejected = chosen.kept.num_rows, chosen.rejected.num_rows
    yield f"{kept + rejected:,} scanned: {kept:,} kept, {rejected:,} rejected (a photo may have several reasons)"
    for name, count in chosen.dropped_by.items():
        yield f"  {count:>9,}  {name}"
    splits = Counter(chosen.kept["split"].to_pylist())
    yield "split: " + ", ".join(f"{splits[name]:,} {name}" for name in ("train", "val", "test"))
    yield from _histogram(chosen.kept, chosen.rejected)


def of_gate_that_drops_most(chosen: Selection) -> str | None:
    """A warning if less than half is left."""
    kept, scanned = chosen.kept.num_rows, chosen.kept.num_rows + chosen.rejected.num_rows
    if 2 * kept >= scanned:
        return None
    worst = max(chosen.dropped_by, key=lambda name: chosen.dropped_by[name])
    left = f"only {100 * kept / scanned:.1f} % was kept" if kept else "nothing was kept"
    return f"Warning: {left}; most was dropped by: {worst}. Look at rejected.parquet before you train."


def of_explanation(photo: Path, found: Explanation) -> Iterator[str]:
    """A photo's verdict and scores."""
    yield f"{photo}: {'rejected: ' + '; '.join(found.reasons) if found.reasons else 'kept'}"
    row = found.record.row()
    for name in ("error", "format", "width", "height", *BOUNDED, "tone", "tone_score", "tone_confidence"):
        value = row.get(name)
        if value is not None:
            yield f"  {name:<21} {f'{value:.4g}' if isinstance(value, float) else value}"


def of_table(path: Path, table: pa.Table, sha256: str) -> Iterator[str]:
    """A manifest's rows by split and tone."""
    yield f"{path}: {table.num_rows:,} rows, sha256 {sha256}"
    for column in table.column_names:
        counts = Counter(value for value in table[column].to_pylist() if value is not None)
        if counts:
            yield f"  {column}: " + ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


def of_ancestor(ancestor: Ancestor) -> Iterator[str]:
    """One link of a manifest's lineage."""
    yield f"{ancestor.path}: {ancestor.state}"
    lineage = ancestor.lineage
    if lineage is None:
        return
    maker = f"vividset {lineage.tool_version} (scorer {lineage.scorer_version})"
    yield f"  {lineage.kind}, made by {maker}: {lineage.command}"
    options = ", ".join(f"{name} {value}" for name, value in lineage.options.items() if value not in (None, {}, 0))
    yield f"  options: {options}"
    if lineage.counts:
        yield "  counts: " + ", ".join(f"{count:,} {name}" for name, count in lineage.counts.items())


def of_report(page: Written) -> Iterator[str]:
    """What a page shows, and where it is."""
    yield f"{page.photos:,} photos: {page.shown:,} on the page"
    if page.missing:
        yield f"  {page.missing:>9,}  without a picture: gone or unreadable now; say where they moved with --root"
    yield f"written: {page.out} ({page.bytes / 1e6:.1f} MB)"


def _bars(names: tuple[str, ...], counts: Counter[str]) -> Iterator[str]:
    total, widest = max(1, counts.total()), max(1, *counts.values())
    for name in names:
        bar = "█" * round(30 * counts[name] / widest)
        yield f"  {counts[name]:>9,}  {100 * counts[name] / total:5.1f} %  {name:<10} {bar}".rstrip()


def _histogram(kept: pa.Table, rejected: pa.Table) -> Iterator[str]:
    """Colourfulness in tens."""
    import numpy as np

    edges = [*range(0, 120, 10), np.inf]
    counts = [
        np.histogram(table["colorfulness"].drop_null().to_numpy(), edges)[0].tolist() for table in (kept, rejected)
    ]
    widest = max(here + there for here, there in zip(*counts, strict=True))
    if not widest:
        return
    yield "colourfulness (█ kept, ░ dropped)"
    for low, solid, light in zip(edges, *counts, strict=False):
        bar = "█" * round(50 * solid / widest)
        bar += "░" * (round(50 * (solid + light) / widest) - len(bar))
        yield f"  {f'{low}-{low + 9}' if low < 110 else '110+':>7} {bar}".rstrip()
