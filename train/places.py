"""Which photos to colorize, and where each picture goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from curate import manifest
from curate.decode import SNIFF_BYTES, looks_like_photo
from curate.errors import SourceError, UsageError
from curate.manifest import escape, unescape
from curate.sources import Listed, listing


@dataclass(frozen=True, slots=True)
class Job:
    """One photo and the place of its picture."""

    photo: Path
    target: Path
    problem: str | None = None
    """`Kind: what is wrong` where one knows before opening it."""


def plan(given: Sequence[Path], out: Path) -> list[Job]:
    """Every photo of some files, folders and manifests, with a place below `out` that no other has.

    A file goes to its name, a folder's photos keep their tree, a manifest's the path below their source. Where several
    folders or sources are given, each gets a folder of its name. JPEGs stay JPEG, PNGs PNG; anything else becomes a PNG
    whose name keeps the old suffix: `a.tif` becomes `a.tif.png`, so that it isn't `a.webp`'s too.

    Raises:
        SourceError: there is no photo, or a folder can't be listed.
        ManifestError: a manifest can't be read.
        UsageError: two photos would get one place, or a photo would be overwritten by its own picture.
    """
    roots = {root for root, *_ in _found(given, out) if root}
    if len(roots) != len({PurePath(root).name for root in roots}):
        raise UsageError("two of these folders have one name: colorize them one by one, each into its own -o")
    jobs: dict[Path, Job] = {}
    for root, below, problem in _found(given, out):
        photo = Path(root, *below) if root else Path(*below)
        start = out / PurePath(root).name if len(roots) > 1 and root else out
        target = _named(start.joinpath(*below) if root else start / photo.name)
        if target in jobs:
            raise UsageError(f"{photo} and {jobs[target].photo} would both become {target}: colorize one elsewhere")
        if target.exists() and photo.exists() and os.path.samefile(target, photo):
            raise UsageError(f"{target} would overwrite the photo itself: choose another folder with -o")
        jobs[target] = Job(photo, target, problem)
    if not jobs:
        raise SourceError(f"no photo in {', '.join(escape(str(path)) for path in given)}: name photos or their folder")
    return list(jobs.values())


Found = tuple[str, tuple[str, ...], str | None]
"""A root ('' for a file that was named itself), the parts below it, and what is known to be wrong."""


def _found(given: Sequence[Path], out: Path) -> Iterator[Found]:
    for path in given:
        if path.is_dir() and path.suffix != ".parquet":
            yield from _in_folder(path, out)
        elif path.suffix == ".parquet":
            yield from _in_manifest(path)
        else:
            yield "", path.parts, None


def _in_folder(folder: Path, out: Path) -> Iterator[Found]:
    for found in listing([folder], leave_out=[out]):
        if found.promises_photo or _looks_like_photo(found):
            yield unescape(found.source), tuple(unescape(found.path).split("/")), found.problem


def _in_manifest(path: Path) -> Iterator[Found]:
    table = manifest.read(path, need=("source", "path"), columns=("source", "path")).table
    for source, below in zip(table["source"].to_pylist(), table["path"].to_pylist(), strict=True):
        yield unescape(source), tuple(unescape(below).split("/")), None


def _looks_like_photo(found: Listed) -> bool:
    try:
        with open(found.open_path(), "rb") as file:
            return looks_like_photo(file.read(SNIFF_BYTES))
    except OSError:
        return False


def _named(place: Path) -> Path:
    """A photo's name as its picture's.

    >>> [str(_named(Path(name))) for name in ("a.JPG", "a.png", "a.tif", "a")]
    ['a.JPG', 'a.png', 'a.tif.png', 'a.png']
    """
    if place.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return place
    return place.with_name(place.name + ".png")
