"""What made a manifest, and of what."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.errors import ManifestError
from curate.manifest.encoding import escape
from curate.manifest.schema import METRIC, SCHEMA_VERSION, SCORER_VERSION
from curate.version import __version__

_PREFIX = "vividset."


@dataclass(frozen=True, slots=True)
class Lineage:
    """What made a manifest; kept as text in the Parquet file's key-value metadata."""

    kind: str
    """`scan`, `clean`, `rejected`, `pack`; or `part`, `listing` inside a scan's work folder."""
    command: str
    """The command as it was typed."""
    options: Mapping[str, Any]
    """Every option in force, defaults included."""
    parent_sha256: str | None = None
    """The manifest that this one was made from; None for a scan."""
    parent_path: str | None = None
    ancestors: Sequence[Mapping[str, str]] = ()
    """All manifests above this one, nearest first: kind, path and sha256, so that the chain is known without them."""
    rows: int | None = None
    """Row count when written."""
    metric: str = METRIC
    """The colourfulness variant of the `colorfulness` column; `-fast` after it if photos were not decoded whole."""
    schema_version: int = SCHEMA_VERSION
    tool_version: str = __version__
    scorer_version: int = SCORER_VERSION
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further counts that add up to something: scanned, kept, rejected, passed over."""

    def to_metadata(self) -> dict[str, str]:
        """As Parquet key-value metadata."""
        return {_PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Lineage | None:
        """From Parquet key-value metadata; None if there is none of ours.

        Raises:
            ValueError: the metadata is ours but can't be understood.
        """
        ours = {k.decode(): v for k, v in (metadata or {}).items() if k.startswith(_PREFIX.encode())}
        if not ours:
            return None
        try:
            fields = {key.removeprefix(_PREFIX): json.loads(value) for key, value in ours.items()}
        except RecursionError as exc:
            raise ValueError("the vividset metadata is damaged") from exc
        known = {name: fields[name] for name in _KINDS if name in fields}
        if not {"kind", "command", "options"} <= known.keys():
            raise ValueError("the vividset metadata is incomplete")
        wrong = [name for name, value in known.items() if not isinstance(value, _KINDS[name])]
        inside = (known.get("ancestors", ()), dict), (known.get("counts", {}).values(), int)
        if wrong or not all(isinstance(each, kind) for values, kind in inside for each in values):
            raise ValueError("the vividset metadata is damaged")
        return cls(**known | {"ancestors": tuple(known.get("ancestors", ()))})


_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("kind", "command", "metric", "tool_version"), str),
    **dict.fromkeys(("parent_sha256", "parent_path"), str | None),
    **dict.fromkeys(("options", "counts"), dict),
    **dict.fromkeys(("schema_version", "scorer_version"), int),
    "ancestors": list,
    "rows": int | None,
}
"""What each field of a `Lineage` is as JSON."""


def list_ancestors(path: Path, sha256: str, lineage: Lineage | None) -> tuple[Mapping[str, str], ...]:
    """A manifest and all that it comes from, nearest first: kind, path and sha256 of each."""
    kind = lineage.kind if lineage else "lineage unknown"
    here = {"kind": kind, "path": escape(str(path.absolute())), "sha256": sha256}
    return (here, *(lineage.ancestors if lineage else ()))


def merge_lineages(files: Sequence[Path], lineages: Sequence[Lineage | None]) -> Lineage:
    """The lineage of all parts of a divided scan together, which then tells the parts instead of a shard.

    Raises:
        ManifestError: a part is missing, doubled, or of another scan, scorer or options.
    """
    by_shard: dict[str, Path] = {}
    first = lineages[0]
    for file, lineage in zip(files, lineages, strict=True):
        shard = str(lineage.options.get("shard")) if lineage else ""
        if first is None or lineage is None or not re.fullmatch(r"\d+/\d+", shard):
            raise ManifestError(f"{file} is no part of a divided scan: name what `curate scan --shard` wrote")
        differing = [
            name for name in ("made_by", "paths", "lists") if lineage.options.get(name) != first.options.get(name)
        ]
        count = shard.partition("/")[2]
        if differing or count != str(first.options["shard"]).partition("/")[2]:
            what = {"made_by": "scorer or options", "paths": "paths", "lists": "lists"}
            why = what[differing[0]] if differing else "number of parts"
            raise ManifestError(f"{file} and {files[0]} differ in their {why}: scan all parts alike, then merge again")
        if shard in by_shard:
            raise ManifestError(f"{file} and {by_shard[shard]} are both part {shard}: name each part once")
        by_shard[shard] = file
    missing = [number for number in range(1, int(count) + 1) if f"{number}/{count}" not in by_shard]
    if missing:
        raise ManifestError(
            f"of {count} parts {', '.join(map(str, missing[:20]))} {'are' if len(missing) > 1 else 'is'} missing: "
            f"run `curate scan --shard {missing[0]}/{count}`, or name its output too"
        )
    return _sum(files, [lineage for lineage in lineages if lineage])


def _sum(files: Sequence[Path], lineages: Sequence[Lineage]) -> Lineage:
    options = {name: value for name, value in lineages[0].options.items() if name != "shard"}
    counts: Counter[str] = Counter()
    for lineage in lineages:
        counts.update(lineage.counts)
    made_of = [{"path": escape(str(file.absolute()))} for file in files]
    return replace(
        lineages[0],
        options=options | {"parts": made_of},
        rows=sum(lineage.rows or 0 for lineage in lineages),
        counts=dict(counts),
    )
