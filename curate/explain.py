"""Why: what one photo scores and which rules it fails, and where a manifest comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curate import manifest
from curate.criteria import FilterOptions
from curate.errors import ManifestError, NotAPhoto
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.score import Record, ScoreOptions, score
from curate.select import select
from curate.sources import Listed, has_tar_name, listing


@dataclass(frozen=True, slots=True)
class Explanation:
    """One photo's scores and verdict."""

    record: Record
    reasons: tuple[str, ...]
    """Why it would be rejected; empty if it would be kept."""


def explain(photo: Path, options: FilterOptions) -> Explanation:
    """Score a photo, whether or not it was scanned, and decide it as a filter would.

    Raises:
        VividsetError: as `named`.
    """
    listed = named(photo)
    record = score(listed, ScoreOptions()) or _no_photo(listed)
    rejected = select(pa.Table.from_pylist([record.row()], SCAN_SCHEMA), options).rejected
    reasons = rejected["reject_reasons"].to_pylist()
    return Explanation(record, tuple(reasons[0]) if reasons else ())


def named(photo: Path) -> Listed:
    """A photo that can be explained.

    Raises:
        SourceError: it doesn't exist.
        ManifestError: it is a folder, a tar or a manifest.
    """
    if photo.is_dir():
        raise ManifestError(f"{photo} is a folder: name photos, or scan it with `curate scan`")
    if photo.suffix == ".parquet":
        raise ManifestError(f"{photo} is no photo: name photos, or see what a manifest holds with `curate inspect`")
    if has_tar_name(photo.name):
        raise ManifestError(f"{photo} is a tar: name photos, or scan it with `curate scan`")
    (listed,) = listing([photo])
    return listed


def _no_photo(listed: Listed) -> Record:
    return Record(listed, error=str(NotAPhoto("neither its name nor its content is a photo's")))


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One manifest of a chain back to the scan."""

    path: Path
    state: str
    """`as it was`, `changed since`, `not here`, or `lineage unknown`."""
    lineage: Lineage | None


def ancestry(path: Path) -> list[Ancestor]:
    """A manifest, the one that it was made from, and so on, as far as they can be followed.

    A parent is looked for where it was when the child was made, and beside the child.

    Raises:
        ManifestError: the first one can't be read.
    """
    _, lineage = manifest.inspect(path)
    chain = [Ancestor(path, "as it was" if lineage else "lineage unknown", lineage)]
    while lineage and lineage.parent_path:
        parent = _found(Path(lineage.parent_path), chain[-1].path)
        if parent is None:
            return [*chain, Ancestor(Path(lineage.parent_path), "not here", None)]
        same = manifest.sha256_of(parent) == lineage.parent_sha256
        _, lineage = manifest.inspect(parent)
        chain.append(Ancestor(parent, "as it was" if same else "changed since", lineage))
        if not same:
            return chain
    return chain


def _found(parent: Path, child: Path) -> Path | None:
    return next((place for place in (parent, child.with_name(parent.name)) if place.is_file()), None)
