"""What an output holds before a scan, and whether the scan may take its place."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from curate import manifest
from curate.errors import ManifestError
from curate.manifest import Lineage
from curate.sources import WHOLE, Sources, holds


def lineage_of(out: Path, sources: Sources, forget: Sequence[str]) -> Lineage | None:
    """What made the manifest that a scan is to bring up to date; None if there is none yet.

    Args:
        out: the manifest.
        sources: what the scan is of.
        forget: paths whose rows may leave the manifest, as `Sources.roots` writes them.

    Raises:
        ManifestError: it is something else, or the scan of something that this one leaves out.
    """
    if not os.path.lexists(out):
        return None
    advice = "choose another output with -o, or replace it with --overwrite"
    try:
        _, lineage = manifest.inspect(out)
    except ManifestError as exc:
        raise ManifestError(f"{out} is in the way and is no manifest of ours: {advice}") from exc
    if lineage is None or lineage.kind != "scan":
        raise ManifestError(f"{out} is in the way and is no scan: {advice}")
    if part := _other_part(lineage, sources):
        raise ManifestError(f"{out} holds the scan of {part}, which this one leaves out: {advice}, or name it too")
    if left_out := _left_out(lineage, sources, forget):
        raise ManifestError(
            f"{out} holds the scan of {left_out}, which this one leaves out: name it too, drop the rows of photos that "
            f"aren't named now with --forget {shlex.quote(left_out)}, {advice}"
        )
    return lineage


def _other_part(before: Lineage, now: Sources) -> str | None:
    if before.options.get("shard") in (None if now.share == WHOLE else str(now.share), str(now.share)):
        return None
    return f"part {before.options['shard']}" if "shard" in before.options else "all parts"


def _left_out(before: Lineage, now: Sources, forget: Sequence[str]) -> str | None:
    """The first path or list of an earlier scan that this one doesn't cover, and that isn't to be forgotten."""
    paths = (path for path in before.options.get("paths", ()) if not _is_in(path, now.roots()))
    lists = (name for name in before.options.get("lists", ()) if name not in now.list_names())
    left_out = (str(name) for names in (paths, lists) for name in names)
    return next((name for name in left_out if not _is_in(name, forget)), None)


def _is_in(place: str, roots: Sequence[str]) -> bool:
    return any(holds(root, place) for root in roots)
