"""The parts of a divided scan to the manifest that one scan of everything would have written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import SCAN_SCHEMA, Lineage
from curate.rows import in_groups, in_listing_order, in_order


def merge(paths: Sequence[Path], out: Path, *, command: str = "", overwrite: bool = False) -> Lineage:
    """Join what `curate scan --shard` wrote: the rows and the order of a scan that was never divided.

    Args:
        paths: the parts, or folders of them.
        out: the manifest to write.
        command: kept in its lineage.
        overwrite: replace whatever is there.

    Returns:
        The lineage that was written, with the number of rows.

    Raises:
        ManifestError: a part is missing, doubled, unreadable, or of another scan, scorer or options; `out` is in the
            way or can't be written.
    """
    files = [part for path in paths for part in manifest.parts(path)]
    if os.path.lexists(out) and (not overwrite or os.path.realpath(out) in map(os.path.realpath, files)):
        raise ManifestError(f"{out} is in the way: choose another output with -o, or replace it with --overwrite")
    if os.path.realpath(out.parent) in [os.path.realpath(path) for path in paths if path.is_dir()]:
        raise ManifestError(f"{out} would lie among its parts: choose another folder with -o")
    lineages = [manifest.inspect(file, need=("source", "path"))[1] for file in files]
    lineage = manifest.joined(files, lineages)
    made_of = [
        {**part, "sha256": manifest.sha256_of(file)} for part, file in zip(lineage.options["parts"], files, strict=True)
    ]
    lineage = replace(lineage, command=command, options={**lineage.options, "parts": made_of})
    manifest.make_folder(out)
    with TemporaryDirectory() as scratch, manifest.writer(out, SCAN_SCHEMA) as file:
        ordered = [in_listing_order(part, Path(mkdtemp(dir=scratch))) for part in files]
        for table in in_groups(in_order(ordered)):
            file.write_table(table)
        file.add_key_value_metadata(lineage.encoded())
    return lineage
