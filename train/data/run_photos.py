"""A run's own list of its photos, RUN/photos.parquet: a resumed run reads the photos that it started with.

The manifest may be overwritten when photos are added and filtered again; the run continues with its own list, and
`train inspect --photos` reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import CheckpointError, ManifestError
from curate.locations import Location
from curate.manifest import Lineage, Manifest
from curate.sources.reader import BORDER_COLUMNS
from curate.text import pluralize
from train.data import dataset
from train.data.dataset import CHECK_COLUMNS, REQUIRED_COLUMNS, RUN_KIND, Datasets

FILE_NAME = "photos.parquet"


@dataclass(frozen=True, slots=True)
class RunPhotos:
    """A run's own list of its photos."""

    read: Manifest
    lineage: Lineage
    """Names the manifest that the list was made from."""


def write_photos(run_dir: Path, read: Manifest, left_out: int) -> str:
    """Write the photos that a run trains and validates on, whole or not at all, and return the file's SHA-256.

    Args:
        run_dir: folder of the run.
        read: the manifest, without the photos that are left out.
        left_out: number of photos that are left out because they have changed.

    Raises:
        ManifestError: the system refuses to write it.
    """
    names = [name for name in (*REQUIRED_COLUMNS, *CHECK_COLUMNS, *BORDER_COLUMNS) if name in read.table.column_names]
    rows = read.table.select(list(dict.fromkeys(names)))
    lineage = Lineage(
        RUN_KIND,
        "train fit",
        {"pack": dataset.is_pack(read.table), "left_out": left_out},
        parent_sha256=read.sha256,
        parent_path=str(read.path.absolute()),
        ancestors=manifest.list_ancestors(read.path, read.sha256, read.lineage),
    )
    path = run_dir / FILE_NAME
    manifest.write_manifest(path, rows.filter(pc.is_in(rows["split"], pa.array(["train", "val"]))), lineage)
    return manifest.digest(path)


def read_photos(run_dir: Path) -> RunPhotos | None:
    """Return a run's own list; None if it has none, or if it was trained on a pack, which has the pixels too.

    Raises:
        ManifestError: the list can't be read.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return None
    read = dataset.read_rows(path)
    if read.lineage is None or read.lineage.kind != RUN_KIND:
        raise ManifestError(f"{path} is not the list that `train fit` wrote: bring it back, or use a new --run-dir")
    return None if read.lineage.options.get("pack") else RunPhotos(read, read.lineage)


def make_run_datasets(own: RunPhotos, manifest_path: Location, roots: Sequence[Path] = ()) -> Datasets:
    """Return the photos of a run's own list, with the identity of the manifest that it was made from."""
    _, *ancestors = own.lineage.ancestors
    return replace(
        dataset.make_datasets(own.read, roots),
        manifest_path=manifest_path,
        manifest_sha256=own.lineage.parent_sha256 or "",
        ancestors=ancestors,
        photos_sha256=own.read.sha256,
        photos_left_out=int(own.lineage.options.get("left_out", 0)),
    )


def describe_changes(own: RunPhotos, manifest_path: Location) -> str | None:
    """Compare a run's own list with the manifest that the user named to resume the run.

    Returns:
        A line about what has changed since the run started; None if the manifest is the same file.

    Raises:
        CheckpointError: the manifest is another one than that of the run.
        ManifestError: it can't be read.
    """
    recorded = own.lineage.parent_path or ""
    same_path = str(manifest_path.absolute()) == recorded or (
        isinstance(manifest_path, Path) and manifest_path.resolve() == Path(recorded).resolve()
    )
    keeps = f"the run continues with its own list, {own.read.path}"
    try:
        sha256 = manifest.digest(manifest_path)
    except (ManifestError, OSError):
        if same_path:
            return f"{manifest_path} can't be read any more: {keeps}"
        dataset.read_rows(manifest_path)  # raises the error with its advice
        raise
    if sha256 == own.lineage.parent_sha256:
        return None
    if not same_path:
        raise CheckpointError(
            f"{own.read.path.parent} was trained on another manifest ({own.lineage.parent_path}, sha256 "
            f"{(own.lineage.parent_sha256 or '')[:12]}): give that manifest, or a new --run-dir"
        )
    now, before = _keys(dataset.read_rows(manifest_path).table), _keys(own.read.table)
    new, gone = (_count_others(*pair) for pair in ((now, before), (before, now)))
    differ = (
        f"{pluralize(new, 'photo')} new or changed, {gone:,} gone or changed" if new or gone else "no photo differs"
    )
    return f"{manifest_path} has changed since the run started ({differ}): {keeps}"


def _keys(table: pa.Table) -> pa.ChunkedArray:
    """Return one text for each row that a run uses: split, hash and place."""
    used = table.filter(pc.is_in(table["split"], pa.array(["train", "val"])))
    columns = [used[name].cast(pa.large_string()) for name in ("split", "sha256", "source", "path")]
    return pc.binary_join_element_wise(*columns, pa.scalar("/", pa.large_string()), null_handling="replace")


def _count_others(keys: pa.ChunkedArray, known: pa.ChunkedArray) -> int:
    """Return how many keys are not among the known ones."""
    return int(pc.sum(pc.invert(pc.is_in(keys, known))).as_py() or 0)
