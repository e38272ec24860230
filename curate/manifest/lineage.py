"""What made a manifest, and from which manifests: kept as metadata of the Parquet file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from curate.errors import ManifestError
from curate.locations import Location
from curate.manifest.encoding import escape
from curate.manifest.schema import METRIC, SCHEMA_VERSION, SCORER_VERSION
from curate.version import __version__

_PREFIX = "vividset."


@dataclass(frozen=True, slots=True)
class Lineage:
    """What made a manifest. Each field is a JSON value of the Parquet file's key-value metadata, `vividset.FIELD`."""

    kind: str
    """`scan`, `clean`, `rejected`, `pack` or `run`; `part` or `listing` in the work folder of a scan."""
    command: str
    """The command line as it was typed."""
    options: Mapping[str, Any]
    """All options that were used, defaults included."""
    parent_sha256: str | None = None
    """sha256 of the manifest that this one was made from; None for a scan."""
    parent_path: str | None = None
    ancestors: Sequence[Mapping[str, str]] = ()
    """Kind, path and sha256 of all manifests that this one was made from, nearest first. Readable without them."""
    rows: int | None = None
    """Row count when it was written."""
    metric: str = METRIC
    """Variant of the `colorfulness` column; it ends in `-fast` if photos were decoded at a reduced size."""
    schema_version: int = SCHEMA_VERSION
    tool_version: str = __version__
    scorer_version: int = SCORER_VERSION
    counts: Mapping[str, int] = field(default_factory=dict)
    """Further counts of photos or files, like `scanned`, `kept` and `rejected`."""

    def to_metadata(self) -> dict[str, str]:
        """Return Parquet key-value metadata."""
        return {_PREFIX + key: json.dumps(value) for key, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Lineage | None:
        """Return the lineage in Parquet key-value metadata; None if no key starts with `vividset.`.

        Fields that a newer version added are ignored.

        Raises:
            ValueError: a required field is missing, or a value is damaged.
        """
        texts = {k.decode(): v for k, v in (metadata or {}).items() if k.startswith(_PREFIX.encode())}
        if not texts:
            return None
        try:
            fields = {key.removeprefix(_PREFIX): json.loads(value) for key, value in texts.items()}
        except RecursionError as exc:  # thousands of nested brackets
            raise ValueError("the vividset metadata is damaged") from exc
        known = {name: fields[name] for name in _JSON_TYPES if name in fields}
        if not {"kind", "command", "options"} <= known.keys():
            raise ValueError("the vividset metadata is incomplete")
        wrong = [name for name, value in known.items() if not isinstance(value, _JSON_TYPES[name])]
        nested = (known.get("ancestors", ()), dict), (known.get("counts", {}).values(), int)
        if wrong or not all(isinstance(value, kind) for values, kind in nested for value in values):
            raise ValueError("the vividset metadata is damaged")
        return cls(**known | {"ancestors": tuple(known.get("ancestors", ()))})


_JSON_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("kind", "command", "metric", "tool_version"), str),
    **dict.fromkeys(("parent_sha256", "parent_path"), str | None),
    **dict.fromkeys(("options", "counts"), dict),
    **dict.fromkeys(("schema_version", "scorer_version"), int),
    "ancestors": list,
    "rows": int | None,
}
"""Python type of each field of a `Lineage` after JSON decoding."""


def list_ancestors(path: Location, sha256: str, lineage: Lineage | None) -> tuple[Mapping[str, str], ...]:
    """Return the `Lineage.ancestors` of what is made from a manifest: that manifest first, then its own ancestors."""
    kind = lineage.kind if lineage else "lineage unknown"
    parent = {"kind": kind, "path": escape(str(path.absolute())), "sha256": sha256}
    return (parent, *(lineage.ancestors if lineage else ()))


def merge_lineages(files: Sequence[Location], lineages: Sequence[Lineage | None]) -> Lineage:
    """Return the lineage of all parts of a divided scan together; its option `parts` replaces `shard`.

    Raises:
        ManifestError: a part is missing or given twice, or the parts differ in scan, scorer or options.
    """
    by_shard: dict[str, Location] = {}
    first = lineages[0]
    for file, lineage in zip(files, lineages, strict=True):
        shard = str(lineage.options.get("shard")) if lineage else ""
        if first is None or lineage is None or not re.fullmatch(r"\d+/\d+", shard):
            raise ManifestError(
                f"{file} is not a part of a divided scan: name manifests that `curate scan --shard` wrote"
            )
        differing = [
            name for name in ("made_by", "paths", "lists") if lineage.options.get(name) != first.options.get(name)
        ]
        count = shard.partition("/")[2]
        if differing or count != str(first.options["shard"]).partition("/")[2]:
            names = {"made_by": "scorer or options", "paths": "paths", "lists": "lists"}
            difference = names[differing[0]] if differing else "number of parts"
            raise ManifestError(
                f"{file} and {files[0]} differ in their {difference}: scan all parts with the same, then merge again"
            )
        if shard in by_shard:
            raise ManifestError(f"{file} and {by_shard[shard]} are both part {shard}: name each part once")
        by_shard[shard] = file
    missing = [number for number in range(1, int(count) + 1) if f"{number}/{count}" not in by_shard]
    if missing:
        raise ManifestError(
            f"of {count} parts {', '.join(map(str, missing[:20]))} {'are' if len(missing) > 1 else 'is'} missing: "
            f"run `curate scan --shard {missing[0]}/{count}`, or name its output too"
        )
    return _sum_lineages(files, [lineage for lineage in lineages if lineage])


def _sum_lineages(files: Sequence[Location], lineages: Sequence[Lineage]) -> Lineage:
    options = {name: value for name, value in lineages[0].options.items() if name != "shard"}
    counts: Counter[str] = Counter()
    for lineage in lineages:
        counts.update(lineage.counts)
    return replace(
        lineages[0],
        options=options | {"parts": [{"path": escape(str(file.absolute()))} for file in files]},
        rows=sum(lineage.rows or 0 for lineage in lineages),
        counts=dict(counts),
    )
