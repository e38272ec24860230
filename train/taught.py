"""From a checkpoint back to the photos that taught it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate import manifest
from curate.errors import ManifestError
from train.checkpoint import About, Checkpoint, sha256_of


def told(source: Checkpoint) -> Iterator[str]:
    """What a checkpoint says of itself and of the manifests behind it."""
    about = source.about
    yield f"{source.path}: {about.model}, step {about.step:,}, sha256 {sha256_of(source.path)}"
    yield f"  made by    vividset {about.tool_version}: {about.command or 'command unknown'}"
    for rescue in about.rescues:
        yield f"  rescued    from {rescue.kind} at step {rescue.found_step:,}, back to {rescue.from_step:,}"
    yield f"  taught by  {about.manifest_path}, sha256 {about.manifest_sha256}"
    for ancestor in about.manifest_ancestors:
        yield f"  made from  {ancestor['path']} ({ancestor['kind']}), sha256 {ancestor['sha256']}"


def photos(about: About, moved_to: Path | None = None) -> pa.Table:
    """Source, path and sha256 of every photo that taught a model, by the very manifest that it names.

    Args:
        about: what its checkpoint says.
        moved_to: the manifest, where it lies elsewhere by now.

    Raises:
        ManifestError: it isn't there, can't be read, or is another one.
    """
    place = moved_to or Path(about.manifest_path)
    wanted = f"name the one of sha256 {about.manifest_sha256[:12]} with --manifest"
    if not place.exists():
        raise ManifestError(f"{place}, the manifest of the photos that taught this, isn't there: {wanted}")
    read = manifest.read(
        place, need=("source", "path", "sha256", "split"), columns=("source", "path", "sha256", "split")
    )
    if read.sha256 != about.manifest_sha256:
        raise ManifestError(f"{place} is not the manifest of the photos that taught this, or has changed: {wanted}")
    return read.table.filter(pc.equal(read.table["split"], "train"))


def listed(table: pa.Table) -> Iterator[str]:
    """A line for each photo, as sha256sum writes them."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            yield _line(row["sha256"], f"{row['source']}/{row['path']}")


def _line(sha256: str, name: str) -> str:
    if "\n" not in name:
        return f"{sha256}  {name}"
    return "\\{}  {}".format(sha256, name.replace("\\", "\\\\").replace("\n", "\\n"))
