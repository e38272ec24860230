"""Numbers to verdicts: kept and rejected photos, every reason kept, and the split."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import gates, manifest
from curate.errors import ManifestError, UsageError
from curate.gates import Bound, Gate
from curate.manifest import DECISION, SCAN_SCHEMA, Lineage, Manifest
from curate.measures.tone import TONES

NEEDED = ("source", "path", "sha256", "colorfulness", "tone", "error")


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the kept photos, in percent; they add up to 100."""

    train: float = 90.0
    val: float = 5.0
    test: float = 5.0

    def __post_init__(self) -> None:
        shares = (self.train, self.val, self.test)
        if not all(math.isfinite(share) and share >= 0 for share in shares) or abs(sum(shares) - 100) > 1e-6:
            raise UsageError(f"the split {self} doesn't add up to 100: write it like 90/5/5 (train/val/test)")

    def __str__(self) -> str:
        return f"{self.train:g}/{self.val:g}/{self.test:g}"

    @classmethod
    def parse(cls, text: str) -> Split:
        """From `train/val/test`, like `90/5/5`.

        >>> Split.parse("80/10/10").train
        80.0
        """
        try:
            train, val, test = (float(share) for share in text.split("/"))
        except ValueError as exc:
            raise UsageError(f"the split {text!r} isn't understood: write it like 90/5/5 (train/val/test)") from exc
        return cls(train, val, test)


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What decides; the defaults keep colourful colour photos and nothing else."""

    min_colorfulness: float = 20.0
    """M below this is rejected; the documented recipe's 20 lies between the paper's `slightly` and `moderately`."""
    keep_tones: frozenset[str] = frozenset({"color"})
    """Tones that aren't rejected."""
    split: Split = field(default_factory=Split)
    bounds: tuple[Bound, ...] = ()
    """Further lowest and highest values."""
    min_side_px: int = 0
    """Photos whose short side is shorter are rejected."""
    max_aspect: float = math.inf
    """Photos whose long side is more than so many times the short one are rejected."""
    where: str | None = None
    """An SQL condition over the columns; photos for which it isn't true are rejected."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.min_colorfulness):
            raise UsageError("--min-colorfulness must be a finite number, like 20")
        if not self.max_aspect >= 1:
            raise UsageError("--max-aspect must be at least 1, like 3 for panoramas up to 3:1")
        if unknown := self.keep_tones - set(TONES):
            raise UsageError(f"no tone is called {', '.join(sorted(unknown))}: choose from {', '.join(TONES)}")


@dataclass(frozen=True, slots=True)
class Selection:
    """A decided manifest: kept + rejected = scanned."""

    kept: pa.Table
    rejected: pa.Table
    dropped_by: Mapping[str, int]
    """Photos per gate that rejected them; one photo may count in several."""


def select(table: pa.Table, options: FilterOptions) -> Selection:
    """Decide every row of a scan.

    Args:
        table: in the scan schema.
        options: see `FilterOptions`.

    Returns:
        Kept rows with their `split`, rejected rows with all their `reject_reasons`; both in the scan's order.
    """
    table = _as_scanned(table)
    judged = list(_gates(table, options))
    rejected = np.logical_or.reduce([gate.fails for gate in judged])
    undecided = table.drop_columns([name for name in ("split", "reject_reasons") if name in table.column_names])
    kept_rows = undecided.filter(pa.array(~rejected))
    return Selection(
        kept=_decided(kept_rows, split_of(kept_rows["sha256"], options.split), _no_reasons(kept_rows.num_rows)),
        rejected=_decided(
            undecided.filter(pa.array(rejected)), pa.nulls(int(rejected.sum()), pa.string()), _reasons(judged, rejected)
        ),
        dropped_by={gate.name: int(gate.fails.sum()) for gate in judged},
    )


def _gates(table: pa.Table, options: FilterOptions) -> Iterator[Gate]:
    """Every rule in force; one that lets all through by its default isn't."""
    unreadable = gates.readable(table)
    yield unreadable
    yield gates.bound(table, Bound("colorfulness", options.min_colorfulness, lowest=True))
    yield gates.tone(table, options.keep_tones)
    for rule in options.bounds:
        yield gates.bound(table, rule)
    if options.min_side_px:
        yield gates.min_side(table, options.min_side_px)
    if math.isfinite(options.max_aspect):
        yield gates.max_aspect(table, options.max_aspect)
    if options.where is not None:
        yield gates.where(table, options.where, ~unreadable.fails)


def write_selection(
    scan_path: Path, clean_path: Path, options: FilterOptions, *, command: str = "", dry_run: bool = False
) -> Selection:
    """Read a scan, decide, and write the clean manifest and `rejected.parquet` beside it, unless it is a dry run.

    Raises:
        ManifestError: the scan can't be read, or an output can't be written or would replace the scan.
    """
    rejected_path = clean_path.with_name("rejected.parquet")
    _check_outputs(scan_path, clean_path, rejected_path)
    scanned = manifest.read(scan_path, need=NEEDED)
    chosen = select(scanned.table, options)
    if dry_run:
        return chosen
    counts = {"scanned": scanned.table.num_rows, "kept": chosen.kept.num_rows, "rejected": chosen.rejected.num_rows}
    manifest.write(rejected_path, chosen.rejected, _lineage("rejected", scanned, options, command, counts))
    manifest.write(clean_path, chosen.kept, _lineage("clean", scanned, options, command, counts))
    return chosen


def split_of(sha256: pa.ChunkedArray, split: Split) -> pa.Array:
    """`train`, `val` or `test` for each content hash, whatever other photos there are.

    >>> split_of(pa.chunked_array([["00" * 32, "f0" * 32, "ff" * 32]]), Split()).to_pylist()
    ['train', 'val', 'test']
    """
    place = np.array([int(digest[:8], 16) for digest in sha256.to_pylist()], np.float64) * (100 / 2**32)
    names = np.array(["train", "val", "test"])
    return pa.array(names[(place >= split.train).astype(int) + (place >= split.train + split.val)], pa.string())


def _as_scanned(table: pa.Table) -> pa.Table:
    """The columns that decide, in the scan's own types: other programs save them in wider ones."""
    for name in NEEDED:
        table = table.set_column(
            table.column_names.index(name), SCAN_SCHEMA.field(name), table[name].cast(SCAN_SCHEMA.field(name).type)
        )
    return table


def _check_outputs(scan_path: Path, clean_path: Path, rejected_path: Path) -> None:
    if clean_path.name == rejected_path.name:
        raise ManifestError("the kept photos can't be called rejected.parquet: choose another name with -o")
    for path in (clean_path, rejected_path):
        if path.resolve() == scan_path.resolve():
            raise ManifestError(f"{path} is the scan itself: choose another output with -o")
        if os.path.lexists(path) and not _ours(path):
            raise ManifestError(f"{path} is in the way and was not made by a filter: choose another output with -o")


def _ours(path: Path) -> bool:
    """Whether a filter made the file, so that another may replace it."""
    try:
        _, lineage = manifest.inspect(path)
    except ManifestError:
        return False
    return lineage is not None and lineage.kind in ("clean", "rejected")


def _lineage(kind: str, scan: Manifest, options: FilterOptions, command: str, counts: dict[str, int]) -> Lineage:
    recorded: dict[str, Any] = {
        "min_colorfulness": options.min_colorfulness,
        "keep_tones": sorted(options.keep_tones),
        "split": str(options.split),
        "bounds": {rule.option: rule.line for rule in options.bounds},
        "min_side_px": options.min_side_px,
        "max_aspect": options.max_aspect if math.isfinite(options.max_aspect) else None,
        "where": options.where,
    }
    scorer = scan.lineage.scorer_version if scan.lineage else 0
    metric = scan.lineage.metric if scan.lineage else "unknown"
    return Lineage(
        kind,
        command,
        recorded,
        parent_sha256=scan.sha256,
        parent_path=str(scan.path),
        ancestors=scan.chain(),
        metric=metric,
        scorer_version=scorer,
        counts=counts,
    )


def _decided(table: pa.Table, split: pa.Array, reasons: pa.Array) -> pa.Table:
    for column, values in zip(DECISION, (split, reasons), strict=True):
        table = table.append_column(column, values)
    return table


def _no_reasons(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.list_(pa.string()))


def _reasons(judged: Sequence[Gate], rejected: NDArray[np.bool_]) -> pa.Array:
    """(rows) lists of text: per rejected row, the reasons of all gates that it fails, in the gates' order."""
    fails = np.stack([gate.fails[rejected] for gate in judged], axis=1)
    texts = [gate.reasons.filter(pa.array(rejected)) for gate in judged]
    rows = int(rejected.sum())
    interleaved = pa.concat_arrays(texts).take(
        pa.array(np.arange(rows * len(judged)).reshape(len(judged), rows).T.ravel())
    )
    offsets = np.concatenate([[0], np.cumsum(fails.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), interleaved.filter(pa.array(fails.ravel())))
