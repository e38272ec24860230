"""Counts the evaluated photos that the network was trained on: their scores say little about new photos.

Training photos of the checkpoint from which the run started (`--init`), and of those before it, count too.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError
from curate.locations import Location
from train.checkpoint import Checkpoint
from train.data.dataset import PhotoDataset
from train.lineage import merge_photos, parent_photos, training_photos


def count_training_photos(
    source: Checkpoint, path: Location, photos: PhotoDataset, evaluated: Sequence[int]
) -> tuple[int | None, bool]:
    """Return how many photos have the sha256 of a training photo, and whether the photos of all parents are known.

    The number is None if the run's own training photos are not known.

    Args:
        source: the evaluated checkpoint.
        path: the manifest of the evaluated photos.
        photos: chosen from that manifest.
        evaluated: indices in `photos`.
    """
    try:
        try:
            own = training_photos(source)
        except ManifestError:
            own = training_photos(source, path)  # refused if its sha256 is not that of the training manifest
        rows = manifest.read_manifest(path, required=("sha256",), columns=("source", "path", "sha256")).table
    except ManifestError:
        return None, source.metadata.parent is None
    parents = parent_photos(source, path)
    known = merge_photos([own, parents.table])
    text = pa.large_string()
    rows = pa.table({name: rows[name].cast(text) for name in ("source", "path", "sha256")})
    chosen = pa.array(evaluated, pa.int64())
    keys = pa.table({"source": photos.sources.take(chosen), "path": photos.paths.take(chosen)})
    hashes = keys.join(rows, ["source", "path"])["sha256"].drop_null()
    return pc.sum(pc.is_in(hashes, value_set=known["sha256"])).as_py() or 0, not parents.missing
