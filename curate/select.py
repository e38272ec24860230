"""Numbers to verdicts: kept and rejected photos, every reason kept, and the split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import manifest
from curate.errors import ManifestError, UsageError
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

    def __post_init__(self) -> None:
        if not math.isfinite(self.min_colorfulness):
            raise UsageError("--min-colorfulness must be a finite number, like 20")
        if unknown := self.keep_tones - set(TONES):
            raise UsageError(f"no tone is called {', '.join(sorted(unknown))}: choose from {', '.join(TONES)}")


@dataclass(frozen=True, slots=True)
class Selection:
    """A decided manifest: kept + rejected = scanned."""

    kept: pa.Table
    rejected: pa.Table
    dropped_by: Mapping[str, int]
    """Photos per gate that rejected them; one photo may count in several."""


@dataclass(frozen=True, slots=True)
class _Gate:
    """One rule's verdicts over all rows."""

    name: str
    fails: NDArray[np.bool_]
    reasons: pa.Array
    """Text for every row; only the failing rows' is used."""


def select(table: pa.Table, options: FilterOptions) -> Selection:
    """Decide every row of a scan.

    Args:
        table: in the scan schema.
        options: see `FilterOptions`.

    Returns:
        Kept rows with their `split`, rejected rows with all their `reject_reasons`; both in the scan's order.
    """
    table = _as_scanned(table)
    gates = [_readable(table), _colorful(table, options.min_colorfulness), _tone(table, options.keep_tones)]
    rejected = np.logical_or.reduce([gate.fails for gate in gates])
    undecided = table.drop_columns([name for name in ("split", "reject_reasons") if name in table.column_names])
    kept_rows = undecided.filter(pa.array(~rejected))
    return Selection(
        kept=_decided(kept_rows, split_of(kept_rows["sha256"], options.split), _no_reasons(kept_rows.num_rows)),
        rejected=_decided(
            undecided.filter(pa.array(rejected)), pa.nulls(int(rejected.sum()), pa.string()), _reasons(gates, rejected)
        ),
        dropped_by={gate.name: int(gate.fails.sum()) for gate in gates},
    )


def write_selection(scan_path: Path, clean_path: Path, options: FilterOptions, *, command: str = "") -> Selection:
    """Read a scan, decide, and write the clean manifest and `rejected.parquet` beside it.

    Raises:
        ManifestError: the scan can't be read, or an output can't be written or would replace the scan.
    """
    rejected_path = clean_path.with_name("rejected.parquet")
    _check_outputs(scan_path, clean_path, rejected_path)
    scanned = manifest.read(scan_path, need=NEEDED)
    chosen = select(scanned.table, options)
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


def _lineage(kind: str, scan: Manifest, options: FilterOptions, command: str, counts: dict[str, int]) -> Lineage:
    recorded: dict[str, Any] = {
        "min_colorfulness": options.min_colorfulness,
        "keep_tones": sorted(options.keep_tones),
        "split": str(options.split),
    }
    scorer = scan.lineage.scorer_version if scan.lineage else 0
    metric = scan.lineage.metric if scan.lineage else "unknown"
    return Lineage(
        kind,
        command,
        recorded,
        parent_sha256=scan.sha256,
        parent_path=str(scan.path),
        metric=metric,
        scorer_version=scorer,
        counts=counts,
    )


def _decided(table: pa.Table, split: pa.Array, reasons: pa.Array) -> pa.Table:
    for column, values in zip(DECISION, (split, reasons), strict=True):
        table = table.append_column(column, values)
    return table


def _bools(values: Any) -> NDArray[np.bool_]:
    filled = pc.fill_null(values, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.bool_)


def _readable(table: pa.Table) -> _Gate:
    error = table["error"].combine_chunks()
    unmeasured = _bools(pc.is_valid(error)) | _bools(pc.is_null(table["colorfulness"], nan_is_null=True))
    text = pc.binary_join_element_wise("unreadable:", pc.fill_null(error, "it was not measured"), " ")
    return _Gate("unreadable", unmeasured, text)


def _colorful(table: pa.Table, line: float) -> _Gate:
    values = table["colorfulness"].combine_chunks().cast(pa.float64())
    fails = _bools(pc.less(values, line))
    return _Gate(f"colorfulness < {_plain(line)}", fails, _below("colorfulness", values, line))


def _below(name: str, values: pa.Array, line: float) -> pa.Array:
    """`name 17.3 < 20`, rounded down so that the sentence is true."""
    shown = pc.divide(pc.floor(pc.multiply(values, 10.0)), 10.0)
    return pc.binary_join_element_wise(f"{name} ", shown.cast(pa.string()), f" < {_plain(line)}", "")


def _plain(number: float) -> str:
    """As short as it can be said without changing it.

    >>> _plain(20.0), _plain(20.00000001)
    ('20', '20.00000001')
    """
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _tone(table: pa.Table, keep: frozenset[str]) -> _Gate:
    tones = table["tone"].combine_chunks()
    kept = pc.is_in(tones, value_set=pa.array(sorted(keep), pa.string()))
    fails = _bools(pc.and_(pc.is_valid(tones), pc.invert(kept)))
    return _Gate("tone", fails, pc.binary_join_element_wise("tone is", tones, " "))


def _no_reasons(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.list_(pa.string()))


def _reasons(gates: Sequence[_Gate], rejected: NDArray[np.bool_]) -> pa.Array:
    """(rows) lists of text: per rejected row, the reasons of all gates that it fails, in the gates' order."""
    fails = np.stack([gate.fails[rejected] for gate in gates], axis=1)
    texts = [gate.reasons.filter(pa.array(rejected)) for gate in gates]
    rows = int(rejected.sum())
    interleaved = pa.concat_arrays(texts).take(
        pa.array(np.arange(rows * len(gates)).reshape(len(gates), rows).T.ravel())
    )
    offsets = np.concatenate([[0], np.cumsum(fails.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), interleaved.filter(pa.array(fails.ravel())))
