"""The photos and the earlier checkpoints that a checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError
from curate.files import sha256_of
from curate.locations import Location, to_location
from curate.manifest import Lineage
from train.checkpoint import Checkpoint, CheckpointMetadata, Parent
from train.data.dataset import RUN_KIND
from train.data.run_photos import FILE_NAME

PARENT_LIST = "parent-photos.parquet"
"""In the folder of a run that started from a checkpoint, the training photos of that and of all before it."""
COLUMNS = ("source", "path", "sha256", "split")
HELD_OUT_SPLITS = ("val", "test")
NAMED_PHOTOS = 3


@dataclass(frozen=True, slots=True)
class ParentPhotos:
    """What is known about the training photos of a checkpoint's parents."""

    table: pa.Table
    """Source, path, sha256 and split of each photo, once."""
    missing: Sequence[str] = ()
    """One line for each parent whose photos can't be listed, nearest first."""


@dataclass(frozen=True, slots=True)
class HeldOutPhotos:
    """Photos of a run's validation and test split that its parents were trained on."""

    counts: Mapping[str, int]
    """By split; only the splits that have any."""
    names: Sequence[str]
    """Paths of the first ones, below their sources."""


def training_photos(source: Checkpoint, moved_to: Location | None = None) -> pa.Table:
    """Return source, path, sha256 and split of every photo that a run was trained on, without those of its parents.

    They are read from photos.parquet in the run's folder, or else from the manifest, if both agree.

    Args:
        source: the model's checkpoint.
        moved_to: the list or the manifest, if it is not where it was.

    Raises:
        ManifestError: both are missing, unreadable, or have another SHA-256.
    """
    metadata = source.metadata
    name = FILE_NAME if metadata.photos_left_out else "the one"
    sha256 = metadata.photos_sha256 if metadata.photos_left_out else metadata.manifest_sha256
    return _read_photos(source.path, metadata, moved_to, f"give {name} with sha256 {sha256[:12]} as --manifest")


def parent_photos(source: Checkpoint, fallback: Location | None = None) -> ParentPhotos:
    """Return the training photos of all parents of a checkpoint, from the list in its run's folder or from theirs.

    Args:
        source: the checkpoint.
        fallback: a manifest that is used for a parent that was trained on it, if the parent's list isn't found.
    """
    parent = source.metadata.parent
    if parent and parent.list_sha256 and (own := _find_beside(source.path, PARENT_LIST, {parent.list_sha256})):
        return ParentPhotos(merge_photos([manifest.read_manifest(own, required=COLUMNS, columns=COLUMNS).table]))
    return _list_photos(_parents(parent), fallback)


def write_parent_photos(run_dir: Path, photos: ParentPhotos) -> str:
    """Write the list of the parents' photos into a new run's folder; return its SHA-256, or "" if some are unknown.

    Raises:
        ManifestError: the system refuses to write it.
    """
    if photos.missing:
        return ""
    manifest.write_manifest(run_dir / PARENT_LIST, photos.table, Lineage(RUN_KIND, "train fit --init", {}))
    return manifest.digest(run_dir / PARENT_LIST)


def describe_parent(source: Checkpoint, table: pa.Table) -> tuple[Parent, HeldOutPhotos, ParentPhotos]:
    """Return what a new run that starts with the weights of a checkpoint records about it.

    Args:
        source: the checkpoint.
        table: rows of the new run's manifest with the columns path, sha256 and split.

    Returns:
        The record; the photos of the new run's validation and test split that the checkpoint or its parents were
        trained on; and all training photos of these.
    """
    about = source.metadata
    parent = Parent(
        path=str(source.path.absolute()),
        sha256=sha256_of(source.path),
        step=about.step,
        manifest_path=about.manifest_path,
        manifest_sha256=about.manifest_sha256,
        manifest_ancestors=about.manifest_ancestors,
        photos_sha256=about.photos_sha256,
        photos_left_out=about.photos_left_out,
        command=about.command,
        parent=about.parent,
    )
    own, earlier = _list_photos(_parents(replace(parent, parent=None)), None), parent_photos(source)
    known = ParentPhotos(merge_photos([own.table, earlier.table]), [*own.missing, *earlier.missing])
    rows = table.filter(pc.is_in(table["split"], pa.array(HELD_OUT_SPLITS)))
    hashes = rows["sha256"].cast(pa.large_string())
    rows = rows.filter(pc.and_(pc.is_valid(hashes), pc.is_in(hashes, value_set=known.table["sha256"])))
    counts = {split: count for split in HELD_OUT_SPLITS if (count := rows["split"].to_pylist().count(split))}
    held_out = HeldOutPhotos(counts, rows["path"].slice(0, NAMED_PHOTOS).to_pylist())
    return replace(parent, held_out=None if known.missing else counts), held_out, known


def _parents(parent: Parent | None) -> Iterator[Parent]:
    while parent:
        yield parent
        parent = parent.parent


def _list_photos(parents: Iterator[Parent], fallback: Location | None) -> ParentPhotos:
    tables, missing = [], list[str]()
    for parent in parents:
        path = Path(parent.path)
        for place in (None, fallback) if fallback else (None,):
            try:
                tables.append(_read_photos(path, parent, place, "bring that run's folder or its manifest back"))
                break
            except ManifestError as exc:
                reason = str(exc)
        else:
            missing.append(f"the training photos of {parent.path}, from which this run started, are unknown: {reason}")
    return ParentPhotos(merge_photos(tables), missing)


def merge_photos(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, each photo once, in the order of first appearance."""
    schema = pa.schema([(name, pa.large_string()) for name in COLUMNS])
    rows = pa.concat_tables([schema.empty_table(), *(table.select(COLUMNS).cast(schema) for table in tables)])
    return rows.group_by(list(COLUMNS), use_threads=False).aggregate([])


def _find_beside(path: Path, name: str, accepted: Collection[str]) -> Path | None:
    """Return the file of this name in the folder of the run of the checkpoint at `path`, if its SHA-256 is accepted."""
    own = next((found for folder in path.absolute().parents[:2] if (found := folder / name).exists()), None)
    return own if own and manifest.digest(own) in accepted else None


def _read_photos(path: Path, record: CheckpointMetadata | Parent, moved_to: Location | None, advice: str) -> pa.Table:
    """Read the training photos of the checkpoint at `path` from its run's folder, from `moved_to` or the manifest."""
    accepted = {record.photos_sha256} if record.photos_sha256 else set()
    if not record.photos_left_out:
        accepted.add(record.manifest_sha256)
    own = None if moved_to else _find_beside(path, FILE_NAME, accepted)
    place: Location = own or moved_to or to_location(record.manifest_path)
    if isinstance(place, Path) and not place.exists():
        raise ManifestError(f"{place}, the manifest that this model was trained on, doesn't exist: {advice}")
    read = manifest.read_manifest(place, required=COLUMNS, columns=COLUMNS)
    if read.sha256 not in accepted:
        raise ManifestError(f"{place} is not the manifest that this model was trained on, or it has changed: {advice}")
    return read.table.filter(pc.equal(read.table["split"], "train"))
