"""What an output holds before a scan: whether the scan may take its place, and which of its photos may be given up."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate import manifest
from curate.errors import ManifestError, ScanError, counted
from curate.manifest import Lineage
from curate.sources import WHOLE, Sources, holds, is_bare, is_untouched, source_is_gone
from curate.worklist import Found


def lineage_of(out: Path, sources: Sources, forget: Sequence[str]) -> Lineage | None:
    """What made the manifest that a scan is to bring up to date; None if there is none yet.

    Args:
        out: the manifest.
        sources: what the scan is of.
        forget: paths whose photos may leave the manifest, as `Sources.roots` writes them.

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
            f"{out} holds the scan of {left_out}, which this one leaves out: name it too, give its photos up with "
            f"--forget {shlex.quote(left_out)}, {advice}"
        )
    return lineage


def _other_part(before: Lineage, now: Sources) -> str | None:
    if before.options.get("shard") in (None if now.share == WHOLE else str(now.share), str(now.share)):
        return None
    return f"part {before.options['shard']}" if "shard" in before.options else "all parts"


def _left_out(before: Lineage, now: Sources, forget: Sequence[str]) -> str | None:
    """The first path or list of an earlier scan that this one doesn't cover, and that isn't to be forgotten."""
    paths = (path for path in before.options.get("paths", ()) if now.name_now(path) is None)
    lists = (name for name in before.options.get("lists", ()) if name not in now.list_names())
    left_out = (str(name) for names in (paths, lists) for name in names)
    return next((name for name in left_out if not _is_in(name, forget)), None)


def check_nothing_lost(found: Found, out: Path, sources: Sources, forget: Sequence[str]) -> None:
    """Stop where a disk seems to be missing: else the numbers of its photos would be gone, and measured anew.

    Raises:
        ScanError: a source is there and empty, or a folder that nobody has touched since the last scan, or none of
            its photos can be reached.
    """
    since_ns = os.stat(out).st_mtime_ns if out.exists() else 0
    places = sorted(_lost(found, sources, since_ns), key=lambda place: -place[1])
    if lost := [place for place in places if not _is_in(place[0], forget)]:
        place, photos = lost[0]
        more = f" (and {counted(len(lost) - 1, 'folder')} more like it)" if len(lost) > 1 else ""
        raise ScanError(
            f"{place} is empty or out of reach, and {out} knows {counted(photos, 'photo')} of it{more}: if a disk is "
            f"missing, bring it back; to give them up, add --forget {shlex.quote(place)}"
        )


def _lost(found: Found, sources: Sources, since_ns: int) -> Iterator[tuple[str, int]]:
    roots = sources.roots()
    for source, photos in found.lost.items():
        if sources.share == WHOLE or is_bare(source):
            yield source, photos
    for folder, photos in found.emptied.items():
        if is_bare(folder) and is_untouched(folder, since_ns):
            yield folder, photos
    for source, photos in found.out_of_reach.items():
        if source in roots or source_is_gone(source):
            yield source, photos


def _is_in(place: str, roots: Sequence[str]) -> bool:
    return any(holds(root, place) for root in roots)
